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
    forgetStale(fd)
    guard let record = Pool.take() else { return nil }
    record.pointee.fd = fd
    record.pointee.descriptors = 1
    record.pointee.nonblocking.store(nonblocking, ordering: .relaxed)
    mr_set_entry(fd, record)
    return record
  }

  /// `fd` is new, and names nothing that is tracked.
  static func forget(_ fd: Int32) {
    lock.lock()
    defer { lock.unlock() }
    forgetStale(fd)
  }

  /// A connection that was closed behind our back (a raw system call) has left its entry, and what has its number now takes
  /// the place. The table's lock is held.
  private static func forgetStale(_ fd: Int32) {
    if let stale = mr_entry(fd), stale.load(as: UInt8.self) == UInt8(MR_CONNECTION.rawValue) {
      Closing.forget(stale.assumingMemoryBound(to: Connection.self), fd: fd)
    }
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

  /// Makes a descriptor of ours, out of the application's way: high, closed by exec, and known as hidden. `make` is one
  /// system call that gives a descriptor or -errno; the number that it gives is free again two system calls later, so that
  /// another thread of the application hardly ever finds it taken.
  static func makeHidden(_ make: () -> Int) -> Result<Int32, Errno> {
    let place = HiddenDescriptors.open()
    let made = make()
    guard made >= 0 else {
      place.close()
      return .failure(Errno(code: Int32(truncatingIfNeeded: 0 &- made)))
    }
    let moved = Kernel.call(Int(SYS_fcntl), made, Int(F_DUPFD_CLOEXEC), Int(place.lowest))
    Kernel.close(Int32(truncatingIfNeeded: made))
    place.close()
    guard moved >= 0 else { return .failure(Errno(code: EMFILE)) }
    let hidden = Int32(truncatingIfNeeded: moved)
    enterHidden(hidden)
    return .success(hidden)
  }

  private static func enterHidden(_ fd: Int32) {
    withUnsafeMutablePointer(to: &hiddenKind) { mr_set_entry(fd, UnsafeMutableRawPointer($0)) }
  }

  /// Hides a descriptor that a library of the verbs module's has made: its new number, or the old one if there is no
  /// better.
  static func hide(_ fd: Int32) -> Int32 {
    switch makeHidden({ Int(fd) }) {
    case .success(let hidden): return hidden
    case .failure: return fd
    }
  }

  /// The library is about to close it.
  static func reveal(_ fd: Int32) { mr_set_entry(fd, nil) }

  /// Puts a descriptor of nothing in the place of a hidden one, whose number others know still.
  static func empty(_ fd: Int32) {
    let nothing = Kernel.call(Int(SYS_eventfd2), 0, Int(EFD_CLOEXEC | EFD_NONBLOCK))
    guard nothing >= 0 else { return }
    // The number lies above the soft limit, which dup3 minds.
    let place = HiddenDescriptors.open()
    _ = Kernel.call(Int(SYS_dup3), nothing, Int(fd), Int(O_CLOEXEC))
    place.close()
    Kernel.close(Int32(truncatingIfNeeded: nothing))
  }

  static func closeHidden(_ fd: Int32) {
    guard fd >= 0 else { return }
    mr_set_entry(fd, nil)
    Kernel.close(fd)
  }
}

/// Where hidden descriptors live: above the application's soft limit when the hard one allows, so that they neither
/// take numbers that the application could get nor count against what it believes to have.
struct HiddenDescriptors {
  /// Higher numbers would make the kernel's descriptor table, which every fork copies, large.
  private static let highest: UInt64 = 1 << 16

  /// The lowest number for a hidden descriptor.
  let lowest: UInt64
  /// The limit to put back.
  private let limit: rlimit?

  /// Finds the place for a hidden descriptor. Where the soft limit stands in the way it is raised until ``close()``:
  /// another thread that reads it meanwhile sees it higher, which harms nobody.
  static func open() -> HiddenDescriptors {
    var limit = rlimit()
    let read = withUnsafeMutablePointer(to: &limit) {
      Kernel.call(Int(SYS_prlimit64), 0, Int(RLIMIT_NOFILE.rawValue), 0, Int(bitPattern: $0))
    }
    let soft = read == 0 ? UInt64(limit.rlim_cur) : 1024
    guard read == 0, soft < UInt64(limit.rlim_max), soft <= highest else {
      return HiddenDescriptors(lowest: min(soft - soft / 4, highest), limit: nil)
    }
    var raised = limit
    raised.rlim_cur = rlim_t(min(UInt64(limit.rlim_max), soft + 4 * highest))
    set(raised)
    return HiddenDescriptors(lowest: soft, limit: limit)
  }

  func close() {
    if let limit { Self.set(limit) }
  }

  private static func set(_ limit: rlimit) {
    var limit = limit
    withUnsafeMutablePointer(to: &limit) {
      _ = Kernel.call(Int(SYS_prlimit64), 0, Int(RLIMIT_NOFILE.rawValue), Int(bitPattern: $0), 0)
    }
  }
}
