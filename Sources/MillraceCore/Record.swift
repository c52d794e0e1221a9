/// The records that an end writes to the kernel path between its mark and its DETACH.
///
/// Grammar of a kernel stream: `app* ( MARK LEARNED? DETACH app* )*`. A mark and a record are both exactly
/// ``Record/byteCount`` bytes, so a reader that has counted the stream never has to guess where one ends.
public enum Record: Equatable, Sendable {
  /// The leader has learned the follower's cutover; the follower may write its mark.
  case learned
  /// The lane is over. `consumed` is the position up to which the writer's application has consumed the lane: the
  /// reader re-sends from there, over TCP.
  case detach(consumed: UInt64)

  /// Length of a mark and of every record, in bytes.
  public static let byteCount = 16

  private static let learnedTag: UInt64 = 0x4d69_6c6c_4c72_6e64
  private static let detachTag: UInt64 = 0x4d69_6c6c_4474_6368

  /// The record as two words, in the byte order of ``RecordBuffer``. The tag is mixed with the lane's nonce, so that a
  /// stream that has lost its place is noticed at once instead of being taken for records.
  public func encoded(for nonce: Nonce) -> Nonce {
    switch self {
    case .learned: Nonce(nonce.high ^ Self.learnedTag, nonce.low)
    case .detach(let consumed): Nonce(nonce.high ^ Self.detachTag, consumed)
    }
  }

  /// The record that sixteen bytes of the kernel path stand for, or nil if they are none of `nonce`'s lane.
  public init?(decoding words: Nonce, for nonce: Nonce) {
    switch words.high ^ nonce.high {
    case Self.learnedTag where words.low == nonce.low: self = .learned
    case Self.detachTag: self = .detach(consumed: words.low)
    default: return nil
    }
  }
}

/// Sixteen bytes as two big-endian words: the wireup's nonce, a mark, or an encoded record.
public struct Nonce: Equatable, Sendable {
  /// The first eight bytes.
  public var high: UInt64
  /// The last eight bytes.
  public var low: UInt64

  /// The sixteen bytes that begin with those of `high`.
  public init(_ high: UInt64, _ low: UInt64) {
    self.high = high
    self.low = low
  }

  /// The mark that the end of this role writes. The two differ, so that a reflected mark is not taken for the peer's.
  public func mark(from role: Role) -> Nonce {
    role == .leader ? self : Nonce(~high, low)
  }

  /// As ``mark(from:)``; `flipped` complements the first byte. A leader whose lane cannot exclude "learned" and "given up"
  /// by one compare-and-swap flips if the unflipped mark begins with the byte that its application is about to send, and
  /// says so with its cut: the first byte at the cut then tells the mark from the application's, with certainty.
  public func mark(from role: Role, flipped: Bool) -> Nonce {
    var words = mark(from: role)
    if flipped { words.high ^= 0xff &<< 56 }
    return words
  }

  /// Byte `index` (0 to 15) in the order in which the words travel.
  @inline(__always)
  public subscript(index: Int) -> UInt8 {
    let word = index < 8 ? high : low
    return UInt8(truncatingIfNeeded: word &>> UInt64(56 &- 8 &* (index & 7)))
  }
}

/// Which end of the TCP connection a process holds. It decides who leads a cutover.
public enum Role: UInt8, Sendable {
  /// The end that `accept` returned.
  case leader = 0
  /// The end that called `connect`.
  case follower = 1

  /// The role of the other end.
  public var peer: Role { self == .leader ? .follower : .leader }
}

/// Collects the sixteen bytes of a mark or record, whatever way TCP has cut them. Not safe for concurrent use: the
/// connection's receive lock guards it.
public struct RecordBuffer: Sendable {
  /// Bytes collected so far, 0 to 16.
  public private(set) var count = 0
  private var words = Nonce(0, 0)

  /// Nothing collected yet.
  public init() {}

  /// Bytes still missing.
  public var missing: Int { Record.byteCount &- count }

  /// Takes the next byte. The caller sees to it that no more than ``missing`` are given.
  public mutating func append(_ byte: UInt8) {
    let shift = UInt64(56 &- 8 &* (count & 7))
    if count < 8 {
      words.high |= UInt64(byte) &<< shift
    } else {
      words.low |= UInt64(byte) &<< shift
    }
    count &+= 1
  }

  /// The sixteen bytes, once they are all there; the buffer is then empty again.
  public mutating func take() -> Nonce? {
    guard count == Record.byteCount else { return nil }
    let taken = words
    self = RecordBuffer()
    return taken
  }

  /// Whether the bytes collected so far agree with the beginning of `expected`.
  public func agrees(with expected: Nonce) -> Bool {
    var index = 0
    while index < count {
      if words[index] != expected[index] { return false }
      index &+= 1
    }
    return true
  }

  /// Byte `index` of those collected.
  public subscript(index: Int) -> UInt8 { words[index] }
}
