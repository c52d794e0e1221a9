import MillraceCore

/// Lends the bytes of `text`.
func withBytes<Result>(_ text: String, _ body: (UnsafeBufferPointer<UInt8>) throws -> Result) rethrows -> Result {
  try Array(text.utf8).withUnsafeBufferPointer(body)
}

extension Endpoint {
  /// What `write` makes of the endpoint.
  var text: String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Endpoint.textCapacity) { buffer in
      String(decoding: buffer[..<write(into: buffer)], as: UTF8.self)
    }
  }
}

/// Repeatable random numbers (SplitMix64), so that a failure comes again with its seed.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
    return value ^ value >> 31
  }

  /// Text that often gets past the first character of a parser: words of its grammar with random bytes between.
  mutating func text(of words: [String], pieces: Int) -> [UInt8] {
    var text: [UInt8] = []
    for _ in 0..<Int.random(in: 0...pieces, using: &self) {
      if Int.random(in: 0..<8, using: &self) == 0 {
        text.append(UInt8.random(in: .min ... .max, using: &self))
      } else {
        text += Array(words.randomElement(using: &self)!.utf8)
      }
    }
    return text
  }
}
