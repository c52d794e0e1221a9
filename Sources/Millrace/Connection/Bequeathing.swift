import CLinux
import Synchronization

/// What a peer that is gone has left in its ring, put into the kernel's socket: for whoever reads past this library from now on.
///
/// A peer that lives sends its ring's bytes once more over TCP when a lane is left. One that is gone does not, and its ring is all
/// there is. Calls that come to this library read it (``Receive``, ``Inheriting``). Another program, or libc's own reads, see the
/// socket alone. The kernel puts bytes into a socket's receive queue for who may repair TCP connections (TCP_REPAIR, which is for
/// processes that are moved between machines, and wants CAP_NET_ADMIN). For others the connection is reset, since a stream that
/// ends too early in good order is believed.
enum Bequeathing {
  /// `c` is about to be read past this library, for this reason, and the lane has been left if it could be.
  static func give(_ c: ConnectionRef, _ reason: DeclineReason) {
    guard c.pointee.segment != nil else { return }
    _ = c.pin(Pins.sleeper)
    defer { c.unpin(Pins.sleeper) }
    guard isBereft(c) else { return }
    // The peer's farewell on the lane is ahead of the kernel's.
    let end = Int16(truncatingIfNeeded: Int32(POLLRDHUP))
    _ = Kernel.wait(c.pointee.fd, end, milliseconds: farewell)
    c.lockBoth()
    whileNoRelativeReads(c) {
      if isBereft(c) { settle(c, mustLeave: reason == .descriptorPassed || reason == .stdio) }
    }
    c.unlockBoth()
    Waiters.wake(c)
  }

  private static let farewell: Int32 = 200

  /// Whether a peer that is gone may have left something in its ring.
  private static func isBereft(_ c: ConnectionRef) -> Bool {
    if isOnLane(c) { return Leaving.peerIsGone(c) }
    return c.pointee.consumer != nil && c.pointee.cutover.inbound == .application && Leaving.kernelHasEnded(c)
  }

  private static func isOnLane(_ c: ConnectionRef) -> Bool { c.pointee.wireup.stage == .attached }

  private static func whileNoRelativeReads(_ c: ConnectionRef, _ body: () -> Void) {
    guard c.pointee.isFamily, let family = c.pointee.family else { return body() }
    family.pointee.receiveLock.lock()
    defer { family.pointee.receiveLock.unlock() }
    // A relative that leaves the lane answers for all.
    if !isOnLane(c) || !SharedLane.siblingLeaves(c) { body() }
  }

  /// `mustLeave`: what is not in the kernel now, nobody will read. Both locks are held, and the family's.
  private static func settle(_ c: ConnectionRef, mustLeave: Bool) {
    let wasOnLane = isOnLane(c)
    if wasOnLane { Leaving.dropRecords(c) }
    guard let unread = wasOnLane ? restOfLane(c) : restBehindKernel(c) else { return }
    let rest = c.pointee.consumer!.ready
    let isReset = c.pointee.pendingError.load(ordering: .acquiring) == ECONNRESET
    if rest > 0, !isReset {
      switch put(c, unread: unread) {
      case .all: Stats.count(.restsGiven)
      case .nothing where !mustLeave: return
      case .nothing, .some: return lose(c)
      }
    } else if rest > 0 || isReset {
      // TCP would have kept the bytes before a reset too.
      return mustLeave ? lose(c) : ()
    }
    guard wasOnLane, rest > 0 || mustLeave else { return }
    // There are no records any more: what the kernel has is the stream's, at a close too.
    c.pointee.cutover.follow(resumedAt: 0, lane: 0)
    Leaving.goToKernel(c)
    // What relatives know of the stream does not hold any more: they read what the kernel has.
    if c.pointee.isFamily { SharedLane.finishDetach(c) }
  }

  private static func lose(_ c: ConnectionRef) {
    Stats.count(.restsLost)
    c.pointee.consumer!.skipAll()
    Leaving.dissolve(c)
  }

  // MARK: Where the ring goes on

