/// What an end of a verbs lane says besides its bytes: the words that shared memory would simply show. A message (IBV_WR_SEND)
/// always tells all of them as they stand, so a later one may take the place of an earlier one.
public struct VerbsNotice: Equatable, Sendable {
  /// Bytes of every notice.
  public static let byteCount = 64
  private static let magic: UInt32 = 0x6e56_4c4d

  /// ``FinishFlags`` of the sender's ring.
  public var finish: UInt32 = 0
  /// The sender's cut plus one, as ``SideControl/cut``.
  public var cut: UInt64 = 0
  /// As ``SideControl/fixedCut``.
  public var fixedCut: UInt64 = 0
  /// As ``SideControl/recordsTaken``.
  public var recordsTaken: UInt64 = 0
  /// The follower has learned the leader's cut.
  public var hasLearned = false
  /// The leader's mark has its first byte complemented (``Nonce/mark(from:flipped:)``).
  public var isFlipped = false
  /// What an RDMA write would have brought along.
  public var immediate = VerbsImmediate(word: 0)
  /// Proof that the sender knows the key, if there is one: the first 16 bytes of an HMAC.
  public var proof = Nonce(0, 0)

  /// Nothing said yet.
  public init() {}

  /// Writes the notice to ``byteCount`` bytes.
  public func encode(into bytes: UnsafeMutableRawPointer) {
    var index = 0
    while index < Self.byteCount {
      bytes.storeBytes(of: 0, toByteOffset: index, as: UInt64.self)
      index += 8
    }
    bytes.storeBytes(of: Self.magic.littleEndian, as: UInt32.self)
    bytes.storeBytes(of: finish.littleEndian, toByteOffset: 4, as: UInt32.self)
    bytes.storeBytes(of: cut.littleEndian, toByteOffset: 8, as: UInt64.self)
    bytes.storeBytes(of: fixedCut.littleEndian, toByteOffset: 16, as: UInt64.self)
    let flags: UInt32 = (hasLearned ? 1 : 0) | (isFlipped ? 2 : 0)
    bytes.storeBytes(of: flags.littleEndian, toByteOffset: 24, as: UInt32.self)
    bytes.storeBytes(of: immediate.word.littleEndian, toByteOffset: 28, as: UInt32.self)
    bytes.storeBytes(of: proof.high.bigEndian, toByteOffset: 32, as: UInt64.self)
    bytes.storeBytes(of: proof.low.bigEndian, toByteOffset: 40, as: UInt64.self)
    bytes.storeBytes(of: recordsTaken.littleEndian, toByteOffset: 48, as: UInt64.self)
  }

  /// The notice in `count` bytes from a peer, or nil if it is none.
  public init?(decoding bytes: UnsafeRawPointer, count: Int) {
    guard count == Self.byteCount, UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self)) == Self.magic else {
      return nil
    }
    recordsTaken = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 48, as: UInt64.self))
    let flags = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 24, as: UInt32.self))
    guard flags < 4 else { return nil }
    finish = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
    cut = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    fixedCut = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
    hasLearned = flags & 1 != 0
    isFlipped = flags & 2 != 0
    immediate = VerbsImmediate(
      word: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 28, as: UInt32.self)))
    proof = Nonce(
      UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 32, as: UInt64.self)),
      UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 40, as: UInt64.self)))
  }
}
