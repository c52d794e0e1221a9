import CLinux
import Synchronization

/// An error number of the kernel's (errno(3)).
struct Errno: Error, Equatable {
  var code: Int32

  static var again: Errno { Errno(code: EAGAIN) }
  static var connectionRefused: Errno { Errno(code: ECONNREFUSED) }
  static var addressInUse: Errno { Errno(code: EADDRINUSE) }
  /// What the process lacks, or may not do, that a lane needs; nil if the error says nothing about that.
  var want: DeclineReason? {
    switch code {
    case EMFILE, ENFILE: .descriptorsExhausted
    case ENOMEM, ENOBUFS: .memoryExhausted
    // Filters of system calls answer with one of these.
    case EPERM, EACCES, ENOSYS: .notPermitted
    default: nil
    }
  }
  static var interrupted: Errno { Errno(code: EINTR) }
}

/// The one door to the kernel. Every call is the bare system call: it is no cancellation point, leaves errno alone,
/// allocates nothing and is safe in a signal handler. EINTR is retried where the kernel gives it before anything happened.
enum Kernel {
  @inline(__always)
  static func call(
    _ number: Int, _ a: Int = 0, _ b: Int = 0, _ c: Int = 0, _ d: Int = 0, _ e: Int = 0, _ f: Int = 0
  ) -> Int {
    cl_syscall6(number, a, b, c, d, e, f)
  }

  /// The result of a system call, or its error.
  static func check(_ result: Int) throws(Errno) -> Int {
    guard result >= 0 else { throw Errno(code: Int32(truncatingIfNeeded: 0 &- result)) }
    return result
  }

  static func close(_ fd: Int32) {
    if fd >= 0 { _ = call(Int(SYS_close), Int(fd)) }
  }

  static func processID() -> Int32 { Int32(truncatingIfNeeded: call(Int(SYS_getpid))) }
  /// Sends a signal to the calling thread, as the kernel does for what a call of its own has done.
  static func raise(_ signal: Int32) {
    _ = call(Int(SYS_tgkill), Int(processID()), Int(threadID()), Int(signal))
  }

  static func threadID() -> UInt32 { UInt32(truncatingIfNeeded: call(Int(SYS_gettid))) }

