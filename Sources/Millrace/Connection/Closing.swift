import CLinux
import MillraceShim
import Synchronization

/// The end of a descriptor, and of the connection with its last one.
enum Closing {
  /// Before the real close of a descriptor that names `c`, or before connect(2) to AF_UNSPEC, with which the kernel
  /// resets.
  static func close(_ c: ConnectionRef, fd: Int32, resets: Bool = false) {
    Table.lock.lock()
    guard c.isNamed(by: fd) else { return Table.lock.unlock() }
    mr_set_entry(fd, nil)
    c.pointee.descriptors -= 1
    let isLast = c.pointee.descriptors == 0
    if !isLast, c.pointee.fd == fd { c.pointee.fd = otherName(of: c) }
    Table.lock.unlock()
    if isLast { last(c, fd: fd, resets: resets) }
  }

  /// Another descriptor of the connection. Rare: it was dup'ed, and the first name is closed.
  private static func otherName(of c: ConnectionRef) -> Int32 {
    var fd: Int32 = 0
    while fd < Int32(MR_TABLE_SIZE) {
      if c.isNamed(by: fd) { return fd }
      fd += 1
    }
    return -1
  }

  /// A descriptor was closed behind our back. The table's lock is held.
  static func forget(_ c: ConnectionRef, fd: Int32) {
    mr_set_entry(fd, nil)
    c.pointee.descriptors -= 1
    guard c.pointee.descriptors == 0 else { return }
    Table.lock.unlock()
    last(c, fd: -1)
    Table.lock.lock()
  }

  private static func last(_ c: ConnectionRef, fd: Int32, resets: Bool = false) {
    // This call is inside as well: what it looks at stays until it leaves.
    _ = c.pin(Pins.sleeper)
    defer { c.unpin(Pins.sleeper) }
    if hasCallInside(c), put(off: c, fd: fd) { return }
    if c.pointee.attempt.load(ordering: .acquiring) != .none { leaveLane(c, fd: fd, resets: resets) }
    if c.pointee.registrations != nil { Registrations.removeAll(c) }
    // Whoever is inside, or comes now, sees this and leaves; the last to leave finishes.
    let now = c.pointee.pins.bitwiseOr(Pins.closing, ordering: .sequentiallyConsistent).newValue
    if !Pins.isOnlySleeper(now) { Waiters.wake(c) }
  }

  /// Whether another call is in the middle of a stream that is not the kernel's alone. The service thread may be taken for one:
  /// then it finishes the close a moment later.
  private static func hasCallInside(_ c: ConnectionRef) -> Bool {
    guard c.pointee.attempt.load(ordering: .acquiring) == .attached || c.pointee.wireup.stage.isMoving else {
      return false
    }
    // A call that spins holds a lock and no pin; it goes to sleep for who wants the lock.
    c.lockBoth()
    let pins = c.pointee.pins.load(ordering: .sequentiallyConsistent)
    c.unlockBoth()
    return Pins.sleepers(pins) > 1 || Pins.hasKernelReaders(pins) || Pins.senders(pins) > 0
  }

  /// A call still sleeps on the lane, or reads what precedes it. In the kernel it would keep the socket alive until it returns, and so it does here:
  /// the connection is closed when the last one leaves.
  private static func put(off c: ConnectionRef, fd: Int32) -> Bool {
    let copy = Table.makeHidden { Kernel.call(Int(SYS_fcntl), Int(fd), Int(F_DUPFD_CLOEXEC), 0) }
    guard let hidden = try? copy.get() else { return false }
    if c.pointee.registrations != nil { Registrations.removeAll(c, isKept: true) }
    c.pointee.fd = hidden
    c.pointee.isDeferred = true
    c.pointee.pins.bitwiseOr(Pins.closing, ordering: .sequentiallyConsistent)
    return true
  }

