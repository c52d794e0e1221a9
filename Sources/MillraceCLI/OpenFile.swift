import Glibc

/// A file that is open for reading, or for writing as well, while this value lives.
struct OpenFile: ~Copyable {
  private let descriptor: Int32

  /// Opens a file for writing as well; nil with `errno` set.
  init?(writing path: String) {
    let descriptor = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else { return nil }
    self.descriptor = descriptor
  }

  /// Opens a file; nil with `errno` set. Does not wait for a pipe's writer or take a terminal, whatever `path` is.
  init?(_ path: String) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else { return nil }
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// What fstat(2) says; nil with `errno` set.
  var status: stat? {
    var result = stat()
    return fstat(descriptor, &result) == 0 ? result : nil
  }

  /// Up to `count` bytes from `offset`; fewer at the end of the file, none on an error.
  func bytes(at offset: Int, count: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
      filled = 0
      while filled < count {
        let got = pread(descriptor, buffer.baseAddress! + filled, count - filled, off_t(offset + filled))
        if got < 0 && errno == EINTR { continue }
        if got <= 0 { return }
        filled += got
      }
    }
  }

  /// Writes a number in this machine's order at `offset`; false with `errno` set.
  func write<Number: FixedWidthInteger>(_ number: Number, at offset: Int) -> Bool {
    withUnsafeBytes(of: number) { pwrite(descriptor, $0.baseAddress!, $0.count, off_t(offset)) == $0.count }
  }

  /// Everything from the start, for files that are read in one piece as those of /proc are; at most `limit` bytes.
  static func contents(_ path: String, limit: Int) -> [UInt8]? {
    guard let file = OpenFile(path) else { return nil }
    return file.bytes(at: 0, count: limit)
  }

  /// Where a symbolic link points; nil with `errno` set.
  static func link(_ path: String) -> String? {
    var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
    let count = target.withUnsafeMutableBytes { readlink(path, $0.baseAddress!, $0.count) }
    return count < 0 ? nil : String(decoding: target[..<count], as: UTF8.self)
  }
}

extension Array where Element == UInt8 {
  /// The number at `offset` in this machine's order; nil beyond the end.
  func number<Number: FixedWidthInteger>(_ type: Number.Type, at offset: Int) -> Number? {
    guard offset >= 0, offset <= count - MemoryLayout<Number>.size else { return nil }
    return withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: type) }
  }
}
