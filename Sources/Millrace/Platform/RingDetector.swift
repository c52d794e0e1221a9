import CLinux

/// Whether the process owns an io_uring: its requests reach sockets without passing any entry of ours, so none of its
/// connections may have a lane. `io_uring_setup` is mostly called by number, past libc, so this looks at the descriptors.
enum RingDetector {
  /// Looks through /proc/self/fd. True if one is an `anon_inode:[io_uring]`.
  static func find() -> Bool {
    let path: StaticString = "/proc/self/fd"
    let opened = Kernel.call(
      Int(SYS_openat), Int(AT_FDCWD), Int(bitPattern: path.utf8Start), Int(O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0)
    guard opened >= 0 else { return false }
    defer { Kernel.close(Int32(truncatingIfNeeded: opened)) }
    return withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { space in
      while true {
        let r = Kernel.call(Int(SYS_getdents64), opened, Int(bitPattern: space.baseAddress!), space.count)
        if r <= 0 { return false }
        if findIn(space.baseAddress!, bytes: r, directory: opened) { return true }
      }
    }
  }

  /// One buffer of getdents64(2): d_reclen at 16, d_name at 19.
  private static func findIn(_ entries: UnsafeMutableRawPointer, bytes: Int, directory: Int) -> Bool {
    var at = 0
    while at < bytes {
      if isRing(entries + at + 19, directory) { return true }
      at += Int((entries + at).load(fromByteOffset: 16, as: UInt16.self))
    }
    return false
  }

  private static func isRing(_ name: UnsafeRawPointer, _ directory: Int) -> Bool {
    let wanted: StaticString = "anon_inode:[io_uring]"
    return withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { space in
      let r = Kernel.call(
        Int(SYS_readlinkat), directory, Int(bitPattern: name), Int(bitPattern: space.baseAddress!), space.count)
      return r == wanted.utf8CodeUnitCount && memcmp(space.baseAddress!, wanted.utf8Start, r) == 0
    }
  }
}
