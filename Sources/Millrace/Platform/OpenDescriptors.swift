import CLinux

/// Descriptors as /proc shows them. Allocates nothing.
enum OpenDescriptors {
  /// Calls `body` with the descriptors of the process that calls, in no order, until it answers true. Whether it did.
  static func contains(where body: (Int32) -> Bool) -> Bool {
    let path: StaticString = "/proc/self/fd"
    let opened = Kernel.call(
      Int(SYS_openat), Int(AT_FDCWD), Int(bitPattern: path.utf8Start), Int(O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0)
    guard opened >= 0 else { return false }
    defer { Kernel.close(Int32(truncatingIfNeeded: opened)) }
    return withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { space in
      while true {
        let r = Kernel.call(Int(SYS_getdents64), opened, Int(bitPattern: space.baseAddress!), space.count)
        if r <= 0 { return false }
        if entries(space.baseAddress!, bytes: r, contain: body) { return true }
      }
    }
  }

  /// One buffer of getdents64(2): d_reclen at 16, d_name at 19.
  private static func entries(_ entries: UnsafeMutableRawPointer, bytes: Int, contain body: (Int32) -> Bool) -> Bool {
    var at = 0
    while at < bytes {
      if let fd = number(entries + at + 19), body(fd) { return true }
      at += Int((entries + at).load(fromByteOffset: 16, as: UInt16.self))
    }
    return false
  }

  private static func number(_ text: UnsafeRawPointer) -> Int32? {
    var value: Int32 = 0
    var at = 0
    while true {
      let byte = text.load(fromByteOffset: at, as: UInt8.self)
      if byte == 0 { return at > 0 ? value : nil }
      guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
      value = value &* 10 &+ Int32(byte &- UInt8(ascii: "0"))
      at += 1
    }
  }

  /// What a descriptor of the process that calls is a link to, or the beginning of it.
  static func withLink(_ fd: Int32, _ body: (UnsafeRawBufferPointer) -> Bool) -> Bool {
    withUnsafeTemporaryAllocation(byteCount: 128, alignment: 8) { space in
      var path = Path(space.baseAddress!)
      path.add("/proc/self/fd/")
      path.add(UInt32(bitPattern: fd))
      path.add("\0")
      let link = space.baseAddress! + 64
      let r = Kernel.call(
        Int(SYS_readlinkat), Int(AT_FDCWD), Int(bitPattern: space.baseAddress!), Int(bitPattern: link), 64)
      return r > 0 && body(UnsafeRawBufferPointer(start: link, count: r))
    }
  }

  /// What a descriptor of another process is, as the kernel tells one socket from all others; nil if it cannot be seen.
  static func inode(of pid: Int32, _ fd: Int32) -> UInt? {
    withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { space in
      var path = Path(space.baseAddress!)
      path.add("/proc/")
      path.add(UInt32(bitPattern: pid))
      path.add("/fd/")
      path.add(UInt32(bitPattern: fd))
      path.add("\0")
      return status { Kernel.call(Int(SYS_newfstatat), Int(AT_FDCWD), Int(bitPattern: space.baseAddress!), $0, 0) }
    }
  }

  /// The same of a descriptor of the process that calls.
  static func inode(_ fd: Int32) -> UInt? {
    status { Kernel.call(Int(SYS_fstat), Int(fd), $0) }
  }

  private static func status(_ ask: (Int) -> Int) -> UInt? {
    var status = stat()
    let r = withUnsafeMutablePointer(to: &status) { ask(Int(bitPattern: $0)) }
    return r == 0 ? status.st_ino : nil
  }

  /// A path as it is put together; 64 bytes are more than two numbers need.
  private struct Path {
    let bytes: UnsafeMutableRawPointer
    var count = 0

    init(_ bytes: UnsafeMutableRawPointer) { self.bytes = bytes }

    mutating func add(_ text: StaticString) {
      (bytes + count).copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
      count += text.utf8CodeUnitCount
    }

    mutating func add(_ number: UInt32) {
      if number >= 10 { add(number / 10) }
      (bytes + count).storeBytes(of: UInt8(ascii: "0") + UInt8(number % 10), as: UInt8.self)
      count += 1
    }
  }
}
