import CLinux
import MillraceShim
import Synchronization

/// A verbs lane's own part: the queue pair, what has been posted, and what the peer has been told.
///
/// The rings and the control page are those of shared memory, but private to this process: the page's half of the peer is
/// this end's copy of what the peer has told. Its memory outlives the queue pair, for a late look; see ``Connection/verbs``.
struct VerbsLane: ~Copyable {
  /// Guards everything below, and the queue pair. Held for some work requests and completions, never while sleeping.
  let lock = Lock()
  /// The queue pair; nil once it is given up.
  var end: OpaquePointer?
  /// What is left of it when its device is gone; destroyed with the lane.
  var husk: OpaquePointer?
  /// The peer has broken the protocol.
  let isHostile = Atomic<Bool>(false)
  /// Work requests may be posted. False before both ends are there, and when the lane has failed.
  var isUp = false
  /// The lane has failed or the peer has left it, and the service thread has not seen to it yet.
  let hasFailed = Atomic<Bool>(false)
  /// When that was noticed, CLOCK_MONOTONIC in nanoseconds; 0 if it was not. Service thread only.
  var lostAt: UInt64 = 0
  /// The service thread posts what is left over, until nothing is.
  let owes = Atomic<Bool>(false)
  /// What the service thread could not post because the peer gives no credit: since when, CLOCK_MONOTONIC in nanoseconds, how
  /// much of it went until then, and when it looks again. Service thread only.
  var stuckSince: UInt64 = 0
  var stuckAt: UInt64 = 0
  var nextLook: UInt64 = 0

  /// The peer's receive ring.
  var remoteAddress: UInt64 = 0
  var remoteKey: UInt32 = 0

  /// Own ring: position up to which it is posted, and the peer's head.
  var posted: UInt64 = 0
  var peerHead: UInt64 = 0
  /// Messages posted (writes and notices), and receive requests that the peer has posted anew.
  var sent: UInt64 = 0
  var peerReposted: UInt64 = 0
  /// Signalled work requests whose completion has not come, and unsignalled ones behind the last of them.
  var inFlight = 0
  var sinceSignalled: UInt64 = 0

  /// Signalled work requests that are done; the count at the last look of the service thread that found some under way, and
  /// how many looks in a row have found the same.
  var done: UInt64 = 0
  var doneBefore: UInt64 = 0
  var idleLooks = 0

  /// Peer's ring: position behind the last byte that has come.
  var received: UInt64 = 0
  /// Receive requests posted anew.
  var reposted: UInt64 = 0
  /// What the peer has been told of the head and of the receive requests.
  let toldHead = Atomic<UInt64>(0)
  var toldReposted: UInt64 = 0
  /// The last notice, without its immediate.
  var told = VerbsNotice()

  /// The caller's: what it proves with its first notice.
  var ownProof = Nonce(0, 0)
  /// What the caller has still to prove, if a key is demanded; zero otherwise.
  var expectedProof = Nonce(0, 0)
  /// No step of the cutover is taken before the peer has proved what it has to.
  let isTrusted = Atomic<Bool>(true)
  /// The follower has said that it learned the leader's cut.
  let peerLearned = Atomic<Bool>(false)

  /// For what the completion queue is armed since the channel was last drained.
  var armed = Arm.nothing

  enum Arm: UInt8 {
    case nothing
    case bytes
    case everything
  }

  init() {}

  /// Bytes of a lane's memory: one page for this, then the inbox.
  static var byteCount: Int { 4096 + Int(VerbsImmediate.depth) * VerbsNotice.byteCount }
}

typealias VerbsLaneRef = UnsafeMutablePointer<VerbsLane>

extension UnsafeMutablePointer where Pointee == VerbsLane {
  /// Memory of a new lane; nil if there is none.
  static func make() -> VerbsLaneRef? {
    // Shared with the children of a fork: they do not use it, and the device may go on writing into the inbox.
    guard let memory = Kernel.reserve(VerbsLane.byteCount, shared: true) else { return nil }
    let lane = memory.bindMemory(to: VerbsLane.self, capacity: 1)
    lane.initialize(to: VerbsLane())
    return lane
  }

