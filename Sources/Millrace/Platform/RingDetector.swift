import CLinux

/// Whether the process owns an io_uring: its requests reach sockets without passing any entry of ours, so none of its
/// connections may have a lane. `io_uring_setup` is mostly called by number, past libc, so this looks at the descriptors.
enum RingDetector {
  /// True if a descriptor is an `anon_inode:[io_uring]`.
  static func find() -> Bool {
    OpenDescriptors.contains { isRing($0) }
  }

  private static func isRing(_ fd: Int32) -> Bool {
    let wanted: StaticString = "anon_inode:[io_uring]"
    return OpenDescriptors.withLink(fd) { link in
      link.count == wanted.utf8CodeUnitCount && memcmp(link.baseAddress!, wanted.utf8Start, link.count) == 0
    }
  }
}
