import MillraceCore

/// Messages of the wireup: an honest one with bytes changed, cut off or added, or wholly random ones.
enum WireupFuzz {
  static func run(_ random: inout Random) -> String? {
    var bytes = [UInt8](repeating: 0, count: 80)
    var count = WireupMessage.byteCount
    if random.once(in: 8) {
      for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: random.next()) }
    } else {
      let kinds: [WireupMessage.Kind] = [.offer, .accept, .decline]
      let message = WireupMessage(
        kinds[random.below(3)], detail: UInt32(truncatingIfNeeded: random.word(near: 65536, spread: 8)),
        nonce: Nonce(random.next(), random.next()))
      bytes.withUnsafeMutableBytes { message.encode(into: $0.baseAddress!) }
      for _ in 0..<random.below(4) { change(&bytes, &random) }
    }
    if random.once(in: 4) { count = random.below(bytes.count + 1) }
    // At the end of its memory, so that reading beyond it is noticed.
    return Guarded.with(Array(bytes[..<count])) { decode($0, count) }
  }

  private static func change(_ bytes: inout [UInt8], _ random: inout Random) {
    // Mostly where something is.
    let index = random.once(in: 3) ? random.below(64) : random.below(20)
    switch random.below(3) {
    case 0: bytes[index] = UInt8(truncatingIfNeeded: random.next())
    case 1: bytes[index] ^= 1 &<< UInt8(random.below(8))
    default: bytes[index] = 0
    }
  }

  private static func decode(_ bytes: UnsafeRawPointer, _ count: Int) -> String? {
    guard let message = WireupMessage(decoding: bytes, count: count) else {
      Tally.count("refused")
      return nil
    }
    Tally.count(message.version == WireupMessage.version ? "\(message.kind)" : "other version")
    if count != WireupMessage.byteCount { return "a message of \(count) bytes is taken" }
    // What was understood is what was said.
    var again = [UInt8](repeating: 0, count: WireupMessage.byteCount)
    again.withUnsafeMutableBytes { message.encode(into: $0.baseAddress!) }
    for index in 0..<40 where !(20..<24).contains(index) {
      if again[index] != bytes.load(fromByteOffset: index, as: UInt8.self) { return "byte \(index) was misread" }
    }
    return nil
  }
}