  private static func leaveLane(_ c: ConnectionRef, fd: Int32, resets: Bool = false) {
    if c.pointee.wireup.stage.isMoving {
      settle(c, isClosing: true)
      if c.pointee.isFamily { TakingOver.abandon(c) }
    }
    if let lane = c.pointee.verbs, c.pointee.wireup.stage == .attached,
      !Leaving.peerIsGone(c), !lane.settle(c, until: Kernel.now() &+ flushTime), !Leaving.peerIsGone(c)
    {
      // What has not arrived until the close, nobody would send again if the lane failed behind it: TCP brings it.
      Detaching.detach(c, .laneFailed)
    }
    c.lockBoth()
    if c.pointee.wireup.stage == .attached {
      sayFarewell(c, fd: fd, resets: resets)
    } else if c.pointee.wireup.stage.isMoving, !c.isShared {
      // The peer writes no record any more, and finds what TCP does not bring in the ring.
      let reset = resets || lingersNot(fd) ? FinishFlags.reset : 0
      _ = c.pointee.producer?.finish(FinishFlags.finished | FinishFlags.closed | reset)
    }
    // Once the lane has ended there are none: what the kernel has is the application's, or somebody else's by now.
    if !c.isShared, c.pointee.wireup.stage != .ended { Leaving.dropRecords(c) }
    c.pointee.readShut.store(true, ordering: .sequentiallyConsistent)
    c.pointee.wireup.stage = .ended
    c.unlockBoth()
    Service.unwatch(fd)
    Registrations.removeAll(c)
  }

  /// How long a close waits for what was sent to arrive, in nanoseconds.
  private static let flushTime: UInt64 = 200_000_000

  /// Closes what the connection holds of Millrace's own. Nobody else uses the record, so nobody closes it too, and nothing
  /// that the service thread was just about to make is forgotten.
  private static func closeOwn(_ c: ConnectionRef) {
    PeerProcess.leave(c)
    // Rings that have come may be meant for a process that shares the connection.
    if c.pointee.verbs != nil { c.pointee.bell = -1 }
    VerbsWireup.giveUp(c)
    closeOwn(&c.pointee.bell, c.isShared ? Table.closeHidden : Bell.close)
    closeOwn(&c.pointee.wireup.listener, Rendezvous.close)
    closeOwn(&c.pointee.wireup.socket, Bell.close)
  }

  private static func closeOwn(_ fd: inout Int32, _ close: (Int32) -> Void) {
    guard fd >= 0 else { return }
    Service.unwatch(fd)
    close(fd)
    fd = -1
  }

  /// Waits, within bounds, for a cutover under way: until it is through, the kernel path carries its records.
  static func settle(_ c: ConnectionRef, until limit: UInt64? = nil, isClosing: Bool = false) {
    let deadline = limit ?? Kernel.now() &+ 200_000_000
    while c.pointee.wireup.stage.isMoving {
      let seen = c.pointee.changes.load(ordering: .sequentiallyConsistent)
      Mover.advance(c)
      guard c.pointee.wireup.stage.isMoving else { return }
      // What the peer still has to read, it reads behind a close as well.
      if isClosing, Resend.isThrough(c) { return }
      if Kernel.now() > deadline {
        c.lockBoth()
        if c.pointee.wireup.stage == .wired { Leaving.cancel(c, .raced) }
        c.unlockBoth()
        return
      }
      withUnsafePointer(to: c.pointee.changes) {
        Kernel.futexWait(UnsafeMutableRawPointer(mutating: $0), expected: seen, nanoseconds: 1_000_000)
      }
    }
  }

