import CLinux
import MillraceShim
import Synchronization

/// What happens to a connection when its descriptor is used for something other than data.
enum Descriptors {
  /// The role is known: from now on the connection keeps its books.
  static func admit(_ c: ConnectionRef) {
    Stats.start()
    Stats.count(.connectionsTracked)
    Policy.admit(c)
    c.pointee.reason = .belowThreshold
    Stats.claimRow(c)
  }

  static func decline(_ fd: Int32, _ reason: DeclineReason) {
    if let c = Table.connection(fd) { decline(c, reason) }
  }

  static func decline(_ c: ConnectionRef, _ reason: DeclineReason) {
    // First forbid, so that no attempt gets through behind the look that follows.
    Options.decline(c, reason)
    if c.pointee.attempt.load(ordering: .acquiring) == .underway { Closing.settle(c) }
    // With these the library goes on itself, whether the peer has answered or not.
    let isKept = reason == .socketOption || reason == .asyncSignals
    Detaching.detach(c, reason, isGivenAway: !isKept)
    Options.decline(c, reason)
  }

  /// shutdown(2). The answer's errno, 0 for success; nil if the kernel is to be asked.
  ///
  /// A lane's stream ends in its ring. The kernel's own FIN waits until the connection is TCP's again: it could send
  /// neither a record nor what has to be re-sent behind it.
  static func shutdown(_ c: ConnectionRef, _ how: Int32) -> Int32? {
    guard how >= 0, how <= 2 else { return nil }
    // A stream that ends in a direction on the kernel path stays there: its end is what a cutover could not tell from
    // the peer's death.
    if c.pointee.attempt.load(ordering: .acquiring) != .attached { Options.decline(c, .notConnected) }
    if c.pointee.wireup.stage.isMoving { Closing.settle(c) }
    c.lockBoth()
    let stage = c.pointee.wireup.stage
    guard stage == .attached || stage.isMoving, !Leaving.peerIsGone(c) else {
      c.unlockBoth()
      return nil
    }
    SharedLane.refresh(c)
    // A connection that both have finished is over (TCP_CLOSE, or in TIME-WAIT without a socket).
    let isOver = c.pointee.producer!.isFinished && c.pointee.consumer!.finishFlags != 0
    if how != Int32(SHUT_RD) {
      c.pointee.writeShut.store(true, ordering: .sequentiallyConsistent)
      let bits = c.pointee.producer!.finish(FinishFlags.finished)
      if bits != 0 { Bell.ringReaders(c, bits) }
    }
    if how != Int32(SHUT_WR) {
      c.pointee.readShut.store(true, ordering: .sequentiallyConsistent)
      Kernel.shutdown(c.pointee.fd, Int32(SHUT_RD))
    }
    c.unlockBoth()
    Waiters.wake(c)
    return isOver ? ENOTCONN : 0
  }
}

/// fork(2), seen from all sides. A child shares every connection with its parent, as it shares the kernel's sockets: a
/// lane's positions lie in memory that both have mapped, and a lock there keeps the two apart.
enum Forking {
  /// Every lane at rest: no thread of this process is in the middle of a copy that the child could not know of.
  static func prepare() {
    guard Pool.highWater > 0 else { return }
    // A stream in the middle of its cutover would be known to one of the two only.
    Pool.forEach { if $0.pointee.wireup.stage.isMoving { Closing.settle($0) } }
    Pool.forEach { c in
      c.lockBoth()
      count(c, 1)
      if c.pointee.wireup.stage == .attached { c.pointee.isFamily = true }
    }
  }

  static func parent(_ child: Int32) {
    guard Pool.highWater > 0 else { return }
    Pool.forEach { c in
      if child < 0 {
        count(c, -1)
      }
      c.unlockBoth()
    }
    // A thread that sleeps in a set has armed for itself alone; from now on each lane has to ring for itself.
    if child > 0 { Pool.forEach { if $0.pointee.isFamily { Registrations.nudge($0) } } }
  }

  static func child() {
    isChild = true
    Table.lock.reset()
    Registrations.forked()
    PeerProcess.forked()
    PollSleepers.forked()
    Stats.forked()
    Service.forked()
    Pool.forked()
    Pool.forEach { c in
      c.pointee.sendLock.reset()
      c.pointee.receiveLock.reset()
      c.pointee.row = -1
      c.pointee.wireup.isWatched = false
      abandonAttempt(c)
    }
  }

  /// What the parent's service thread has under way is the parent's to go on with.
  private static func abandonAttempt(_ c: ConnectionRef) {
    let keep = Pins.receiveGate | Pins.sendGate | Pins.closing
    c.pointee.pins.bitwiseAnd(keep, ordering: .relaxed)
    guard c.pointee.attempt.load(ordering: .relaxed) == .underway else { return }
    Table.closeHidden(c.pointee.wireup.listener)
    Table.closeHidden(c.pointee.wireup.socket)
    c.pointee.wireup.listener = -1
    c.pointee.wireup.socket = -1
    c.pointee.wireup.stage = .none
    c.pointee.attempt.store(.refused, ordering: .relaxed)
    c.pointee.reason = .sharedByFork
  }

  /// The process ends, or becomes another program: others who share its connections learn that it does not any more.
  /// Descriptors that survive an exec stay shared.
  static func letGo() {
    Pool.forEach { c in
      guard !isReplaced || !c.pointee.survivesExec else { return }
      count(c, -1)
    }
  }

  /// The exec has failed.
  static func takeBack() {
    Pool.forEach { c in
      guard !c.pointee.survivesExec else { return }
      count(c, 1)
    }
  }

  private static func count(_ c: ConnectionRef, _ change: Int32) {
    c.pointee.family?.pointee.users.wrappingAdd(UInt32(bitPattern: change), ordering: .acquiringAndReleasing)
  }

  /// Whether this is the child of a fork, which has something to give back.
  nonisolated(unsafe) static var isChild = false
  /// An exec is under way.
  nonisolated(unsafe) static var isReplaced = false

  static func exit() {
    if isChild { letGo() }
    Log.summary(attaches: Stats.value(.attaches), candidates: Stats.value(.candidates))
  }
}
