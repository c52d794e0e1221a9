import CLinux
import MillraceShim
import Synchronization

/// Sending once the stream has left the kernel path, or is leaving it: into the ring.
enum Send {
  static func begin(_ call: UnsafeMutablePointer<mr_call>, _ first: ConnectionRef) -> mr_step {
    var c = first
    while true {
      if c.pointee.sendPath.load(ordering: .acquiring) == .kernel {
        if let step = KernelPath.enterSend(call, c) { return step }
      }
      c.pointee.sendLock.lock()
      let outlives = KernelPath.outlivesClose(call, c)
      if outlives || c.isNamed(by: call.pointee.fd) {
        if c.pointee.sendPath.load(ordering: .relaxed) != .kernel { return held(call, c) }
        c.pointee.sendLock.unlock()
        if outlives { return KernelPath.sendClosed(call, c) }
        continue
      }
      c.pointee.sendLock.unlock()
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
    case MR_PIN_SENDER.rawValue:
      return KernelPath.sendReturned(call, c)
    case MR_PIN_SLEEPER.rawValue:
      return woken(call, c)
    default:
      return MR_DONE
    }
  }

  /// With the send lock held: puts in what fits, or arranges the wait. Releases the lock.
  private static func held(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    guard call.pointee.flags & Int32(MSG_OOB) == 0 else {
      // Only TCP has urgent data: the connection goes back to it.
      return c.apart(from: c.pointee.sendLock) { sendUrgent(call, c) }
    }
    guard let wanted = Vectors.length(call) else {
      c.pointee.sendLock.unlock()
      return done(call, 0, error: EINVAL)
    }
    while true {
      if c.pointee.isFamily {
        SharedLane.attend(c, other: c.pointee.receiveLock)
        if SharedLane.siblingLeaves(c) { return awaitSibling(call, c) }
      }
      if isFinished(c) { return brokenPipe(call, c) }
      if mustAskKernel(c) { return askKernel(call, c, wanted: wanted) }
      let put = c.pointee.isFamily ? SharedLane.put(call, c, wanted: wanted) : put(call, c, wanted: wanted)
      if put < 0 { return giveUp(call, c) }
      call.pointee.moved += put
      let mayLead = put > 0 && !Fabric.hasWords(c) && c.pointee.sendPath.load(ordering: .relaxed) == .moving
      if call.pointee.moved >= wanted || (put == 0 && call.pointee.file >= 0 && call.pointee.error != EAGAIN) {
        // An end that leads on verbs begins with a byte in hand.
        if mayLead {
          return c.apart(from: c.pointee.sendLock) {
            Mover.advance(c)
            return finished(call)
          }
        }
        c.pointee.sendLock.unlock()
        return finished(call)
      }
      if call.pointee.file >= 0, put > 0 { continue }
      if mayNotBlock(call, c) {
        c.pointee.sendLock.unlock()
        return done(call, call.pointee.moved, error: call.pointee.moved > 0 ? 0 : EAGAIN)
      }
      if spin(c) { continue }
      if let step = prepareSleep(call, c) { return step }
    }
  }

  private static func sendUrgent(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    Descriptors.decline(c, .urgentData)
    if c.pointee.sendPath.load(ordering: .acquiring) == .kernel { return begin(call, c) }
    // The peer does not answer, as if its window were closed.
    return done(call, 0, error: EAGAIN)
  }

  /// Another process of this end leaves the lane for all: on in TCP when it is there. Releases the lock.
  private static func awaitSibling(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    c.apart(from: c.pointee.sendLock) {
      call.pointee.resumed = true
      if SharedLane.follow(c) { return begin(call, c) }
      if mayNotBlock(call, c) || Kernel.statusFlags(call.pointee.fd) & O_NONBLOCK != 0 {
        return done(call, call.pointee.moved, error: call.pointee.moved > 0 ? 0 : EAGAIN)
      }
      return SharedLane.sleep(call, c, timeout: c.pointee.sendTimeout.load(ordering: .relaxed))
    }
  }

  /// Copies what fits into the ring. Bytes, or -1 if the peer's positions are absurd.
  @inline(__always)
  static func put(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int) -> Int {
    let left = wanted &- call.pointee.moved
    if c.pointee.producer!.room < left {
      Fabric.look(c)
      if !c.pointee.producer!.refresh() { return -1 }
    }
    if c.pointee.producer!.room == 0 {
      c.pointee.refusals.wrappingAdd(1, ordering: .relaxed)
      call.pointee.error = EAGAIN
      return 0
    }
    let moved: Int
    if call.pointee.file >= 0 {
      moved = SendFile.fill(call, c, limit: left)
    } else if call.pointee.vector_count == 1 {
      let from = call.pointee.vector.pointee.iov_base
      moved = from == nil ? 0 : writePieces(c, from! + call.pointee.moved, count: min(left, c.pointee.producer!.room))
    } else {
      moved = gather(call, c, count: min(left, c.pointee.producer!.room))
    }
    if moved > 0 {
      publish(c)
      Stats.sent(c)
      // The consumer's cache has the lines that come next, from the last time round: they are on their way by the time that
      // the next message, whose publishing waits for what it has stored, is written.
      cl_prefetch_to_write(c.pointee.producer!.space.baseAddress! + prefetchDistance)
    }
    if moved < left { c.pointee.refusals.wrappingAdd(1, ordering: .relaxed) }
    return moved
  }

