import Testing

/// Two calls of one end that sleep on one arm word, while another thread lets them go (a shutdown, a peer's death) and a
/// peer takes the arm and dies before it wakes anybody: every interleaving. A transcription of `Waiters.sleep`,
/// `Waiters.disarm` and `Waiters.release`. The two calls are of one process, and hold the lock of their direction up to
/// their pin; or they are of two since a fork, and the second one may be killed at any point.
@Suite struct ArmReleaseTests {
  /// Mistakes that must be found, or the search proves nothing.
  enum Mistake: CaseIterable {
    /// The word comes back to what a sleeper expects when a second one arms.
    case countsNoReleases
    /// The futex is woken only if the word says that somebody sleeps.
    case wakesOnlyTheArmed
    /// The sleeper takes what it expects from the word after its look.
    case expectsTooLate
  }

  private enum Step { case begin, look, expect, pin, wait, asleep, clear, count, wake, done }

  private struct Reader: Hashable {
    var step = Step.begin
    var expected = 0
  }

  private enum Waker { case change, count, clear, wake, done }

  private struct State: Hashable {
    var isOver = false
    var count = 0
    var bit = false
    var peerIsAlive = true
    var lock: Int?
    var readers = [Reader(), Reader()]
    var waker = Waker.change
    var mustWake = true

    var word: Int { count * 2 + (bit ? 1 : 0) }

    mutating func wakeAll() {
      for index in readers.indices where readers[index].step == .asleep { readers[index].step = .begin }
    }
  }

  private struct Search {
    let mistake: Mistake?
    /// The two calls are of two processes.
    let isFamily: Bool

    func findsSleeper() -> (found: Bool, states: Int) {
      var seen: Set<State> = [State()]
      var todo = [State()]
      while let state = todo.popLast() {
        let next = [move(state, 0), move(state, 1), moveWaker(state), killPeer(state), killReader(state)].compactMap {
          $0
        }
        if state.waker == .done, state.readers[0].step == .asleep,
          state.readers[1].step == .asleep || state.readers[1].step == .done
        {
          return (true, seen.count)
        }
        for follower in next where seen.insert(follower).inserted { todo.append(follower) }
      }
      return (false, seen.count)
    }

    private func move(_ state: State, _ index: Int) -> State? {
      var next = state
      var reader = state.readers[index]
      let other = state.readers[1 - index].step
      let isCareful = isFamily || other == .wait || other == .asleep
      switch reader.step {
      case .done, .asleep: return nil
      case .begin:
        guard isFamily || state.lock == nil else { return nil }
        next.lock = index
        next.bit = true
        reader.expected = next.word
        reader.step = .look
      case .look:
        if state.isOver {
          reader.step = isCareful ? .count : .clear
        } else {
          reader.step = mistake == .expectsTooLate ? .expect : .pin
        }
      case .expect:
        reader.expected = state.count * 2 + 1
        reader.step = .pin
      case .pin:
        next.lock = nil
        reader.step = .wait
      case .wait: reader.step = state.word == reader.expected ? .asleep : .begin
      case .count:
        if mistake != .countsNoReleases { next.count += 1 }
        reader.step = .clear
      case .clear:
        next.bit = false
        reader.step = isCareful ? .wake : .done
      case .wake:
        next.wakeAll()
        reader.step = .done
      }
      if reader.step == .done { next.lock = nil }
      next.readers[index] = reader
      return next
    }

    private func killReader(_ state: State) -> State? {
      guard isFamily, state.readers[1].step != .done else { return nil }
      var next = state
      next.readers[1].step = .done
      return next
    }

    private func moveWaker(_ state: State) -> State? {
      var next = state
      switch state.waker {
      case .done: return nil
      case .change:
        next.isOver = true
        next.waker = .count
      case .count:
        if mistake != .countsNoReleases { next.count += 1 }
        next.waker = .clear
      case .clear:
        if mistake == .wakesOnlyTheArmed { next.mustWake = state.bit }
        next.bit = false
        next.waker = .wake
      case .wake:
        if state.mustWake { next.wakeAll() }
        next.waker = .done
      }
      return next
    }

    private func killPeer(_ state: State) -> State? {
      guard state.peerIsAlive, state.bit else { return nil }
      var next = state
      next.bit = false
      next.peerIsAlive = false
      return next
    }
  }

  @Test(arguments: [false, true]) func nobodySleepsBehindARelease(isFamily: Bool) {
    let (found, states) = Search(mistake: nil, isFamily: isFamily).findsSleeper()
    #expect(!found)
    #expect(states > 200)
    print("releases: \(states) states")
  }

  @Test(arguments: Mistake.allCases) func everyMistakeIsFound(mistake: Mistake) {
    #expect([false, true].contains { Search(mistake: mistake, isFamily: $0).findsSleeper().found })
  }
}
