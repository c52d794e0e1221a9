import Glibc

/// The library that `millrace run` preloads.
struct PreloadLibrary {
  static let fileName = "libmillrace.so"

  /// Absolute, and without a character that would end it in LD_PRELOAD.
  let path: String
  let architecture: ElfFile.Architecture

  /// Finds the library: where `option` says, or MILLRACE_LIBRARY, or beside this executable as a build or an
  /// installation puts it.
  init(option: String?) throws {
    let named = option ?? getenv("MILLRACE_LIBRARY").map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    path = try named.map(PreloadLibrary.absolute) ?? PreloadLibrary.besideExecutable()
    guard !path.contains(where: { $0 == ":" || $0.isWhitespace }) else {
      throw CommandError("\(path): LD_PRELOAD cannot hold a path with a colon or white space")
    }
    guard let file = OpenFile(path) else { throw CommandError.system(path) }
    guard let elf = ElfFile(file) else { throw CommandError("\(path) is not a library") }
    architecture = elf.architecture
  }

  /// `previous`, the present value of LD_PRELOAD, with the library before it: ours must see a call first.
  func preload(before previous: String?) -> String {
    guard let previous, !previous.isEmpty else { return path }
    return "\(path):\(previous)"
  }

  private static func besideExecutable() throws -> String {
    guard let executable = OpenFile.link("/proc/self/exe"), let slash = executable.lastIndex(of: "/") else {
      throw CommandError.system("/proc/self/exe")
    }
    let directory = executable[..<slash]
    for candidate in ["\(directory)/\(fileName)", "\(directory)/../lib/\(fileName)"] where access(candidate, R_OK) == 0
    {
      return try absolute(candidate)
    }
    throw CommandError(
      "\(fileName) is neither in \(directory) nor in its ../lib; name it with --library or MILLRACE_LIBRARY")
  }

  /// The path without symbolic links and relative parts, so that it holds in every directory a program goes to.
  static func absolute(_ path: String) throws -> String {
    guard let resolved = realpath(path, nil) else { throw CommandError.system(path) }
    defer { free(resolved) }
    return String(cString: resolved)
  }
}
