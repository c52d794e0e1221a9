import CLinux
import MillraceShim
import Synchronization

/// Which descriptor names what. The array itself is C's (`mr_table`), so that the entries can look without a call.
enum Table {
  /// Guards changes of the table and the pool. Never held while a connection's locks are taken.
  static let lock = Lock()

  /// The connection that `fd` names, if any.
  @inline(__always)
  static func connection(_ fd: Int32) -> ConnectionRef? {
    guard let entry = mr_entry(fd),
      entry.load(as: UInt8.self) == UInt8(MR_CONNECTION.rawValue)
    else { return nil }
    return entry.assumingMemoryBound(to: Connection.self)
  }

  /// Begins to track a TCP socket that has just come into being.
  static func track(_ fd: Int32, nonblocking: Bool) -> ConnectionRef? {
    guard fd < Int32(MR_TABLE_SIZE) else { return nil }
    lock.lock()
    defer { lock.unlock() }
    // A descriptor that was closed behind our back (a raw system call) leaves its entry: the new socket takes its place.
    if let stale = mr_entry(fd), stale.load(as: UInt8.self) == UInt8(MR_CONNECTION.rawValue) {
      Closing.forget(stale.assumingMemoryBound(to: Connection.self), fd: fd)
    }
    guard let record = Pool.take() else { return nil }
    record.pointee.fd = fd
    record.pointee.descriptors = 1
    record.pointee.nonblocking.store(nonblocking, ordering: .relaxed)
    mr_set_entry(fd, record)
    return record
  }

  /// `copy` names what `fd` names.
  static func duplicate(_ fd: Int32, as copy: Int32) {
    lock.lock()
    defer { lock.unlock() }
    guard copy < Int32(MR_TABLE_SIZE), let entry = mr_entry(fd) else { return }
    switch UInt32(entry.load(as: UInt8.self)) {
    case MR_CONNECTION.rawValue, MR_LISTENER.rawValue:
      entry.assumingMemoryBound(to: Connection.self).pointee.descriptors += 1
      mr_set_entry(copy, entry)
    case MR_EPOLL.rawValue:
      entry.assumingMemoryBound(to: EpollSet.self).pointee.descriptors += 1
      mr_set_entry(copy, entry)
    default:
      break
    }
  }

  // MARK: Hidden descriptors

  /// What the entry of a hidden descriptor points to.
  nonisolated(unsafe) private static var hiddenKind = UInt8(MR_HIDDEN.rawValue)

  /// Moves a descriptor of ours out of the application's way: high, closed by exec, and known as hidden. Takes `fd`
  /// over: the result replaces it. Nil if there is no room, and then `fd` is closed.
  static func hide(_ fd: Int32) -> Int32? {
    let hidden = HiddenDescriptors.move(fd)
    Kernel.close(fd)
    guard hidden >= 0 else { return nil }
    withUnsafeMutablePointer(to: &hiddenKind) { mr_set_entry(hidden, UnsafeMutableRawPointer($0)) }
    return hidden
  }

  static func closeHidden(_ fd: Int32) {
    guard fd >= 0 else { return }
    mr_set_entry(fd, nil)
    Kernel.close(fd)
  }
}

/// Where hidden descriptors live: above the application's soft limit when the hard one allows, so that they neither
/// take numbers that the application could get nor count against what it believes to have.
enum HiddenDescriptors {
  /// Higher numbers would make the kernel's descriptor table, which every fork copies, large.
  private static let highest: UInt64 = 1 << 16

  static func move(_ fd: Int32) -> Int32 {
    var limit = rlimit()
    let read = withUnsafeMutablePointer(to: &limit) {
      Kernel.call(Int(SYS_prlimit64), 0, Int(RLIMIT_NOFILE.rawValue), 0, Int(bitPattern: $0))
    }
    guard read == 0 else { return -1 }
    let soft = UInt64(limit.rlim_cur)
    if soft < UInt64(limit.rlim_max), soft <= highest {
      return moveAbove(fd, soft: soft, limit: limit)
    }
    return duplicate(fd, from: min(soft - soft / 4, highest))
  }

  /// Raises the soft limit for the length of one fcntl. Another thread that reads it meanwhile sees it higher, which
  /// harms nobody.
  private static func moveAbove(_ fd: Int32, soft: UInt64, limit: rlimit) -> Int32 {
    var raised = limit
    raised.rlim_cur = rlim_t(min(UInt64(limit.rlim_max), soft + 4 * highest))
    setLimit(raised)
    let r = duplicate(fd, from: soft)
    setLimit(limit)
    return r
  }

  private static func setLimit(_ limit: rlimit) {
    var limit = limit
    withUnsafeMutablePointer(to: &limit) {
      _ = Kernel.call(Int(SYS_prlimit64), 0, Int(RLIMIT_NOFILE.rawValue), Int(bitPattern: $0), 0)
    }
  }

  private static func duplicate(_ fd: Int32, from lowest: UInt64) -> Int32 {
    Int32(
      truncatingIfNeeded: Kernel.call(Int(SYS_fcntl), Int(fd), Int(F_DUPFD_CLOEXEC), Int(lowest)))
  }
}
