import MillraceCore

/// What can happen to a machine.
enum Event: UInt8, CaseIterable {
  case offer
  case peerLearned
  case peerCut
  case learn
  case markRead
  case markMissing
  case recordLearned
  case recordDetach
  case laneDown
}

/// How often each transition, each death and each kind of remainder has been met: a simulation that never goes
/// somewhere finds nothing there.
final class Coverage {
  static let phases: [Cutover.Phase] = [
    .kernel, .offered, .marked, .confirmed, .learned, .seen, .attached, .detaching, .probing, .undecided,
  ]
  private var transitions = [Int](repeating: 0, count: 16 * 16 * 2)
  private var deaths = [Int](repeating: 0, count: 16 * 2)
  /// Remainders that were not empty, by what the kernel path was to bring next.
  private(set) var remaindersAtRecords = 0
  private(set) var remaindersAtCut = 0
  private(set) var remaindersAfterResend = 0

  func count(_ event: Event, in phase: Cutover.Phase, of end: Int) {
    transitions[(Int(event.rawValue) * 16 + Int(phase.rawValue)) * 2 + end] += 1
  }

  func countDeath(of end: Int, in phase: Cutover.Phase) {
    deaths[Int(phase.rawValue) * 2 + end] += 1
  }

  func countRemainder(_ inbound: Cutover.Inbound, isEmpty: Bool) {
    if isEmpty { return }
    switch inbound {
    case .records: remaindersAtRecords += 1
    case .until: remaindersAtCut += 1
    case .application: remaindersAfterResend += 1
    }
  }

  /// Lanes that one of several processes left for all, and relatives that followed.
  private(set) var claims = 0
  private(set) var follows = 0
  private(set) var families = 0

  func countFamilies(_ all: [Family]) {
    for family in all {
      claims += family.claims
      follows += family.follows
      families += family.isShared ? 1 : 0
    }
  }

  func times(_ event: Event, in phase: Cutover.Phase, of end: Int) -> Int {
    transitions[(Int(event.rawValue) * 16 + Int(phase.rawValue)) * 2 + end]
  }

  func deaths(of end: Int, in phase: Cutover.Phase) -> Int { deaths[Int(phase.rawValue) * 2 + end] }

  /// The table of what has happened, a line per phase and end.
  var table: String {
    var lines: [String] = []
    for phase in Self.phases {
      for end in 0...1 {
        let met = Event.allCases.filter { times($0, in: phase, of: end) > 0 }
        if met.isEmpty { continue }
        let events = met.map { "\($0) \(times($0, in: phase, of: end))" }.joined(separator: ", ")
        let who = end == 0 ? "leader" : "follower"
        lines.append("\(phase) \(who): \(events), dies \(deaths(of: end, in: phase))")
      }
    }
    lines.append(
      "left in the ring: \(remaindersAtRecords) at records, \(remaindersAtCut) at a cut, "
        + "\(remaindersAfterResend) behind what was re-sent")
    lines.append("several processes: \(families) lanes, \(claims) times one left for all, \(follows) followed")
    return lines.joined(separator: "\n")
  }
}
