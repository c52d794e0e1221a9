import Foundation
import MillraceCore
import Testing

/// Which schedules to run: `SEED=n` one of them, with its trace; `SEEDS=a..b` those from `a` to `b`.
private enum Selection {
  static let usual: ClosedRange<UInt64> = 0...99_999

  static let one: UInt64? = ProcessInfo.processInfo.environment["SEED"].flatMap { UInt64($0) }

  static let range: ClosedRange<UInt64>? = {
    guard let text = ProcessInfo.processInfo.environment["SEEDS"] else { return nil }
    let ends = text.components(separatedBy: "..").compactMap { UInt64($0) }
    guard ends.count == 2, ends[0] <= ends[1] else {
      preconditionFailure("SEEDS must read a..b with a <= b, not \(text)")
    }
    return ends[0]...ends[1]
  }()

  static var isUsual: Bool { one == nil && range == nil }
}

/// Runs one schedule; what went wrong, or nil.
private func failure(of seed: UInt64, mutation: Mutation? = nil, coverage: Coverage? = nil) -> Failure? {
  do {
    try World(seed: seed, mutation: mutation, coverage: coverage).run()
    return nil
  } catch {
    return error
  }
}

/// Runs one schedule again, for its trace.
private func trace(of seed: UInt64) -> Trace {
  let trace = Trace()
  do {
    try World(seed: seed, trace: trace).run()
    trace.add("no failure")
  } catch {
    trace.add("FAILED: \(error)")
  }
  return trace
}

@Suite struct Simulation {
  @Test(.enabled(if: Selection.one == nil)) func everyScheduleIsExactAndComesToRest() {
    let seeds = Selection.range ?? Selection.usual
    let coverage = Coverage()
    for seed in seeds {
      guard let failure = failure(of: seed, coverage: coverage) else { continue }
      print(trace(of: seed).tail(80))
      Issue.record("SEED=\(seed): \(failure)")
      return
    }
    print("\(seeds.count) schedules, \(seeds)\n\(coverage.table)")
    if Selection.isUsual { expectNothingMissed(coverage) }
  }

  @Test(.enabled(if: Selection.one != nil)) func oneScheduleInWords() throws {
    let seed = try #require(Selection.one)
    print(trace(of: seed).tail(1000))
    #expect(failure(of: seed)?.description == nil)
  }

  /// Every transition of the machine has happened often, and no other: what is not met is not tested.
  private func expectNothingMissed(_ coverage: Coverage) {
    let reachable: [(Cutover.Phase, leader: [Event], follower: [Event])] = [
      (.kernel, [.offer, .laneDown], [.learn, .laneDown]),
      (.offered, [.peerLearned, .laneDown], []),
      (.marked, [.peerCut, .laneDown], []),
      (.confirmed, [.markRead, .laneDown], []),
      (.learned, [], [.markRead, .markMissing, .laneDown]),
      (.seen, [], [.recordLearned, .recordDetach, .laneDown]),
      (.attached, [.recordDetach, .laneDown], [.recordDetach, .laneDown]),
      (.detaching, [.markRead, .recordDetach], [.recordDetach]),
      (.probing, [], [.markRead, .markMissing, .recordDetach]),
      (.undecided, [], [.recordLearned, .recordDetach]),
    ]
    for (phase, leader, follower) in reachable {
      for (end, expected) in [leader, follower].enumerated() {
        for event in Event.allCases {
          let times = coverage.times(event, in: phase, of: end)
          if expected.contains(event) {
            #expect(times >= 50, "\(event) in \(phase) at end \(end)")
          } else {
            #expect(times == 0, "\(event) in \(phase) at end \(end)")
          }
        }
        if !expected.isEmpty { #expect(coverage.deaths(of: end, in: phase) >= 20, "death of \(end) in \(phase)") }
      }
    }
    #expect(coverage.remaindersAtRecords >= 100)
    #expect(coverage.remaindersAtCut >= 100)
    #expect(coverage.remaindersAfterResend >= 100)
    #expect(coverage.families >= 500 && coverage.claims >= 1000 && coverage.follows >= 1000)
  }

  /// One schedule after the other with a death, a leaving or a breakdown at each of its steps, and at either end.
  @Test(.enabled(if: Selection.isUsual), arguments: Disturbance.Kind.allCases)
  func everyStepMayBeTheLast(kind: Disturbance.Kind) {
    // Schedules in which lanes come to carry the stream, as far as they run undisturbed.
    let seeds = (0..<UInt64(1_000)).lazy.filter { seed in
      let world = World(seed: seed)
      return (try? world.run()) != nil && world.attached >= 2
    }
    for seed in seeds.prefix(10) {
      for step in 0..<World(seed: seed).options.steps {
        for end in 0...1 {
          let disturbance = Disturbance(kind: kind, end: end, step: step)
          do {
            try World(seed: seed, disturbance: disturbance).run()
          } catch {
            Issue.record("seed \(seed), \(disturbance): \(error)")
            return
          }
        }
      }
    }
  }

  /// A simulation that catches no mistakes proves nothing.
  @Test(.enabled(if: Selection.isUsual), arguments: Mutation.allCases)
  func isCaught(mutation: Mutation) {
    for seed in 0..<UInt64(5_000) {
      if let failure = failure(of: seed, mutation: mutation) {
        print("\(mutation.rawValue) is caught by SEED=\(seed): \(failure)")
        return
      }
    }
    Issue.record("\(mutation.rawValue) is caught by no schedule")
  }

  /// The same seed is the same schedule, or no failure could be run again.
  @Test(.enabled(if: Selection.isUsual)) func seedsAreReproducible() {
    for seed in 0..<UInt64(50) {
      #expect(trace(of: seed).lines == trace(of: seed).lines)
    }
  }
}
