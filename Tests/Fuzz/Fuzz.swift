import Glibc

/// Feeds the core what a hostile peer might say: `fuzz TARGET FIRST COUNT`. Each case is determined by its target and its
/// number; one that fails, or crashes, says which it was, and `fuzz TARGET NUMBER 1` is that case again.
@main struct Fuzz {
  struct Target {
    let name: String
    /// Runs one case. What it found, or nil.
    let run: (inout Random) -> String?
  }

  static let targets = [
    Target(name: "wireup", run: WireupFuzz.run),
    Target(name: "ring", run: RingFuzz.run),
    Target(name: "leader", run: { SessionFuzz.run(role: .leader, &$0) }),
    Target(name: "follower", run: { SessionFuzz.run(role: .follower, &$0) }),
  ]

  static func main() {
    let arguments = CommandLine.arguments
    guard arguments.count == 4, let target = targets.first(where: { $0.name == arguments[1] }),
      let first = UInt64(arguments[2]), let count = UInt64(arguments[3])
    else {
      print("usage: fuzz \(targets.map(\.name).joined(separator: "|")) FIRST COUNT")
      exit(2)
    }
    CrashReport.install(target.name)
    for number in first..<(first + count) {
      CrashReport.number = number
      var random = Random(seed: number)
      if let problem = target.run(&random) {
        print("\(target.name): case \(number): \(problem)\n  again: fuzz \(target.name) \(number) 1")
        exit(1)
      }
    }
    print("\(target.name): \(count) inputs, \(Tally.summary)")
  }
}

/// SplitMix64: a case follows from its number.
struct Random {
  private var state: UInt64

  init(seed: UInt64) {
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
  mutating func below(_ bound: Int) -> Int { Int(truncatingIfNeeded: (next() &>> 33) % UInt64(bound)) }

  /// True once in `count` times.
  mutating func once(in count: Int) -> Bool { below(count) == 0 }

  /// A word that a liar would choose: near something that matters, or far from everything.
  mutating func word(near value: UInt64, spread: UInt64) -> UInt64 {
    switch below(8) {
    case 0: next()
    case 1: 0
    case 2: .max &- next() % 4
    case 3: 1 &<< UInt64(below(64))
    default: value &+ next() % (2 &* spread &+ 1) &- spread
    }
  }
}

/// How often something was met: a fuzzer that is always refused at the door has not been inside.
enum Tally {
  nonisolated(unsafe) private static var counts: [String: Int] = [:]

  static func count(_ what: String) { counts[what, default: 0] += 1 }

  static var summary: String {
    counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
  }
}

/// Says which case it was when the core traps or reads beyond its memory.
enum CrashReport {
  nonisolated(unsafe) static var number: UInt64 = 0
  nonisolated(unsafe) private static var name: UnsafeMutablePointer<CChar>?

  static func install(_ target: String) {
    name = strdup(target)
    for fatal in [SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGABRT, SIGFPE] {
      signal(fatal) { _ in CrashReport.tell() }
    }
  }

  /// Nothing but write(2) here.
  private static func tell() {
    var digits: [UInt8] = []
    var rest = number
    repeat {
      digits.insert(UInt8(48 + rest % 10), at: 0)
      rest /= 10
    } while rest > 0
    write(2, "crash in ", 9)
    write(2, name!, strlen(name!))
    write(2, " case ", 6)
    write(2, digits, digits.count)
    write(2, "\n", 1)
    _exit(3)
  }
}
