/// MILLRACE_MAP: from the addresses that connections bear to those of the RDMA devices of the same hosts, prefix by prefix.
public struct AddressMap: Sendable {
  /// The most pairs of prefixes.
  public static let capacity = 16

  private var from = InlineArray<16, AddressPrefix>(repeating: .any)
  private var to = InlineArray<16, AddressPrefix>(repeating: .any)
  /// Pairs of prefixes.
  public private(set) var count = 0

  /// Every address stands for itself.
  public init() {}

  /// Whether hosts of one prefix can be told apart in the other: as many bits are left for them in both.
  public static func fits(_ from: AddressPrefix, _ to: AddressPrefix) -> Bool { hostBits(from) == hostBits(to) }

  private static func hostBits(_ prefix: AddressPrefix) -> Int {
    (prefix.address.family == 4 ? 32 : 128) - Int(prefix.bits)
  }

  /// Adds a pair behind the others; false if there is no room. They fit.
  public mutating func add(_ prefix: AddressPrefix, _ replacement: AddressPrefix) -> Bool {
    guard count < Self.capacity else { return false }
    from[count] = prefix
    to[count] = replacement
    count += 1
    return true
  }

  /// The RDMA address for an endpoint's: by the first prefix that it has, else its own. The port stays.
  public func translated(_ end: Endpoint) -> Endpoint {
    var index = 0
    while index < count {
      if from[index].contains(end) { return Self.replace(end.normalised, from[index], to[index]) }
      index += 1
    }
    return end
  }

  private static func replace(_ end: Endpoint, _ from: AddressPrefix, _ to: AddressPrefix) -> Endpoint {
    let bits = hostBits(from)
    let lowMask: UInt64 = bits >= 64 ? ~0 : (1 << UInt64(bits)) - 1
    let highMask: UInt64 = bits <= 64 ? 0 : bits >= 128 ? ~0 : (1 << UInt64(bits - 64)) - 1
    var result = to.address
    result.high = result.high & ~highMask | end.high & highMask
    result.low = result.low & ~lowMask | end.low & lowMask
    result.port = end.port
    return result
  }
}
