import CLinux
import MillraceShim
import Synchronization

/// The threads of this process that sleep in poll or select for lanes.
///
/// The bell alone cannot wake them. It rings for what the peer does and not for what another thread of this process does;
/// and if two sleep on one bell, the first to run takes its bytes, and the kernel puts the other one back to sleep. So each has
/// an eventfd of its own among the descriptors that it polls. A waker does not know who sleeps for which connection, and
/// wakes all of them: what it tells of is rare.
enum PollSleepers {
  private static let capacity = 64
  private static let lock = Lock()
  /// By place: the eventfd (-1 if none was made yet), and whether a thread has it.
  nonisolated(unsafe) private static var descriptors = InlineArray<64, Int32>(repeating: -1)
  nonisolated(unsafe) private static var taken: UInt64 = 0
  /// Only those are signalled who are signalled once.
  nonisolated(unsafe) private static var signalled: UInt64 = 0

  /// A place for a thread that is about to sleep, or -1: then it must not sleep for long.
  static func enter() -> Int32 {
    lock.lock()
    defer { lock.unlock() }
    let place = (~taken).trailingZeroBitCount
    guard place < capacity else { return -1 }
    if descriptors[place] < 0 {
      let made = Table.makeHidden { Kernel.call(Int(SYS_eventfd2), 0, Int(EFD_CLOEXEC | EFD_NONBLOCK)) }
      guard let hidden = try? made.get() else { return -1 }
      descriptors[place] = hidden
    }
    taken |= 1 << UInt64(place)
    return Int32(place)
  }

  static func descriptor(_ place: Int32) -> Int32 { place < 0 ? -1 : descriptors[Int(place)] }

  /// The thread looks again, or does not sleep any more.
  static func leave(_ place: Int32) {
    guard place >= 0 else { return }
    lock.lock()
    let bit: UInt64 = 1 << UInt64(place)
    taken &= ~bit
    let mustDrain = signalled & bit != 0
    signalled &= ~bit
    if mustDrain {
      var value: UInt64 = 0
      _ = withUnsafeMutablePointer(to: &value) {
        Kernel.call(Int(SYS_read), Int(descriptors[Int(place)]), Int(bitPattern: $0), 8)
      }
    }
    lock.unlock()
  }

  /// Wakes those who may sleep for the connection. Its state has changed before.
  static func wake(_ c: ConnectionRef) {
    // Partner: PollWait.sleep counts itself before its last look.
    guard c.pointee.pollSleepers.load(ordering: .sequentiallyConsistent) > 0 else { return }
    lock.lock()
    var due = taken & ~signalled
    signalled |= due
    while due != 0 {
      Kernel.signal(descriptors[due.trailingZeroBitCount])
      due &= due &- 1
    }
    lock.unlock()
  }

  /// In the child of a fork: the eventfds are the parent's as well, and nobody sleeps.
  static func forked() {
    lock.reset()
    taken = 0
    signalled = 0
    var place = 0
    while place < capacity {
      Table.closeHidden(descriptors[place])
      descriptors[place] = -1
      place += 1
    }
  }
}
