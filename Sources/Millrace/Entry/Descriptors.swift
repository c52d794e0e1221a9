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
      Fabric.tell(c)
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
