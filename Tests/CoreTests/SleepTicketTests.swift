import Testing

/// A process that sleeps in one set on several lanes, and is rung once for all of them: every interleaving of one sleeper
/// with two threads of one other process, each of which writes to a lane of its own. A transcription of
/// `EpollSet.armHot` and `EpollWait.sleep` on one side, `RingProducer.publish` and `Bell.ringGroup` on the other.
@Suite struct SleepTicketTests {
  /// Mistakes that must be found, or the search proves nothing.
  enum Mistake: CaseIterable {
    /// The ticket is noted as rung before the bell rings, and nobody sees to the ring that was spared meanwhile.
    case notesBeforeRinging
    /// The sleeper looks before it arms.
    case looksFirst
    /// A lane that is armed already keeps the ticket of the last sleep.
    case keepsOldTicket
    /// Every sleep has the same ticket.
    case reusesTicket
    /// The producer reads the ticket before it has published.
    case readsTicketFirst
  }

  private enum Step { case begin, publish, loadArm, takeArm, readTicket, ring, note, done }

  private struct Producer: Hashable {
    var step = Step.begin
    var left: Int
    var ticket = 0
  }

  private enum Sleeper: Hashable {
    case drain
    case look(Int)
    case number
    case ticket(Int)
    case arm(Int)
    case lastLook(Int)
    case wait
    case asleep
  }

  private struct State: Hashable {
    var tail = [0, 0]
    var head = [0, 0]
    var armed = [false, false]
    var tickets = [0, 0]
    var rung = 0
    var bell = false
    var current = 0
    var found = false
    var sleeper = Sleeper.drain
    var producers: [Producer]
  }

  private struct Search {
    let mistake: Mistake?

    /// Whether the sleeper can be left asleep beside bytes.
    func findsLoss(writes: Int) -> (lost: Bool, states: Int) {
      let first = State(producers: [Producer(left: writes), Producer(left: writes)])
      var seen: Set<State> = [first]
      var todo = [first]
      while let state = todo.popLast() {
        let isOver = state.producers.allSatisfy { $0.step == .done }
        if isOver, state.sleeper == .asleep, !state.bell, state.tail != state.head { return (true, seen.count) }
        for next in [move(state, 0), move(state, 1), moveSleeper(state)].compactMap({ $0 })
        where seen.insert(next).inserted { todo.append(next) }
      }
      return (false, seen.count)
    }

    private func move(_ state: State, _ lane: Int) -> State? {
      var next = state
      var p = state.producers[lane]
      switch p.step {
      case .done: return nil
      case .begin:
        if mistake == .readsTicketFirst { p.ticket = state.tickets[lane] }
        p.step = p.left == 0 ? .done : .publish
      case .publish:
        next.tail[lane] += 1
        p.left -= 1
        p.step = .loadArm
      case .loadArm: p.step = state.armed[lane] ? .takeArm : .begin
      case .takeArm:
        next.armed[lane] = false
        p.step = .readTicket
      case .readTicket:
        if mistake != .readsTicketFirst { p.ticket = state.tickets[lane] }
        p.step = state.rung == p.ticket ? .begin : mistake == .notesBeforeRinging ? .note : .ring
      case .ring:
        next.bell = true
        p.step = mistake == .notesBeforeRinging ? .begin : .note
      case .note:
        next.rung = p.ticket
        // Dies, or is stopped for good, between the two.
        p.step = mistake == .notesBeforeRinging ? .done : .begin
      }
      next.producers[lane] = p
      return next
    }

    private func moveSleeper(_ state: State) -> State? {
      var next = state
      switch state.sleeper {
      case .asleep:
        guard state.bell else { return nil }
        next.sleeper = .drain
      case .drain:
        next.bell = false
        next.found = false
        next.sleeper = .look(0)
      case .look(let lane):
        next.found = state.found || state.tail[lane] != state.head[lane]
        next.head[lane] = state.tail[lane]
        next.sleeper = lane == 0 ? .look(1) : next.found ? .drain : .number
      case .number:
        next.current = mistake == .reusesTicket ? 1 : state.current + 1
        next.sleeper = .ticket(0)
      case .ticket(let lane):
        if !(mistake == .keepsOldTicket && state.armed[lane]) { next.tickets[lane] = state.current }
        next.sleeper = .arm(lane)
      case .arm(let lane):
        next.armed[lane] = true
        let after: Sleeper = mistake == .looksFirst ? .wait : .lastLook(0)
        next.sleeper = lane == 0 ? .ticket(1) : after
      case .lastLook(let lane):
        if state.tail[lane] != state.head[lane] {
          next.head[lane] = state.tail[lane]
          next.sleeper = .drain
        } else {
          next.sleeper = lane == 0 ? .lastLook(1) : .wait
        }
      case .wait: next.sleeper = state.bell ? .drain : .asleep
      }
      return next
    }
  }

  @Test func everyByteIsSeen() {
    let (lost, states) = Search(mistake: nil).findsLoss(writes: 2)
    #expect(!lost)
    #expect(states > 10_000)
    print("sleep tickets: \(states) states")
  }

  @Test(arguments: Mistake.allCases) func everyMistakeIsFound(mistake: Mistake) {
    #expect(Search(mistake: mistake).findsLoss(writes: 2).lost)
  }
}
