import CLinux
import MillraceShim
import Synchronization

/// Leaving a lane while both ends live: DETACH on the kernel path, and on in TCP at the exact byte.
enum Detaching {
  /// How long a caller who needs plain TCP waits for the peer's answer before it goes on without: the peer may be stopped.
  private static let patience: UInt64 = 5_000_000_000
  /// How long somebody who gives the connection away waits for a peer that does not read.
  private static let morePatience: UInt64 = 60_000_000_000

  /// Moves a connection back to TCP, and returns when it is there. Nothing happens if its stream is not on a lane, nor moving.
  ///
  /// `isGivenAway`: somebody else is about to have the connection, who would take what is still missing of the peer's answer
  /// for data. If it does not come, the connection is reset instead.
  static func detach(_ c: ConnectionRef, _ reason: DeclineReason, isGivenAway: Bool = false) {
    leave(c, reason, isGivenAway: isGivenAway)
    // A peer that is gone sends nothing again.
    if isGivenAway { Bequeathing.give(c, reason) }
  }

  private static func leave(_ c: ConnectionRef, _ reason: DeclineReason, isGivenAway: Bool) {
    guard c.pointee.attempt.load(ordering: .acquiring) == .attached || c.pointee.wireup.stage.isMoving else { return }
    _ = c.pin(Pins.sleeper)
    defer { c.unpin(Pins.sleeper) }
    let deadline = Kernel.now() &+ patience
    if c.pointee.isFamily, c.pointee.wireup.stage == .attached, !SharedLane.claimDetach(c) {
      SharedLane.awaitSibling(c, until: deadline)
      if isGivenAway, SharedLane.siblingLeaves(c) { Leaving.abort(c) }
      return
    }
    wait(c, reason, until: deadline)
    if isGivenAway { finish(c, reason) }
    if c.pointee.isFamily { SharedLane.settleClaim(c) }
  }

  /// The patience is over. A peer that has answered is only slow to read what is re-sent, and gets more time.
  private static func finish(_ c: ConnectionRef, _ reason: DeclineReason) {
    if c.pointee.wireup.stage == .leaving { wait(c, reason, until: Kernel.now() &+ morePatience) }
    if c.pointee.wireup.stage.isMoving, !Resend.isThrough(c) { Leaving.abort(c) }
  }

  /// Writes the own DETACH, or gives up an attempt that has got so far. The rest follows as the peer's answer arrives, whoever
  /// looks.
  static func begin(_ c: ConnectionRef, _ reason: DeclineReason) {
    let stage = c.pointee.wireup.stage
    guard stage == .attached || stage == .wired else { return }
    c.lockBoth()
    var hasBegun = false
    switch c.pointee.wireup.stage {
    case .attached where Leaving.peerIsGone(c): break
    // A record to a socket that is closed makes the kernel reset, and what TCP says of the end is lost.
    case .attached where Leaving.noticeEnd(c): hasBegun = true
    case .attached:
      SharedLane.refresh(c)
      c.pointee.reason = reason
      Mover.perform(c.pointee.cutover.laneDown(consumed: c.pointee.consumer!.head), c)
      hasBegun = true
    case .wired: hasBegun = Leaving.giveUp(c, reason, atOnce: true)
    default: break
    }
    c.unlockBoth()
    if hasBegun { Waiters.wake(c) }
  }

  /// How long the peer has to say that it has read the last record. Not to have said it keeps nobody from going on in TCP.
  private static let courtesy: UInt64 = 20_000_000

  private static func wait(_ c: ConnectionRef, _ reason: DeclineReason, until deadline: UInt64) {
    while Kernel.now() < deadline {
      let seen = c.pointee.changes.load(ordering: .sequentiallyConsistent)
      // An attempt that could not be given up any more is left when it has come to its end.
      begin(c, reason)
      Mover.advance(c)
      let isOnLane = c.pointee.wireup.stage == .attached && !Leaving.peerIsGone(c)
      guard c.pointee.wireup.stage.isMoving || isOnLane else { return }
      if Resend.isThrough(c), isCourtesyOver(c) { return }
      withUnsafePointer(to: c.pointee.changes) {
        Kernel.futexWait(UnsafeMutableRawPointer(mutating: $0), expected: seen, nanoseconds: 1_000_000)
      }
    }
  }

  /// Whether the peer has had that time. It has it once: who tries one program after the other, as execvp(3) does, does not
  /// wait for each.
  private static func isCourtesyOver(_ c: ConnectionRef) -> Bool {
    c.lockBoth()
    defer { c.unlockBoth() }
    if c.pointee.wireup.courtesyEnd == 0 { c.pointee.wireup.courtesyEnd = Kernel.now() &+ courtesy }
    return Kernel.now() > c.pointee.wireup.courtesyEnd
  }

  // MARK: By the service thread

  /// A connection has been forbidden a lane by somebody who cannot move it himself: gives up an attempt, or begins to
  /// leave. Service thread only.
  static func beginInService(_ c: ConnectionRef, _ reason: DeclineReason) {
    switch c.pointee.wireup.stage {
    case .listening, .called, .seeking, .calling: Attaching.refuse(c, reason)
    case .wired, .attached:
      if c.pointee.isFamily, c.pointee.wireup.stage == .attached, !SharedLane.claimDetach(c) { return }
      begin(c, reason)
      if c.pointee.isFamily { SharedLane.settleClaim(c) }
      Bequeathing.give(c, reason)
    default: break
    }
  }

  /// Whether a vfork child has given away connections whose numbers mean something else in its own descriptors.
  private static let isAsked = Atomic<Bool>(false)

  /// Has the parent's service thread move `c`, and returns when it is TCP's. For a vfork child. False if there is no such
  /// thread.
  static func haveParentDetach(_ c: ConnectionRef) -> Bool {
    let deadline = Kernel.now() &+ patience
    isAsked.store(true, ordering: .releasing)
    guard Service.prod() else { return false }
    while isOnLane(c), Kernel.now() < deadline {
      let seen = c.pointee.changes.load(ordering: .sequentiallyConsistent)
      guard isOnLane(c) else { return true }
      withUnsafePointer(to: c.pointee.changes) {
        Kernel.futexWait(UnsafeMutableRawPointer(mutating: $0), expected: seen, nanoseconds: 1_000_000)
      }
    }
    if isOnLane(c) { finish(c, .descriptorPassed) }
    return true
  }

  private static func isOnLane(_ c: ConnectionRef) -> Bool {
    c.pointee.attempt.load(ordering: .acquiring) == .attached
      || c.pointee.wireup.stage.isMoving && !Resend.isThrough(c)
  }

  /// Called after every sleep of the service thread.
  static func look() {
    guard isAsked.exchange(false, ordering: .acquiring) else { return }
    Pool.forEach { c in
      if c.pin(Pins.sleeper) & (Pins.finished | Pins.closing) == 0,
        c.pointee.forbidden.load(ordering: .sequentiallyConsistent) == DeclineReason.descriptorPassed.rawValue
      {
        beginInService(c, .descriptorPassed)
      }
      c.unpin(Pins.sleeper)
    }
  }
}
