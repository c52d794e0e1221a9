import CLinux
import MillraceShim
import Synchronization

/// Which connections may have a lane, and when they have earned one.
enum Policy {
  /// Attempts after which a connection stays on TCP for good.
  private static let mostAttempts: UInt8 = 12

  /// The role is known: sets the threshold.
  static func admit(_ c: ConnectionRef) {
    c.pointee.dueCalls = Configuration.settings.attachCalls
    c.pointee.dueBytes = Configuration.settings.attachBytes
    c.pointee.hasRole = true
  }

  /// One data call has moved bytes over the kernel path. Called pinned.
  @inline(__always)
  static func note(_ c: ConnectionRef) {
    guard c.pointee.hasRole, c.pointee.attempt.load(ordering: .relaxed) == .none else { return }
    let calls = c.pointee.calls.load(ordering: .relaxed) &+ 1
    // A call that is lost between two threads delays a lane and harms nobody.
    c.pointee.calls.store(calls, ordering: .relaxed)
    if calls < c.pointee.dueCalls, bytes(c) < c.pointee.dueBytes { return }
    submit(c)
  }

  private static func bytes(_ c: ConnectionRef) -> UInt64 {
    c.pointee.kernelSent.load(ordering: .relaxed) &+ c.pointee.kernelReceived.load(ordering: .relaxed)
  }

  @inline(never)
  private static func submit(_ c: ConnectionRef) {
    if c.isShared { c.pointee.family!.pointee.bury() }
    if c.isShared {
      c.pointee.reason = .sharedByFork
      return postpone(c)
    }
    if c.pointee.wireup.notBefore > Kernel.now() {
      c.pointee.dueCalls = grown(c.pointee.calls.load(ordering: .relaxed))
      c.pointee.dueBytes = grown(bytes(c))
      return
    }
    let (mine, _) = c.pointee.attempt.compareExchange(
      expected: .none, desired: .underway, ordering: .acquiringAndReleasing)
    guard mine else { return }
    if !Service.submit(c) {
      if let reason = Service.whyNot { return refuse(c, reason) }
      postpone(c)
      c.pointee.attempt.store(.none, ordering: .releasing)
    }
  }

  /// There is no service thread that could say so. The attempt is this call's.
  private static func refuse(_ c: ConnectionRef, _ reason: DeclineReason) {
    Stats.start()
    Stats.claimRow(c)
    c.pointee.reason = reason
    Stats.decline(reason)
    Stats.publish(c)
    c.pointee.attempt.store(.refused, ordering: .releasing)
  }

  /// A quarter more than it is now.
  private static func grown<Count: FixedWidthInteger>(_ now: Count) -> Count { now &+ now / 4 &+ 1 }

  private static func postpone(_ c: ConnectionRef) {
    c.pointee.dueCalls = max(1, c.pointee.calls.load(ordering: .relaxed)) &* 2
    c.pointee.dueBytes = max(Configuration.settings.attachBytes, bytes(c) &* 2)
  }

  /// After an attempt that came to nothing: again when the traffic has doubled, unless the reason forbids it.
  static func scheduleAgain(_ c: ConnectionRef) {
    if c.pointee.forbidden.load(ordering: .sequentiallyConsistent) != 0 {
      return c.pointee.attempt.store(.refused, ordering: .releasing)
    }
    if Chaos.isOn {
      c.pointee.attempts = 0
      c.pointee.dueCalls = c.pointee.calls.load(ordering: .relaxed) &+ 1
      c.pointee.attempt.store(.none, ordering: .releasing)
      return
    }
    switch c.pointee.reason {
    case .noDevice, .lockedMemory: if Verbs.isOpen, FabricRetry.wait(c) { return }
    case .noPeer, .busy, .raced, .sharedByFork, .laneAborted, .peerLeft, .chaos, .wireupTimeout, .nameTaken, .badWireup,
      .peerDeclined, .unaccountedIO, .operator, .laneFailed, .fabricUnreachable:
      if c.pointee.wireup.fabric == .verbs, FabricRetry.wait(c) { return }
      guard c.pointee.attempts < mostAttempts else {
        if c.pointee.reason == .noPeer, c.pointee.attempts == mostAttempts { PeerMemory.noteSilence(c) }
        break
      }
      postpone(c)
      if c.pointee.reason == .noPeer { waitForPeer(c) }
      c.pointee.attempt.store(.none, ordering: .releasing)
      return
    default:
      break
    }
    c.pointee.attempt.store(.refused, ordering: .releasing)
  }

  /// Two ends that exchange small messages double their traffic faster than a busy machine lets the peer's service thread
  /// run. So that the attempts are not used up by then, those after the first few are some time apart: two seconds in all.
  private static func waitForPeer(_ c: ConnectionRef) {
    let attempts = UInt64(c.pointee.attempts)
    if attempts > 2 { c.pointee.wireup.notBefore = Kernel.now() &+ 1_000_000 << min(attempts &- 2, 10) }
  }

  /// What had refused the connection a lane has not come about: it may have one when the traffic has doubled.
  static func pardon(_ c: ConnectionRef) {
    guard c.pointee.attempt.load(ordering: .acquiring) == .refused else { return }
    c.pointee.reason = .none
    postpone(c)
    Stats.publish(c)
    c.pointee.attempt.store(.none, ordering: .releasing)
  }

  /// What stands against a lane for this connection, looked up once per attempt by the service thread.
  static func objection(_ c: ConnectionRef) -> DeclineReason? {
    if Uring.isUsed() { return .ioUring }
    if Stats.wantsNoLane(c) {
      // Kept as a prohibition, so that `millrace on` finds it and takes it back.
      _ = c.pointee.forbidden.compareExchange(
        expected: 0, desired: DeclineReason.operator.rawValue, ordering: .sequentiallyConsistent)
    }
    let forbidden = c.pointee.forbidden.load(ordering: .sequentiallyConsistent)
    if forbidden != 0 { return DeclineReason(rawValue: forbidden) }
    guard addresses(c) else { return .notConnected }
    if !Configuration.allows(c) { return .ruleDenied }
    if PeerMemory.isSilent(c) {
      c.pointee.attempts = mostAttempts &+ 1
      return .noPeer
    }
    let fd = c.pointee.fd
    let flags = Kernel.statusFlags(fd)
    if flags & O_ASYNC != 0 { return .asyncSignals }
    c.pointee.nonblocking.store(flags & O_NONBLOCK != 0, ordering: .relaxed)
    if Options.isInTheWay(fd) { return .socketOption }
    Options.readTimeouts(c)
    return nil
  }

  private static func addresses(_ c: ConnectionRef) -> Bool {
    guard let local = name(c.pointee.fd, Int(SYS_getsockname)), let peer = name(c.pointee.fd, Int(SYS_getpeername))
    else { return false }
    c.pointee.wireup.local = local
    c.pointee.wireup.peer = peer
    return true
  }

  private static func name(_ fd: Int32, _ call: Int) -> Endpoint? {
    withUnsafeTemporaryAllocation(byteCount: 128, alignment: 8) { space -> Endpoint? in
      var length = UInt32(space.count)
      let r = withUnsafeMutablePointer(to: &length) {
        Kernel.call(call, Int(fd), Int(bitPattern: space.baseAddress!), Int(bitPattern: $0))
      }
      guard r == 0 else { return nil }
      return Endpoint(sockaddr: UnsafeRawPointer(space.baseAddress!), length: Int(length))
    }
  }
}
