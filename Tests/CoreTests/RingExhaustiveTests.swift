import MillraceCore
import Synchronization
import Testing

/// Every state that a small ring, its producer and its consumer can reach, by every order of their calls.
@Suite struct RingExhaustiveTests {
  /// One call of either side.
  private enum Call: CaseIterable {
    case writeOne
    case writeTwo
    case writeAll
    case publish
    case refreshHead
    case sleepUntilRoom
    case finish
    case refreshTail
    case freeOne
    case freeAll
    case sleepUntilBytes
    case reopenProducer
    case reopenConsumer
  }

  /// A state without its absolute positions: two states with the same key go on in the same way.
  private struct Key: Hashable {
    var words: [Int]
  }

  private struct State {
    var producer: RingProducer
    var consumer: RingConsumer
    var tail: UInt64 = 0
    var head: UInt64 = 0
    var readerArm: UInt32 = 0
    var writerArm: UInt32 = 0
    var flags: UInt32 = 0
    var readerSleeps = false
    var writerSleeps = false

    func key(_ capacity: Int) -> Key {
      let words: [UInt64] = [
        head & UInt64(capacity - 1), tail &- head, producer.tail &- head, UInt64(producer.room),
        consumer.head &- head, UInt64(consumer.ready), UInt64(readerArm), UInt64(writerArm), UInt64(flags),
        readerSleeps ? 1 : 0, writerSleeps ? 1 : 0,
      ]
      return Key(words: words.map { Int(truncatingIfNeeded: $0) })
    }
  }

  private final class Explorer {
    let memory: RingMemory
    var seen: Set<Key> = []
    var todo: [State] = []
    var problem: String?
    var sleeps = 0
    var wakes = 0

    init(capacity: Int) {
      memory = RingMemory(capacity: capacity)
      todo = [State(producer: memory.producer(), consumer: memory.consumer())]
    }

    /// Follows every call from every state until there is no new one.
    func run() {
      while problem == nil, let state = todo.popLast() {
        for call in Call.allCases {
          restore(state)
          var next = state
          guard apply(call, to: &next) else { continue }
          save(&next)
          check(next, after: call)
          if seen.insert(next.key(memory.capacity)).inserted { todo.append(next) }
        }
      }
    }

    private func restore(_ state: State) {
      memory.writer.tail.pointee.store(state.tail, ordering: .relaxed)
      memory.writer.finish.pointee.store(state.flags, ordering: .relaxed)
      memory.writer.writerArm.pointee.store(state.writerArm, ordering: .relaxed)
      memory.reader.head.pointee.store(state.head, ordering: .relaxed)
      memory.reader.readerArm.pointee.store(state.readerArm, ordering: .relaxed)
      for position in state.head..<state.producer.tail { memory.fill(position) }
    }

    private func save(_ state: inout State) {
      state.tail = memory.writer.tail.pointee.load(ordering: .relaxed)
      state.flags = memory.writer.finish.pointee.load(ordering: .relaxed)
      state.writerArm = memory.writer.writerArm.pointee.load(ordering: .relaxed)
      state.head = memory.reader.head.pointee.load(ordering: .relaxed)
      state.readerArm = memory.reader.readerArm.pointee.load(ordering: .relaxed)
    }

    /// Makes the call; false if its side sleeps or it makes no sense.
    private func apply(_ call: Call, to state: inout State) -> Bool {
      switch call {
      case .writeOne, .writeTwo, .writeAll, .publish, .refreshHead, .sleepUntilRoom, .finish, .reopenProducer:
        if state.writerSleeps { return false }
        return applyProducer(call, to: &state)
      case .refreshTail, .freeOne, .freeAll, .sleepUntilBytes, .reopenConsumer:
        if state.readerSleeps { return false }
        return applyConsumer(call, to: &state)
      }
    }

    private func applyProducer(_ call: Call, to state: inout State) -> Bool {
      if state.flags != 0 { return false }
      switch call {
      case .writeOne: return memory.write(&state.producer, upTo: 1) > 0
      case .writeTwo: return memory.write(&state.producer, upTo: 2) > 0
      case .writeAll: return memory.write(&state.producer, upTo: 2 * memory.capacity) > 0
      case .publish: wakeReader(state.producer.publish(), &state)
      case .finish: wakeReader(state.producer.finish(FinishFlags.finished), &state)
      case .refreshHead: if !state.producer.refresh() { problem = "an honest head is refused" }
      case .sleepUntilRoom:
        // Nobody sleeps on bytes that the peer has not been shown.
        if state.producer.tail != state.tail { return false }
        if state.producer.mustWait(arming: ArmBits.futex) {
          state.writerSleeps = true
          sleeps += 1
        }
      default:
        // Another process of this end takes the positions from shared memory; unpublished bytes are nobody's.
        if state.producer.tail != state.tail { return false }
        if !state.producer.reload() { problem = "honest positions are refused" }
      }
      return true
    }

    private func applyConsumer(_ call: Call, to state: inout State) -> Bool {
      switch call {
      case .refreshTail: if !state.consumer.refresh() { problem = "an honest tail is refused" }
      case .freeOne, .freeAll:
        let count = call == .freeOne ? 1 : state.consumer.ready
        if count == 0 || state.consumer.ready < count { return false }
        if !memory.holdsStream(state.consumer, count: count) { problem = "other bytes than were written" }
        if state.consumer.free(count) & ArmBits.futex != 0, state.writerSleeps {
          state.writerSleeps = false
          wakes += 1
        }
      case .sleepUntilBytes:
        if state.consumer.ready > 0 { return false }
        if state.consumer.mustWait(arming: ArmBits.futex) {
          state.readerSleeps = true
          sleeps += 1
        }
      default: if !state.consumer.reload() { problem = "honest positions are refused" }
      }
      return true
    }

    private func wakeReader(_ bits: UInt32, _ state: inout State) {
      if bits & ArmBits.futex != 0, state.readerSleeps {
        state.readerSleeps = false
        wakes += 1
      }
    }

    private func check(_ state: State, after call: Call) {
      let capacity = memory.capacity
      let used = Int(state.producer.tail - state.head)
      if used > capacity { problem = "\(used) bytes in a ring of \(capacity)" }
      if state.producer.room > capacity - used { problem = "more room than there is" }
      if state.consumer.ready > Int(state.tail - state.head) { problem = "more ready than published" }
      if state.readerSleeps, state.tail != state.head || state.flags != 0 { problem = "a reader sleeps on bytes" }
      // A third free, as the consumer sees it: then a sleeping writer must have been woken.
      let free = capacity - Int(state.tail - state.head)
      if state.writerSleeps, free >= capacity / 3 { problem = "a writer sleeps on room" }
      if let text = problem { problem = "\(text), after \(call)" }
    }
  }

  @Test(arguments: [4, 8, 16]) func everyOrderOfCallsKeepsTheStream(capacity: Int) {
    let explorer = Explorer(capacity: capacity)
    explorer.run()
    #expect(explorer.problem == nil)
    #expect(explorer.seen.count > 200 && explorer.sleeps > 20 && explorer.wakes > 20)
    print("ring of \(capacity): \(explorer.seen.count) states, \(explorer.sleeps) sleeps, \(explorer.wakes) wakes")
  }
}
