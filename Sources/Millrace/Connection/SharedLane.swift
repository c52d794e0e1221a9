import CLinux
import MillraceShim
import Synchronization

/// Data calls on a lane that several processes hold since a fork. They share the rings as they share the kernel's
/// socket: under a lock per direction that they have in common, with the positions read from the lane's memory.
///
/// One of them can leave the lane for all. It claims that in ``FamilyWords/down`` under both locks, and a data call looks
/// there once it has its lock: so nothing is moved any more behind the positions that the DETACH names.
enum SharedLane {
  /// Bytes out of the ring; 0 also if a sibling leaves, -1 if the positions are absurd.
  static func take(
    _ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int, peek: Bool, discard: Bool
  ) -> Int {
    let family = c.pointee.family!
    family.pointee.receiveLock.lock()
    defer { family.pointee.receiveLock.unlock() }
    // Ordered by the lock, which claimDetach holds.
    guard family.pointee.down.load(ordering: .relaxed) == 0 else { return 0 }
    guard c.pointee.consumer!.reload() else { return -1 }
    return Receive.takeRing(call, c, wanted: wanted, peek: peek, discard: discard)
  }

  /// Bytes into the ring; 0 also if a sibling leaves, -1 if the positions are absurd.
  static func put(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int) -> Int {
    let family = c.pointee.family!
    family.pointee.sendLock.lock()
    defer { family.pointee.sendLock.unlock() }
    // As in take. But the one who leaves goes on putting into the ring, behind what it re-sends: it would wait for itself.
    guard family.pointee.down.load(ordering: .relaxed) == 0 || c.pointee.wireup.stage != .attached else { return 0 }
    guard c.pointee.producer!.reload() else { return -1 }
    return Send.put(call, c, wanted: wanted)
  }

  /// Runs `body` with the producer as it is now, while no process of this end puts anything in; not at all if one does
  /// at this moment, or leaves. The connection's send lock is held.
  static func whileNobodySends(_ c: ConnectionRef, _ body: () -> Void) {
    let family = c.pointee.family!
    guard family.pointee.sendLock.tryLock() else { return }
    defer { family.pointee.sendLock.unlock() }
    // Ordered by the lock, as in take.
    guard family.pointee.down.load(ordering: .relaxed) == stays, c.pointee.producer!.reload() else { return }
    body()
  }

  // MARK: One process of several leaves the lane for all

  /// Values of ``FamilyWords/down``.
  private static let stays: UInt32 = 0
  static let leaving: UInt32 = 1
  private static let left: UInt32 = 2

  /// True if this process is the one that moves the connection back to TCP.
  static func claimDetach(_ c: ConnectionRef) -> Bool {
    guard let family = c.pointee.family else { return false }
    family.pointee.sendLock.lock()
    family.pointee.receiveLock.lock()
    defer {
      family.pointee.receiveLock.unlock()
      family.pointee.sendLock.unlock()
    }
    // The others have let go meanwhile: there is nobody to exclude.
    guard c.pointee.isFamily else { return true }
    // Nobody else claims while both locks are held.
    guard family.pointee.down.load(ordering: .relaxed) == stays else { return false }
    TakingOver.prepare(c, isAtRest: true)
    family.pointee.owner.store(Kin.me, ordering: .relaxed)
    // Releases the owner and what it prepared.
    family.pointee.down.store(leaving, ordering: .releasing)
    refresh(c)
    return true
  }

  // MARK: A stream that moves while its process forks

  /// The fork could not wait for the stream to come to rest. Only the parent knows how far it has come: it goes on, and
  /// leaves the lane as soon as it is there, so that its child can follow. Everything is held.
  static func claimForFork(_ c: ConnectionRef) {
    let family = c.pointee.family!
    guard family.pointee.down.load(ordering: .relaxed) == stays else { return }
    TakingOver.prepare(c, isAtRest: false)
    family.pointee.owner.store(Kin.me, ordering: .relaxed)
    family.pointee.down.store(leaving, ordering: .releasing)
  }

