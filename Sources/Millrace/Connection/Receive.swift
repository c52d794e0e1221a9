import CLinux
import MillraceShim
import Synchronization

/// Receiving once the stream has left the kernel path, or is leaving it: first what the kernel still holds for the
/// application, then out of the ring.
enum Receive {
  static func begin(_ call: UnsafeMutablePointer<mr_call>, _ first: ConnectionRef) -> mr_step {
    // What a peek has seen on another path, it sees again.
    if call.pointee.flags & Int32(MSG_PEEK) != 0 { call.pointee.moved = 0 }
    var c = first
    while true {
      if c.pointee.receivePath.load(ordering: .acquiring) == .kernel {
        if let step = KernelPath.enterReceive(call, c) { return step }
      }
      c.pointee.receiveLock.lock()
      // A close may have come between the look-up and the lock; the number may name another connection by now.
      let outlives = KernelPath.outlivesClose(call, c)
      if outlives || c.isNamed(by: call.pointee.fd) {
        if c.pointee.receivePath.load(ordering: .relaxed) != .kernel { return held(call, c) }
        c.pointee.receiveLock.unlock()
        if outlives { return KernelPath.receiveClosed(call, c) }
        continue
      }
      c.pointee.receiveLock.unlock()
      if call.pointee.resumed {
        if KernelPath.isClosedAway(c) {
          return done(call, call.pointee.moved, error: call.pointee.moved > 0 ? 0 : EBADF)
        }
        continue
      }
      guard let renamed = Table.connection(call.pointee.fd) else { return MR_KERNEL }
      c = renamed
      call.pointee.connection = UnsafeMutableRawPointer(c)
    }
  }

  static func resume(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    switch UInt32(call.pointee.pin) {
    case MR_PIN_READER.rawValue, MR_PIN_GREEDY.rawValue:
      if c.pointee.pins.load(ordering: .relaxed) & Pins.receiveGate != 0 { return returned(call, c) }
      if let step = KernelPath.receiveReturned(call, c) { return step }
      call.pointee.error = 0
      return begin(call, c)
    case MR_PIN_SLEEPER.rawValue:
      return woken(call, c)
    default:
      return MR_DONE
    }
  }

  /// Back from the kernel, while the stream moves. The call may be what keeps a connection that is closed meanwhile.
  @inline(never)
  private static func returned(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    _ = c.pin(Pins.sleeper)
    defer { c.unpin(Pins.sleeper) }
    call.pointee.resumed = true
    if let step = KernelPath.receiveReturned(call, c) { return step }
    call.pointee.error = 0
    return begin(call, c)
  }

  /// With the receive lock held: gives what there is, or arranges the wait. Releases the lock. `hasAdvanced`: a stream that moves
  /// has been looked after already.
  private static func held(
    _ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, hasAdvanced: Bool = false
  ) -> mr_step {
    if call.pointee.flags & Int32(MSG_OOB) != 0 {
      c.pointee.receiveLock.unlock()
      return done(call, 0, error: EINVAL)
    }
    guard let wanted = Vectors.length(call) else {
      c.pointee.receiveLock.unlock()
      return done(call, 0, error: EINVAL)
    }
    let whole = call.pointee.flags & Int32(MSG_WAITALL) != 0
    let peek = call.pointee.flags & Int32(MSG_PEEK) != 0
    if peek, whole, let segment = c.pointee.segment, wanted > segment.ringBytes { return leave(call, c) }
    while true {
      if c.pointee.isFamily {
        SharedLane.attend(c, other: c.pointee.sendLock)
        if SharedLane.siblingLeaves(c) { return awaitSibling(call, c) }
      }
      // Who peeks begins anew each time.
      if peek { call.pointee.moved = 0 }
      let got = take(call, c, wanted: wanted)
      if got < 0 { return giveUp(call, c) }
      call.pointee.moved += got
      if call.pointee.moved >= wanted && (wanted > 0) || (got > 0 && !whole) {
        if c.pointee.receivePath.load(ordering: .relaxed) == .moving { return givenWhileMoving(call, c) }
        c.pointee.receiveLock.unlock()
        return done(call, call.pointee.moved)
      }
      if wanted == 0, call.pointee.flags & MR_AS_FILE != 0 || isReadable(c) {
        // A read of nothing waits for nothing; recv waits for something to give nothing of (tcp_recvmsg).
        c.pointee.receiveLock.unlock()
        return done(call, 0)
      }
      if isOver(c, seen: seen(call)) { return atEnd(call, c) }
      if c.pointee.receivePath.load(ordering: .relaxed) == .moving, !hasAdvanced {
        return advanced(call, c)
      }
      if mayNotBlock(call, c) {
        if call.pointee.moved == 0, isReturning(c) { return awaitReturning(call, c) }
        c.pointee.receiveLock.unlock()
        return done(call, call.pointee.moved, error: call.pointee.moved > 0 ? 0 : EAGAIN)
      }
      if spin(c, seen: seen(call)) { continue }
      if let step = prepareSleep(call, c) { return step }
    }
  }

