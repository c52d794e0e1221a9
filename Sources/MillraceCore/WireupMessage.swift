/// What the two ends say to each other at the rendezvous, before there is a lane: one offer, one answer.
///
/// Fixed size and byte order (little endian, both ends are one host), so that whatever does not fit is garbage and is
/// recognised before anything of it is believed.
public struct WireupMessage: Equatable, Sendable {
  /// What a message says.
  public enum Kind: UInt32, Sendable {
    /// The accepted end offers the memory whose descriptor comes with the message.
    case offer = 1
    /// The connected end has mapped it.
    case accept = 2
    /// The connected end wants no lane; `detail` is its ``DeclineReason``.
    case decline = 3
  }

  /// Bytes of every message.
  public static let byteCount = 64
  /// Changes with the meaning of anything here, in ``LaneLayout`` or in ``Record``.
  public static let version: UInt32 = 1

  private static let magic: UInt64 = 0x3157_6563_6172_6c4d

  /// What the message says.
  public var kind: Kind
  /// The sender's protocol version.
  public var version: UInt32 = WireupMessage.version
  /// Bytes of the ring of one direction (offer), or the decline reason.
  public var detail: UInt32
  /// The nonce of the marks (offer).
  public var nonce: Nonce

  /// A message of this version.
  public init(_ kind: Kind, detail: UInt32 = 0, nonce: Nonce = Nonce(0, 0)) {
    self.kind = kind
    self.detail = detail
    self.nonce = nonce
  }

  /// Writes the message to ``byteCount`` bytes.
  public func encode(into bytes: UnsafeMutableRawPointer) {
    var index = 0
    while index < Self.byteCount {
      bytes.storeBytes(of: 0, toByteOffset: index, as: UInt64.self)
      index += 8
    }
    bytes.storeBytes(of: Self.magic, as: UInt64.self)
    bytes.storeBytes(of: version, toByteOffset: 8, as: UInt32.self)
    bytes.storeBytes(of: kind.rawValue, toByteOffset: 12, as: UInt32.self)
    bytes.storeBytes(of: detail, toByteOffset: 16, as: UInt32.self)
    bytes.storeBytes(of: nonce.high, toByteOffset: 24, as: UInt64.self)
    bytes.storeBytes(of: nonce.low, toByteOffset: 32, as: UInt64.self)
  }

  /// The message in `count` bytes from a peer, or nil if it is none. A message of another version is returned with that
  /// version, for the caller to decline by name.
  public init?(decoding bytes: UnsafeRawPointer, count: Int) {
    guard count == Self.byteCount, bytes.loadUnaligned(as: UInt64.self) == Self.magic,
      let kind = Kind(rawValue: bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self))
    else { return nil }
    self.kind = kind
    version = bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
    detail = bytes.loadUnaligned(fromByteOffset: 16, as: UInt32.self)
    nonce = Nonce(
      bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self), bytes.loadUnaligned(fromByteOffset: 32, as: UInt64.self)
    )
  }
}
