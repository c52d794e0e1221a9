import MillraceCore

/// The two ends of a ring while somebody writes into all of their words. Real memory: whatever leads out of it crashes.
enum RingFuzz {
  static func run(_ random: inout Random) -> String? {
    let memory = LaneMemory.shared
    memory.clear()
    if random.once(in: 4) { memory.forge(&random, near: 0) }
    let role: Role = random.once(in: 2) ? .leader : .follower
    var producer = memory.producer(role)
    var consumer = memory.consumer(role)
    for _ in 0..<(4 + random.below(20)) {
      if random.once(in: 3) { memory.forge(&random, near: random.once(in: 2) ? producer.tail : consumer.head) }
      if random.once(in: 2) { produce(&producer, &random) } else { consume(&consumer, &random) }
      let capacity = LaneMemory.ringBytes
      guard (0...capacity).contains(producer.room), (0...capacity).contains(producer.pending),
        producer.space.count == producer.room, (0...capacity).contains(consumer.ready),
        consumer.bytes.count == consumer.ready, producer.held &+ UInt64(producer.pending) == producer.tail
      else { return "room \(producer.room), pending \(producer.pending), ready \(consumer.ready)" }
    }
    return nil
  }

  private static func produce(_ producer: inout RingProducer, _ random: inout Random) {
    let amount = random.once(in: 4) ? random.below(9000) : random.below(60)
    switch random.below(8) {
    case 0, 1:
      let bytes = [UInt8](repeating: 7, count: amount)
      let written = bytes.withUnsafeBytes { amount == 0 ? 0 : producer.write($0.baseAddress!, count: amount) }
      Tally.count(written == amount ? "written" : "cut short")
      _ = producer.publish()
    case 2:
      let space = producer.space
      let filled = min(space.count, amount)
      if filled > 0 { space.baseAddress!.initializeMemory(as: UInt8.self, repeating: 8, count: filled) }
      producer.commit(filled)
    case 3: Tally.count(producer.refresh() ? "head taken" : "head refused")
    case 4: _ = producer.mustWait(arming: ArmBits.futex)
    case 5: Tally.count(producer.reload() ? "own tail taken" : "own tail refused")
    case 6: _ = producer.finish(FinishFlags.finished)
    default:
      let from = random.word(near: producer.tail, spread: 5000)
      if let rest = producer.retained(from: from) { touch(rest) } else { Tally.count("nothing retained") }
      _ = producer.isCrowded || producer.isFinished
    }
  }

  private static func consume(_ consumer: inout RingConsumer, _ random: inout Random) {
    let amount = min(consumer.ready, random.once(in: 4) ? random.below(9000) : random.below(60))
    switch random.below(8) {
    case 0: Tally.count(consumer.refresh() ? "tail taken" : "tail refused")
    case 1, 2:
      touch(consumer.bytes)
      var copy = [UInt8](repeating: 0, count: amount + 1)
      copy.withUnsafeMutableBytes { consumer.copy(to: $0.baseAddress!, offset: consumer.ready - amount, count: amount) }
      _ = consumer.free(amount)
    case 3: _ = consumer.mustWait(arming: ArmBits.bell)
    case 4: _ = consumer.holds(moreThan: 0) || consumer.finishFlags != 0
    case 5: Tally.count(consumer.skip(to: random.word(near: consumer.head, spread: 5000)) ? "skipped" : "not skipped")
    case 6: if random.once(in: 4) { consumer.skipAll() }
    default: Tally.count(consumer.reload() ? "own head taken" : "own head refused")
    }
  }

  private static func touch(_ bytes: UnsafeRawBufferPointer) {
    var sum: UInt8 = 0
    for byte in bytes { sum &+= byte }
    Tally.count(sum == 1 ? "touched one" : "touched")
  }
}