  /// A peek for more than the ring ever holds: the kernel's buffers grow. Releases the lock.
  @inline(never)
  private static func leave(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    c.apart(from: c.pointee.receiveLock) {
      call.pointee.resumed = true
      Descriptors.decline(c, .socketOption)
      return begin(call, c)
    }
  }

  /// What a call has looked at without consuming it: only more than that is news to it.
  @inline(__always)
  private static func seen(_ call: UnsafeMutablePointer<mr_call>) -> Int {
    call.pointee.flags & Int32(MSG_PEEK) != 0 ? call.pointee.moved : 0
  }

  /// What was read may have been the last before the mark. Releases the lock.
  @inline(never)
  private static func givenWhileMoving(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    c.apart(from: c.pointee.receiveLock) {
      Mover.advance(c)
      return done(call, call.pointee.moved)
    }
  }

  /// What was the application's is read: the mark may be next, or reading may go back to the kernel. Releases the lock.
  @inline(never)
  private static func advanced(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    c.apart(from: c.pointee.receiveLock) {
      call.pointee.resumed = true
      Mover.advance(c)
      c.pointee.receiveLock.lock()
      guard c.pointee.receivePath.load(ordering: .relaxed) != .kernel,
        c.isNamed(by: call.pointee.fd) || KernelPath.outlivesClose(call, c)
      else {
        c.pointee.receiveLock.unlock()
        return begin(call, c)
      }
      return held(call, c, hasAdvanced: true)
    }
  }

  /// What a wait has shown comes over TCP once more. Releases the lock.
  @inline(never)
  private static func awaitReturning(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    c.apart(from: c.pointee.receiveLock) {
      guard Returning.await(c) else { return done(call, 0, error: EAGAIN) }
      call.pointee.resumed = true
      return begin(call, c)
    }
  }

  /// Whether bytes that were readable come over TCP once more. The receive lock is held.
  private static func isReturning(_ c: ConnectionRef) -> Bool {
    c.pointee.receivePath.load(ordering: .relaxed) == .moving && Returning.isIncomplete(c, unread: 0)
  }

  /// Reading has gone back to the kernel in the middle of the call, which goes on there with what is left. Only a call
  /// that waits for all of it has something already.
  private static func backInKernel(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    begin(call, c)
  }

  /// Another process of this end leaves the lane for all: on in TCP when it is there. Releases the lock.
  private static func awaitSibling(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    c.apart(from: c.pointee.receiveLock) {
      call.pointee.resumed = true
      if SharedLane.follow(c) { return begin(call, c) }
      if mayNotBlock(call, c) || Kernel.statusFlags(call.pointee.fd) & O_NONBLOCK != 0 {
        return done(call, call.pointee.moved, error: call.pointee.moved > 0 ? 0 : EAGAIN)
      }
      return SharedLane.sleep(call, c, timeout: c.pointee.receiveTimeout.load(ordering: .relaxed))
    }
  }

  /// Copies what is there, out of the kernel or the ring. Bytes, or -1 if the peer's positions are absurd.
  @inline(__always)
  private static func take(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int) -> Int {
    let peek = call.pointee.flags & Int32(MSG_PEEK) != 0
    let discard = call.pointee.flags & Int32(MSG_TRUNC) != 0
    guard c.pointee.receivePath.load(ordering: .relaxed) == .lane else {
      return takeKernel(call, c, wanted: wanted, peek: peek)
    }
    if c.pointee.isFamily { return SharedLane.take(call, c, wanted: wanted, peek: peek, discard: discard) }
    return takeRing(call, c, wanted: wanted, peek: peek, discard: discard)
  }

  /// While the stream moves: out of the kernel, up to the peer's cut and never across it.
  @inline(never)
  private static func takeKernel(
    _ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int, peek: Bool
  ) -> Int {
    // A call that came before the gate closed is still inside the kernel, and reads first.
    guard !Pins.hasKernelReaders(c.pointee.pins.load(ordering: .sequentiallyConsistent)) else { return 0 }
    let received = c.pointee.kernelReceived.load(ordering: .relaxed)
    let limit = c.pointee.kernelLimit.load(ordering: .relaxed)
    guard received < limit else { return 0 }
    let count = Int(min(UInt64(wanted &- call.pointee.moved), limit &- received))
    let flags = call.pointee.flags & (Int32(MSG_PEEK) | Int32(MSG_TRUNC))
    let moved = cl_receive_vector(
      c.pointee.fd, call.pointee.vector, call.pointee.vector_count, call.pointee.moved, count, flags)
    if moved < 0 {
      if moved == -Int(ECONNRESET) { Leaving.noteError(c, ECONNRESET) }
      return 0
    }
    if moved > 0, !peek { c.pointee.kernelReceived.wrappingAdd(UInt64(moved), ordering: .relaxed) }
    return moved
  }

