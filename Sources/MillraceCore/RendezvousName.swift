/// The name at which the two ends of a connection find each other, derived from nothing but its 4-tuple.
///
/// An abstract Unix name: it lives in the network namespace, as the connection does, leaves no file behind, and goes
/// with its socket. The first byte is zero (unix(7)); the rest is binary.
public enum RendezvousName {
  /// Bytes of the name, its leading zero byte included.
  public static let byteCount = 48

  /// Writes the name of the connection between `connector` (the end that called connect) and `acceptor`. Both ends
  /// give the same two endpoints, normalised, whichever family they see.
  public static func write(connector: Endpoint, acceptor: Endpoint, into bytes: UnsafeMutableRawPointer) {
    let prefix: StaticString = "\0millrace-1/"
    bytes.copyMemory(from: prefix.utf8Start, byteCount: 12)
    write(connector, into: bytes + 12)
    write(acceptor, into: bytes + 30)
  }

  private static func write(_ end: Endpoint, into bytes: UnsafeMutableRawPointer) {
    bytes.storeBytes(of: end.high.bigEndian, as: UInt64.self)
    bytes.storeBytes(of: end.low.bigEndian, toByteOffset: 8, as: UInt64.self)
    bytes.storeBytes(of: end.port.bigEndian, toByteOffset: 16, as: UInt16.self)
  }
}
