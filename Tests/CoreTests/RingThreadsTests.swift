import Dispatch
import Foundation
import MillraceCore
import Testing

/// The ring between two threads that really sleep: what came in comes out, and nobody sleeps for ever.
@Suite struct RingThreadsTests {
  /// The two threads share the memory only through the ring and these.
  private final class Shared: @unchecked Sendable {
    let memory: RingMemory
    let toReader = DispatchSemaphore(value: 0)
    let toWriter = DispatchSemaphore(value: 0)
    let total: UInt64

    init(capacity: Int, total: UInt64) {
      memory = RingMemory(capacity: capacity)
      self.total = total
    }

    /// False if nobody rings for a time in which everything would have gone through.
    func sleep(_ semaphore: DispatchSemaphore) -> Bool {
      semaphore.wait(timeout: .now() + .seconds(60)) == .success
    }

    func produce(seed: UInt64) -> String? {
      var random = SeededGenerator(seed: seed)
      var producer = memory.producer()
      while producer.tail < total {
        if producer.room == 0, !producer.refresh() { return "an honest head is refused" }
        let wanted = Int(min(UInt64.random(in: 1...900, using: &random), total - producer.tail))
        if memory.write(&producer, upTo: min(wanted, producer.room)) > 0 {
          if producer.publish() & ArmBits.futex != 0 { toReader.signal() }
        } else if producer.mustWait(arming: ArmBits.futex), !sleep(toWriter) {
          return "the writer sleeps for ever at \(producer.tail)"
        }
      }
      if producer.finish(FinishFlags.finished) & ArmBits.futex != 0 { toReader.signal() }
      return nil
    }

    func consume(seed: UInt64) -> String? {
      var random = SeededGenerator(seed: seed)
      var consumer = memory.consumer()
      while true {
        // The flags first: bytes come before them.
        let isFinished = consumer.finishFlags != 0
        if consumer.ready == 0, !consumer.refresh() { return "an honest tail is refused" }
        if consumer.ready == 0 {
          if isFinished { return consumer.head == total ? nil : "ends at \(consumer.head)" }
          if consumer.mustWait(arming: ArmBits.futex), !sleep(toReader) {
            return "the reader sleeps for ever at \(consumer.head)"
          }
          continue
        }
        let count = min(consumer.ready, Int.random(in: 1...700, using: &random))
        if !memory.holdsStream(consumer, count: count) { return "other bytes at \(consumer.head)" }
        if consumer.free(count) & ArmBits.futex != 0 { toWriter.signal() }
      }
    }
  }

  @Test(arguments: [64, 1024, 4096]) func whatComesInComesOut(capacity: Int) {
    let shared = Shared(capacity: capacity, total: UInt64(capacity) * 500)
    let done = DispatchSemaphore(value: 0)
    nonisolated(unsafe) var produced: String?
    let thread = Thread {
      produced = shared.produce(seed: UInt64(capacity))
      done.signal()
    }
    thread.start()
    let consumed = shared.consume(seed: 1)
    done.wait()
    #expect(produced == nil)
    #expect(consumed == nil)
  }
}