  /// While the stream moves: whether the kernel holds something for the application, or its end.
  static func kernelHolds(_ c: ConnectionRef) -> Bool {
    guard c.pointee.kernelReceived.load(ordering: .relaxed) < c.pointee.kernelLimit.load(ordering: .acquiring) else {
      return false
    }
    return Kernel.pollNow(c.pointee.fd, Int16(POLLIN)) & Int16(POLLIN) != 0
  }

  /// Out of the ring, giving room back piece by piece so that the producer copies at the same time.
  @inline(__always)
  static func takeRing(
    _ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int, peek: Bool, discard: Bool
  ) -> Int {
    // The producer's cache line is left to it for as long as what is known to be ready suffices.
    if c.pointee.consumer!.ready < wanted &- call.pointee.moved {
      Fabric.look(c)
      if !c.pointee.consumer!.refresh() { return -1 }
    }
    var moved = 0
    while true {
      let at = call.pointee.moved &+ moved
      let count = min(c.pointee.consumer!.ready &- (peek ? moved : 0), wanted &- at, RingProducer.pieceBytes)
      if count <= 0 { break }
      if !discard {
        let bytes = c.pointee.consumer!.bytes.baseAddress! + (peek ? moved : 0)
        Vectors.scatter(call, from: bytes, at: at, count: count)
      }
      moved &+= count
      if peek { continue }
      let bits = c.pointee.consumer!.free(count)
      if bits != 0 { Bell.ringWriters(c, bits) }
      if c.pointee.consumer!.ready == 0, at &+ count < wanted, !c.pointee.consumer!.refresh() { break }
    }
    if moved > 0, !peek {
      Fabric.freed(c)
      Stats.received(c)
    }
    return moved
  }

  /// Whether a reader would get something now, who has looked at `seen` bytes without consuming them.
  static func isReadable(_ c: ConnectionRef, seen: Int = 0) -> Bool {
    guard c.pointee.receivePath.load(ordering: .relaxed) == .lane else {
      return kernelHolds(c) && (seen == 0 || Kernel.queued(c.pointee.fd, CL_FIONREAD) ?? 0 > seen)
    }
    Fabric.look(c)
    return c.pointee.consumer!.holds(moreThan: seen)
  }

  /// Whether nothing will ever follow what was there at the look before this one.
  @inline(__always)
  static func isOver(_ c: ConnectionRef, seen: Int = 0) -> Bool {
    if c.pointee.readShut.load(ordering: .relaxed) { return true }
    guard c.pointee.receivePath.load(ordering: .relaxed) == .lane else { return false }
    // The flags come after the last tail, so the tail is looked at again behind them.
    guard c.pointee.consumer!.finishFlags != 0 || c.pointee.peerGone.load(ordering: .acquiring) else { return false }
    return !c.pointee.consumer!.holds(moreThan: seen)
  }

  /// The end of the lane's stream. A peer that is gone leaves the last word to the kernel; a half-close is told here. Releases
  /// the lock.
  private static func atEnd(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    let moved = call.pointee.moved
    guard moved == 0, !c.pointee.readShut.load(ordering: .relaxed), Leaving.peerIsGone(c) else {
      c.pointee.receiveLock.unlock()
      return done(call, moved)
    }
    return c.apart(from: c.pointee.receiveLock) { askKernelForEnd(call, c) }
  }

  private static func askKernelForEnd(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    call.pointee.resumed = true
    Leaving.awaitKernelEnd(c)
    if StandIn.isNeeded(c) || c.pointee.pendingError.load(ordering: .acquiring) == EPIPE { return done(call, 0) }
    c.lockBoth()
    if c.pointee.receivePath.load(ordering: .relaxed) == .lane { Leaving.dropRecords(c) }
    c.unlockBoth()
    let error = c.pointee.pendingError.exchange(0, ordering: .acquiringAndReleasing)
    if error != 0 { return done(call, 0, error: error) }
    Leaving.returnToKernel(c)
    return begin(call, c)
  }

  /// The peer's positions make no sense: it breaks its own connection.
  private static func giveUp(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    c.apart(from: c.pointee.receiveLock) {
      Leaving.abort(c)
      return done(call, 0, error: ECONNRESET)
    }
  }

  // MARK: Waiting

