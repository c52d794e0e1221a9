import CLinux
import Synchronization

/// Bytes that were in the peer's ring when the lane was left, and that come once more over TCP.
///
/// The application may have been told of them already. What it was told is readable stays so: waits go on reporting them, and
/// a call that must not wait does wait for them, for as long as the peer takes to send them.
struct Returning: ~Copyable {
  /// Where the application had consumed the lane, and the position on the kernel path at which its byte comes next: the
  /// greatest number before that is known, 0 while nothing returns.
  let lane = Atomic<UInt64>(0)
  let kernel = Atomic<UInt64>(0)

  init() {}

  /// The lane is left at this position. Both locks are held, as below.
  borrowing func begin(at position: UInt64) {
    lane.store(position, ordering: .relaxed)
    // Releases the position to Returning.left.
    kernel.store(UInt64.max, ordering: .releasing)
  }

  /// The peer's DETACH has been read.
  borrowing func resume(at position: UInt64) { kernel.store(position, ordering: .releasing) }

  borrowing func end() {
    kernel.store(0, ordering: .releasing)
    lane.store(0, ordering: .relaxed)
  }

  /// Whether more of it is still to come than the `unread` bytes that the kernel holds. No lock need be held.
  static func isIncomplete(_ c: ConnectionRef, unread: Int) -> Bool {
    let kernel = c.pointee.returning.kernel.load(ordering: .acquiring)
    guard kernel != 0, let segment = c.pointee.segment else { return false }
    let tail = segment.side(c.pointee.laneRole.peer).tail.pointee.load(ordering: .acquiring)
    let due = tail &- c.pointee.returning.lane.load(ordering: .relaxed)
    let received = c.pointee.kernelReceived.load(ordering: .relaxed)
    let came = kernel == UInt64.max ? 0 : received &- kernel &+ UInt64(unread)
    // A liar's position promises nothing.
    return due <= UInt64(segment.ringBytes) && came < due && !c.pointee.wireup.kernelEnded
  }

  /// For how long a call that must not wait waits for them at most, in milliseconds. A peer that lets it wait in vain makes it
  /// less for the whole process, one that does not more.
  private static let mostPatience: Int32 = 500
  private static let patience = Atomic<Int32>(500)

  /// Waits for the next of them. True if there is something to read, or the connection has come to another path.
  static func await(_ c: ConnectionRef) -> Bool {
    let limit = patience.load(ordering: .relaxed)
    let deadline = Kernel.now() &+ UInt64(limit) &* 1_000_000
    repeat {
      Mover.advance(c)
      let isThere = Kernel.wait(c.pointee.fd, Int16(POLLIN), milliseconds: 1)
      // Records come first; who advances takes them.
      if isThere { Mover.advance(c) }
      if c.pointee.receivePath.load(ordering: .acquiring) != .moving || Receive.kernelHolds(c) {
        patience.store(min(limit &* 2, mostPatience), ordering: .relaxed)
        return true
      }
    } while isIncomplete(c, unread: 0) && Kernel.now() < deadline
    patience.store(max(limit / 2, 1), ordering: .relaxed)
    return false
  }
}
