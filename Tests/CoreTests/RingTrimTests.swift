import MillraceCore
import Testing

/// Memory that is given back holds nothing that anybody will read, is given back once, and not while a lane is busy.
@Suite struct RingTrimTests {
  private static let page = 16
  private static let capacity = 256

  /// The bytes of the ring that a piece of memory covers, which may run over its end.
  private func covered(_ piece: UnsafeMutableRawBufferPointer, _ memory: RingMemory) -> Set<Int> {
    let first = piece.baseAddress! - memory.data
    #expect(first >= 0 && first % Self.page == 0 && piece.count % Self.page == 0)
    #expect(first + piece.count <= 2 * Self.capacity)
    return Set((0..<piece.count).map { (first + $0) & (Self.capacity - 1) })
  }

  private func send(_ count: Int, _ memory: RingMemory, _ producer: inout RingProducer) {
    var left = count
    while left > 0 {
      _ = producer.refresh()
      left -= memory.write(&producer, upTo: min(left, producer.room))
      _ = producer.publish()
      if left > 0 { drain(memory) }
    }
  }

  private func drain(_ memory: RingMemory, but kept: Int = 0) {
    var consumer = memory.consumer()
    _ = consumer.refresh()
    _ = consumer.free(max(0, consumer.ready - kept))
  }

  @Test func anIdleRingIsGivenBackWholeAndOnce() {
    let memory = RingMemory(capacity: Self.capacity)
    var producer = memory.producer()
    var trim = RingTrim()
    // Nothing has ever been there.
    #expect(trim.look(at: &producer, pageBytes: Self.page) == nil)
    for _ in 0..<3 {
      send(2 * Self.capacity, memory, &producer)
      drain(memory)
      // Busy until a moment ago.
      #expect(trim.look(at: &producer, pageBytes: Self.page) == nil)
      let piece = trim.look(at: &producer, pageBytes: Self.page)
      #expect(piece?.baseAddress == memory.data && piece?.count == Self.capacity)
      #expect(trim.look(at: &producer, pageBytes: Self.page) == nil)
    }
  }

  /// A lane on which a little goes by keeps a little, though its positions run through the whole ring.
  @Test func aSlowLaneKeepsNoMoreThanItUses() {
    let memory = RingMemory(capacity: Self.capacity)
    var producer = memory.producer()
    var trim = RingTrim()
    var resident: Set<Int> = []
    for round in 0..<500 {
      let count = 1 + round % 23
      let tail = producer.tail
      send(count, memory, &producer)
      for position in tail..<producer.tail { resident.insert(Int(position) / Self.page % (Self.capacity / Self.page)) }
      drain(memory)
      if let piece = trim.look(at: &producer, pageBytes: Self.page) {
        resident.subtract(covered(piece, memory).map { $0 / Self.page })
      }
      #expect(resident.count <= 5)
    }
  }

  /// Whatever is unread, and wherever it lies, stays.
  @Test func whatIsUnreadStays() {
    for start in 0..<Self.capacity {
      for unread in [1, 2, 15, 16, 17, 100, 239, 240, 241, 255, 256] {
        let memory = RingMemory(capacity: Self.capacity)
        var producer = memory.producer()
        var trim = RingTrim()
        send(Self.capacity + start, memory, &producer)
        drain(memory)
        send(unread, memory, &producer)
        _ = trim.look(at: &producer, pageBytes: Self.page)
        let piece = trim.look(at: &producer, pageBytes: Self.page)
        let held = Set((0..<unread).map { (Self.capacity + start + $0) & (Self.capacity - 1) })
        let given = piece.map { covered($0, memory) } ?? []
        #expect(given.isDisjoint(with: held))
        // All that is free goes, but for the pages at its two ends.
        #expect(given.count + held.count > Self.capacity - 2 * Self.page)
        #expect(trim.look(at: &producer, pageBytes: Self.page) == nil)
      }
    }
  }

  /// A head that makes no sense is no reason to give anything back.
  @Test(arguments: [UInt64.max - 1000, 1 << 40]) func anAbsurdHeadChangesNothing(head: UInt64) {
    let memory = RingMemory(capacity: Self.capacity)
    var producer = memory.producer()
    var trim = RingTrim()
    send(100, memory, &producer)
    memory.reader.head.pointee.store(head, ordering: .relaxed)
    for _ in 0..<3 { #expect(trim.look(at: &producer, pageBytes: Self.page) == nil) }
  }
}
