import CLinux
import MillraceShim
import Synchronization

/// Data calls on a lane that several processes hold since a fork. They share the rings as they share the kernel's
/// socket: under a lock per direction that lies in the lane's own memory, with the positions read from there.
enum SharedLane {
  static func take(
    _ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int, peek: Bool, discard: Bool
  ) -> Int {
    let lock = c.pointee.segment!.side(c.pointee.role).familyReceiveLock
    FamilyLock.lock(lock)
    defer { FamilyLock.unlock(lock) }
    guard c.pointee.consumer!.reload() else { return -1 }
    return Receive.takeRing(call, c, wanted: wanted, peek: peek, discard: discard)
  }

  static func put(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int) -> Int {
    let lock = c.pointee.segment!.side(c.pointee.role).familySendLock
    FamilyLock.lock(lock)
    defer { FamilyLock.unlock(lock) }
    guard c.pointee.producer!.reload() else { return -1 }
    return Send.put(call, c, wanted: wanted)
  }

  // MARK: One process of several leaves the lane for all

  /// Values of ``SideControl/down``.
  private static let leaving: UInt32 = 1
  private static let left: UInt32 = 2

  /// True if this process is the one that moves the connection back to TCP.
  static func claimDetach(_ c: ConnectionRef) -> Bool {
    let side = c.pointee.segment!.side(c.pointee.role)
    FamilyLock.lock(side.familyReceiveLock)
    defer { FamilyLock.unlock(side.familyReceiveLock) }
    let mine = side.down.pointee.compareExchange(expected: 0, desired: leaving, ordering: .acquiringAndReleasing).exchanged
    if mine { refresh(c) }
    return mine
  }

  /// The connection is TCP's: the others may go on there.
  static func finishDetach(_ c: ConnectionRef) {
    guard let side = c.pointee.segment?.side(c.pointee.role) else { return }
    side.down.pointee.store(left, ordering: .releasing)
    Kernel.futexWake(UnsafeMutableRawPointer(side.down))
    side.readerArm.pointee.store(0, ordering: .sequentiallyConsistent)
    Kernel.futexWake(UnsafeMutableRawPointer(side.readerArm))
    side.writerArm.pointee.store(0, ordering: .sequentiallyConsistent)
    Kernel.futexWake(UnsafeMutableRawPointer(side.writerArm))
  }

  /// Whether the kernel path brings records of a peer that leaves.
  static func hasRecords(_ c: ConnectionRef) -> Bool {
    var byte: UInt8 = 0
    return withUnsafeMutablePointer(to: &byte) { Kernel.receive(c.pointee.fd, $0, 1, Int32(MSG_PEEK)) } == 1
  }

  /// Whether another process of this end has left the lane, or is about to. No data call may touch the rings then.
  @inline(__always)
  static func siblingLeaves(_ c: ConnectionRef) -> Bool {
    guard c.pointee.wireup.stage == .attached, let segment = c.pointee.segment else { return false }
    return segment.side(c.pointee.role).down.pointee.load(ordering: .acquiring) != 0
  }

  /// Waits a little for the sibling, and follows it to TCP when it is there. No lock of the connection's is held.
  static func awaitSibling(_ c: ConnectionRef) {
    let down = c.pointee.segment!.side(c.pointee.role).down
    Kernel.futexWait(UnsafeMutableRawPointer(down), expected: leaving, nanoseconds: 1_000_000)
    guard down.pointee.load(ordering: .acquiring) == left else { return }
    c.lockBoth()
    if c.pointee.wireup.stage == .attached { Leaving.followSibling(c) }
    c.unlockBoth()
    Waiters.wake(c)
  }

  /// Takes the positions from shared memory, before a look that no call's lock protects.
  static func refresh(_ c: ConnectionRef) {
    guard c.pointee.isFamily, c.pointee.consumer != nil else { return }
    _ = c.pointee.consumer!.reload()
    _ = c.pointee.producer!.reload()
  }
}

/// A lock among the processes of one end. The word holds the holder's thread, so that the death of a holder is noticed,
/// and a bit for somebody who waits.
enum FamilyLock {
  /// How long a waiter sleeps before it asks whether the holder still lives, in nanoseconds.
  private static let patience: UInt64 = 50_000_000
  private static let waited: UInt32 = 1 << 31

  static func lock(_ word: UnsafeMutablePointer<Atomic<UInt32>>) {
    let me = Kernel.threadID()
    var mine = me
    var round = 0
    while true {
      // Acquires what the last holder released in unlock.
      let (taken, seen) = word.pointee.compareExchange(
        expected: 0, desired: mine, successOrdering: .acquiring, failureOrdering: .relaxed)
      if taken { return }
      round += 1
      if round < 64 {
        cl_pause()
        continue
      }
      // Whoever gets it after a sleep cannot know that he was the only one asleep.
      mine = me | waited
      sleep(word, seen)
    }
  }

  private static func sleep(_ word: UnsafeMutablePointer<Atomic<UInt32>>, _ seen: UInt32) {
    let marked = seen | waited
    if seen != marked {
      guard word.pointee.compareExchange(expected: seen, desired: marked, ordering: .relaxed).exchanged else { return }
    }
    Kernel.futexWait(UnsafeMutableRawPointer(word), expected: marked, nanoseconds: patience)
    let holder = Int(marked & ~waited)
    if word.pointee.load(ordering: .relaxed) == marked, Kernel.call(Int(SYS_kill), holder, 0) == -Int(ESRCH) {
      _ = word.pointee.compareExchange(expected: marked, desired: 0, ordering: .acquiringAndReleasing)
    }
  }

  static func unlock(_ word: UnsafeMutablePointer<Atomic<UInt32>>) {
    if word.pointee.exchange(0, ordering: .releasing) & waited != 0 {
      Kernel.futexWake(UnsafeMutableRawPointer(word))
    }
  }
}
