import CLinux
import MillraceShim
import Synchronization

/// Where a connection's bytes go at present, as its data calls see it. One per direction.
enum Path: UInt8, AtomicRepresentable {
  /// The kernel; calls pass through and keep the books.
  case kernel
  /// The cutover is under way: reads take from the kernel what is the application's and no more, sends go to the ring.
  case moving
  /// The ring.
  case lane
}

/// Where a connection is on its way to a lane.
enum Attempt: UInt8, AtomicRepresentable {
  /// Nothing under way; the policy may make it a candidate.
  case none
  /// The service thread has it: rendezvous, wireup or cutover.
  case underway
  /// The service thread makes it `none` when it is time for the next attempt; see ``FabricRetry``.
  case waiting
  /// It has a lane.
  case attached
  /// Never again; the reason is in ``Connection/reason``.
  case refused
}

/// One end of a TCP connection, in memory that never moves and is never unmapped, so a late look at it is harmless.
///
/// What guards what:
/// * ``pins`` counts the calls that use the record; it is not recycled while any does.
/// * ``receiveLock``: ``consumer``, and whatever reads the kernel path once the cutover has begun.
/// * ``sendLock``: ``producer``, and whatever writes the kernel path once the cutover has begun.
/// * both: ``cutover``, the paths, and ``pathsChanged``.
/// * the table's lock: ``descriptors``, ``fd``, and the record's place in the pool.
/// * the waiting lock: ``registrations``.
struct Connection: ~Copyable {
  /// An `mr_kind`; C reads it as the first byte.
  var kind = UInt8(MR_CONNECTION.rawValue)
  /// Calls inside C with a hold on this record, and the gates; see ``Pins``. This and the locks outlive a recycling.
  let pins = Atomic<UInt64>(0)
  /// Who waits for one of these sleeps on its word, whatever becomes of the record.
  let receiveLock = Lock()
  let sendLock = Lock()
  /// Whether a fork holds both; they are held then.
  let isHeld = Atomic<UInt64>(0)
  var role: Role = .leader
  /// Who leads on the lane. On shared memory as ``role``; on verbs an end that only receives cannot lead, and the wireup
  /// agrees on one.
  var laneRole: Role = .leader
  /// Whether connect or accept has been seen, so that ``role`` means something.
  var hasRole = false
  /// The cause for which there is no lane, if any.
  var reason: DeclineReason = .none
  /// A cause that has come up since the attempt began, as a ``DeclineReason``: no lane any more.
  let forbidden = Atomic<UInt8>(0)
  /// An exec is under way that leaves a descriptor of the connection open, and has forbidden it to attach.
  var survivesExec = false
  var forbiddenByExec = false
  /// Attempts made so far.
  var attempts: UInt8 = 0
  let attempt = Atomic<Attempt>(.none)
  let receivePath = Atomic<Path>(.kernel)
  let sendPath = Atomic<Path>(.kernel)
  /// A path has changed since both locks were taken.
  var pathsChanged = false

  /// O_NONBLOCK, as last seen; looked up again before a call sleeps.
  let nonblocking = Atomic<Bool>(false)
  /// The peer's process is gone from the lane, or the kernel connection is dead: drain, then ask the kernel.
  let peerGone = Atomic<Bool>(false)
  /// shutdown(SHUT_RD) and shutdown(SHUT_WR) by this end.
  let readShut = Atomic<Bool>(false)
  let writeShut = Atomic<Bool>(false)

  /// Descriptors of this process that name the connection, and one of them.
  var descriptors: Int32 = 0
  /// ``fd`` is hidden: the application has closed its last one while a call of it still sleeps.
  var isDeferred = false
  var fd: Int32 = -1
  /// Place in the pool.
  var index: Int32 = 0

  // The books.
  let kernelSent = Atomic<UInt64>(0)
  let kernelReceived = Atomic<UInt64>(0)
  /// Data calls on the kernel path, and the count and the bytes at which the next attempt is due.
  let calls = Atomic<UInt32>(0)
  var dueCalls: UInt32 = 0
  var dueBytes: UInt64 = 0

