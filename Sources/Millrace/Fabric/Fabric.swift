import CLinux
import MillraceShim
import Synchronization

/// Where rings and waits meet what carries a lane. Shared memory needs nothing here: what one end writes, the other sees. On
/// verbs the words of the peer in the lane's memory are this process's own copy, which is brought up to date by taking
/// completions, and what this end writes has to be posted.
enum Fabric {
  /// Takes in what has come, before a look at the peer's words. Any thread, with or without the connection's locks; the
  /// caller keeps the record.
  @inline(__always)
  static func look(_ c: ConnectionRef) {
    if let lane = c.pointee.verbs { lane.look(c) }
  }

  /// Bytes, flags or a step of the cutover have been stored for the peer. The connection's locks as for what was stored.
  @inline(__always)
  static func tell(_ c: ConnectionRef) {
    if let lane = c.pointee.verbs { lane.tell(c) }
  }

  /// Bytes have been consumed: tells the peer when it is worth it.
  @inline(__always)
  static func freed(_ c: ConnectionRef) {
    if let lane = c.pointee.verbs { lane.freed(c) }
  }

  /// How much longer than shared memory a fabric may take to answer: waits over it spin longer, and a gap between two looks of a
  /// spinner may be what brought the answer (Soft-RoCE works in the processor that waits).
  static func slowness(_ c: ConnectionRef) -> UInt64 { c.pointee.verbs == nil ? 1 : 10 }

  /// Whether sleepers of this end arm words in shared memory, which the peer looks at. If not, it is `arm` that they call.
  @inline(__always)
  static func hasWords(_ c: ConnectionRef) -> Bool { c.pointee.verbs == nil }

  /// The bell will ring for what comes from now on: for bytes and ends only, or also for room. Takes in what has come
  /// before. A look must follow.
  static func arm(_ c: ConnectionRef, forRoom: Bool) {
    c.pointee.verbs?.arm(c, forRoom: forRoom)
  }
}
