import CLinux
import MillraceShim
import Synchronization

/// A poll of one lane for one direction, which is what clients that have one connection do: it sleeps on the arm word, as
/// a data call does. The peer then wakes it without a bell, and nobody has to drain one.
extension PollWait {
  /// nil: the kernel is needed.
  static func sleepOnWord(_ wait: Wait) -> mr_step? {
    guard wait.pointee.count == 1, !wait.pointee.masked, let c = lane(wait, 0), let word = soleWord(wait, c) else {
      return nil
    }
    // Partner: RingProducer.publish, RingConsumer.free and Waiters.release.
    let armed = word.pointee.bitwiseOr(ArmBits.futex, ordering: .sequentiallyConsistent).newValue
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    let ready = lookAtLanes(wait)
    let isLeft = SharedLane.mustFollow(c)
    if ready > 0 || isLeft {
      // As Waiters.disarm; but no lock is held here that would tell who else is about to sleep.
      Waiters.release(word)
      if ready > 0 { return done(wait, Int32(ready)) }
      unpin(wait)
      return again(wait)
    }
    Stats.count(.pollSleeps)
    wait.pointee.word = UnsafeMutableRawPointer(word).assumingMemoryBound(to: UInt32.self)
    wait.pointee.expected = armed
    return MR_SLEEP
  }

  private static func soleWord(_ wait: Wait, _ c: ConnectionRef) -> UnsafeMutablePointer<Atomic<UInt32>>? {
    guard c.pointee.receivePath.load(ordering: .acquiring) == .lane, let segment = c.pointee.segment, Fabric.hasWords(c)
    else { return nil }
    let events = UInt32(UInt16(bitPattern: wait.pointee.polled.pointee.events))
    let reads = events & (Readiness.input | Readiness.readHangUp) != 0
    let writes = events & Readiness.output != 0
    guard reads != writes else { return nil }
    let own = segment.side(c.pointee.laneRole)
    return reads ? own.readerArm : own.writerArm
  }

  static func resumeOnWord(_ wait: Wait) -> mr_step {
    wait.pointee.word = nil
    let error = wait.pointee.error
    wait.pointee.error = 0
    let ready = lookAtLanes(wait)
    if ready > 0 { return done(wait, Int32(ready)) }
    if error == EINTR {
      wait.pointee.error = EINTR
      return done(wait, -1)
    }
    if isOver(wait) { return done(wait, 0) }
    // The connection may have come to another path.
    unpin(wait)
    return again(wait)
  }

  private static func done(_ wait: Wait, _ result: Int32) -> mr_step {
    wait.pointee.result = result
    unpin(wait)
    return MR_DONE
  }
}
