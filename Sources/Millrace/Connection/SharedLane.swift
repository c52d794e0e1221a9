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
    if hasLeft(c) { return 0 }
    guard c.pointee.consumer!.reload() else { return -1 }
    return Receive.takeRing(call, c, wanted: wanted, peek: peek, discard: discard)
  }

  static func put(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int) -> Int {
    let lock = c.pointee.segment!.side(c.pointee.role).familySendLock
    FamilyLock.lock(lock)
    defer { FamilyLock.unlock(lock) }
    if hasLeft(c) { return 0 }
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

  /// Whether another process of this end has left the lane, or is about to: then this one goes on in TCP as soon as it
  /// may, without a look at what was agreed. One direction's lock is held.
  static func hasLeft(_ c: ConnectionRef) -> Bool {
    guard c.pointee.wireup.stage == .attached else { return false }
    let down = c.pointee.segment!.side(c.pointee.role).down
    if down.pointee.load(ordering: .acquiring) == 0 { return false }
    Kernel.futexWait(UnsafeMutableRawPointer(down), expected: leaving, nanoseconds: 1_000_000)
    if down.pointee.load(ordering: .acquiring) == left { Leaving.followSibling(c) }
    return true
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
