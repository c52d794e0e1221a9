import CLinux
import Synchronization

/// What the processes of one end have in common since a fork, in memory that they share with each other and not with the
/// peer. The first cache line is what calls on the lane look at.
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
  /// The process that has claimed ``down``; 0 if it has given that up.
  let owner = Atomic<UInt32>(0)
  private let padding: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0)

  /// Who they are, once there has been a fork, as far as there is room: they are counted in ``users`` until they let go, or
  /// are found dead.
  let firstName = Atomic<UInt32>(0)
  let secondName = Atomic<UInt32>(0)
  let thirdName = Atomic<UInt32>(0)
  let fourthName = Atomic<UInt32>(0)
  /// For whoever takes over: where the claimant's kernel stream stood when it claimed, plus one (0: the stream was not at rest
  /// on the lane), and the peer's; see ``TakingOver``.
  let claimSent = Atomic<UInt64>(0)
  let claimReceived = Atomic<UInt64>(0)
  /// The peer's record, as it was found before it was taken out of the kernel; valid once ``hasRecord`` says so.
  let recordHigh = Atomic<UInt64>(0)
  let recordLow = Atomic<UInt64>(0)
  let hasRecord = Atomic<Bool>(false)
  /// For those who follow to TCP: where the last record of this end ended, and where the peer's bytes go on; see ``Inheriting``.
  let isInheritable = Atomic<Bool>(false)
  let wasReset = Atomic<Bool>(false)
  let recordsEnd = Atomic<UInt64>(0)
  let resumedKernel = Atomic<UInt64>(0)
  let resumedLane = Atomic<UInt64>(0)

  init() {}

  /// A new lane: nothing of what the last one left holds.
  borrowing func reset() {
    down.store(0, ordering: .relaxed)
    bereaved.store(false, ordering: .relaxed)
    claimSent.store(0, ordering: .relaxed)
    hasRecord.store(false, ordering: .relaxed)
    isInheritable.store(false, ordering: .relaxed)
    wasReset.store(false, ordering: .relaxed)
  }

  // MARK: Who holds the connection

  /// This process enters its name. It is counted already.
  borrowing func enter() {
    let me = Kin.me
    _ =
      Self.replace(firstName, 0, me) || Self.replace(secondName, 0, me) || Self.replace(thirdName, 0, me)
      || Self.replace(fourthName, 0, me)
  }

  /// This process lets go. How many hold it still.
  borrowing func leave() -> UInt32 {
    let me = Kin.me
    // The name first: who dies in between is counted for ever, and not twice over.
    _ =
      Self.replace(firstName, me, 0) || Self.replace(secondName, me, 0) || Self.replace(thirdName, me, 0)
      || Self.replace(fourthName, me, 0)
    return users.wrappingSubtract(1, ordering: .acquiringAndReleasing).newValue
  }

  /// Takes those off who were killed: they could not let go themselves.
  borrowing func bury() {
    Self.bury(firstName, users)
    Self.bury(secondName, users)
    Self.bury(thirdName, users)
    Self.bury(fourthName, users)
  }

  private static func bury(_ child: borrowing Atomic<UInt32>, _ users: borrowing Atomic<UInt32>) {
    let name = child.load(ordering: .relaxed)
    guard Kin.isDead(name), replace(child, name, 0) else { return }
    users.wrappingSubtract(1, ordering: .acquiringAndReleasing)
  }

  private static func replace(_ word: borrowing Atomic<UInt32>, _ old: UInt32, _ new: UInt32) -> Bool {
    word.compareExchange(expected: old, desired: new, ordering: .acquiringAndReleasing).exchanged
  }
}

/// A lock among the processes of one end. The word holds the holder's process, so that the death of a holder is noticed,
/// and a bit for somebody who waits. Threads of one process keep each other out by the connection's own locks, or wait here.
struct FamilyLock: ~Copyable {
  /// How long a waiter sleeps before it asks whether the holder still lives, in nanoseconds.
  private static let patience: UInt64 = 50_000_000
  private static let waited: UInt32 = 1 << 31

  private let word = Atomic<UInt32>(0)

  init() {}

  borrowing func lock() {
    var mine = Kin.me
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
      mine = Kin.me | Self.waited
      sleep(seen)
    }
  }

  private borrowing func sleep(_ seen: UInt32) {
    let marked = seen | Self.waited
    if seen != marked {
      guard word.compareExchange(expected: seen, desired: marked, ordering: .relaxed).exchanged else { return }
    }
    withUnsafeWord { Kernel.futexWait($0, expected: marked, nanoseconds: Self.patience) }
    if word.load(ordering: .relaxed) == marked, Kin.isDead(marked & ~Self.waited) {
      _ = word.compareExchange(expected: marked, desired: 0, ordering: .acquiringAndReleasing)
    }
  }

  /// Takes the lock if it is free.
  borrowing func tryLock() -> Bool {
    // As in lock.
    word.compareExchange(expected: 0, desired: Kin.me, successOrdering: .acquiring, failureOrdering: .relaxed).exchanged
  }

  borrowing func unlock() {
    if word.exchange(0, ordering: .releasing) & Self.waited != 0 { withUnsafeWord { Kernel.futexWake($0) } }
  }

  private borrowing func withUnsafeWord(_ body: (UnsafeMutableRawPointer) -> Void) {
    withUnsafePointer(to: self) { body(UnsafeMutableRawPointer(mutating: $0)) }
  }
}
