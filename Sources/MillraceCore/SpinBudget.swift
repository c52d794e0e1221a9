/// Decides whether a waiter spins before it sleeps, and for how long. Pure arithmetic on cycle counts.
///
/// Spinning pays when the peer answers within about the price of a sleep and a wake-up. It must stop by itself where it
/// does not: a machine with fewer free cores than spinners preempts them, and their waits then outlast any budget.
public struct SpinBudget: Sendable {
  /// Spins in a row that ended in a sleep.
  private var losses: UInt32 = 0
  /// Waits that go straight to sleep before the next trial.
  private var holdOff: UInt32 = 0

  /// Waits that go straight to sleep after the first loss; each further loss doubles it, up to `longestHoldOff`.
  private static let firstHoldOff: UInt32 = 4
  private static let longestHoldOff: UInt32 = 256

  /// A budget that knows nothing yet: the first wait may spin to its limit.
  public init() {}

  /// Cycles to spin for the wait that begins now, at most `limit`; 0 to sleep at once.
  @inline(__always)
  public mutating func begin(limit: UInt64) -> UInt64 {
    if holdOff > 0 {
      holdOff &-= 1
      return 0
    }
    return limit
  }

  /// The wait ended while spinning.
  @inline(__always)
  public mutating func won() {
    losses = 0
  }

  /// The budget ran out, or the processor was taken away.
  public mutating func lost() {
    losses &+= 1
    guard losses > 1 else { return }
    let shift = min(losses &- 2, 6)
    holdOff = min(Self.firstHoldOff &<< shift, Self.longestHoldOff)
  }
}
