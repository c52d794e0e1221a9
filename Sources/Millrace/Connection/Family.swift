import CLinux
import Synchronization

/// What the processes of one end have in common since a fork, in memory that they share with each other and not with the
/// peer. A cache line for each connection.
struct FamilyWords: ~Copyable {
  /// Processes that hold the connection.
  let users = Atomic<UInt32>(1)
  /// The lock of each direction of a lane.
  let receiveLock = FamilyLock()
  let sendLock = FamilyLock()
  /// Whether one of them leaves the lane for all; see ``SharedLane``. A futex for those who wait for it.
  let down = Atomic<UInt32>(0)
  /// One of them has noticed that the peer is gone.
  let bereaved = Atomic<Bool>(false)
  /// The process that has claimed ``down``.
  let owner = Atomic<UInt32>(0)
  private let padding: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0)

  init() {}
}

/// A lock among the processes of one end. The word holds the holder's thread, so that the death of a holder is noticed,
/// and a bit for somebody who waits.
struct FamilyLock: ~Copyable {
  /// How long a waiter sleeps before it asks whether the holder still lives, in nanoseconds.
  private static let patience: UInt64 = 50_000_000
  private static let waited: UInt32 = 1 << 31

  private let word = Atomic<UInt32>(0)

  init() {}

  borrowing func lock() {
    let me = Kernel.threadID()
    var mine = me
    var round = 0
    while true {
      // Acquires what the last holder released in unlock.
      let (taken, seen) = word.compareExchange(
        expected: 0, desired: mine, successOrdering: .acquiring, failureOrdering: .relaxed)
      if taken { return }
      round += 1
      if round < 64 {
        cl_pause()
        continue
      }
      // Whoever gets it after a sleep cannot know that he was the only one asleep.
      mine = me | Self.waited
      sleep(seen)
    }
  }

  private borrowing func sleep(_ seen: UInt32) {
    let marked = seen | Self.waited
    if seen != marked {
      guard word.compareExchange(expected: seen, desired: marked, ordering: .relaxed).exchanged else { return }
    }
    withUnsafeWord { Kernel.futexWait($0, expected: marked, nanoseconds: Self.patience) }
    let holder = Int(marked & ~Self.waited)
    if word.load(ordering: .relaxed) == marked, Kernel.call(Int(SYS_kill), holder, 0) == -Int(ESRCH) {
      _ = word.compareExchange(expected: marked, desired: 0, ordering: .acquiringAndReleasing)
    }
  }

  /// Takes the lock if it is free.
  borrowing func tryLock() -> Bool {
    // As in lock.
    word.compareExchange(
      expected: 0, desired: Kernel.threadID(), successOrdering: .acquiring, failureOrdering: .relaxed
    ).exchanged
  }

  borrowing func unlock() {
    if word.exchange(0, ordering: .releasing) & Self.waited != 0 { withUnsafeWord { Kernel.futexWake($0) } }
  }

  private borrowing func withUnsafeWord(_ body: (UnsafeMutableRawPointer) -> Void) {
    withUnsafePointer(to: self) { body(UnsafeMutableRawPointer(mutating: $0)) }
  }
}