  /// How many bytes the kernel has that come before the ring's: none, on a lane. Nil if the ring is absurd.
  private static func restOfLane(_ c: ConnectionRef) -> Int? {
    if c.pointee.isFamily { return c.pointee.consumer!.reload() ? 0 : nil }
    return c.pointee.consumer!.refresh() ? 0 : nil
  }

  /// The same for a connection that was TCP's again, or nearly, when its peer died. Nil if the ring does not go on.
  private static func restBehindKernel(_ c: ConnectionRef) -> Int? {
    guard let unread = Kernel.queued(c.pointee.fd, CL_FIONREAD), let total = Audit.receivedBeforeFin(c) else {
      return nil
    }
    if c.pointee.isFamily {
      guard c.pointee.family!.pointee.isInheritable.load(ordering: .acquiring), c.pointee.consumer!.reload() else {
        return nil
      }
    } else if c.pointee.kernelReceived.load(ordering: .relaxed) &+ UInt64(unread) != total {
      return nil
    }
    return Inheriting.skipToRest(c, received: total) ? unread : nil
  }

  // MARK: Into the kernel

  private enum Outcome {
    case all
    /// It could not be done, and nothing has happened.
    case nothing
    /// Some of it is lost.
    case some
  }

  private static func put(_ c: ConnectionRef, unread: Int) -> Outcome {
    let fd = c.pointee.fd
    // Only such a socket takes bytes in, and still knows what to say to who sends.
    guard Audit.receivedBeforeFin(c) != nil, repair(fd, true) else { return .nothing }
    _ = repair(fd, false)
    // The FIN lies in the queue too, before whatever is put in: it goes first, and what precedes it is put in again.
    var before: UnsafeMutableRawPointer?
    if unread > 0 {
      before = Kernel.reserve(unread)
      guard before != nil else { return .nothing }
    }
    defer { if let before { Kernel.unmap(before, unread) } }
    if let before, !takeOut(fd, before, unread) { return .some }
    var byte: UInt8 = 0
    guard withUnsafeMutablePointer(to: &byte, { Kernel.receive(fd, $0, 1) }) == 0 else { return .some }
    // The peer's kernel has to hear that its FIN has come before bytes are acknowledged that it never sent.
    Kernel.setOption(fd, Int32(IPPROTO_TCP), TCP_QUICKACK, 1)
    let ring = c.pointee.consumer!.bytes
    let space = Kernel.option(fd, SOL_SOCKET, SO_RCVBUF) ?? 0
    guard repair(fd, true) else { return .some }
    Kernel.setOption(fd, Int32(IPPROTO_TCP), TCP_REPAIR_QUEUE, Int32(TCP_RECV_QUEUE))
    Kernel.setOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, Int32(clamping: unread &+ ring.count &+ 65536))
    var isDone = true
    if let before { isDone = putIn(fd, before, unread) }
    isDone = isDone && putIn(fd, ring.baseAddress!, ring.count)
    Kernel.setOption(fd, SOL_SOCKET, SO_RCVBUF, space / 2)
    _ = repair(fd, false)
    guard isDone else { return .some }
    c.pointee.consumer!.skipAll()
    return .all
  }

  /// Switches the repair of a connection on or off; off without a probe, which would be answered. False if not allowed.
  private static func repair(_ fd: Int32, _ on: Bool) -> Bool {
    Kernel.setOption(fd, Int32(IPPROTO_TCP), TCP_REPAIR, on ? 1 : -1)
  }

  private static func takeOut(_ fd: Int32, _ bytes: UnsafeMutableRawPointer, _ count: Int) -> Bool {
    var done = 0
    while done < count {
      let r = Kernel.receive(fd, bytes + done, count &- done)
      guard r > 0 else { return false }
      done &+= r
    }
    return true
  }

  private static func putIn(_ fd: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Bool {
    var done = 0
    while done < count {
      let r = Kernel.send(fd, bytes + done, count &- done)
      guard r > 0 else { return false }
      done &+= r
    }
    return true
  }
}
