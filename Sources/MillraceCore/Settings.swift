/// How much a process tells on its standard error.
public enum LogLevel: UInt8, Sendable {
  case off = 0
  case error
  case info
  case debug
}

/// The environment variables that Millrace reads, once, when a process starts.
public enum Variable: UInt8, CaseIterable, Sendable {
  case enabled = 0
  case fabrics
  case rules
  case rulesFile
  case attach
  case ring
  case spin
  case log
  case stats
  case chaos
  case map
  case keyFile

  /// How many variables there are; raw values are 0 ..< count.
  public static var count: Int { Int(Variable.keyFile.rawValue) + 1 }

  /// The variable's name in the environment. It ends with a zero byte, as getenv wants it.
  public var name: StaticString {
    switch self {
    case .enabled: "MILLRACE"
    case .fabrics: "MILLRACE_FABRICS"
    case .rules: "MILLRACE_RULES"
    case .rulesFile: "MILLRACE_RULES_FILE"
    case .attach: "MILLRACE_ATTACH"
    case .ring: "MILLRACE_RING"
    case .spin: "MILLRACE_SPIN"
    case .log: "MILLRACE_LOG"
    case .stats: "MILLRACE_STATS"
    case .chaos: "MILLRACE_CHAOS"
    case .map: "MILLRACE_MAP"
    case .keyFile: "MILLRACE_KEY_FILE"
    }
  }
}

/// What is wrong with the value of a variable.
public struct SettingsError: Equatable, Sendable {
  /// Whose value it is.
  public var variable: Variable
  /// Where in the value, in bytes from 1.
  public var column: Int
  /// What was expected there.
  public var message: StaticString

  /// Equal variables and columns, and the very same message.
  public static func == (a: SettingsError, b: SettingsError) -> Bool {
    a.variable == b.variable && a.column == b.column
      && a.message.utf8Start == b.message.utf8Start
  }
}

/// What a user can set, each by one environment variable.
///
/// A value with an error leaves the settings as they were; the caller reports it once and turns
/// Millrace off for the process, never the program.
public struct Settings: Sendable {
  /// MILLRACE: whether connections may have lanes at all.
  public var enabled: Bool
  /// MILLRACE_FABRICS: the fabric that is tried first.
  public var firstFabric: FabricKind
  /// The fabric that is tried after it, or `.none`.
  public var secondFabric: FabricKind
  /// MILLRACE_ATTACH: a connection is a candidate after this many data calls, or ...
  public var attachCalls: UInt32
  /// ... after this many bytes in both directions together, whichever comes first.
  public var attachBytes: UInt64
  /// MILLRACE_RING: bytes of the ring of one direction, a power of two.
  public var ringBytes: UInt32
  /// MILLRACE_SPIN: the longest time that a waiter spins before it sleeps.
  public var spinMicroseconds: UInt32
  /// Whether the spin time adapts itself between 0 and `spinMicroseconds`.
  public var spinAuto: Bool
  /// MILLRACE_LOG.
  public var logLevel: LogLevel
  /// MILLRACE_CHAOS: the seed of a debugging aid that makes lanes be left at random; 0 for none.
  public var chaosSeed: UInt64 = 0
  /// How many of a thousand lanes are left in each millisecond.
  public var chaosRate: UInt32 = 0
  /// MILLRACE_STATS: whether the process has a statistics page.
  public var stats: Bool
  /// MILLRACE_MAP: RDMA addresses of hosts whose TCP addresses are others.
  public var map = AddressMap()

  /// The bounds of MILLRACE_RING: one memory page, and what a ring index may address.
  public static let ringRange: ClosedRange<UInt64> = 4096...(64 << 20)
  /// The longest spin that can be asked for: beyond a scheduler's time slice it only burns.
  public static let longestSpin: UInt64 = 10_000

  /// The settings of a process without any variable.
  public static var defaults: Settings {
    Settings(
      enabled: true, firstFabric: .shm, secondFabric: .none, attachCalls: 16,
      attachBytes: 64 << 10, ringBytes: 256 << 10, spinMicroseconds: 50, spinAuto: true,
      logLevel: .error, stats: true)
  }

