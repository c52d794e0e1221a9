import MillraceCore
import Synchronization
import Testing

/// Whatever the peer writes into the shared words, its own connection breaks and nothing else: no position leads out of
/// the ring, and absurd ones are named.
@Suite struct RingHostileTests {
  /// Positions that are further from 0 than the ring of 64 is long, forwards and backwards.
  private static let absurd: [UInt64] = [
    65, 66, 1 << 20, 1 << 32, 1 << 62, 1 << 63, .max - 64, .max - 65, .max - (1 << 20),
  ]

  @Test(arguments: absurd) func anAbsurdTailIsRefused(tail: UInt64) {
    let memory = RingMemory(capacity: 64)
    var consumer = memory.consumer()
    memory.writer.tail.pointee.store(tail, ordering: .relaxed)
    let isAccepted = consumer.refresh()
    #expect(!isAccepted)
    #expect(consumer.ready == 0)
  }

  @Test(arguments: absurd) func anAbsurdHeadIsRefused(head: UInt64) {
    let memory = RingMemory(capacity: 64)
    var producer = memory.producer()
    memory.reader.head.pointee.store(head, ordering: .relaxed)
    let isAccepted = producer.refresh()
    let sleeps = producer.mustWait(arming: ArmBits.futex)
    #expect(!isAccepted && !sleeps)
    #expect(producer.room == 64)
    // One that begins with such a head has no room at all.
    #expect(memory.producer().room == 0)
  }

  /// Who made the memory has no say in where a new lane begins.
  @Test(arguments: absurd) func aLaneBeginsAtItsBeginning(position: UInt64) {
    let memory = RingMemory(capacity: 64)
    for side in [memory.writer, memory.reader] {
      side.tail.pointee.store(position, ordering: .relaxed)
      side.head.pointee.store(position, ordering: .relaxed)
    }
    let producer = RingProducer(data: memory.data, capacity: 64, own: memory.writer, peer: memory.reader)
    let consumer = RingConsumer(
      data: UnsafeRawPointer(memory.data), capacity: 64, own: memory.reader, peer: memory.writer)
    #expect(producer.tail == 0 && consumer.head == 0)
    #expect(memory.writer.tail.pointee.load(ordering: .relaxed) == 0)
    #expect(memory.reader.head.pointee.load(ordering: .relaxed) == 0)
    // Nothing is there to be sent again.
    #expect(producer.retained(from: 0)?.count == 0)
  }

  /// A tail that is reloaded may be a liar's: nothing but the ring is ever sent again.
  @Test(arguments: absurd) func nothingBeyondTheRingIsRetained(tail: UInt64) {
    let memory = RingMemory(capacity: 64)
    var producer = memory.producer()
    memory.writer.tail.pointee.store(tail, ordering: .relaxed)
    _ = producer.reload()
    #expect(producer.retained(from: 0) == nil)
    #expect(producer.retained(from: tail)?.count == 0)
  }

  /// Random words in every place that the peer can write to, between random calls: the counts stay within the ring.
  @Test func randomWordsNeverLeadOutOfTheRing() {
    var random = SeededGenerator(seed: 7)
    let memory = RingMemory(capacity: 64)
    for _ in 0..<20_000 {
      for word in [memory.writer.tail, memory.reader.head] { word.pointee.store(0, ordering: .relaxed) }
      var producer = memory.producer()
      var consumer = memory.consumer()
      for _ in 0..<12 {
        let word = Bool.random(using: &random) ? random.next() : random.next() % 200
        switch Int.random(in: 0..<8, using: &random) {
        case 0: memory.writer.tail.pointee.store(word, ordering: .relaxed)
        case 1: memory.reader.head.pointee.store(word, ordering: .relaxed)
        case 2: _ = memory.write(&producer, upTo: Int(word % 100))
        case 3: _ = producer.publish()
        case 4: _ = producer.refresh()
        case 5: _ = consumer.refresh()
        case 6: _ = consumer.free(min(consumer.ready, Int(word % 100)))
        default: _ = Bool.random(using: &random) ? producer.reload() : consumer.reload()
        }
        guard (0...64).contains(producer.room), (0...64).contains(producer.pending),
          (0...64).contains(consumer.ready), producer.space.count == producer.room, consumer.bytes.count <= 64
        else {
          Issue.record("room \(producer.room), pending \(producer.pending), ready \(consumer.ready)")
          return
        }
      }
    }
  }
}
