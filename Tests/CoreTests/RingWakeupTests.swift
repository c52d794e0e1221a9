import Testing

/// The arm-and-look-again protocol of the ring, one memory access at a time, in every interleaving. This is a
/// transcription of `RingProducer.publish`, `RingProducer.mustWait`, `RingConsumer.free` and `RingConsumer.mustWait`, as
/// the code itself cannot be stopped between two accesses; `RingExhaustiveTests` has the code, call by call.
@Suite struct RingWakeupTests {
  /// Mistakes that must be found, or the search proves nothing.
  enum Mistake: CaseIterable {
    /// The reader looks, then arms.
    case readerLooksFirst
    /// The writer looks, then arms.
    case writerLooksFirst
    /// The producer loads the arm before its tail is visible, as a merely releasing store would let it.
    case publishIsNotSequential
    /// The consumer loads the arm before its head is visible.
    case freeIsNotSequential
    /// The consumer wants more room than the writer before it rings.
    case thresholdsDiffer
  }

  private struct State: Hashable {
    var tail = 0
    var head = 0
    var readerArm = false
    var writerArm = false
    /// Where each side stands, and whether it sleeps.
    var producer = Step.begin
    var consumer = Step.begin
  }

  private enum Step {
    case begin
    case store
    case loadArm
    case checkRoom
    case takeArm
    case arm
    case look
    case wait
    case asleep
    case done
  }

  private struct Search {
    let capacity: Int
    let total: Int
    let mistake: Mistake?

    /// Free bytes below which a writer waits, as `RingProducer.isCrowded` has it.
    private func isCrowded(_ used: Int) -> Bool { capacity - used < max(capacity / 3, 1) }

    /// A state in which neither side can go on although not everything has come through.
    func findStuck() -> (stuck: Bool, states: Int) {
      var seen: Set<State> = [State()]
      var todo = [State()]
      while let state = todo.popLast() {
        let followers = [moveProducer(state), moveConsumer(state)].compactMap { $0 }
        if followers.isEmpty, state.producer != .done || state.consumer != .done { return (true, seen.count) }
        for next in followers where seen.insert(next).inserted { todo.append(next) }
      }
      return (false, seen.count)
    }

    private func moveProducer(_ state: State) -> State? {
      var next = state
      switch state.producer {
      case .asleep, .done: return nil
      case .begin:
        let first: Step = mistake == .publishIsNotSequential ? .loadArm : .store
        let waits: Step = mistake == .writerLooksFirst ? .look : .arm
        next.producer = state.tail == total ? .done : state.tail - state.head < capacity ? first : waits
      case .store:
        next.tail += 1
        next.producer = mistake == .publishIsNotSequential ? .begin : .loadArm
      case .loadArm:
        if mistake == .publishIsNotSequential {
          next.producer = state.readerArm ? .takeArm : .store
        } else {
          next.producer = state.readerArm ? .takeArm : .begin
        }
      case .takeArm, .checkRoom:
        next.readerArm = false
        if state.consumer == .asleep { next.consumer = .begin }
        next.producer = mistake == .publishIsNotSequential ? .store : .begin
      case .arm:
        next.writerArm = true
        next.producer = mistake == .writerLooksFirst ? .wait : .look
      case .look:
        let sleeps: Step = mistake == .writerLooksFirst ? .arm : .wait
        next.producer = isCrowded(state.tail - state.head) ? sleeps : .begin
      case .wait:
        // The kernel sleeps only while the word is what it was.
        next.producer = state.writerArm ? .asleep : .begin
      }
      return next
    }

    private func moveConsumer(_ state: State) -> State? {
      var next = state
      switch state.consumer {
      case .asleep, .done: return nil
      case .begin:
        let first: Step = mistake == .freeIsNotSequential ? .loadArm : .store
        let waits: Step = mistake == .readerLooksFirst ? .look : .arm
        next.consumer = state.head == total ? .done : state.head < state.tail ? first : waits
      case .store:
        next.head += 1
        next.consumer = mistake == .freeIsNotSequential ? .begin : .loadArm
      case .loadArm:
        let otherwise: Step = mistake == .freeIsNotSequential ? .store : .begin
        next.consumer = state.writerArm ? .checkRoom : otherwise
      case .checkRoom:
        var used = state.tail - state.head
        if mistake == .thresholdsDiffer { used += 1 }
        if mistake == .freeIsNotSequential { used -= 1 }
        let otherwise: Step = mistake == .freeIsNotSequential ? .store : .begin
        next.consumer = isCrowded(used) ? otherwise : .takeArm
      case .takeArm:
        next.writerArm = false
        if state.producer == .asleep { next.producer = .begin }
        next.consumer = mistake == .freeIsNotSequential ? .store : .begin
      case .arm:
        next.readerArm = true
        next.consumer = mistake == .readerLooksFirst ? .wait : .look
      case .look:
        let sleeps: Step = mistake == .readerLooksFirst ? .arm : .wait
        next.consumer = state.tail == state.head ? sleeps : .begin
      case .wait:
        next.consumer = state.readerArm ? .asleep : .begin
      }
      return next
    }
  }

  @Test(arguments: [1, 2, 3, 4, 6, 9]) func nobodySleepsForEver(capacity: Int) {
    let (stuck, states) = Search(capacity: capacity, total: 4 * capacity + 3, mistake: nil).findStuck()
    #expect(!stuck)
    #expect(states > 100)
  }

  @Test(arguments: Mistake.allCases) func everyMistakeIsFound(mistake: Mistake) {
    let found = [1, 2, 3, 6].filter { Search(capacity: $0, total: 4 * $0 + 3, mistake: mistake).findStuck().stuck }
    #expect(!found.isEmpty)
    print("\(mistake) gets stuck in rings of \(found)")
  }
}
