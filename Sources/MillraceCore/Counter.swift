/// The events that a process counts in its statistics page.
///
/// The raw value is the slot in the page: a value, once released, keeps its meaning.
public enum Counter: Int, CaseIterable, Sendable {
  case connectionsTracked = 0
  case candidates
  case rendezvousListens
  case rendezvousCalls
  case wireupOffers
  case wireupAccepts
  case attaches
  case attachAborts
  case laneEnds
  case resets
  case bellsRung
  case bellsDrained
  case futexSleeps
  case futexWakes
  case spinsWon
  case spinsLost
  case epollSleeps
  case epollWaits
  case pollSleeps
  case kernelLooks
  case marksWritten
  case marksRead
  case identityChecks
  case auditsFailed
  case hostileMessages
  case bellsSpared
  case workRequests
  case completions
  case creditUpdates
  case gathered
  case undelivered
  case takeovers
  case restsGiven
  case restsLost

  /// How many counters there are; raw values are 0 ..< count.
  public static var count: Int { Counter.restsLost.rawValue + 1 }

  /// The name that `millrace ss --counters` prints.
  public var name: StaticString {
    switch self {
    case .connectionsTracked: "connections-tracked"
    case .candidates: "candidates"
    case .rendezvousListens: "rendezvous-listens"
    case .rendezvousCalls: "rendezvous-calls"
    case .wireupOffers: "wireup-offers"
    case .wireupAccepts: "wireup-accepts"
    case .attaches: "attaches"
    case .attachAborts: "attach-aborts"
    case .laneEnds: "lane-ends"
    case .resets: "resets"
    case .bellsRung: "bells-rung"
    case .bellsDrained: "bells-drained"
    case .futexSleeps: "futex-sleeps"
    case .futexWakes: "futex-wakes"
    case .spinsWon: "spins-won"
    case .spinsLost: "spins-lost"
    case .epollSleeps: "epoll-sleeps"
    case .epollWaits: "epoll-waits"
    case .pollSleeps: "poll-sleeps"
    case .kernelLooks: "kernel-looks"
    case .marksWritten: "marks-written"
    case .marksRead: "marks-read"
    case .identityChecks: "identity-checks"
    case .auditsFailed: "audits-failed"
    case .hostileMessages: "hostile-messages"
    case .bellsSpared: "bells-spared"
    case .workRequests: "work-requests"
    case .completions: "completions"
    case .creditUpdates: "credit-updates"
    case .gathered: "gathered-messages"
    case .undelivered: "undelivered-lanes"
    case .takeovers: "takeovers"
    case .restsGiven: "rests-given"
    case .restsLost: "rests-lost"
    }
  }
}
