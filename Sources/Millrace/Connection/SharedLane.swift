import CLinux
import MillraceShim
import Synchronization

/// Data calls on a lane that several processes hold since a fork. They share the rings as they share the kernel's
/// socket: under a lock per direction that lies in the lane's own memory, with the positions read from there.
enum SharedLane {
  static func take(
    _ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int, peek: Bool, discard: Bool
  ) -> Int {
    c.pointee.family!.pointee.receiveLock.lock()
    defer { c.pointee.family!.pointee.receiveLock.unlock() }
    guard c.pointee.consumer!.reload() else { return -1 }
    return Receive.takeRing(call, c, wanted: wanted, peek: peek, discard: discard)
  }

  static func put(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int) -> Int {
    c.pointee.family!.pointee.sendLock.lock()
    defer { c.pointee.family!.pointee.sendLock.unlock() }
    guard c.pointee.producer!.reload() else { return -1 }
    return Send.put(call, c, wanted: wanted)
  }

  // MARK: One process of several leaves the lane for all

  /// Values of ``FamilyWords/down``.
  private static let leaving: UInt32 = 1
  private static let left: UInt32 = 2

  /// True if this process is the one that moves the connection back to TCP.
  static func claimDetach(_ c: ConnectionRef) -> Bool {
    guard let family = c.pointee.family else { return false }
    family.pointee.receiveLock.lock()
    defer { family.pointee.receiveLock.unlock() }
    let mine = family.pointee.down.compareExchange(
      expected: 0, desired: leaving, ordering: .acquiringAndReleasing
    ).exchanged
    if mine { refresh(c) }
    return mine
  }

  /// The connection is TCP's: the others may go on there.
  static func finishDetach(_ c: ConnectionRef) {
    guard let family = c.pointee.family else { return }
    family.pointee.down.store(left, ordering: .releasing)
    withUnsafePointer(to: family.pointee.down) { Kernel.futexWake(UnsafeMutableRawPointer(mutating: $0)) }
    guard let side = c.pointee.segment?.side(c.pointee.role) else { return }
    Waiters.release(side.readerArm)
    Waiters.release(side.writerArm)
  }

  /// Whether the kernel path brings records of a peer that leaves.
  static func hasRecords(_ c: ConnectionRef) -> Bool {
    var byte: UInt8 = 0
    return withUnsafeMutablePointer(to: &byte) { Kernel.receive(c.pointee.fd, $0, 1, Int32(MSG_PEEK)) } == 1
  }

  /// Whether another process of this end has left the lane, or is about to. No data call may touch the rings then.
  @inline(__always)
  static func siblingLeaves(_ c: ConnectionRef) -> Bool {
    guard c.pointee.wireup.stage == .attached else { return false }
    return c.pointee.family!.pointee.down.load(ordering: .acquiring) != 0
  }

  /// Waits a little for the sibling, and follows it to TCP when it is there. No lock of the connection's is held.
  static func awaitSibling(_ c: ConnectionRef) {
    guard let family = c.pointee.family else { return }
    withUnsafePointer(to: family.pointee.down) {
      Kernel.futexWait(UnsafeMutableRawPointer(mutating: $0), expected: leaving, nanoseconds: 1_000_000)
    }
    guard family.pointee.down.load(ordering: .acquiring) == left else { return }
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
