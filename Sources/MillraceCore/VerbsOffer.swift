/// The private data of the connection manager's messages, by which two ends agree on a verbs lane: the accepted end's
/// request, and the connected end's reply (rdma_connect(3), rdma_accept(3)).
///
/// A request in RDMA_PS_TCP carries 56 bytes of it and no more.
public struct VerbsOffer: Equatable, Sendable {
  /// Bytes of a request and of a reply.
  public static let byteCount = 56
  /// Changes with the meaning of anything here, in ``VerbsNotice``, ``VerbsImmediate`` or ``Record``.
  public static let version: UInt8 = 1

  /// The sender's protocol version.
  public var version: UInt8 = VerbsOffer.version
  /// Bytes of the ring of one direction, a power of two. The one who asks decides.
  public var ringBytes: Int
  /// Request: the sender has sent bytes of late, and so can lead. Reply: the sender of the request leads.
  public var callerLeads: Bool
  /// A key is demanded: the proofs mean something.
  public var hasKey: Bool
  /// Digest of the TCP connection's endpoints, from ``digest(connector:acceptor:)``.
  public var digest: UInt64
  /// Request: the nonce of the marks. Reply: the other end's nonce, for its proof.
  public var nonce: Nonce
  /// Address of the sender's receive ring for remote writes.
  public var address: UInt64
  /// The memory region's key for them (rkey).
  public var remoteKey: UInt32
  /// First half of an HMAC over what both ends know; zero without a key.
  public var proof: UInt64

  /// A message of this version.
  public init(
    ringBytes: Int, callerLeads: Bool, hasKey: Bool, digest: UInt64, nonce: Nonce, address: UInt64, remoteKey: UInt32,
    proof: UInt64
  ) {
    self.ringBytes = ringBytes
    self.callerLeads = callerLeads
    self.hasKey = hasKey
    self.digest = digest
    self.nonce = nonce
    self.address = address
    self.remoteKey = remoteKey
    self.proof = proof
  }

  /// Writes the message to ``byteCount`` bytes. Every field is little endian.
  public func encode(into bytes: UnsafeMutableRawPointer) {
    bytes.storeBytes(of: 0x4c4d, as: UInt16.self)
    bytes.storeBytes(of: version, toByteOffset: 2, as: UInt8.self)
    bytes.storeBytes(of: UInt8(truncatingIfNeeded: ringBytes.trailingZeroBitCount), toByteOffset: 3, as: UInt8.self)
    bytes.storeBytes(of: (callerLeads ? 1 : 0) | (hasKey ? 2 : 0), toByteOffset: 4, as: UInt32.self)
    bytes.storeBytes(of: digest.littleEndian, toByteOffset: 8, as: UInt64.self)
    bytes.storeBytes(of: nonce.high.littleEndian, toByteOffset: 16, as: UInt64.self)
    bytes.storeBytes(of: nonce.low.littleEndian, toByteOffset: 24, as: UInt64.self)
    bytes.storeBytes(of: address.littleEndian, toByteOffset: 32, as: UInt64.self)
    bytes.storeBytes(of: remoteKey.littleEndian, toByteOffset: 40, as: UInt32.self)
    bytes.storeBytes(of: 0, toByteOffset: 44, as: UInt32.self)
    bytes.storeBytes(of: proof.littleEndian, toByteOffset: 48, as: UInt64.self)
  }

  /// The message in `count` bytes from a peer, or nil if it is none. The connection manager may pad what it delivers. One of
  /// another version is returned with that version.
  public init?(decoding bytes: UnsafeRawPointer, count: Int) {
    guard count >= Self.byteCount, bytes.loadUnaligned(as: UInt16.self) == 0x4c4d else { return nil }
    version = bytes.load(fromByteOffset: 2, as: UInt8.self)
    let shift = bytes.load(fromByteOffset: 3, as: UInt8.self)
    guard shift >= 12, shift <= VerbsImmediate.largestRing.trailingZeroBitCount else { return nil }
    ringBytes = 1 << Int(shift)
    let flags = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
    callerLeads = flags & 1 != 0
    hasKey = flags & 2 != 0
    digest = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    nonce = Nonce(
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)),
      UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self)))
    address = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 32, as: UInt64.self))
    remoteKey = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 40, as: UInt32.self))
    proof = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 48, as: UInt64.self))
  }

  /// A number for a TCP connection that both ends compute alike. It tells connections apart, and proves nothing.
  public static func digest(connector: Endpoint, acceptor: Endpoint) -> UInt64 {
    var hash = mix(0x6d69_6c6c_7261_6365, connector.high)
    hash = mix(hash, connector.low)
    hash = mix(hash, acceptor.high)
    hash = mix(hash, acceptor.low)
    return mix(hash, UInt64(connector.port) << 16 | UInt64(acceptor.port))
  }

  private static func mix(_ hash: UInt64, _ value: UInt64) -> UInt64 {
    var z = (hash ^ value) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 29)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 32)
  }
}