  // The lane. Memory and rings are there from the wireup until the record is recycled.
  var segment: Segment?
  /// Where the segment's control page is, for who wakes sleepers without a lock; 0 if it is about to go.
  let wakePage = Atomic<UInt>(0)
  /// What a lane over verbs has besides. Its memory stays as long as the segment's.
  var verbs: VerbsLaneRef?
  /// verbs: the leader's mark has its first byte complemented (``Nonce/mark(from:flipped:)``).
  var isFlipped = false
  var producer: RingProducer?
  var consumer: RingConsumer?
  /// Which pages of the producer's ring are given back. The service thread's, under ``sendLock``.
  var trim = RingTrim()
  var cutover = Cutover(role: .leader)
  var nonce = Nonce(0, 0)
  /// Bytes that earlier lanes of the connection carried, for the statistics, and how many lanes there were.
  var carriedOut: UInt64 = 0
  var carriedIn: UInt64 = 0
  var lanes: UInt32 = 0
  var records = RecordBuffer()
  /// While the stream moves: the kernel path's bytes before this position are the application's.
  let kernelLimit = Atomic<UInt64>(UInt64.max)
  var outgoing = OutgoingRecords()
  /// Where the last mark or record of the present lane ended on the own kernel stream; 0 for none.
  let recordsEnd = Atomic<UInt64>(0)
  /// Sends that were refused because the ring was full; edge-triggered waiters compare it.
  let refusals = Atomic<UInt32>(0)
  /// The Unix connection, -1 if none: doorbell and hang-up signal. Hidden.
  var bell: Int32 = -1
  /// The process at the other end of the bell, if the kernel names it.
  var peerProcess: PeerProcessRef?
  /// Bytes of the own ring before this position have been re-sent over TCP, or need not be.
  var resendFrom: UInt64 = 0
  var isResending = false
  /// So many bytes of what is about to be re-sent went out before another process of this end took over.
  var resendSkip: UInt64 = 0
  let returning = Returning()
  /// Error to report once after the ring is drained: ECONNRESET for a peer that died with our bytes unread. EPIPE for an
  /// application that has sent to a peer that is gone; that one only waits and SO_ERROR report.
  let pendingError = Atomic<Int32>(0)

  /// SO_RCVTIMEO and SO_SNDTIMEO in nanoseconds, 0 for none.
  let receiveTimeout = Atomic<UInt64>(0)
  let sendTimeout = Atomic<UInt64>(0)

  /// Changes when something other than the ring may let a sleeper go on: a futex of this process.
  let changes = Atomic<UInt32>(0)
  /// How often the stream has begun to move: since 0 there was no mark that a wait could have taken for data.
  let moves = Atomic<UInt32>(0)
  /// How many threads sleep on the bell by poll.
  let pollSleepers = Atomic<UInt32>(0)
  var receiveSpin = SpinBudget()
  var sendSpin = SpinBudget()

  /// First of the epoll registrations of this connection.
  var registrations: RegistrationRef?
  /// How many of them the application knows. With several, no set may arm for itself alone.
  let registered = Atomic<Int32>(0)
  /// The lane has been in the hands of several processes since a fork. It stays so: what another one has done shows in
  /// shared memory only.
  var isFamily = false
  /// A sibling leaves the lane; the service thread looks after it.
  let awaitsSibling = Atomic<Bool>(false)
  /// What is shared with the children of a fork.
  var family: UnsafeMutablePointer<FamilyWords>?

  // The service thread's own.
  var wireup = Wireup()
  /// Row of the statistics page, -1 if none.
  var row: Int32 = -1

  init() {}
}

typealias ConnectionRef = UnsafeMutablePointer<Connection>