  /// FIN or RESET on the lane; the kernel's own follows with the real close. Both locks are held.
  private static func sayFarewell(_ c: ConnectionRef, fd: Int32, resets: Bool) {
    // Whoever closes last says it. Should two do so at once, the bell's hang-up says as much.
    if c.isShared { return }
    Stats.count(.laneEnds)
    SharedLane.refresh(c)
    var flags = FinishFlags.finished | FinishFlags.closed
    if resets { flags |= FinishFlags.reset }
    if isUnread(c) || lingersNot(fd) {
      flags |= FinishFlags.reset
      // Bytes that nobody will read are answered with a reset (RFC 1122 4.2.2.13): the kernel has to say so too.
      setLingerZero(fd)
    }
    defer {
      // The kernel's own reset must not come first: without the word for it, it would be taken for the answer to a record.
      if flags & FinishFlags.reset != 0, let lane = c.pointee.verbs {
        lane.settle(c, until: Kernel.now() &+ flushTime)
      }
    }
    let bits = c.pointee.producer!.finish(flags)
    let peer = c.pointee.segment!.side(c.pointee.laneRole.peer)
    if bits != 0 { Bell.ringReaders(c, bits) }
    Fabric.tell(c)
    let writers = peer.takeWriters()
    if writers != 0 { Bell.ringWriters(c, writers) }
  }

  /// Whether there is something that nobody will read, and a peer to tell of it: not if both have ended their streams.
  private static func isUnread(_ c: ConnectionRef) -> Bool {
    Fabric.look(c)
    if c.pointee.producer!.isFinished, c.pointee.consumer!.finishFlags & FinishFlags.finished != 0 { return false }
    guard c.pointee.consumer!.refresh() else { return true }
    return c.pointee.consumer!.ready > 0
  }

  private static func lingersNot(_ fd: Int32) -> Bool {
    var value = linger()
    var length = UInt32(MemoryLayout<linger>.size)
    let r = withUnsafeMutablePointer(to: &value) { v in
      withUnsafeMutablePointer(to: &length) { l in
        Kernel.call(
          Int(SYS_getsockopt), Int(fd), Int(SOL_SOCKET), Int(SO_LINGER), Int(bitPattern: v), Int(bitPattern: l))
      }
    }
    return r == 0 && value.l_onoff != 0 && value.l_linger == 0
  }

  private static func setLingerZero(_ fd: Int32) {
    var value = linger(l_onoff: 1, l_linger: 0)
    _ = withUnsafePointer(to: &value) {
      Kernel.call(
        Int(SYS_setsockopt), Int(fd), Int(SOL_SOCKET), Int(SO_LINGER), Int(bitPattern: $0), MemoryLayout<linger>.size)
    }
  }

  /// Held while a record is taken apart, and by a fork: its child has each record whole, or not at all. One of which a part was
  /// gone already would be taken apart there once more, and descriptors closed that have become something else. No lock of a
  /// connection's is taken behind it.
  static let finishing = Lock()

  /// Nobody uses the record any more: gives back what it holds, and the record.
  static func finish(_ c: ConnectionRef) {
    // Two may see the last pin go; one of them finishes.
    let gates = c.pointee.pins.load(ordering: .acquiring) & (Pins.sendGate | Pins.receiveGate)
    let (mine, _) = c.pointee.pins.compareExchange(
      expected: Pins.closing | gates, desired: Pins.closing | Pins.finished | Pins.sleeper,
      ordering: .acquiringAndReleasing)
    guard mine else { return }
    if c.pointee.isDeferred { leaveLane(c, fd: c.pointee.fd) }
    finishing.lock()
    defer { finishing.unlock() }
    if c.pointee.isDeferred { Table.closeHidden(c.pointee.fd) }
    closeOwn(c)
    c.pointee.wakePage.store(0, ordering: .sequentiallyConsistent)
    c.pointee.segment?.unmap()
    c.pointee.segment = nil
    c.pointee.verbs?.unmap()
    c.pointee.verbs = nil
    Stats.releaseRow(c)
    // A fork that counts in between would count somebody who is not there.
    Table.lock.lock()
    let left = c.pointee.family!.pointee.leave()
    Pool.put(c, stillShared: left > 0)
    Table.lock.unlock()
  }
}
