import MillraceCore

/// What a schedule is made of, drawn from its seed.
struct Options {
  let fabric: Fabric
  let mutation: Mutation?
  /// Bytes of each ring, a power of two.
  let ringBytes: Int
  /// Bytes that each kernel stream holds.
  let kernelBytes: Int
  /// Bytes that an end reads ahead of its application at most.
  let lookAhead: Int
  /// Bytes that each application sends.
  let streamBytes: [Int]
  /// How many different values the applications' bytes take: few, so that they look like the beginning of a mark.
  private let alphabet: UInt64
  private let salt: UInt64
  /// Random steps before the world is left to settle.
  let steps: Int
  let maximumEpochs: Int
  /// How often in 1,000 steps an end wants to leave its lane or the fabric fails.
  let leaveRate: Int
  /// How often in 1,000 steps a process forks, or one of several ends.
  let forkRate: Int
  /// The step at which an end is killed; none is if there are fewer.
  let killStep: Int
  /// How often in 100 an application reads when it has its turn.
  let readRate: [Int]
  let sendRate: [Int]
  /// The applications shut their halves down after their last byte.
  let finishes: [Bool]
  /// Which of the applications reads while the world settles: its bytes must come whatever the other one does.
  let firstReader: Int

  init(_ random: inout SplitMix64, mutation: Mutation?) {
    self.mutation = mutation
    fabric = random.chance(1, in: 2) ? .sharedMemory : .verbs
    ringBytes = 4 << random.below(5)
    kernelBytes = random.pick(1, 5, 20, 64, 200)
    lookAhead = random.pick(0, 1, 8, 24)
    streamBytes = [random.pick(0, 1, 50, 300, 1000), random.pick(0, 1, 50, 300, 1000)]
    alphabet = UInt64(random.pick(1, 2, 4, 256))
    salt = random.next()
    steps = random.pick(80, 250, 700)
    maximumEpochs = random.pick(1, 2, 5)
    leaveRate = random.pick(0, 4, 20)
    killStep = random.chance(1, in: 3) ? random.below(steps) : .max
    readRate = [random.pick(0, 20, 100), random.pick(0, 20, 100)]
    sendRate = [random.pick(10, 100), random.pick(10, 100)]
    finishes = [random.chance(1, in: 3), random.chance(1, in: 3)]
    firstReader = random.below(2)
    forkRate = random.pick(0, 0, 10, 40)
  }

  /// Byte `position` of the stream that `end` sends.
  func byte(_ position: Int, from end: Int) -> UInt8 {
    if alphabet == 1 { return 0 }
    var word = salt &+ UInt64(position &* 2 &+ end) &* 0x9e37_79b9_7f4a_7c15
    word = (word ^ (word &>> 29)) &* 0xbf58_476d_1ce4_e5b9
    return UInt8(truncatingIfNeeded: (word &>> 32) % alphabet)
  }

  /// A nonce that begins with, or is, what the leader's application sends next: the worst that chance can do.
  func nonce(_ random: inout SplitMix64, sent: Int) -> Nonce {
    var nonce = Nonce(random.next(), random.next())
    var likeness = random.pick(0, 1, 3, 16)
    // Where the bytes are compared with a whole random nonce, sixteen equal ones are out of chance's reach.
    if mutation == .offerEmptyHanded || mutation == .markNotFlipped { likeness %= 16 }
    for index in 0..<likeness {
      let byte = UInt64(byte(sent + index, from: 0)) &<< UInt64(56 - 8 * (index & 7))
      let mask = ~(UInt64(0xff) &<< UInt64(56 - 8 * (index & 7)))
      if index < 8 { nonce.high = nonce.high & mask | byte } else { nonce.low = nonce.low & mask | byte }
    }
    return nonce
  }
}

/// What happened in a schedule, in words; kept only when a failing seed is run again.
final class Trace {
  private(set) var lines: [String] = []

  func add(_ line: String) {
    lines.append(line)
  }

  /// The last `count` lines, numbered.
  func tail(_ count: Int) -> String {
    let first = max(0, lines.count - count)
    return lines[first...].enumerated().map { "\(first + $0.offset): \($0.element)" }.joined(separator: "\n")
  }
}