  /// In the child: a lane that a sibling leaves.
  static func awaitParent(_ c: ConnectionRef) {
    c.pointee.isResending = false
    c.pointee.outgoing = OutgoingRecords()
    c.pointee.receivePath.store(.lane, ordering: .relaxed)
    c.pointee.sendPath.store(.lane, ordering: .relaxed)
    c.pointee.attempt.store(.attached, ordering: .relaxed)
    c.pointee.wireup.stage = .attached
  }

  /// Whether this process has claimed to leave the lane that has just been reached.
  static func hasClaimed(_ c: ConnectionRef) -> Bool {
    guard c.pointee.isFamily, let family = c.pointee.family else { return false }
    // Acquires the owner.
    return family.pointee.down.load(ordering: .acquiring) == leaving
      && family.pointee.owner.load(ordering: .relaxed) == Kin.me
  }

  /// The connection is TCP's, in whatever way: the others may go on there.
  ///
  /// `isInheritable`: it is so in good order, and whoever meets the end of the kernel stream may look into the ring for the rest.
  static func finishDetach(_ c: ConnectionRef, isInheritable: Bool = false) {
    if isInheritable { Inheriting.publish(c) }
    c.pointee.family?.pointee.down.store(left, ordering: .releasing)
    wakeSiblings(c)
    // Who waits on the bell, in whichever process, learns it by its hang-up; the lane needs it no more.
    if c.isShared, c.pointee.bell >= 0 { Kernel.shutdown(c.pointee.bell, Int32(SHUT_RDWR)) }
  }

  /// The lane stays: the peer died while this process was leaving, and what its ring still holds is whoever's reads it.
  static func withdrawDetach(_ c: ConnectionRef) {
    // Releases what inheritRing has stored, to whoever sees in take that nobody leaves.
    c.pointee.family?.pointee.down.store(stays, ordering: .releasing)
    wakeSiblings(c)
  }

  /// Nobody waits for a claim that has come to nothing: there was no lane to leave any more, or no record.
  static func settleClaim(_ c: ConnectionRef) {
    switch c.pointee.wireup.stage {
    case .attached: withdrawDetach(c)
    case .ended, .none: finishDetach(c)
    default: break
    }
  }

  static func wakeSiblings(_ c: ConnectionRef) {
    guard let family = c.pointee.family else { return }
    withUnsafePointer(to: family.pointee.down) { Kernel.futexWake(UnsafeMutableRawPointer(mutating: $0)) }
    Leaving.rouse(c)
  }

  /// Whether the kernel path brings a whole record of a peer that leaves. Half a one is left where it is: whoever took it
  /// would hold up all until the rest comes.
  static func hasRecord(_ c: ConnectionRef) -> Bool {
    withUnsafeTemporaryAllocation(byteCount: Record.byteCount, alignment: 8) { space in
      let missing = c.pointee.records.missing
      return Kernel.receive(c.pointee.fd, space.baseAddress!, missing, Int32(MSG_PEEK)) == missing
    }
  }

  /// Whether another process of this end has left the lane, or is about to. No data call may touch the rings then.
  @inline(__always)
  static func siblingLeaves(_ c: ConnectionRef) -> Bool {
    guard c.pointee.wireup.stage == .attached else { return false }
    guard c.pointee.family!.pointee.down.load(ordering: .acquiring) != stays else { return false }
    TakingOver.watch(c)
    return true
  }

  /// Whether a sibling has left the lane, and this process has not followed yet: who sleeps behind that is woken by nobody.
  static func mustFollow(_ c: ConnectionRef) -> Bool {
    guard c.pointee.isFamily, c.pointee.wireup.stage == .attached else { return false }
    return c.pointee.family!.pointee.down.load(ordering: .acquiring) == left
  }