  private static func mayNotBlock(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> Bool {
    call.pointee.flags & Int32(MSG_DONTWAIT) != 0 || c.pointee.nonblocking.load(ordering: .relaxed)
  }

  /// Spins with the lock held while the ring is empty. True if it is worth looking again.
  @inline(__always)
  private static func spin(_ c: ConnectionRef, seen: Int) -> Bool {
    guard c.pointee.receivePath.load(ordering: .relaxed) == .lane else { return false }
    let slowness = Fabric.slowness(c)
    let budget = c.pointee.receiveSpin.begin(limit: Configuration.spinCycles &* slowness)
    if budget == 0 { return false }
    let start = cl_cycles()
    var last = start
    var round = 0
    while true {
      Fabric.look(c)
      if c.pointee.consumer!.holds(moreThan: seen) {
        c.pointee.receiveSpin.won()
        return true
      }
      cl_pause()
      round &+= 1
      if round & 7 != 0 { continue }
      if c.pointee.consumer!.finishFlags != 0 || c.pointee.peerGone.load(ordering: .relaxed) { return true }
      let now = cl_cycles()
      // A gap is the processor having been taken away: then somebody else needs it more.
      if now &- last > Configuration.preemptionCycles &* slowness || now &- start > budget { break }
      if c.pointee.receiveLock.isContended() { break }
      last = now
    }
    c.pointee.receiveSpin.lost()
    return false
  }

  /// Arms, looks once more, and releases the lock. Nil if there is something after all (the lock is still held).
  private static func prepareSleep(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step? {
    // The flag may have been changed where we do not see it, by another process. None has a descriptor of what rides on verbs.
    let isOurs = !Fabric.hasWords(c) && c.pointee.receivePath.load(ordering: .relaxed) == .lane
    if !isOurs, Kernel.statusFlags(call.pointee.fd) & O_NONBLOCK != 0 {
      c.pointee.nonblocking.store(true, ordering: .relaxed)
      return nil
    }
    Waiters.startClock(call, timeout: c.pointee.receiveTimeout.load(ordering: .relaxed))
    Waiters.heedSignals(call)
    if !Fabric.hasWords(c), c.pointee.receivePath.load(ordering: .relaxed) == .lane {
      BellSleep.enter(call, c)
      Fabric.arm(c, forRoom: false)
      guard !c.pointee.consumer!.holds(moreThan: seen(call)), !isOver(c, seen: seen(call)) else {
        BellSleep.leave(call, c)
        return nil
      }
    } else if c.pointee.receivePath.load(ordering: .relaxed) == .lane {
      let word = c.pointee.segment!.side(c.pointee.laneRole).readerArm
      Waiters.sleep(call, on: word)
      guard c.pointee.consumer!.mustWait(arming: ArmBits.futex, seen: seen(call)),
        !c.pointee.peerGone.load(ordering: .sequentiallyConsistent),
        !c.pointee.readShut.load(ordering: .sequentiallyConsistent),
        !c.pointee.isFamily || !SharedLane.mustLook(c)
      else {
        Waiters.disarm(word, c)
        return nil
      }
    } else {
      Waiters.sleepOnChanges(call, c)
    }
    _ = c.pin(Pins.sleeper)
    call.pointee.pin = Int32(MR_PIN_SLEEPER.rawValue)
    c.pointee.receiveLock.unlock()
    Stats.count(.futexSleeps)
    return MR_SLEEP
  }

  /// Back from sleep, still pinned. The descriptor may be closed by now; the call goes on all the same, as it would in
  /// the kernel, which holds the socket for it.
  private static func woken(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    BellSleep.leave(call, c)
    call.pointee.resumed = true
    call.pointee.pin = Int32(MR_PIN_NONE.rawValue)
    let error = call.pointee.error
    call.pointee.error = 0
    c.pointee.receiveLock.lock()
    defer { c.unpin(Pins.sleeper) }
    if error == EINTR || error == ETIMEDOUT {
      // What came at the last moment is given all the same.
      let seen = seen(call)
      if !isReadable(c, seen: seen) && !isOver(c, seen: seen) || c.pointee.isFamily && SharedLane.siblingLeaves(c) {
        c.pointee.receiveLock.unlock()
        let moved = call.pointee.moved
        // Who waits for nothing has got it (tcp_recvmsg).
        return done(call, moved, error: moved > 0 || Vectors.length(call) == 0 ? 0 : error == EINTR ? EINTR : EAGAIN)
      }
    }
    if c.pointee.receivePath.load(ordering: .relaxed) == .kernel {
      c.pointee.receiveLock.unlock()
      return backInKernel(call, c)
    }
    return held(call, c)
  }

  @inline(__always)
  private static func done(_ call: UnsafeMutablePointer<mr_call>, _ result: Int, error: Int32 = 0) -> mr_step {
    call.pointee.result = result
    call.pointee.error = error
    return MR_DONE
  }
}
