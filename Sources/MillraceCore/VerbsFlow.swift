/// How much of a verbs lane's ring is posted now: decisions only, numbers in and numbers out.
///
/// A message posted alone costs one work request and no wait. While a write that will be heard of is in flight, further
/// small messages gather in the ring and leave as one.
public enum VerbsFlow {
  /// Bytes from which a write is worth its own work request although others are in flight.
  public static let largeWrite = 4096
  /// Large writes in flight at a time: enough that the queue pair never runs dry between two completions.
  public static let mostInFlight = 4
  /// The longest write, so that the consumer copies while the next one travels.
  public static let longestWrite = 64 << 10
  /// Messages that are kept back for credits and the end of the stream, which must not wait for data's credits.
  public static let reserve: UInt64 = 8
  /// One work request in so many asks for a completion even if nothing waits for it: the send queue has to be reaped.
  public static let signalEvery: UInt64 = 16
  /// Work requests that the send queue holds. More than a peer ever gives credit for.
  public static let sendDepth: UInt64 = 128

  /// How many of `unposted` bytes the next write takes, 0 for none. `inFlight`: signalled writes whose completion has not come.
  /// `credit`: messages that the peer has room for. `toEnd`: bytes up to the end of the ring, across which no write goes.
  /// `isLast`: the stream ends, and what is left must be on its way before the end is told.
  public static func nextWrite(unposted: Int, inFlight: Int, credit: UInt64, toEnd: Int, isLast: Bool) -> Int {
    guard unposted > 0, credit > (isLast ? 0 : reserve) else { return 0 }
    if !isLast, inFlight > 0, unposted < largeWrite || inFlight >= mostInFlight { return 0 }
    return isLast ? min(unposted, toEnd) : min(unposted, toEnd, longestWrite)
  }

  /// Whether a write asks for a completion: others wait behind it, or the send queue has to be reaped. `unacknowledged`: bytes
  /// before it that the peer has not consumed, as far as is known.
  public static func isSignalled(unacknowledged: Int, sinceSignalled: UInt64) -> Bool {
    unacknowledged > 0 || sinceSignalled &+ 1 >= signalEvery
  }

  /// Whether the peer must be told of credit by a message of its own. `untoldBytes` are consumed and `untoldRequests` posted
  /// anew since it was told last.
  public static func owesCredit(untoldBytes: UInt64, capacity: Int, untoldRequests: UInt64) -> Bool {
    untoldBytes >= UInt64(capacity / 4) || untoldRequests >= VerbsImmediate.depth / 2
  }

  /// How long to leave alone what could not be posted for want of credit, in nanoseconds. It waits at most a quarter longer for
  /// that than it has waited anyway, and a peer that does not run costs next to nothing.
  public static func pause(stuckFor time: UInt64) -> UInt64 { min(max(time / 4, shortestPause), longestPause) }

  private static let shortestPause: UInt64 = 1_000_000
  private static let longestPause: UInt64 = 250_000_000
}
