import CLinux
import Synchronization

/// A mutual exclusion lock in one word: 0 free, 1 held, 2 held and waited for. Private to the process.
///
/// It is taken for the length of a copy, or of a bounded spin; a holder never sleeps. Uncontended, it costs one locked
/// instruction each way.
struct Lock: ~Copyable {
  private let word = Atomic<UInt32>(0)

  init() {}

  @inline(__always)
  borrowing func tryLock() -> Bool {
    // Acquires what the last holder released.
    word.compareExchange(expected: 0, desired: 1, successOrdering: .acquiring, failureOrdering: .relaxed).exchanged
  }

  @inline(__always)
  borrowing func lock() {
    if tryLock() { return }
    lockSlowly()
  }

  @inline(never)
  borrowing func lockSlowly() {
    var round = 0
    while round < 64 {
      cl_pause()
      if tryLock() { return }
      round += 1
    }
    while word.exchange(2, ordering: .acquiring) != 0 {
      withUnsafeWord { Kernel.futexWait($0, expected: 2) }
    }
  }

  @inline(__always)
  borrowing func unlock() {
    if word.exchange(0, ordering: .releasing) == 2 { wake() }
  }

  @inline(never)
  private borrowing func wake() {
    withUnsafeWord { Kernel.futexWake($0) }
  }

  /// Whether somebody waits for the holder, which should then stop spinning for bytes.
  @inline(__always)
  borrowing func isContended() -> Bool { word.load(ordering: .relaxed) == 2 }

  /// Frees the lock of a thread that did not come along through fork.
  borrowing func reset() { word.store(0, ordering: .relaxed) }

  /// A lock lives in memory that never moves (a pool, or a global), so its address can be a futex.
  private borrowing func withUnsafeWord(_ body: (UnsafeMutableRawPointer) -> Void) {
    withUnsafePointer(to: self) { body(UnsafeMutableRawPointer(mutating: $0)) }
  }
}
