/// SplitMix64: the whole of a schedule follows from one seed.
struct SplitMix64 {
  private var state: UInt64

  init(seed: UInt64) {
    // Neighbouring seeds must not give neighbouring streams.
    state = seed &* 0xd134_2543_de82_ef95 &+ 0x9e37_79b9_7f4a_7c15
    _ = next()
  }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ (word &>> 30)) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ (word &>> 27)) &* 0x94d0_49bb_1331_11eb
    return word ^ (word &>> 31)
  }

  /// A number from 0 to before `bound`.
  mutating func below(_ bound: Int) -> Int {
    Int(truncatingIfNeeded: (next() &>> 33) % UInt64(bound))
  }

  /// A number from 1 to `bound`, small ones more often.
  mutating func amount(upTo bound: Int) -> Int {
    let limit = chance(1, in: 3) ? bound : min(bound, 4)
    return 1 + below(max(limit, 1))
  }

  mutating func chance(_ hits: Int, in total: Int) -> Bool { below(total) < hits }

  mutating func pick<T>(_ first: T, _ others: T...) -> T {
    let index = below(others.count + 1)
    return index == 0 ? first : others[index - 1]
  }
}