/// The fields of ``Connection/pins``: how many calls of each kind are inside, and which gates are closed. One atomic
/// addition both enters and tells whether the gate is open, so entering and closing cannot miss each other.
enum Pins {
  static let reader: UInt64 = 1
  static let sender: UInt64 = 1 << 12
  static let sleeper: UInt64 = 1 << 24
  static let poller: UInt64 = 1 << 36
  /// A reader that a mark would not wake, because it waits for more or shows nothing of what it reads.
  static let greedy: UInt64 = 1 << 48
  /// Calls to receive no longer go to the kernel.
  static let receiveGate: UInt64 = 1 << 60
  /// Calls to send no longer go to the kernel.
  static let sendGate: UInt64 = 1 << 61
  /// The last descriptor is closed; whoever leaves last recycles the record.
  static let closing: UInt64 = 1 << 62
  /// The record has been given back.
  static let finished: UInt64 = 1 << 63

  private static let mask: UInt64 = 0xfff

  static func readers(_ pins: UInt64) -> UInt64 { pins & mask }
  static func sleepers(_ pins: UInt64) -> UInt64 { (pins >> 24) & mask }
  static func senders(_ pins: UInt64) -> UInt64 { (pins >> 12) & mask }
  static func pollers(_ pins: UInt64) -> UInt64 { (pins >> 36) & mask }
  static func greedy(_ pins: UInt64) -> UInt64 { (pins >> 48) & mask }
  /// Whether a call that reads, or waits for reading, is inside the kernel.
  static func hasKernelReaders(_ pins: UInt64) -> Bool { readers(pins) != 0 || greedy(pins) != 0 }
  /// Whether nobody is inside but one sleeper: the service thread, when it asks.
  static func isOnlySleeper(_ pins: UInt64) -> Bool { pins << 4 == sleeper << 4 }
  /// Whether any call is inside, of whatever kind.
  static func isUsed(_ pins: UInt64) -> Bool { pins << 4 != 0 }
}

extension UnsafeMutablePointer where Pointee == Connection {
  /// Enters with one pin; the pins as they were.
  @inline(__always)
  func pin(_ kind: UInt64) -> UInt64 {
    // Acquires what a gate's closing released, and is ordered before the real call that follows.
    pointee.pins.wrappingAdd(kind, ordering: .sequentiallyConsistent).oldValue
  }

  /// Leaves; recycles the record if it was closed meanwhile and nobody else is inside. The pins as they are now.
  @inline(__always)
  @discardableResult
  func unpin(_ kind: UInt64) -> UInt64 {
    let now = pointee.pins.wrappingSubtract(kind, ordering: .sequentiallyConsistent).newValue
    if now & Pins.closing != 0, !Pins.isUsed(now) { Closing.finish(self) }
    return now
  }

  /// Lets go of `lock` for something that takes both, or time: with a pin, or a close meanwhile would take the record apart.
  func apart(from lock: borrowing Lock, _ body: () -> mr_step) -> mr_step {
    // Partner: Closing.hasCallInside, behind the lock.
    _ = pin(Pins.sleeper)
    lock.unlock()
    defer { unpin(Pins.sleeper) }
    return body()
  }

  /// Whether `fd` still names this connection. False after a close that came between the look-up and a lock.
  @inline(__always)
  func isNamed(by fd: Int32) -> Bool {
    mr_entry(fd) == UnsafeMutableRawPointer(self)
  }

  /// Both directions, always in this order.
  func lockBoth() {
    pointee.sendLock.lock()
    pointee.receiveLock.lock()
  }

  /// Tells the sleepers too if a path has changed: they sleep for the old one.
  func unlockBoth() {
    let tells = pointee.pathsChanged
    pointee.pathsChanged = false
    pointee.receiveLock.unlock()
    pointee.sendLock.unlock()
    if tells { Waiters.wake(self) }
  }

  /// Moves the reading side. Both locks are held. Releases what the calls on the new path look at.
  func receive(on path: Path) {
    pointee.receivePath.store(path, ordering: .releasing)
    pointee.pathsChanged = true
  }

  /// Moves the sending side, as ``receive(on:)``.
  func send(on path: Path) {
    pointee.sendPath.store(path, ordering: .releasing)
    pointee.pathsChanged = true
  }

  /// Whether this process shares the connection with others since a fork.
  var isShared: Bool {
    guard let family = pointee.family else { return false }
    return family.pointee.users.load(ordering: .acquiring) > 1
  }
}
