import CLinux
import MillraceShim
import Synchronization

/// Socket options and ioctls, where a lane changes the answer.
enum Options {
  /// The level at which a program may ask about its lane.
  static let level: Int32 = 0x4d4c
  private static let pathName: Int32 = 1
  private static let reasonName: Int32 = 2

  static func pathValue(_ c: ConnectionRef) -> UInt8 {
    switch c.pointee.wireup.stage {
    case .attached: ConnectionPath.lane.rawValue
    case .called, .calling, .wired, .leaving: ConnectionPath.attaching.rawValue
    case .ended where c.pointee.producer != nil && c.pointee.attempt.load(ordering: .relaxed) == .refused:
      ConnectionPath.ended.rawValue
    default: ConnectionPath.kernel.rawValue
    }
  }

  // MARK: getsockopt and setsockopt

  /// Answers what the kernel would get wrong. Nil: ask the kernel.
  static func get(
    _ c: ConnectionRef, level: Int32, name: Int32, value: UnsafeMutableRawPointer?,
    length: UnsafeMutablePointer<UInt32>?
  ) -> Int32? {
    if level == Self.level { return own(c, name, value, length) }
    if name == TCP_ZEROCOPY_RECEIVE, let reason = takesStream(level: level, name: name) {
      Descriptors.decline(c, reason)
    }
    if level == SOL_SOCKET, name == SO_ERROR {
      let error = c.pointee.pendingError.exchange(0, ordering: .acquiringAndReleasing)
      if error != 0 { return put(error, value, length) }
      return StandIn.isNeeded(c) ? put(0, value, length) : nil
    }
    return nil
  }

  private static func own(
    _ c: ConnectionRef, _ name: Int32, _ value: UnsafeMutableRawPointer?, _ length: UnsafeMutablePointer<UInt32>?
  ) -> Int32 {
    switch name {
    case pathName: put(Int32(pathValue(c)), value, length)
    case reasonName: put(Int32(c.pointee.reason.rawValue), value, length)
    default: -ENOPROTOOPT
    }
  }

  private static func put(
    _ number: Int32, _ value: UnsafeMutableRawPointer?, _ length: UnsafeMutablePointer<UInt32>?
  ) -> Int32 {
    guard let value, let length, length.pointee >= 4 else { return -EINVAL }
    value.storeBytes(of: number, as: Int32.self)
    length.pointee = 4
    return 0
  }

  /// What must not be asked of the kernel, or told to it, while the stream is not the kernel's: it takes the stream over, shows
  /// its state, or reads from it. Called before.
  static func takesStream(level: Int32, name: Int32) -> DeclineReason? {
    if level == SOL_SOCKET {
      switch name {
      // The offset of a peek moves with what the kernel is read, records too.
      case SO_PEEK_OFF: return .splice
      // Below it the kernel tells nobody of what has come: a record that the move needs would be seen by no wait.
      case SO_RCVLOWAT: return .socketOption
      default: return nil
      }
    }
    guard level == Int32(IPPROTO_TCP) else { return nil }
    switch name {
    case TCP_ULP: return .kernelTLS
    case TCP_REPAIR, TCP_ZEROCOPY_RECEIVE: return .splice
    default: return nil
    }
  }

  /// The kernel has set an option: takes over what a lane has to honour itself. What it cannot honour, it says.
  static func changed(_ c: ConnectionRef, level: Int32, name: Int32) -> DeclineReason? {
    if level == SOL_SOCKET {
      switch name {
      case SO_RCVTIMEO, SO_SNDTIMEO, SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW: readTimeouts(c)
      default: break
      }
    }
    return isInTheWay(c.pointee.fd, level, name) ? .socketOption : nil
  }

  /// Whether the socket has an option that a lane cannot honour. An accepted one has its listener's.
  static func isInTheWay(_ fd: Int32) -> Bool {
    isInTheWay(fd, SOL_SOCKET, SO_RCVLOWAT) || isInTheWay(fd, SOL_SOCKET, SO_PEEK_OFF)
      || isInTheWay(fd, SOL_SOCKET, SO_ZEROCOPY) || isInTheWay(fd, SOL_SOCKET, SO_TIMESTAMP)
      || isInTheWay(fd, SOL_SOCKET, SO_TIMESTAMPNS) || isInTheWay(fd, SOL_SOCKET, SO_TIMESTAMPING)
      || isInTheWay(fd, Int32(IPPROTO_TCP), TCP_INQ)
  }

  private static func isInTheWay(_ fd: Int32, _ level: Int32, _ name: Int32) -> Bool {
    guard let harmless = harmless(level, name), let value = Kernel.option(fd, level, name) else { return false }
    return value != harmless
  }

