import CLinux
import MillraceShim
import Synchronization

/// Messages on standard error, one line each, without allocation.
enum Log {
  static func error(_ text: StaticString) {
    guard Configuration.settings.logLevel.rawValue >= LogLevel.error.rawValue else { return }
    line { $0.add(text) }
  }

  static func settingsError(_ problem: SettingsError) {
    guard Configuration.settings.logLevel.rawValue >= LogLevel.error.rawValue else { return }
    line {
      $0.add(problem.variable.name)
      $0.add(": column ")
      $0.add(problem.column)
      $0.add(": ")
      $0.add(problem.message)
      $0.add("; Millrace is off for this process")
    }
  }

  static func rulesError(_ variable: Variable, line number: Int, column: Int, _ message: StaticString) {
    guard Configuration.settings.logLevel.rawValue >= LogLevel.error.rawValue else { return }
    line {
      $0.add(variable.name)
      $0.add(": line ")
      $0.add(number)
      $0.add(", column ")
      $0.add(column)
      $0.add(": ")
      $0.add(message)
      $0.add("; Millrace is off for this process")
    }
  }

  static func attached(_ c: ConnectionRef) {
    guard Configuration.settings.logLevel.rawValue >= LogLevel.debug.rawValue else { return }
    let fd = Int(c.pointee.fd)
    let isShared = c.pointee.verbs == nil
    line {
      $0.add("fd ")
      $0.add(fd)
      $0.add(isShared ? ": attached to a shared-memory lane" : ": attached to a verbs lane")
    }
  }

  static func declined(_ c: ConnectionRef) {
    guard Configuration.settings.logLevel.rawValue >= LogLevel.debug.rawValue else { return }
    let fd = Int(c.pointee.fd)
    let reason = c.pointee.reason
    line {
      $0.add("fd ")
      $0.add(fd)
      $0.add(": no lane: ")
      $0.add(reason.name)
    }
  }

  /// What a process did, said when it ends.
  static func summary(attaches: UInt64, candidates: UInt64) {
    guard Configuration.settings.logLevel.rawValue >= LogLevel.info.rawValue else { return }
    line(isLast: true) {
      $0.add("exit pid=")
      $0.add(Int(Kernel.processID()))
      $0.add(" attaches=")
      $0.add(Int(attaches))
      $0.add(" candidates=")
      $0.add(Int(candidates))
    }
  }

  private static func line(isLast: Bool = false, _ build: (inout Line) -> Void) {
    withUnsafeTemporaryAllocation(byteCount: 400, alignment: 8) { space in
      var text = Line(space)
      build(&text)
      shim_log(UnsafeRawPointer(space.baseAddress!).assumingMemoryBound(to: CChar.self), text.count, isLast)
    }
  }

  private struct Line {
    private let space: UnsafeMutableRawBufferPointer
    private(set) var count = 0

    init(_ space: UnsafeMutableRawBufferPointer) { self.space = space }

    mutating func add(_ text: StaticString) {
      var index = 0
      while index < text.utf8CodeUnitCount {
        // Names that are meant for getenv(3) bring a zero byte along.
        if text.utf8Start[index] != 0 { add(byte: text.utf8Start[index]) }
        index += 1
      }
    }

    mutating func add(_ number: Int) {
      if number < 0 { add(byte: UInt8(ascii: "-")) }
      if number.magnitude >= 10 { add(Int(number.magnitude / 10)) }
      add(byte: UInt8(ascii: "0") + UInt8(number.magnitude % 10))
    }

    private mutating func add(byte: UInt8) {
      guard count < space.count else { return }
      space[count] = byte
      count += 1
    }
  }
}
