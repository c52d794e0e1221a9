import MillraceCore
import Testing

/// Spinning stops by itself where it does not pay, and is tried again now and then.
@Suite struct SpinBudgetTests {
  private let limit: UInt64 = 1000

  /// Waits that are told to sleep at once before the next one may spin.
  private func waitsAsleep(_ budget: inout SpinBudget) -> Int {
    var count = 0
    while budget.begin(limit: limit) == 0 { count += 1 }
    return count
  }

  @Test func aNewBudgetSpinsToTheLimit() {
    var budget = SpinBudget()
    #expect(budget.begin(limit: limit) == limit)
    #expect(budget.begin(limit: 0) == 0)
  }

  @Test func oneLossIsNoReasonToStop() {
    var budget = SpinBudget()
    for _ in 0..<1000 {
      #expect(budget.begin(limit: limit) == limit)
      budget.lost()
      #expect(budget.begin(limit: limit) == limit)
      budget.won()
    }
  }

  @Test func lossesInARowAreFollowedByEverMoreSleeps() {
    var budget = SpinBudget()
    budget.lost()
    var asleep: [Int] = []
    for _ in 0..<9 {
      budget.lost()
      asleep.append(waitsAsleep(&budget))
    }
    #expect(asleep == [4, 8, 16, 32, 64, 128, 256, 256, 256])
  }

  @Test func aWinForgetsTheLosses() {
    var budget = SpinBudget()
    for _ in 0..<20 { budget.lost() }
    #expect(waitsAsleep(&budget) == 256)
    budget.won()
    budget.lost()
    #expect(waitsAsleep(&budget) == 0)
    budget.lost()
    #expect(waitsAsleep(&budget) == 4)
  }

  /// More spinners than free processors: nearly every wait sleeps at once.
  @Test func whereNoSpinIsEverWonHardlyAnyIsTried() {
    var budget = SpinBudget()
    var spins = 0
    for _ in 0..<100_000 where budget.begin(limit: limit) != 0 {
      spins += 1
      budget.lost()
    }
    #expect(spins < 410)
  }
}
