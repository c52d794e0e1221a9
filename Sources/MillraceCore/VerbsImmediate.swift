/// The four bytes that come with every RDMA write of a verbs lane (IBV_WR_RDMA_WRITE_WITH_IMM): what its sender gives back
/// to the peer, so that credits need no message of their own.
///
/// They hold the low bits of two counts, of which the receiver knows the rest: how far the sender's application has
/// consumed the peer's ring, and how many receive requests it has posted anew.
public struct VerbsImmediate: Equatable, Sendable {
  /// Bits of the head; a ring is smaller by a factor of two, so a head is never ambiguous.
  public static let headBits: UInt64 = 25
  /// The largest ring of a verbs lane, in bytes.
  public static let largestRing = 1 << 24
  /// Receive requests that each end keeps posted: messages that may be under way to it.
  public static let depth: UInt64 = 64

  private static let headMask: UInt64 = (1 << headBits) - 1
  private static let postedMask: UInt64 = (1 << (32 - headBits)) - 1

  /// The word as it travels, in the sender's byte order turned to the network's by who posts it.
  public let word: UInt32

  /// `head`: position up to which the peer's ring has been consumed. `reposted`: receive requests posted anew so far.
  public init(head: UInt64, reposted: UInt64) {
    word = UInt32(truncatingIfNeeded: (reposted & Self.postedMask) << Self.headBits | head & Self.headMask)
  }

  /// What a peer has sent.
  public init(word: UInt32) {
    self.word = word
  }

  /// The peer's head, which was `known` at last; nil if it would be beyond `tail`, where nothing was sent.
  public func head(after known: UInt64, tail: UInt64) -> UInt64? {
    let step = (UInt64(word) &- known) & Self.headMask
    let head = known &+ step
    return tail &- known >= step ? head : nil
  }

  /// How many receive requests the peer has posted anew, `known` at last; nil if more than were `sent` messages.
  public func reposted(after known: UInt64, sent: UInt64) -> UInt64? {
    let step = ((UInt64(word) >> Self.headBits) &- known) & Self.postedMask
    return sent &- known >= step ? known &+ step : nil
  }
}
