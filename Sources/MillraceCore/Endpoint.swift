/// Which call made a connection.
public enum ConnectionRole: UInt8, Sendable {
  case connect = 0
  case accept = 1
}

/// One end of a TCP connection: an address and a port.
///
/// An IPv4 address is kept in the form of a v4-mapped IPv6 address, so that both families share one
/// prefix comparison; `family` alone tells them apart.
public struct Endpoint: Equatable, Sendable {
  /// The first eight address bytes; the most significant byte of the number comes first on the wire.
  public var high: UInt64
  /// The last eight address bytes, in the same order.
  public var low: UInt64
  /// The port, in host order.
  public var port: UInt16
  /// 4 or 6; 0 for an endpoint that is not known.
  public var family: UInt8

  /// What stands before an IPv4 address in the low half of a v4-mapped IPv6 address.
  static let mappedPrefix: UInt64 = 0x0000_ffff_0000_0000

  /// The bytes of a `sockaddr_in6` that are looked at, and so the least length of one.
  static let sockaddr6Bytes = 24
  /// The same for `sockaddr_in`.
  static let sockaddr4Bytes = 8

  /// An endpoint that is not known.
  @inline(__always)
  public init() {
    high = 0
    low = 0
    port = 0
    family = 0
  }

  /// An IPv4 endpoint. `address` and `port` are in host order: 127.0.0.1 is 0x7f000001.
  @inline(__always)
  public init(v4 address: UInt32, port: UInt16) {
    high = 0
    low = Endpoint.mappedPrefix | UInt64(address)
    self.port = port
    family = 4
  }

  /// An IPv6 endpoint, exactly as given: a v4-mapped address stays one until `normalised`.
  @inline(__always)
  public init(v6High: UInt64, low: UInt64, port: UInt16) {
    high = v6High
    self.low = low
    self.port = port
    family = 6
  }

  /// The endpoint in a `struct sockaddr` of `length` bytes, normalised; nil when it is not a whole
  /// `sockaddr_in` or `sockaddr_in6`. The scope of a link-local address is not kept: the two ends
  /// need not agree about it.
  public init?(sockaddr: UnsafeRawPointer, length: Int) {
    guard length >= Endpoint.sockaddr4Bytes else { return nil }
    let wireFamily = sockaddr.loadUnaligned(as: UInt16.self)
    let port = UInt16(bigEndian: sockaddr.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
    switch wireFamily {
    case 2:  // AF_INET
      let address = sockaddr.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
      self.init(v4: UInt32(bigEndian: address), port: port)
    case 10:  // AF_INET6
      guard length >= Endpoint.sockaddr6Bytes else { return nil }
      let high = sockaddr.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
      let low = sockaddr.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
      self.init(v6High: UInt64(bigEndian: high), low: UInt64(bigEndian: low), port: port)
      self = normalised
    default:
      return nil
    }
  }

  /// Whether this is an IPv6 endpoint whose address stands for an IPv4 one (::ffff:a.b.c.d).
  @inline(__always)
  public var isV4Mapped: Bool {
    family == 6 && high == 0 && low & ~0xffff_ffff == Endpoint.mappedPrefix
  }

  /// This endpoint with a v4-mapped address turned into IPv4. A dual-stack server and its IPv4
  /// client see one connection in two families; both must derive the same names from it.
  @inline(__always)
  public var normalised: Endpoint {
    var result = self
    if isV4Mapped { result.family = 4 }
    return result
  }

  /// The IPv4 address in host order; meaningful only when `family` is 4.
  @inline(__always)
  public var v4: UInt32 { UInt32(truncatingIfNeeded: low) }

  /// Whether the first `prefix` bits of both addresses are equal and both are of one family. The
  /// bits are those of the family: 0 ... 32 for IPv4, 0 ... 128 for IPv6.
  public func sharesPrefix(_ prefix: UInt8, with other: Endpoint) -> Bool {
    guard family == other.family else { return false }
    let bits = Int(prefix) + (family == 4 ? 96 : 0)
    let highMask: UInt64 = bits >= 64 ? ~0 : ~(~0 >> UInt64(bits))
    let lowMask: UInt64 = bits >= 128 ? ~0 : bits <= 64 ? 0 : ~(~0 >> UInt64(bits - 64))
    return (high ^ other.high) & highMask == 0 && (low ^ other.low) & lowMask == 0
  }
}
