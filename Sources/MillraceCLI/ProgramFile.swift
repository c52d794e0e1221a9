import Glibc

/// The file that a command line will execute, looked at for what would keep the library from being preloaded.
struct ProgramFile {
  /// How often one script may be the interpreter of another before the kernel refuses (binfmt_script).
  private static let deepestScript = 5

  let path: String

  /// Finds the program by PATH as execvp(3) does; nil if there is none.
  init?(named name: String) {
    if name.contains("/") {
      path = name
      return
    }
    let directories = getenv("PATH").map { String(cString: $0) } ?? "/bin:/usr/bin"
    for directory in directories.split(separator: ":", omittingEmptySubsequences: false) {
      let candidate = directory.isEmpty ? name : "\(directory)/\(name)"
      if ProgramFile.isExecutable(candidate) {
        path = candidate
        return
      }
    }
    return nil
  }

  private static func isExecutable(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG && access(path, X_OK) == 0
  }

  /// Why the library will not be loaded into the program, or will not see its calls; nil if nothing is against it, or
  /// if the file cannot be read and so cannot be judged.
  func obstacle(for library: ElfFile.Architecture) -> String? {
    var path = self.path
    for _ in 0..<ProgramFile.deepestScript {
      guard let file = OpenFile(path) else { return nil }
      if let interpreter = ProgramFile.interpreter(of: file) {
        path = interpreter
        continue
      }
      guard let elf = ElfFile(file) else { return nil }
      return (ProgramFile.obstacle(in: elf, library: library) ?? ProgramFile.privilege(of: file, at: path))
        .map { "\(path) \($0)" }
    }
    return nil
  }

  /// Whether the file can be a script without `#!`, which shells run although the kernel refuses it. execvp(3) hands
  /// whatever the kernel refuses to a shell, a program for another architecture too, and that may do anything.
  var isText: Bool {
    guard let file = OpenFile(path) else { return false }
    return !file.bytes(at: 0, count: 256).contains(0)
  }

  /// What stands behind `#!`; nil if the file does not start with it.
  private static func interpreter(of file: borrowing OpenFile) -> String? {
    let start = file.bytes(at: 0, count: 256)
    guard start.starts(with: [0x23, 0x21]) else { return nil }
    let line = start.dropFirst(2).prefix { $0 != 0x0a }
    let word = line.drop { $0 == 0x20 || $0 == 0x09 }.prefix { $0 != 0x20 && $0 != 0x09 }
    return word.isEmpty ? nil : String(decoding: word, as: UTF8.self)
  }

  private static func obstacle(in elf: ElfFile, library: ElfFile.Architecture) -> String? {
    if elf.architecture != library { return "is built for another architecture than the library" }
    guard let loader = elf.loader else {
      return elf.isGo
        ? "is a statically linked Go program, which has no dynamic loader"
        : "is statically linked and has no dynamic loader"
    }
    if elf.isGo { return "is a Go program, which makes its system calls without libc" }
    if loader.contains("ld-musl") { return "runs on musl, and the library needs glibc" }
    return nil
  }

  /// Whether the file gives its process more than its caller has. The dynamic loader then ignores preloaded libraries
  /// that have a directory (AT_SECURE in getauxval(3)).
  private static func privilege(of file: borrowing OpenFile, at path: String) -> String? {
    guard let status = file.status else { return nil }
    if status.st_mode & S_ISUID != 0 && status.st_uid != getuid() {
      return "is set-user-ID, and its loader ignores LD_PRELOAD"
    }
    if status.st_mode & (S_ISGID | S_IXGRP) == S_ISGID | S_IXGRP && status.st_gid != getgid() {
      return "is set-group-ID, and its loader ignores LD_PRELOAD"
    }
    if getuid() != 0 && hasCapabilities(path) {
      return "has file capabilities, and its loader ignores LD_PRELOAD"
    }
    return nil
  }
  private static func hasCapabilities(_ path: String) -> Bool {
    // Swift's Glibc module leaves out sys/xattr.h, and a second module of system headers cannot be used beside it.
    typealias GetExtendedAttribute =
      @convention(c) (UnsafePointer<CChar>, UnsafePointer<CChar>, UnsafeMutableRawPointer?, Int) -> Int
    guard let symbol = dlsym(nil, "getxattr") else { return false }
    return unsafeBitCast(symbol, to: GetExtendedAttribute.self)(path, "security.capability", nil, 0) > 0
  }
}
