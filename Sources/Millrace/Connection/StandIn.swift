import CLinux
import Synchronization

/// The lane stands in for a kernel path that says something else than it would have said without a lane.
///
/// A socket that is closed, or whose process dies, with bytes unread answers with a reset. Marks and records are such
/// bytes, though no application ever sent them. A peer that goes while one of them lies unread therefore leaves a reset
/// where TCP would have ended the stream. This end knows it for that, because the peer notes in shared memory which records
/// it has taken; and it goes on as if a FIN had come: the stream ends, the first byte that is sent is taken, and the
/// next one breaks the pipe.
enum StandIn {
  /// Whether the peer has read every mark and record of this end's. Both locks are held, or a pin.
  static func areRecordsTaken(_ c: ConnectionRef) -> Bool {
    guard let segment = c.pointee.segment else { return true }
    // A peer that is met over TCP only can tell no more.
    if let lane = c.pointee.verbs, !lane.pointee.isUp { return true }
    // Partner: Mover.tellTaken at the peer.
    return segment.side(c.pointee.laneRole.peer).recordsTaken.pointee.load(ordering: .acquiring)
      >= c.pointee.recordsEnd.load(ordering: .acquiring)
  }

  /// Whether a reset that has come, or may come, is the answer to a record and to nothing else.
  static func hidesReset(_ c: ConnectionRef) -> Bool {
    guard let segment = c.pointee.segment, c.pointee.receivePath.load(ordering: .relaxed) != .kernel else {
      return false
    }
    let own = segment.side(c.pointee.laneRole)
    let peer = segment.side(c.pointee.laneRole.peer)
    guard c.pointee.pendingError.load(ordering: .acquiring) == 0,
      peer.finish.pointee.load(ordering: .acquiring) & FinishFlags.reset == 0,
      // Bytes that the peer has left in its ring unread are as good a cause for a reset as those that the kernel has.
      peer.head.pointee.load(ordering: .acquiring) == own.tail.pointee.load(ordering: .relaxed)
    else { return false }
    return Cutover.isOwnReset(
      recordsEnd: c.pointee.recordsEnd.load(ordering: .acquiring),
      taken: peer.recordsTaken.pointee.load(ordering: .acquiring),
      written: c.pointee.kernelSent.load(ordering: .relaxed))
  }

  /// Whether the kernel path has been reset in this way.
  static func isNeeded(_ c: ConnectionRef) -> Bool {
    Kernel.pollNow(c.pointee.fd, 0) & Int16(POLLERR | POLLHUP) != 0 && hidesReset(c)
  }

  /// The application has sent something to the peer that is gone. TCP would have taken it and been answered by a reset.
  static func breakPipe(_ c: ConnectionRef) {
    // Takes the error that the reset has left, which the application is not to see.
    _ = Kernel.option(c.pointee.fd, SOL_SOCKET, SO_ERROR)
    c.pointee.pendingError.store(EPIPE, ordering: .releasing)
  }

  /// The kernel itself tells of the broken pipe now.
  static func pipeIsTold(_ c: ConnectionRef) {
    _ = c.pointee.pendingError.compareExchange(expected: EPIPE, desired: 0, ordering: .acquiringAndReleasing)
  }
}