  /// Sets what `variable` sets from its value. An empty value is as good as none. The values of
  /// `.rules` and `.rulesFile` are the caller's to read with `RulesParser`, that of `.keyFile` names a file; they change nothing here.
  public mutating func apply(
    _ variable: Variable, value: UnsafeBufferPointer<UInt8>
  ) -> SettingsError? {
    if value.isEmpty { return nil }
    var scanner = Scanner(value)
    var next = self
    let problem: StaticString?
    switch variable {
    case .enabled: problem = scanner.onOff(&next.enabled)
    case .fabrics: problem = scanner.fabrics(&next)
    case .rules, .rulesFile, .keyFile: return nil
    case .map: problem = scanner.map(&next.map)
    case .attach: problem = scanner.attach(&next)
    case .ring: problem = scanner.ring(&next)
    case .spin: problem = scanner.spin(&next)
    case .log: problem = scanner.log(&next)
    case .stats: problem = scanner.onOff(&next.stats)
    case .chaos: problem = scanner.chaos(&next)
    }
    if let problem {
      return SettingsError(variable: variable, column: scanner.position + 1, message: problem)
    }
    self = next
    return nil
  }
}

// Each of these reads a whole value and gives what is wrong with it, the scanner standing there.
extension Scanner {
  fileprivate mutating func onOff(_ result: inout Bool) -> StaticString? {
    let start = position
    if word("on") {
      result = true
    } else if word("off") {
      result = false
    } else {
      return "expected on or off"
    }
    return end(or: "expected on or off", at: start)
  }

  fileprivate mutating func fabrics(_ settings: inout Settings) -> StaticString? {
    guard let first = fabric() else { return "expected shm or verbs" }
    var second = FabricKind.none
    if take(0x2c) {
      let start = position
      guard let other = fabric() else { return "expected shm or verbs" }
      if other == first {
        position = start
        return "this fabric is named twice"
      }
      second = other
    }
    settings.firstFabric = first
    settings.secondFabric = second
    return end(or: "expected a comma or the end")
  }

  private mutating func fabric() -> FabricKind? {
    if word("shm") { return .shm }
    if word("verbs") { return .verbs }
    return nil
  }

  fileprivate mutating func attach(_ settings: inout Settings) -> StaticString? {
    guard let calls = number() else { return "expected a number of calls" }
    if calls > UInt64(UInt32.max) {
      position = 0
      return "more calls than can be counted"
    }
    settings.attachCalls = UInt32(calls)
    // CALLS alone keeps the bytes' default, except that 0 means the first data call whatever its
    // size, which either bound alone expresses.
    if take(0x2c) {
      guard let bytes = size() else { return "expected a number of bytes" }
      settings.attachBytes = bytes
    }
    return end(or: "expected CALLS or CALLS,BYTES")
  }

  fileprivate mutating func ring(_ settings: inout Settings) -> StaticString? {
    guard let bytes = size() else { return "expected a number of bytes" }
    if let problem = end(or: "expected the end, K or M") { return problem }
    position = 0
    guard Settings.ringRange.contains(bytes) else { return "expected 4K to 64M" }
    guard bytes & (bytes - 1) == 0 else { return "expected a power of two" }
    settings.ringBytes = UInt32(bytes)
    return nil
  }

  fileprivate mutating func chaos(_ settings: inout Settings) -> StaticString? {
    guard let seed = number() else { return "expected a seed" }
    guard take(0x2c) else { return "expected a comma and a rate" }
    guard let rate = number(), rate <= 1000 else { return "expected a rate of 0 to 1000" }
    settings.chaosSeed = UInt64(seed) | 1
    settings.chaosRate = UInt32(rate)
    return end(or: "expected the end")
  }

  fileprivate mutating func map(_ map: inout AddressMap) -> StaticString? {
    map = AddressMap()
    repeat {
      var from = AddressPrefix.any
      var to = AddressPrefix.any
      if let problem = prefix(&from) { return problem }
      guard take(0x3d) else { return "expected = and an address" }
      let start = position
      if let problem = prefix(&to) { return problem }
      guard AddressMap.fits(from, to) else {
        position = start
        return "expected as many bits for hosts as before the ="
      }
      guard map.add(from, to) else { return "too many prefixes" }
    } while take(0x2c)
    return end(or: "expected a comma or the end")
  }

  fileprivate mutating func spin(_ settings: inout Settings) -> StaticString? {
    if word("auto") {
      settings.spinAuto = true
      return end(or: "expected microseconds or auto", at: 0)
    }
    guard let time = number() else { return "expected microseconds or auto" }
    if let problem = end(or: "expected the end") { return problem }
    if time > Settings.longestSpin {
      position = 0
      return "expected at most 10000 microseconds"
    }
    settings.spinAuto = false
    settings.spinMicroseconds = UInt32(time)
    return nil
  }

  fileprivate mutating func log(_ settings: inout Settings) -> StaticString? {
    if word("off") {
      settings.logLevel = .off
    } else if word("error") {
      settings.logLevel = .error
    } else if word("info") {
      settings.logLevel = .info
    } else if word("debug") {
      settings.logLevel = .debug
    } else {
      return "expected off, error, info or debug"
    }
    return end(or: "expected off, error, info or debug", at: 0)
  }
}