  /// CLOCK_MONOTONIC in nanoseconds, through the vDSO.
  static func now() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }

  // MARK: Memory

  /// Maps memory; nil if there is none.
  static func map(
    _ bytes: Int, protection: Int32, flags: Int32, fd: Int32 = -1, offset: Int = 0, at: UnsafeMutableRawPointer? = nil
  ) -> UnsafeMutableRawPointer? {
    let r = call(
      Int(SYS_mmap), Int(bitPattern: at), bytes, Int(protection), Int(flags), Int(fd), offset)
    return r < 0 && r > -4096 ? nil : UnsafeMutableRawPointer(bitPattern: r)
  }

  static func unmap(_ memory: UnsafeMutableRawPointer, _ bytes: Int) {
    _ = call(Int(SYS_munmap), Int(bitPattern: memory), bytes)
  }

  /// Private zeroed memory that costs nothing until it is touched.
  static func reserve(_ bytes: Int, shared: Bool = false) -> UnsafeMutableRawPointer? {
    map(
      bytes, protection: PROT_READ | PROT_WRITE,
      flags: (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS | MAP_NORESERVE)
  }

  /// Gives new memory of ours (memfd_create(2)) its size. RLIMIT_FSIZE holds for it as for any file, and what it refuses would
  /// end the program by SIGXFSZ.
  static func setSize(_ fd: Int32, _ bytes: Int) -> Bool {
    var limit = rlimit()
    let read = withUnsafeMutablePointer(to: &limit) {
      call(Int(SYS_prlimit64), 0, Int(RLIMIT_FSIZE.rawValue), 0, Int(bitPattern: $0))
    }
    guard read == 0, UInt64(limit.rlim_cur) >= UInt64(bytes) else { return false }
    return call(Int(SYS_ftruncate), Int(fd), bytes) == 0
  }

  // MARK: Futex

  /// Sleeps while `word` is `expected`, at most `nanoseconds` (0: for ever). Returns for any reason.
  static func futexWait(_ word: UnsafeMutableRawPointer, expected: UInt32, nanoseconds: UInt64 = 0) {
    var timeout = timespec(
      tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
    withUnsafeMutablePointer(to: &timeout) { limit in
      _ = call(
        Int(SYS_futex), Int(bitPattern: word), Int(FUTEX_WAIT), Int(expected),
        nanoseconds == 0 ? 0 : Int(bitPattern: limit))
    }
  }

  /// Wakes everybody who sleeps on `word`.
  static func futexWake(_ word: UnsafeMutableRawPointer) {
    _ = call(Int(SYS_futex), Int(bitPattern: word), Int(FUTEX_WAKE), Int(Int32.max))
  }

  // MARK: Descriptors

  /// The descriptor's status flags (O_NONBLOCK among them), or 0 if it is none.
  static func statusFlags(_ fd: Int32) -> Int32 {
    let r = call(Int(SYS_fcntl), Int(fd), Int(F_GETFL))
    return r < 0 ? 0 : Int32(truncatingIfNeeded: r)
  }

  /// An integer socket option.
  static func option(_ fd: Int32, _ level: Int32, _ name: Int32) -> Int32? {
    var value: Int32 = 0
    var length = UInt32(MemoryLayout<Int32>.size)
    let r = withUnsafeMutablePointer(to: &value) { v in
      withUnsafeMutablePointer(to: &length) { l in
        call(Int(SYS_getsockopt), Int(fd), Int(level), Int(name), Int(bitPattern: v), Int(bitPattern: l))
      }
    }
    return r < 0 ? nil : value
  }

  @discardableResult
  static func setOption(_ fd: Int32, _ level: Int32, _ name: Int32, _ value: Int32) -> Bool {
    var value = value
    return withUnsafePointer(to: &value) {
      call(Int(SYS_setsockopt), Int(fd), Int(level), Int(name), Int(bitPattern: $0), MemoryLayout<Int32>.size)
    } == 0
  }

  static func shutdown(_ fd: Int32, _ how: Int32) {
    _ = call(Int(SYS_shutdown), Int(fd), Int(how))
  }

  /// A queue length that an ioctl reports (FIONREAD, SIOCOUTQ), in bytes.
  static func queued(_ fd: Int32, _ request: UInt) -> Int? {
    var value: Int32 = 0
    let r = withUnsafeMutablePointer(to: &value) { v in
      call(Int(SYS_ioctl), Int(fd), Int(bitPattern: request), Int(bitPattern: v))
    }
    return r < 0 ? nil : Int(value)
  }

  /// Reads from a socket without blocking; bytes, 0 at the end of the stream, or -errno.
  static func receive(_ fd: Int32, _ buffer: UnsafeMutableRawPointer, _ bytes: Int, _ flags: Int32 = 0) -> Int {
    call(
      Int(SYS_recvfrom), Int(fd), Int(bitPattern: buffer), bytes, Int(flags | Int32(MSG_DONTWAIT)))
  }

  /// Writes to a socket without blocking and without SIGPIPE; bytes or -errno.
  static func send(_ fd: Int32, _ buffer: UnsafeRawPointer, _ bytes: Int) -> Int {
    call(
      Int(SYS_sendto), Int(fd), Int(bitPattern: buffer), bytes,
      Int(Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL)))
  }

  /// Waits for events of one descriptor. Whether any came.
  static func wait(_ fd: Int32, _ events: Int16, milliseconds: Int32) -> Bool {
    var entry = pollfd(fd: fd, events: events, revents: 0)
    return withUnsafeMutablePointer(to: &entry) {
      call(Int(SYS_poll), Int(bitPattern: $0), 1, Int(milliseconds))
    } > 0
  }

  /// What poll(2) says about one descriptor now.
  static func pollNow(_ fd: Int32, _ events: Int16) -> Int16 {
    var entry = pollfd(fd: fd, events: events, revents: 0)
    let r = withUnsafeMutablePointer(to: &entry) { call(Int(SYS_poll), Int(bitPattern: $0), 1, 0) }
    return r > 0 ? entry.revents : 0
  }

  @discardableResult
  static func epollControl(_ epfd: Int32, _ op: Int32, _ fd: Int32, events: UInt32 = 0, data: UInt64 = 0) -> Int {
    var event = epoll_event()
    event.events = events
    event.data.u64 = data
    return withUnsafeMutablePointer(to: &event) {
      call(Int(SYS_epoll_ctl), Int(epfd), Int(op), Int(fd), Int(bitPattern: $0))
    }
  }

  /// Adds one to an eventfd.
  static func signal(_ eventfd: Int32) {
    var one: UInt64 = 1
    _ = withUnsafeMutablePointer(to: &one) { call(Int(SYS_write), Int(eventfd), Int(bitPattern: $0), 8) }
  }
}