  /// How far ahead of the tail, in bytes.
  private static let prefetchDistance = 256

  @inline(__always)
  private static func publish(_ c: ConnectionRef) {
    let bits = c.pointee.producer!.publish()
    if bits != 0 { Bell.ringReaders(c, bits) }
    Fabric.tell(c)
  }

  /// Large sends publish, and wake, piece by piece, so that the consumer copies at the same time.
  @inline(__always)
  private static func writePieces(_ c: ConnectionRef, _ bytes: UnsafeRawPointer, count: Int) -> Int {
    if count <= RingProducer.pieceBytes { return c.pointee.producer!.write(bytes, count: count) }
    let first = c.pointee.producer!.write(bytes, count: RingProducer.pieceBytes)
    publish(c)
    return first &+ c.pointee.producer!.write(bytes + first, count: count &- first)
  }

  private static func gather(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, count: Int) -> Int {
    var moved = 0
    Vectors.forEachPiece(call, at: call.pointee.moved, count: count) { piece, length in
      moved &+= c.pointee.producer!.write(UnsafeRawPointer(piece), count: length)
    }
    return moved
  }

  private static func finished(_ call: UnsafeMutablePointer<mr_call>) -> mr_step {
    let error = call.pointee.error
    let failed = call.pointee.file >= 0 && call.pointee.moved == 0 && error != EAGAIN ? error : 0
    return done(call, call.pointee.moved, error: failed)
  }

  // MARK: The peer is gone, or this end has shut down

  /// Whether this end has shut down its stream, in whichever of its processes.
  @inline(__always)
  private static func isFinished(_ c: ConnectionRef) -> Bool {
    c.pointee.writeShut.load(ordering: .relaxed) || c.pointee.producer!.isFinished
  }

  /// What the kernel does to who sends after a shutdown; its own stream is still open, for records.
  private static func brokenPipe(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    c.pointee.sendLock.unlock()
    if call.pointee.moved > 0 { return done(call, call.pointee.moved) }
    if call.pointee.flags & Int32(MSG_NOSIGNAL) == 0 { Kernel.raise(SIGPIPE) }
    return done(call, 0, error: EPIPE)
  }

  /// Whether the answer is the kernel's: whatever TCP says to who sends to a dead peer, or after a shutdown.
  @inline(__always)
  private static func mustAskKernel(_ c: ConnectionRef) -> Bool {
    if isFinished(c) { return true }
    guard c.pointee.sendPath.load(ordering: .relaxed) == .lane else { return false }
    return c.pointee.consumer!.finishFlags & (FinishFlags.closed | FinishFlags.reset) != 0
      || c.pointee.peerGone.load(ordering: .relaxed)
  }

  /// Makes the real call although the gate is closed: nobody will read what it may send.
  private static func askKernel(
    _ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, wanted: Int
  ) -> mr_step {
    if call.pointee.moved > 0 {
      c.pointee.sendLock.unlock()
      return done(call, call.pointee.moved)
    }
    if call.pointee.file < 0, !isFinished(c), StandIn.isNeeded(c) {
      StandIn.breakPipe(c)
      return c.apart(from: c.pointee.sendLock) {
        Waiters.wake(c)
        return done(call, wanted)
      }
    }
    StandIn.pipeIsTold(c)
    _ = c.pin(Pins.sleeper)
    call.pointee.pin = Int32(MR_PIN_SLEEPER.rawValue)
    call.pointee.timed = true
    call.pointee.slice = true
    c.pointee.sendLock.unlock()
    return MR_KERNEL
  }

  private static func giveUp(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    c.apart(from: c.pointee.sendLock) {
      Leaving.abort(c)
      return done(call, 0, error: ECONNRESET)
    }
  }

  // MARK: Waiting

