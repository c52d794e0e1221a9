import CLinux
import MillraceShim
import Synchronization

/// Data calls on a lane that several processes hold since a fork. They share the rings as they share the kernel's
/// socket: under a lock per direction that lies in the lane's own memory, with the positions read from there.
enum SharedLane {
  static func take(
    _ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int, peek: Bool, discard: Bool, after: Int
  ) -> Int {
    let lock = c.pointee.segment!.side(c.pointee.role).familyReceiveLock
    FamilyLock.lock(lock)
    defer { FamilyLock.unlock(lock) }
    guard c.pointee.consumer!.reload() else { return -1 }
    return after
      &+ Receive.takeRing(call, c, wanted: wanted, peek: peek, discard: discard, after: after)
  }

  static func put(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int) -> Int {
    let lock = c.pointee.segment!.side(c.pointee.role).familySendLock
    FamilyLock.lock(lock)
    defer { FamilyLock.unlock(lock) }
    guard c.pointee.producer!.reload() else { return -1 }
    return Send.put(call, c, wanted: wanted)
  }

  /// Takes the positions from shared memory, before a look that no call's lock protects.
  static func refresh(_ c: ConnectionRef) {
    guard c.isShared, c.pointee.consumer != nil else { return }
    _ = c.pointee.consumer!.reload()
    _ = c.pointee.producer!.reload()
  }
}

/// A lock among the processes of one end. The word holds the holder's thread, so that the death of a holder is noticed.
enum FamilyLock {
  /// How long a waiter sleeps before it asks whether the holder still lives, in nanoseconds.
  private static let patience: UInt64 = 50_000_000

  static func lock(_ word: UnsafeMutablePointer<Atomic<UInt32>>) {
    let me = Kernel.threadID()
    var round = 0
    while true {
      // Acquires what the last holder released in unlock.
      let (taken, holder) = word.pointee.compareExchange(
        expected: 0, desired: me, successOrdering: .acquiring, failureOrdering: .relaxed)
      if taken { return }
      round += 1
      if round < 64 {
        cl_pause()
        continue
      }
      Kernel.futexWait(UnsafeMutableRawPointer(word), expected: holder, nanoseconds: patience)
      if word.pointee.load(ordering: .relaxed) == holder, Kernel.call(Int(SYS_kill), Int(holder), 0) == -Int(ESRCH) {
        _ = word.pointee.compareExchange(expected: holder, desired: 0, ordering: .acquiringAndReleasing)
      }
    }
  }

  static func unlock(_ word: UnsafeMutablePointer<Atomic<UInt32>>) {
    word.pointee.store(0, ordering: .releasing)
    Kernel.futexWake(UnsafeMutableRawPointer(word))
  }
}
