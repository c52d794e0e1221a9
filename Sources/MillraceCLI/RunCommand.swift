import ArgumentParser
import Glibc
import MillraceCore

/// `millrace run`: becomes the program, with the library preloaded and the settings in its environment.
struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Run a program with Millrace preloaded.",
    usage: "millrace run [options] [--] program [arguments ...]",
    discussion: """
      An option sets the environment variable that is named with it; without the option the variable keeps the value \
      that it has. The exit status is the program's own, or 125 if Millrace fails, 126 if the program cannot be run, \
      127 if it is not found.
      """)

  /// The exit statuses of env(1), nohup(1) and their like.
  private enum Status {
    static let millraceFailed: Int32 = 125
    static let cannotRun: Int32 = 126
    static let notFound: Int32 = 127
  }

  /// The largest file of rules that is read.
  private static let rulesFileLimit = 1 << 20

  @Option(
    help: ArgumentHelp("Data calls, and optionally bytes, before a lane (MILLRACE_ATTACH).", valueName: "n[,bytes]"))
  var attach: String?

  @Option(help: ArgumentHelp("Bytes of one direction's ring, as 256K or 1M (MILLRACE_RING).", valueName: "size"))
  var ring: String?

  @Option(help: ArgumentHelp("Longest spin in microseconds, or auto (MILLRACE_SPIN).", valueName: "us"))
  var spin: String?

  @Option(help: ArgumentHelp("Fabrics in the order they are tried (MILLRACE_FABRICS).", valueName: "list"))
  var fabrics: String?

  @Option(help: ArgumentHelp("Rules, as 'deny port=22; allow *' (MILLRACE_RULES).", valueName: "rules"))
  var rules: String?

  @Option(help: ArgumentHelp("A file of rules (MILLRACE_RULES_FILE).", valueName: "path"))
  var rulesFile: String?

  @Option(help: ArgumentHelp("off, error, info or debug (MILLRACE_LOG).", valueName: "level"))
  var log: String?

  @Flag(help: "Preload the library, but leave every connection on TCP (MILLRACE=off).")
  var off = false

  @Flag(help: "Keep no statistics page; 'millrace ss' does not see the program (MILLRACE_STATS=off).")
  var noStats = false

  @Option(help: ArgumentHelp("The library, instead of the one beside this command.", valueName: "path"))
  var library: String?

  @Argument(parsing: .captureForPassthrough, help: "The program and its arguments.")
  var command: [String] = []

  /// The program and its arguments. ArgumentParser leaves the terminator in what it passes through.
  private var arguments: [String] { Array(command.first == "--" ? command.dropFirst() : command[...]) }

  func validate() throws {
    if command.first == "--help" || command.first == "-h" { throw CleanExit.helpRequest(RunCommand.self) }
    guard let name = arguments.first else { throw ValidationError("There is no program to run.") }
    if name.hasPrefix("-") && command.first != "--" { throw ValidationError("Unknown option '\(name)'.") }
  }

  func run() throws {
    let program = ProgramFile(named: arguments[0])
    do {
      let library = try PreloadLibrary(option: library)
      try applySettings()
      warn(about: program, library: library)
      let previous = getenv("LD_PRELOAD").map { String(cString: $0) }
      setenv("LD_PRELOAD", library.preload(before: previous), 1)
    } catch let error as CommandError {
      complain(error.description)
      throw ExitCode(Status.millraceFailed)
    }
    throw ExitCode(RunCommand.execute(arguments, program: program))
  }

  /// Returns only if the program could not be run.
  private static func execute(_ arguments: [String], program: ProgramFile?) -> Int32 {
    guard let program else {
      complain("\(arguments[0]): command not found")
      return Status.notFound
    }
    replaceProcess(with: program.path, arguments: arguments)
    let error = errno
    if error == ENOEXEC && program.isText {
      replaceProcess(with: "/bin/sh", arguments: ["sh", program.path] + arguments.dropFirst())
    }
    complain("\(arguments[0]): \(String(cString: strerror(error)))")
    return error == ENOENT ? Status.notFound : Status.cannotRun
  }

  /// Calls execv(2); returns, with `errno` set, if that failed.
  private static func replaceProcess(with path: String, arguments: [String]) {
    var vector: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    vector.append(nil)
    execv(path, vector)
  }

  /// Says in one line why the program will not have lanes. It runs all the same: the file may be a wrapper, or somebody
  /// may want to see that nothing changes.
  private func warn(about program: ProgramFile?, library: PreloadLibrary) {
    guard let obstacle = program?.obstacle(for: library.architecture) else { return }
    complain("warning: \(obstacle): its connections stay on TCP")
  }

  // MARK: Settings

  /// Puts the options into the environment, once each has been found right.
  private func applySettings() throws {
    try set(.enabled, to: off ? "off" : nil, option: "--off")
    try set(.stats, to: noStats ? "off" : nil, option: "--no-stats")
    try set(.attach, to: attach, option: "--attach")
    try set(.ring, to: ring, option: "--ring")
    try set(.spin, to: spin, option: "--spin")
    try set(.fabrics, to: fabrics, option: "--fabrics")
    try set(.log, to: log, option: "--log")
    if let rules { try RunCommand.check(Array(rules.utf8), name: "--rules") }
    try set(.rules, to: rules, option: "--rules")
    guard let rulesFile else { return }
    // The programs that the program starts may do so in other directories.
    let path = try PreloadLibrary.absolute(rulesFile)
    guard let text = OpenFile.contents(path, limit: RunCommand.rulesFileLimit) else {
      throw CommandError.system(path)
    }
    try RunCommand.check(text, name: path)
    try set(.rulesFile, to: path, option: "--rules-file")
  }

  private func set(_ variable: Variable, to value: String?, option: String) throws {
    guard let value else { return }
    guard !value.isEmpty else { throw CommandError("\(option): expected a value") }
    var settings = Settings.defaults
    let error = Array(value.utf8).withUnsafeBufferPointer { settings.apply(variable, value: $0) }
    if let error { throw CommandError("\(option) \(value): column \(error.column): \(error.message)") }
    setenv(variable.name.description, value, 1)
  }

  private static func check(_ text: [UInt8], name: String) throws {
    let outcome = text.withUnsafeBufferPointer { text in
      withUnsafeTemporaryAllocation(of: Rule.self, capacity: Rules.capacity) { RulesParser.parse(text, into: $0) }
    }
    if case .error(let line, let column, let message) = outcome {
      throw CommandError("\(name): line \(line), column \(column): \(message)")
    }
  }
}