  func unmap() { Kernel.unmap(UnsafeMutableRawPointer(self), VerbsLane.byteCount) }

  var inbox: UnsafeMutableRawPointer { UnsafeMutableRawPointer(self) + 4096 }

  /// Makes the queue pair over the rings of `segment`, whose own half is that of `role`. What the peer needs to know, or why not.
  func prepare(_ end: OpaquePointer, _ segment: Segment, _ role: Role) -> Result<mrv_ready, Errno> {
    var memory = mrv_memory()
    memory.out = segment.ring(role)
    memory.in = segment.ring(role.peer)
    memory.ring_bytes = segment.ringBytes
    memory.inbox = inbox
    memory.message_bytes = VerbsNotice.byteCount
    memory.depth = UInt32(VerbsImmediate.depth)
    memory.send_depth = UInt32(VerbsFlow.sendDepth)
    var ready = mrv_ready()
    let r = Verbs.table.pointee.prepare(end, &memory, &ready)
    guard r == 0 else { return .failure(Errno(code: -r)) }
    pointee.end = end
    return .success(ready)
  }

  /// The peer's end is there too: work requests may be posted.
  func start(_ peer: VerbsOffer) {
    pointee.lock.lock()
    pointee.remoteAddress = peer.address
    pointee.remoteKey = peer.remoteKey
    pointee.isUp = true
    pointee.lock.unlock()
  }

  /// Nothing is posted any more. Takes in what has come before. Service thread.
  func takeDown(_ c: ConnectionRef) {
    pointee.lock.lock()
    takeIn(c)
    pointee.isUp = false
    pointee.hasFailed.store(false, ordering: .relaxed)
    pointee.lock.unlock()
  }

  /// Gives the queue pair up: the service thread destroys it, once what was posted has arrived. Any thread.
  func retire() {
    pointee.lock.lock()
    let end = pointee.end ?? pointee.husk
    let inFlight = pointee.isUp ? pointee.inFlight : 0
    pointee.end = nil
    pointee.husk = nil
    pointee.isUp = false
    pointee.lock.unlock()
    if let end { VerbsRetired.add(end, inFlight: inFlight) }
  }

  /// The device is gone, and its removal waits until this process has let go of it; leaving the lane may take longer. Service
  /// thread.
  func release() {
    pointee.lock.lock()
    defer { pointee.lock.unlock() }
    guard let end = pointee.end else { return }
    Verbs.table.pointee.release(end)
    pointee.husk = end
    pointee.end = nil
  }

  /// The module is going away; the process ends. A thread of it may hold the lock for good.
  func abandon(until deadline: UInt64) {
    while !pointee.lock.tryLock() {
      if Kernel.now() > deadline { return }
      cl_pause()
    }
    pointee.end = nil
    pointee.husk = nil
    pointee.isUp = false
    pointee.lock.unlock()
  }

  // MARK: Waking

  /// See ``Fabric/arm(_:forRoom:)``.
  func arm(_ c: ConnectionRef, forRoom: Bool) {
    pointee.lock.lock()
    defer { pointee.lock.unlock() }
    guard let end = pointee.end else { return }
    // What is under way may fail, of which a device need not tell who waits for bytes only (Soft-RoCE does not).
    let isUnderWay = pointee.inFlight > 0 || pointee.sinceSignalled > 0
    let wanted: VerbsLane.Arm = forRoom || isUnderWay ? .everything : .bytes
    if pointee.armed.rawValue < wanted.rawValue {
      pointee.armed = wanted
      _ = Verbs.table.pointee.arm(end, wanted == .bytes ? 1 : 0)
    }
    // What came before it was armed rings no bell.
    takeIn(c)
  }

  /// Takes the events out of the channel, so that it is not readable any more.
  func drain() {
    pointee.lock.lock()
    defer { pointee.lock.unlock() }
    guard let end = pointee.end, Verbs.table.pointee.drain(end) > 0 else { return }
    pointee.armed = .nothing
  }
}
