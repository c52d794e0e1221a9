import CLinux
import MillraceShim
import Synchronization

/// A data call that sleeps where there is no word in shared memory: in the kernel, on the bell and on the eventfd of a place
/// among the threads that sleep so (``PollSleepers``).
enum BellSleep {
  /// From here on other threads wake this one. The direction's lock is held; arming and a look must follow.
  static func enter(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) {
    call.pointee.word = nil
    call.pointee.bell = c.pointee.bell
    // 0 is no place, so that a call is born without one.
    let place = PollSleepers.enter()
    call.pointee.nudge = PollSleepers.descriptor(place)
    call.pointee.place = place + 2
    // Partner: PollSleepers.wake. Either it sees the count, or the look before the sleep sees what has changed.
    c.pointee.pollSleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
  }

  /// The thread does not sleep any more. Nothing happens to a call that slept otherwise, or not at all.
  static func leave(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) {
    guard call.pointee.place != 0 else { return }
    PollSleepers.leave(call.pointee.place - 2)
    call.pointee.place = 0
    c.pointee.pollSleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    if call.pointee.rang {
      call.pointee.rang = false
      Waiters.drainBell(c)
    }
  }
}