  /// Of an option that only the kernel can honour, the value with which nothing comes of it.
  private static func harmless(_ level: Int32, _ name: Int32) -> Int32? {
    if level == Int32(IPPROTO_TCP) { return name == TCP_INQ ? 0 : nil }
    guard level == SOL_SOCKET else { return nil }
    switch name {
    case SO_RCVLOWAT: return 1
    case SO_PEEK_OFF: return -1
    // What comes of these is on the error queue, or in control messages of the kernel's.
    case SO_ZEROCOPY, SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING, SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW,
      SO_TIMESTAMPING_NEW:
      return 0
    default: return nil
    }
  }

  /// SO_RCVTIMEO and SO_SNDTIMEO as the kernel has them.
  static func readTimeouts(_ c: ConnectionRef) {
    c.pointee.receiveTimeout.store(timeout(c.pointee.fd, SO_RCVTIMEO), ordering: .relaxed)
    c.pointee.sendTimeout.store(timeout(c.pointee.fd, SO_SNDTIMEO), ordering: .relaxed)
  }

  private static func timeout(_ fd: Int32, _ name: Int32) -> UInt64 {
    var value = timeval()
    var length = UInt32(MemoryLayout<timeval>.size)
    let r = withUnsafeMutablePointer(to: &value) { v in
      withUnsafeMutablePointer(to: &length) { l in
        Kernel.call(Int(SYS_getsockopt), Int(fd), Int(SOL_SOCKET), Int(name), Int(bitPattern: v), Int(bitPattern: l))
      }
    }
    guard r == 0 else { return 0 }
    return UInt64(value.tv_sec) &* 1_000_000_000 &+ UInt64(value.tv_usec) &* 1000
  }

  /// Keeps a connection that is not on a lane from ever getting one.
  static func decline(_ c: ConnectionRef, _ reason: DeclineReason) {
    c.pointee.forbidden.store(reason.rawValue, ordering: .sequentiallyConsistent)
    let (kept, now) = c.pointee.attempt.compareExchange(
      expected: .none, desired: .refused, ordering: .acquiringAndReleasing)
    guard kept || now == .refused else { return }
    if c.pointee.reason != reason { Stats.decline(reason) }
    c.pointee.reason = reason
    Stats.publish(c)
  }

  // MARK: ioctl

  static func control(_ c: ConnectionRef, request: UInt, argument: UnsafeMutableRawPointer?) -> Int32? {
    guard let argument else { return nil }
    switch request {
    case CL_FIONREAD:
      guard let bytes = readableInKernel(c) ?? readableNow(c) else { return nil }
      argument.storeBytes(of: Int32(truncatingIfNeeded: bytes), as: Int32.self)
      return 0
    case CL_SIOCOUTQ:
      guard c.pointee.sendPath.load(ordering: .acquiring) != .kernel else { return nil }
      // What is in the ring is in the peer's memory: acknowledged, in TCP's words.
      argument.storeBytes(of: 0, as: Int32.self)
      return 0
    default:
      return nil
    }
  }

  /// What the kernel holds, if the stream was the kernel's before and after the look: a mark that comes in between would
  /// be counted.
  private static func readableInKernel(_ c: ConnectionRef) -> Int? {
    let changes = c.pointee.changes.load(ordering: .sequentiallyConsistent)
    guard c.pointee.receivePath.load(ordering: .acquiring) == .kernel else { return nil }
    guard let bytes = Kernel.queued(c.pointee.fd, CL_FIONREAD) else { return nil }
    guard c.pointee.receivePath.load(ordering: .sequentiallyConsistent) == .kernel,
      c.pointee.changes.load(ordering: .sequentiallyConsistent) == changes
    else { return nil }
    return bytes
  }

  /// What there is on whatever path the stream takes; nil for the kernel to answer.
  private static func readableNow(_ c: ConnectionRef) -> Int? {
    c.pointee.receiveLock.lock()
    defer { c.pointee.receiveLock.unlock() }
    return c.pointee.receivePath.load(ordering: .relaxed) == .kernel ? nil : readable(c)
  }

  /// Bytes that a read would give now (FIONREAD), on a lane or on the way to it. The receive lock is held.
  private static func readable(_ c: ConnectionRef) -> Int {
    if c.pointee.receivePath.load(ordering: .relaxed) == .lane {
      SharedLane.refresh(c)
      Fabric.look(c)
      return c.pointee.consumer!.refresh() ? c.pointee.consumer!.ready : 0
    }
    let limit = c.pointee.kernelLimit.load(ordering: .relaxed)
    let received = c.pointee.kernelReceived.load(ordering: .relaxed)
    guard received < limit else { return 0 }
    return Int(min(UInt64(Kernel.queued(c.pointee.fd, CL_FIONREAD) ?? 0), limit &- received))
  }
}
