import CLinux
import Synchronization

/// Holds the books against the kernel's own count. If they differ, somebody does I/O on the socket that we do not see,
/// and a lane would lose it.
enum Audit {
  private static let established: UInt8 = 1
  private static let closed: UInt8 = 7
  private static let closeWait: UInt8 = 8

  static func agrees(_ c: ConnectionRef) -> Bool {
    for _ in 0..<4 {
      guard let look = look(c), look.state == established else { break }
      // What moves between the calls of a look makes it wrong; one that fits is exact.
      if look.written == c.pointee.kernelSent.load(ordering: .relaxed),
        look.read == c.pointee.kernelReceived.load(ordering: .relaxed)
      {
        return true
      }
    }
    c.pointee.wireup.auditFailed = true
    return false
  }

  /// Whether neither end has finished its stream, by the kernel's word.
  static func isEstablished(_ c: ConnectionRef) -> Bool {
    var counts = cl_tcp_counts()
    return cl_tcp_counts(c.pointee.fd, &counts) == 0 && counts.state == established
  }

  /// Whether this process has read all that came over TCP before the end that a call has just met. If another one that shares
  /// the socket has read some of it, nobody knows where the stream stands.
  static func hasReadAll(_ c: ConnectionRef, isReset: Bool) -> Bool {
    var counts = cl_tcp_counts()
    guard cl_tcp_counts(c.pointee.fd, &counts) == 0 else { return false }
    let read = c.pointee.kernelReceived.load(ordering: .relaxed)
    // A FIN counts as a byte. A closed socket does not say whether there was one.
    if counts.bytes_received &- 1 == read, !isReset { return true }
    return counts.bytes_received == read && (isReset || counts.state == closed)
  }

  /// What the kernel says that has been written to a connection and read from it.
  private struct Look {
    var state: UInt8
    var written: UInt64
    var read: UInt64
    /// Nothing was acknowledged, or came, while the counts were taken, which are several calls: they are of one moment.
    var isWrittenExact: Bool
    var isReadExact: Bool
  }

  /// One look; nil if the kernel does not say.
  private static func look(_ c: ConnectionRef) -> Look? {
    let fd = c.pointee.fd
    var before = cl_tcp_counts()
    var after = cl_tcp_counts()
    guard cl_tcp_counts(fd, &before) == 0, let unsent = Kernel.queued(fd, CL_SIOCOUTQ),
      let unread = Kernel.queued(fd, CL_FIONREAD), cl_tcp_counts(fd, &after) == 0
    else { return nil }
    // The SYN counts as a byte at the end that connected, and the peer's FIN as one that is never unread.
    let syn: UInt64 = c.pointee.role == .follower ? 1 : 0
    let fin: UInt64 = hasFin(after.state) ? 1 : 0
    let isSettled = before.state == after.state
    return Look(
      state: after.state, written: after.bytes_acked &+ UInt64(unsent) &- syn,
      read: after.bytes_received &- fin &- UInt64(unread),
      isWrittenExact: isSettled && before.bytes_acked == after.bytes_acked,
      isReadExact: isSettled && before.bytes_received == after.bytes_received)
  }

  /// How many bytes have been read from the kernel path, by the kernel's word. Nil if it does not say so exactly.
  static func received(_ c: ConnectionRef) -> UInt64? {
    for _ in 0..<4 {
      guard let look = look(c), look.state == established else { return nil }
      if look.isReadExact { return look.read }
    }
    return nil
  }

  /// Looks after which a peer is taken to send without end: the caller holds locks.
  private static let mostLooks = 1000

  /// What the kernel says that has been written and read, of a connection on which nothing is acknowledged in between; nil if
  /// it does not say.
  static func counts(_ c: ConnectionRef) -> (written: UInt64, read: UInt64)? {
    for _ in 0..<mostLooks {
      guard let look = look(c) else { return nil }
      if look.isWrittenExact, look.isReadExact { return (look.written, look.read) }
    }
    return nil
  }

  /// Whether the peer's FIN has certainly come: CLOSE_WAIT, LAST_ACK, CLOSING, TIME_WAIT.
  private static func hasFin(_ state: UInt8) -> Bool { state == 8 || state == 9 || state == 11 || state == 6 }

  /// How many bytes of the peer's came over TCP before its FIN, read or not, if this end has not finished its own stream there;
  /// nil in any other state.
  static func receivedBeforeFin(_ c: ConnectionRef) -> UInt64? {
    var counts = cl_tcp_counts()
    guard cl_tcp_counts(c.pointee.fd, &counts) == 0, counts.state == closeWait else { return nil }
    return counts.bytes_received &- 1
  }

  /// How many bytes of the peer's came over TCP, whoever has read them; nil while there are unread ones, or while more may
  /// come. `wasReset`: it was not a FIN that ended them, which counts as a byte.
  static func received(_ c: ConnectionRef, wasReset: Bool) -> UInt64? {
    var counts = cl_tcp_counts()
    guard cl_tcp_counts(c.pointee.fd, &counts) == 0, counts.state == closed || hasFin(counts.state),
      Kernel.queued(c.pointee.fd, CL_FIONREAD) == 0
    else { return nil }
    return counts.bytes_received &- (wasReset ? 0 : 1)
  }

  /// How many bytes of this end's the peer's kernel has acknowledged.
  static func acknowledged(_ c: ConnectionRef) -> UInt64? {
    var counts = cl_tcp_counts()
    guard cl_tcp_counts(c.pointee.fd, &counts) == 0 else { return nil }
    return counts.bytes_acked &- (c.pointee.role == .follower ? 1 : 0)
  }
}
