import ArgumentParser
import Glibc
import MillraceCore

/// `millrace off`: running processes leave their lanes, at once, and take none until told otherwise.
struct OffCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "off", abstract: "Move running processes, or single connections, back to TCP.",
    discussion: """
      Their programs notice nothing: a connection leaves its lane in mid-stream, at the exact byte. New connections stay \
      on TCP too, until `millrace on` is said to the same target.
      """)

  @Argument(help: ArgumentHelp("Processes (PID), connections (PID:FD), or `all`.", valueName: "target"))
  var targets: [Target]

  func run() throws { try Operator.say(.off, to: targets) }
}

/// `millrace on`: takes `millrace off` back.
struct OnCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "on", abstract: "Let running processes, or single connections, have lanes again.",
    discussion: "What was said to a process is taken back for all its connections; what was said to one, for that one.")

  @Argument(help: ArgumentHelp("Processes (PID), connections (PID:FD), or `all`.", valueName: "target"))
  var targets: [Target]

  func run() throws { try Operator.say(.on, to: targets) }
}

/// Whom an operator means.
enum Target: ExpressibleByArgument {
  case all
  case process(Int32)
  case connection(pid: Int32, fd: Int32)

  init?(argument: String) {
    if argument == "all" {
      self = .all
      return
    }
    let parts = argument.split(separator: ":", omittingEmptySubsequences: false).map { Int32($0) }
    guard let pid = parts.first ?? nil, pid > 0 else { return nil }
    switch parts.count {
    case 1: self = .process(pid)
    case 2:
      guard let fd = parts[1], fd >= 0 else { return nil }
      self = .connection(pid: pid, fd: fd)
    default: return nil
    }
  }
}

/// Writes wishes into the statistics pages of running processes, and knocks.
enum Operator {
  /// How long a connection may take to leave its lane before that is said, in milliseconds: its peer may be stopped.
  private static let patience = 3000

  static func say(_ wish: OperatorWish, to targets: [Target]) throws {
    var failed = false
    for target in targets {
      do {
        try say(wish, to: target)
      } catch {
        complain("\(error)")
        failed = true
      }
    }
    if failed { throw ExitCode.failure }
  }

  private static func say(_ wish: OperatorWish, to target: Target) throws {
    switch target {
    case .all:
      let processes = StatsReader.all(pid: nil)
      if processes.isEmpty { throw CommandError("no process that runs under Millrace is to be seen") }
      for process in processes { try say(wish, to: process, fd: nil) }
    case .process(let pid):
      try say(wish, to: process(pid), fd: nil)
    case .connection(let pid, let fd):
      try say(wish, to: process(pid), fd: fd)
    }
  }

  private static func process(_ pid: Int32) throws -> ProcessStatistics {
    guard let process = StatsReader.all(pid: pid).first else {
      throw CommandError("process \(pid) has no connection under Millrace, or is not yours to tell")
    }
    return process
  }

  private static func say(_ wish: OperatorWish, to process: ProcessStatistics, fd: Int32?) throws {
    guard let page = OpenFile(writing: process.path) else {
      throw CommandError.system("cannot write to process \(process.pid)")
    }
    for (offset, value) in try wishes(wish, for: process, fd: fd) where !page.write(value, at: offset) {
      throw CommandError.system("cannot write to process \(process.pid)")
    }
    let before = page.bytes(at: StatsPage.Offset.wishes, count: 4).number(UInt32.self, at: 0) ?? 0
    guard page.write(before &+ 1, at: StatsPage.Offset.wishes) else {
      throw CommandError.system("cannot write to process \(process.pid)")
    }
    knock(process, page)
    report(wish, process, fd)
  }

  /// The words to write, and where.
  private static func wishes(
    _ wish: OperatorWish, for process: ProcessStatistics, fd: Int32?
  ) throws -> [(offset: Int, value: UInt32)] {
    let rows = zip(process.rows, process.connections).filter { fd == nil || $0.1.fd == fd }.map(\.0)
    let offsets = rows.map { StatsPage.headerBytes + $0 * StatsPage.rowBytes + ConnectionRow.wishOffset }
    guard fd == nil else {
      guard !offsets.isEmpty else {
        throw CommandError("process \(process.pid) has no connection under Millrace with descriptor \(fd!)")
      }
      return offsets.map { ($0, wish.rawValue) }
    }
    // The process as a whole has the last word about its connections when it is taken back, and leaves them their own
    // when it is said.
    return [(StatsPage.Offset.wish, wish.rawValue)] + (wish == .on ? offsets.map { ($0, wish.rawValue) } : [])
  }

  /// Wakes the process' service thread, by its own eventfd. Without the right to do so (ptrace(2)) nothing is lost: it
  /// looks every two seconds while there is a lane.
  private static func knock(_ process: ProcessStatistics, _ page: borrowing OpenFile) {
    let word = page.bytes(at: StatsPage.Offset.wakeup, count: 4).number(Int32.self, at: 0) ?? -1
    guard word >= 0, OpenFile.link("/proc/\(process.pid)/fd/\(word)") == "anon_inode:[eventfd]" else { return }
    guard let handle = pidfd("pidfd_open", process.pid, 0) else { return }
    defer { close(handle) }
    guard let event = pidfd("pidfd_getfd", handle, word) else { return }
    defer { close(event) }
    var one: UInt64 = 1
    _ = write(event, &one, 8)
  }

  /// Calls one of the functions of sys/pidfd.h, which the Glibc module does not show: all take three words, the last of
  /// them 0 here. Nil if it fails, or this glibc has none (before 2.36).
  private static func pidfd(_ name: String, _ first: Int32, _ second: Int32) -> Int32? {
    typealias Function = @convention(c) (Int32, Int32, UInt32) -> Int32
    guard let symbol = dlsym(nil, name) else { return nil }
    let result = unsafeBitCast(symbol, to: Function.self)(first, second, 0)
    return result < 0 ? nil : result
  }

  /// Says what came of it. Lanes are left within a moment.
  private static func report(_ wish: OperatorWish, _ process: ProcessStatistics, _ fd: Int32?) {
    let who = "\(process.name)(\(process.pid))" + (fd.map { " descriptor \($0)" } ?? "")
    let before = lanes(process, fd)
    guard wish == .off, before > 0 else { return print("\(who): lanes \(wish == .off ? "off" : "on")") }
    var left = before
    var waited = 0
    while left > 0, waited < patience {
      usleep(5000)
      waited += 5
      left = StatsReader.all(pid: process.pid).first.map { lanes($0, fd) } ?? 0
    }
    print("\(who): lanes off, \(before - left) of \(before) connections moved back to TCP")
    if left > 0 { complain("\(who): \(left) connections wait for their peers") }
  }

  private static func lanes(_ process: ProcessStatistics, _ fd: Int32?) -> Int {
    process.connections.count {
      $0.path != ConnectionPath.kernel.rawValue && $0.path != ConnectionPath.ended.rawValue
        && (fd == nil || $0.fd == fd)
    }
  }
}