  private static func mayNotBlock(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> Bool {
    call.pointee.flags & Int32(MSG_DONTWAIT) != 0 || c.pointee.nonblocking.load(ordering: .relaxed)
  }

  /// Spins with the lock held while the ring is crowded. True if it is worth trying again.
  private static func spin(_ c: ConnectionRef) -> Bool {
    let slowness = Fabric.slowness(c)
    let budget = c.pointee.sendSpin.begin(limit: Configuration.spinCycles &* slowness)
    if budget == 0 || c.pointee.producer == nil { return false }
    let start = cl_cycles()
    var last = start
    while true {
      Fabric.look(c)
      guard c.pointee.producer!.refresh() else { return true }
      // The consumer is at work: a quarter is worth a copy.
      if c.pointee.producer!.room >= c.pointee.producer!.capacity / 4 {
        c.pointee.sendSpin.won()
        return true
      }
      cl_pause()
      let now = cl_cycles()
      if now &- last > Configuration.preemptionCycles &* slowness || now &- start > budget { break }
      if mustAskKernel(c) { return true }
      // Whoever wants the lock may be about to make the room that is waited for: a stream that moves has none until then.
      if c.pointee.sendLock.isContended() { return false }
      last = now
    }
    c.pointee.sendSpin.lost()
    return false
  }

  /// Arms, looks once more, and releases the lock. Nil if there is room after all (the lock is still held).
  private static func prepareSleep(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step? {
    if Kernel.statusFlags(call.pointee.fd) & O_NONBLOCK != 0 {
      c.pointee.nonblocking.store(true, ordering: .relaxed)
      return nil
    }
    Waiters.startClock(call, timeout: c.pointee.sendTimeout.load(ordering: .relaxed))
    Waiters.heedSignals(call)
    guard Fabric.hasWords(c) ? armWord(call, c) : armBell(call, c) else { return nil }
    _ = c.pin(Pins.sleeper)
    call.pointee.pin = Int32(MR_PIN_SLEEPER.rawValue)
    c.pointee.sendLock.unlock()
    Stats.count(.futexSleeps)
    return MR_SLEEP
  }

  /// False if there is something to do, and nothing is armed any more.
  private static func armWord(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> Bool {
    let word = c.pointee.segment!.side(c.pointee.laneRole).writerArm
    Waiters.sleep(call, on: word)
    if c.pointee.producer!.mustWait(arming: ArmBits.futex), !mustAskKernel(c),
      !c.pointee.isFamily || !SharedLane.mustLook(c)
    {
      return true
    }
    Waiters.disarm(word, c)
    return false
  }

  /// As ``armWord(_:_:)``, where there is no word to sleep on.
  private static func armBell(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> Bool {
    BellSleep.enter(call, c)
    Fabric.arm(c, forRoom: true)
    if c.pointee.sendPath.load(ordering: .relaxed) == .moving || c.pointee.producer!.refresh(),
      c.pointee.producer!.isCrowded, !mustAskKernel(c)
    {
      return true
    }
    BellSleep.leave(call, c)
    return false
  }

  private static func woken(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    BellSleep.leave(call, c)
    // The kernel was asked in place of the lane.
    if call.pointee.slice {
      call.pointee.slice = false
      call.pointee.pin = Int32(MR_PIN_NONE.rawValue)
      c.unpin(Pins.sleeper)
      return MR_DONE
    }
    call.pointee.resumed = true
    call.pointee.pin = Int32(MR_PIN_NONE.rawValue)
    let error = call.pointee.error
    call.pointee.error = 0
    c.pointee.sendLock.lock()
    defer { c.unpin(Pins.sleeper) }
    if error == EINTR || error == ETIMEDOUT {
      c.pointee.sendLock.unlock()
      let moved = call.pointee.moved
      return done(call, moved, error: moved > 0 ? 0 : error == EINTR ? EINTR : EAGAIN)
    }
    if c.pointee.sendPath.load(ordering: .relaxed) == .kernel {
      c.pointee.sendLock.unlock()
      return begin(call, c)
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

/// sendfile(2) onto a lane: the file is read straight into the ring.
enum SendFile {
  /// Reads up to `limit` bytes into the ring's free space. Bytes; 0 at the end of the file or on an error, which is
  /// left in the call.
  static func fill(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, limit: Int) -> Int {
    let space = c.pointee.producer!.space
    let bytes = min(limit, space.count, 256 << 10)
    let r: Int
    if let offset = call.pointee.file_offset {
      r = Kernel.call(
        Int(SYS_pread64), Int(call.pointee.file), Int(bitPattern: space.baseAddress), bytes, offset.pointee)
      if r > 0 { offset.pointee += r }
    } else {
      r = Kernel.call(Int(SYS_read), Int(call.pointee.file), Int(bitPattern: space.baseAddress), bytes)
    }
    call.pointee.error = r < 0 ? Int32(truncatingIfNeeded: 0 &- r) : 0
    guard r > 0 else { return 0 }
    c.pointee.producer!.commit(r)
    return r
  }
}