  /// Follows a sibling to TCP, if it is there. No lock of the connection's is held.
  static func follow(_ c: ConnectionRef) -> Bool {
    // Acquires what finishDetach released.
    guard let family = c.pointee.family, family.pointee.down.load(ordering: .acquiring) == left else { return false }
    guard c.pointee.wireup.stage == .attached else { return true }
    c.lockBoth()
    if c.pointee.wireup.stage == .attached { Leaving.followSibling(c) }
    c.unlockBoth()
    Waiters.wake(c)
    return true
  }

  /// Lets a call sleep until the sibling that leaves has left. The direction's lock is held.
  static func sleep(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, timeout: UInt64) -> mr_step {
    Waiters.startClock(call, timeout: timeout)
    Waiters.heedSignals(call)
    call.pointee.word = withUnsafePointer(to: c.pointee.family!.pointee.down) {
      UnsafeMutableRawPointer(mutating: $0).assumingMemoryBound(to: UInt32.self)
    }
    call.pointee.expected = leaving
    _ = c.pin(Pins.sleeper)
    call.pointee.pin = Int32(MR_PIN_SLEEPER.rawValue)
    Stats.count(.futexSleeps)
    return MR_SLEEP
  }

  /// Waits for the sibling that leaves, and follows it. No lock of the connection's is held.
  static func awaitSibling(_ c: ConnectionRef, until deadline: UInt64) {
    guard let family = c.pointee.family else { return }
    while siblingLeaves(c), !follow(c), Kernel.now() < deadline {
      withUnsafePointer(to: family.pointee.down) {
        Kernel.futexWait(UnsafeMutableRawPointer(mutating: $0), expected: leaving, nanoseconds: 10_000_000)
      }
    }
  }

  /// Whether something has happened among the processes of this end since a call has armed: it must not sleep then.
  static func mustLook(_ c: ConnectionRef) -> Bool {
    siblingLeaves(c) || c.pointee.family!.pointee.bereaved.load(ordering: .acquiring)
  }

  // MARK: The peer's life

  /// The child of a fork has lanes that no thread of it watches yet.
  nonisolated(unsafe) static var isUnwatched = false

  /// What a wait does first: somebody in this process has to notice what becomes of the lanes that it waits for.
  @inline(__always)
  static func watch() {
    if isUnwatched, Service.watchInherited() { isUnwatched = false }
  }

  /// What a process of several looks at before it touches the lane: whether a sibling has noticed the peer's end. And
  /// whether anybody in this process would notice it: the child of a fork has no service thread at first.
  ///
  /// `other`: the lock of the other direction, for a call that holds its own. A family of one is none any more.
  static func attend(_ c: ConnectionRef, other: borrowing Lock) {
    attend(c)
    guard c.pointee.family!.pointee.users.load(ordering: .acquiring) == 1, other.tryLock() else { return }
    comeAlone(c)
    other.unlock()
  }

  /// The relatives have let go, and left the positions in shared memory. Both locks are held.
  private static func comeAlone(_ c: ConnectionRef) {
    let family = c.pointee.family!
    guard c.pointee.isFamily, c.pointee.wireup.stage == .attached, family.pointee.sendLock.tryLock() else { return }
    defer { family.pointee.sendLock.unlock() }
    guard family.pointee.receiveLock.tryLock() else { return }
    defer { family.pointee.receiveLock.unlock() }
    // As in take. What is absurd stays a family's: the call that looks next breaks the connection.
    guard family.pointee.down.load(ordering: .relaxed) == stays, c.pointee.consumer!.reload(),
      c.pointee.producer!.reload()
    else { return }
    c.pointee.isFamily = false
  }

  static func attend(_ c: ConnectionRef) {
    watch()
    if c.pointee.family!.pointee.bereaved.load(ordering: .acquiring) {
      c.pointee.peerGone.store(true, ordering: .sequentiallyConsistent)
    }
  }

  /// Takes the positions from shared memory, before a look that no call's lock protects.
  static func refresh(_ c: ConnectionRef) {
    guard c.pointee.isFamily, c.pointee.consumer != nil else { return }
    _ = c.pointee.consumer!.reload()
    _ = c.pointee.producer!.reload()
  }
}
