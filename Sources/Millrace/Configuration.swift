import CLinux
import MillraceShim
import Synchronization

/// What the environment says, read once, at start.
enum Configuration {
  nonisolated(unsafe) static var settings = Settings.defaults
  /// The longest spin, in cycles of the time stamp counter.
  nonisolated(unsafe) static var spinCycles: UInt64 = 0
  /// A longer gap between two looks of a spinner means that the processor was taken away.
  nonisolated(unsafe) static var preemptionCycles: UInt64 = 40_000
  /// How long lanes alone may satisfy waits before the kernel's descriptors are looked at again.
  nonisolated(unsafe) static var lookCycles: UInt64 = 10_000
  /// io_uring has been seen.
  nonisolated(unsafe) static var usesRing = false

  nonisolated(unsafe) private static var rules: UnsafeMutableBufferPointer<Rule>?
  nonisolated(unsafe) private static var ruleCount = 0

  static func read(_ environment: UnsafePointer<UnsafeMutablePointer<CChar>?>) {
    readVariable(environment, .log)
    readVariable(environment, .enabled)
    if settings.enabled {
      readVariable(environment, .fabrics)
      readVariable(environment, .attach)
      readVariable(environment, .ring)
      readVariable(environment, .spin)
      readVariable(environment, .stats)
      readVariable(environment, .chaos)
      readVariable(environment, .map)
      readRules(environment)
      readKey(environment)
    }
  }

  /// Translates the longest spin into cycles, which takes a moment: for the first candidate, so that a process without one
  /// does not pay for it.
  static func prepareSpinning() {
    // With one processor a spinner only keeps its peer from running.
    spinCycles = onlineProcessors() > 1 ? UInt64(settings.spinMicroseconds) * cyclesPerMicrosecond() : 0
  }

  private static func readVariable(_ environment: UnsafePointer<UnsafeMutablePointer<CChar>?>, _ variable: Variable) {
    guard let value = lookUp(environment, variable.name) else { return }
    if let problem = settings.apply(variable, value: value) {
      Log.settingsError(problem)
      settings.enabled = false
    }
  }

  private static func lookUp(
    _ environment: UnsafePointer<UnsafeMutablePointer<CChar>?>, _ name: StaticString
  ) -> UnsafeBufferPointer<UInt8>? {
    // Names end with a zero byte, for getenv(3).
    let length = Int(strlen(UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self)))
    var at = environment
    while let entry = at.pointee {
      if strncmp(entry, UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self), length) == 0,
        entry[length] == CChar(UInt8(ascii: "="))
      {
        let value = entry + length + 1
        return UnsafeBufferPointer(
          start: UnsafeRawPointer(value).assumingMemoryBound(to: UInt8.self), count: Int(strlen(value)))
      }
      at += 1
    }
    return nil
  }

  private static func readKey(_ environment: UnsafePointer<UnsafeMutablePointer<CChar>?>) {
    guard let path = lookUp(environment, Variable.keyFile.name), path.count > 0 else { return }
    if VerbsKey.read(path.baseAddress!) { return }
    Log.error("MILLRACE_KEY_FILE cannot be read, or is empty; Millrace is off for this process")
    settings.enabled = false
  }

  // MARK: Rules

  private static func readRules(_ environment: UnsafePointer<UnsafeMutablePointer<CChar>?>) {
    if let text = lookUp(environment, Variable.rules.name), text.count > 0 { addRules(text, from: .rules) }
    guard settings.enabled, let path = lookUp(environment, Variable.rulesFile.name), path.count > 0 else { return }
    let fd = Kernel.call(
      Int(SYS_openat), Int(AT_FDCWD), Int(bitPattern: path.baseAddress), Int(O_RDONLY | O_CLOEXEC), 0)
    guard fd >= 0 else {
      return noRules("MILLRACE_RULES_FILE cannot be read; Millrace is off for this process")
    }
    defer { Kernel.close(Int32(truncatingIfNeeded: fd)) }
    let most = 1 << 16
    guard let space = Kernel.reserve(most) else { return noRules("no memory for the rules of MILLRACE_RULES_FILE") }
    var count = 0
    while count < most {
      let r = Kernel.call(Int(SYS_read), fd, Int(bitPattern: space + count), most - count)
      if r < 0 { return noRules("MILLRACE_RULES_FILE cannot be read; Millrace is off for this process") }
      if r == 0 { break }
      count += r
    }
    // A part of the rules would say something else than all of them.
    if count == most { return noRules("MILLRACE_RULES_FILE is 64 KiB or larger; Millrace is off for this process") }
    addRules(
      UnsafeBufferPointer(start: UnsafeRawPointer(space).assumingMemoryBound(to: UInt8.self), count: count),
      from: .rulesFile)
    Kernel.unmap(space, most)
  }

  private static func noRules(_ message: StaticString) {
    Log.error(message)
    settings.enabled = false
  }

  private static func addRules(_ text: UnsafeBufferPointer<UInt8>, from variable: Variable) {
    if rules == nil, let space = Kernel.reserve(Rules.capacity * MemoryLayout<Rule>.stride) {
      rules = UnsafeMutableBufferPointer(
        start: space.bindMemory(to: Rule.self, capacity: Rules.capacity), count: Rules.capacity)
    }
    guard let rules else { return }
    let rest = UnsafeMutableBufferPointer(rebasing: rules[ruleCount...])
    switch RulesParser.parse(text, into: rest) {
    case .rules(let count): ruleCount += count
    case .error(let line, let column, let message):
      Log.rulesError(variable, line: line, column: column, message)
      settings.enabled = false
    }
  }

  static func allows(_ c: ConnectionRef) -> Bool {
    guard let rules, ruleCount > 0, let program = shim_program() else { return true }
    let name = UnsafeBufferPointer(
      start: UnsafeRawPointer(program).assumingMemoryBound(to: UInt8.self), count: Int(strlen(program)))
    return Rules(UnsafeBufferPointer(rebasing: rules[..<ruleCount])).allows(
      program: name, role: c.pointee.role == .leader ? .accept : .connect, local: c.pointee.wireup.local,
      peer: c.pointee.wireup.peer)
  }

  // MARK: The machine

  private static func onlineProcessors() -> Int {
    var mask: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    let r = withUnsafeMutablePointer(to: &mask) {
      Kernel.call(Int(SYS_sched_getaffinity), 0, 32, Int(bitPattern: $0))
    }
    guard r > 0 else { return 1 }
    return mask.0.nonzeroBitCount + mask.1.nonzeroBitCount + mask.2.nonzeroBitCount + mask.3.nonzeroBitCount
  }

  /// The rate of the time stamp counter, measured against the clock for 20 microseconds. A few percent will do.
  private static func cyclesPerMicrosecond() -> UInt64 {
    let start = Kernel.now()
    let first = cl_cycles()
    var now = start
    while now &- start < 20_000 { now = Kernel.now() }
    return max(1, (cl_cycles() &- first) &* 1000 / (now &- start))
  }
}
