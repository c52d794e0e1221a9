import CLinux
import MillraceShim
import Synchronization

/// The end of a lane: the peer is gone, the attempt is broken off, or the peer is hostile.
enum Leaving {
  /// Whether the peer has closed its end or its process is gone, as opposed to a mere half-close.
  static func peerIsGone(_ c: ConnectionRef) -> Bool {
    if c.pointee.peerGone.load(ordering: .acquiring) { return true }
    guard let consumer = c.pointee.consumer else { return false }
    return consumer.finishFlags & (FinishFlags.closed | FinishFlags.reset) != 0
  }

  /// Everything that the lane brought has been read and nothing will follow: the kernel has the last word. Its answers
  /// (end of stream, reset, broken pipe) are TCP's own.
  static func returnToKernel(_ c: ConnectionRef) {
    c.lockBoth()
    if c.pointee.sendPath.load(ordering: .relaxed) != .kernel
      || c.pointee.receivePath.load(ordering: .relaxed) != .kernel
    {
      goToKernel(c)
    }
    c.unlockBoth()
    Waiters.wake(c)
  }

  /// The same, with both locks held.
  static func goToKernel(_ c: ConnectionRef) {
    openGates(c)
    c.pointee.attempt.store(.refused, ordering: .relaxed)
    c.pointee.wireup.stage = .ended
    Stats.count(.laneEnds)
    Registrations.toKernel(c, atEnd: true)
    Stats.publish(c)
  }

  /// The peer's farewell on the lane is a moment ahead of the kernel's. A caller who was told that the stream has ended
  /// must not be told to try again, so this waits for the kernel to agree, within bounds: the peer is in close(2).
  ///
  /// Peers that say farewell and stay can hold up a thread that serves others by this. So a wait in vain halves what
  /// there is to wait, for the whole process, and one that was not doubles it.
  static func awaitKernelEnd(_ c: ConnectionRef) {
    var entry = pollfd(
      fd: c.pointee.fd, events: Int16(POLLIN) | Int16(truncatingIfNeeded: Int32(POLLRDHUP)), revents: 0)
    let patience = farewellPatience.load(ordering: .relaxed)
    let r = withUnsafeMutablePointer(to: &entry) { Kernel.call(Int(SYS_poll), Int(bitPattern: $0), 1, Int(patience)) }
    // One that another thread changes meanwhile is a good guess as well.
    farewellPatience.store(r > 0 ? min(patience &* 2, mostPatience) : max(patience / 2, 1), ordering: .relaxed)
  }

  /// How long a farewell may be ahead of the kernel's, in milliseconds: as long as a busy machine may take from one to the
  /// other at most.
  private static let mostPatience: Int32 = 200
  private static let farewellPatience = Atomic<Int32>(200)

  /// Takes what no application may see out of the kernel path: records of a peer that was about to leave when it closed or
  /// died. Otherwise they would be read as the stream's last bytes, or, unread at a close, make the kernel reset. An error
  /// that is met is kept for the application, unless it is the answer to a record of this end's: a peer that has closed in
  /// good order does not reset. Both locks are held.
  static func dropRecords(_ c: ConnectionRef) {
    var expected = 0
    switch c.pointee.cutover.inbound {
    case .application: return
    case .until(let cut): expected = cut == c.pointee.kernelReceived.load(ordering: .relaxed) ? Record.byteCount : 0
    case .records: expected = Int.max
    }
    withUnsafeTemporaryAllocation(byteCount: Record.byteCount, alignment: 8) { space in
      while expected > 0 {
        let r = Kernel.receive(c.pointee.fd, space.baseAddress!, min(expected, space.count))
        if r <= 0 {
          if r < 0, r != -Int(EAGAIN), r != -Int(EINTR) { noteError(c, Int32(truncatingIfNeeded: 0 &- r)) }
          return
        }
        c.pointee.kernelReceived.wrappingAdd(UInt64(r), ordering: .relaxed)
        expected &-= r
      }
    }
  }

  /// Keeps an error of the kernel path until the application has read everything before it.
  static func noteError(_ c: ConnectionRef, _ error: Int32) {
    let flags = c.pointee.consumer?.finishFlags ?? 0
    if flags & FinishFlags.closed != 0, flags & FinishFlags.reset == 0 { return }
    if StandIn.hidesReset(c) { return }
    c.pointee.pendingError.store(error, ordering: .releasing)
  }

  /// Another process of this end has moved the connection back to TCP. What this one knew of the stream is out of date,
  /// so it never tries again.
  static func followSibling(_ c: ConnectionRef) {
    Inheriting.adopt(c)
    openGates(c)
    c.pointee.attempt.store(.refused, ordering: .relaxed)
    c.pointee.reason = .sharedByFork
    c.pointee.wireup.stage = .ended
    Registrations.toKernel(c)
  }

  /// The peer has died in the middle of an attach, before its bytes over TCP were read, and a relative may be the one to read
  /// them, who waits for this process. What comes behind them, ``Inheriting`` finds. True if so. Both locks are held.
  static func handOver(_ c: ConnectionRef) -> Bool {
    guard c.pointee.isFamily, c.pointee.cutover.inbound == .application, kernelHasEnded(c), c.isShared else {
      return false
    }
    c.pointee.isResending = false
    c.pointee.outgoing = OutgoingRecords()
    c.pointee.cutover.follow(resumedAt: 0, lane: 0)
    c.pointee.reason = .laneAborted
    c.pointee.wireup.stage = .ended
    openGates(c)
    Registrations.toKernel(c)
    SharedLane.finishDetach(c, isInheritable: true)
    Service.attemptEnded(c)
    return true
  }

  /// The kernel's FIN, for a stream that this end has finished on the lane. Everything before it has been re-sent.
  static func finishKernel(_ c: ConnectionRef) {
    guard c.pointee.writeShut.load(ordering: .relaxed) || c.pointee.producer?.isFinished == true else { return }
    Kernel.shutdown(c.pointee.fd, Int32(SHUT_WR))
  }

  private static func openGates(_ c: ConnectionRef) {
    c.receive(on: .kernel)
    c.send(on: .kernel)
    finishKernel(c)
    // Releases the paths to whoever enters through the open gates.
    c.pointee.pins.bitwiseAnd(~(Pins.sendGate | Pins.receiveGate), ordering: .sequentiallyConsistent)
  }

  /// The peer's process is gone from the lane (its bell hung up), or the kernel connection is dead. What is in the ring
  /// is still delivered. Called by the service thread.
  static func peerLeft(_ c: ConnectionRef, byReset: Bool = false) {
    c.lockBoth()
    if c.pointee.wireup.stage == .attached {
      if byReset { setGone(c) } else { bereave(c) }
    }
    if c.pointee.wireup.stage == .wired { leftWhileMoving(c) }
    c.unlockBoth()
    Waiters.wake(c)
  }

  /// The lane goes on without the peer: what it has left in its ring is still to be read. Both locks are held.
  static func bereave(_ c: ConnectionRef) {
    noteUnread(c)
    setGone(c)
  }

  private static func setGone(_ c: ConnectionRef) {
    c.pointee.peerGone.store(true, ordering: .sequentiallyConsistent)
    // Partner: SharedLane.attend, in the other processes of this end.
    if c.pointee.isFamily { c.pointee.family!.pointee.bereaved.store(true, ordering: .releasing) }
    rouse(c)
  }

  /// Wakes whoever sleeps on the arm words, in whichever process of this end, whatever the words say: the peer can write
  /// to them, and may have taken the bits that ask for a wake-up.
  static func rouse(_ c: ConnectionRef) {
    guard let side = c.pointee.segment?.side(c.pointee.laneRole) else { return }
    Waiters.release(side.readerArm)
    Waiters.release(side.writerArm)
  }

  /// A peer that died with our bytes unread would have answered with a reset, had the kernel held them.
  private static func noteUnread(_ c: ConnectionRef) {
    guard !c.pointee.peerGone.load(ordering: .relaxed), let consumer = c.pointee.consumer, Fabric.hasWords(c),
      consumer.finishFlags & FinishFlags.closed == 0
    else { return }
    SharedLane.refresh(c)
    if c.pointee.producer!.refresh(), c.pointee.producer!.pending > 0 {
      c.pointee.pendingError.store(ECONNRESET, ordering: .releasing)
      // After that a write breaks the pipe, and nothing more is read.
      Kernel.shutdown(c.pointee.fd, Int32(SHUT_RDWR))
    }
  }

  /// The kernel stream of a peer on its lane ends only when it is gone, and the kernel may know before the bell hangs up. True if it
  /// has ended and brings nothing more. Both locks are held.
  static func noticeEnd(_ c: ConnectionRef) -> Bool {
    guard kernelHasEnded(c), Kernel.queued(c.pointee.fd, CL_FIONREAD) == 0 else { return false }
    if Kernel.pollNow(c.pointee.fd, 0) & Int16(POLLERR) != 0 { setGone(c) } else { bereave(c) }
    return true
  }

  /// Whether the peer's end of the TCP connection is closed, or has been reset.
  static func kernelHasEnded(_ c: ConnectionRef) -> Bool {
    let ends = Int16(truncatingIfNeeded: Int32(POLLRDHUP)) | Int16(POLLHUP) | Int16(POLLERR)
    return Kernel.pollNow(c.pointee.fd, ends) & ends != 0
  }

  /// The queue pair is in error, or the peer has left it. What had come is in the ring. Called by the service thread, once.
  static func laneLost(_ c: ConnectionRef) {
    c.lockBoth()
    switch c.pointee.wireup.stage {
    case .wired:
      if c.pointee.cutover.phase == .kernel {
        cancel(c, .laneAborted)
      } else {
        c.pointee.reason = .laneAborted
        Stats.count(.attachAborts)
        Mover.perform(c.pointee.cutover.laneDown(consumed: 0), c)
      }
    case .attached:
      if c.pointee.consumer!.finishFlags & FinishFlags.closed != 0 || kernelHasEnded(c) {
        setGone(c)
      } else {
        c.pointee.reason = .laneFailed
        Mover.perform(c.pointee.cutover.laneDown(consumed: c.pointee.consumer!.head), c)
      }
    case .called: Attaching.refuse(c, .laneAborted)
    default: break
    }
    c.unlockBoth()
    Mover.advance(c)
    Waiters.wake(c)
  }

  /// The bell hung up in the middle of the cutover. An end that gives up says so in the segment first, so without that
  /// word, and with something agreed, the peer's process is dead.
  private static func leftWhileMoving(_ c: ConnectionRef) {
    let stage = c.pointee.segment!.header.stage.pointee.load(ordering: .acquiring)
    // A follower that died before it learned has put nothing into its ring. A leader may have, once it has offered.
    let isUnlearned = stage == LaneStage.offered && c.pointee.laneRole == .leader
    if stage == LaneStage.fresh || stage == LaneStage.aborted || isUnlearned, cancel(c, .laneAborted) { return }
    c.pointee.wireup.isOrphan = true
    if c.pointee.wireup.kernelEnded { inheritRing(c) }
  }

  /// The kernel stream has ended while records were expected of it. True if that changed anything. Both locks are held.
  static func kernelEnded(_ c: ConnectionRef) -> Bool {
    guard !c.pointee.wireup.kernelEnded else { return false }
    c.pointee.wireup.kernelEnded = true
    guard c.pointee.wireup.stage.isMoving else { return true }
    if c.pointee.wireup.stage == .leaving {
      // Only who has read the own DETACH ends its stream in good order.
      if !StandIn.areRecordsTaken(c) { inheritRing(c) }
      return true
    }
    // A peer that closes, or half-closes, lets an attempt come to its end or gives it up first. So an end in the middle of
    // one is a death, unless the peer has agreed to nothing yet.
    if c.pointee.wireup.stage == .wired, c.pointee.laneRole == .leader || !leaderHasOffered(c) {
      cancel(c, .laneAborted)
    }
    // What cannot be given up waits for a record that will never come.
    if c.pointee.wireup.stage == .wired || c.pointee.wireup.stage == .detaching { inheritRing(c) }
    return true
  }

  private static func leaderHasOffered(_ c: ConnectionRef) -> Bool {
    let stage = c.pointee.segment!.header.stage.pointee.load(ordering: .acquiring)
    return stage == LaneStage.offered || stage == LaneStage.learned
  }

  /// The peer died in the middle of the cutover, and its last bytes over TCP are read. Shared memory outlives it: what it
  /// had put into its ring behind its cut comes next. What this end had put into its own has no reader any more.
  private static func inheritRing(_ c: ConnectionRef) {
    guard c.pointee.segment != nil, c.pointee.consumer != nil else { return }
    if !Inheriting.skipToRest(c) { c.pointee.consumer!.skipAll() }
    c.pointee.isResending = false
    c.pointee.outgoing = OutgoingRecords()
    setGone(c)
    c.receive(on: .lane)
    c.send(on: .lane)
    c.pointee.attempt.store(.attached, ordering: .releasing)
    c.pointee.wireup.stage = .attached
    if c.pointee.isFamily { SharedLane.withdrawDetach(c) }
  }

  /// Gives up an attempt before anything was agreed with the peer: what went into the ring meanwhile goes over TCP.
  /// Both locks are held. False if the peer has agreed already, so that it has to go on.
  @discardableResult
  static func cancel(_ c: ConnectionRef, _ reason: DeclineReason) -> Bool {
    if !Fabric.hasWords(c), c.pointee.cutover.phase != .kernel, c.pointee.cutover.phase != .offered { return false }
    if let segment = c.pointee.segment {
      let stage = segment.header.stage
      var seen = stage.pointee.load(ordering: .acquiring)
      var rounds = 0
      while seen != LaneStage.aborted {
        if seen == LaneStage.learned, c.pointee.cutover.phase != .kernel { return false }
        // Partner: the same exchange at the peer, in cancel, tryOffer or tryLearn. Exactly one wins.
        let (exchanged, now) = stage.pointee.compareExchange(
          expected: seen, desired: LaneStage.aborted, ordering: .acquiringAndReleasing)
        if exchanged { break }
        seen = now
        rounds += 1
        // The word changes twice in an honest attempt.
        if rounds > 8 {
          breakOff(c)
          return true
        }
      }
    }
    c.pointee.reason = reason
    Stats.count(.attachAborts)
    if c.pointee.cutover.phase == .kernel {
      c.pointee.wireup.stage = .leaving
      Resend.begin(c, from: 0)
    } else {
      let consumed = c.pointee.consumer?.head ?? 0
      Mover.perform(c.pointee.cutover.laneDown(consumed: consumed), c)
    }
    c.pointee.wireup.wantsQuiet = false
    return true
  }

  /// The attempt has taken too long. Before anything is agreed it is cancelled; a leader whose follower's bytes do not fit
  /// leaves after its mark. Otherwise both have agreed and nothing depends on an application: it goes on.
  ///
  /// `atOnce`: nobody will read what the leader still waits for, or nobody wants the lane any more. True if it is given up.
  @discardableResult
  static func giveUp(_ c: ConnectionRef, _ reason: DeclineReason, atOnce: Bool = false) -> Bool {
    if cancel(c, reason) { return true }
    guard c.pointee.cutover.phase == .marked,
      atOnce || c.pointee.segment!.side(.follower).cut.pointee.load(ordering: .acquiring) != 0
    else { return false }
    c.pointee.reason = reason
    Mover.perform(c.pointee.cutover.laneDown(consumed: 0), c)
    return true
  }

  /// The peer does not keep to the protocol, and the stream cannot be trusted any more. Both locks are held.
  static func breakOff(_ c: ConnectionRef) {
    Stats.count(.hostileMessages)
    dissolve(c)
  }

  /// Nothing can be said of the stream any more but a reset. Both locks are held.
  static func dissolve(_ c: ConnectionRef) {
    reset(c)
    setGone(c)
    openGates(c)
    c.pointee.isResending = false
    c.pointee.outgoing = OutgoingRecords()
    c.pointee.attempt.store(.refused, ordering: .relaxed)
    c.pointee.reason = .laneAborted
    c.pointee.wireup.stage = .ended
    // The others see the reset in the kernel, whether this process had claimed the lane's end or not.
    if c.pointee.isFamily { SharedLane.finishDetach(c) }
    Registrations.toKernel(c)
    Stats.publish(c)
  }

  /// The peer's positions in shared memory are absurd: it has broken its own connection.
  static func abort(_ c: ConnectionRef) {
    c.lockBoth()
    breakOff(c)
    c.unlockBoth()
    Waiters.wake(c)
  }

  /// Resets the kernel connection without closing the descriptor, which is the application's: connect(2) to AF_UNSPEC.
  private static func reset(_ c: ConnectionRef) {
    Stats.count(.resets)
    var nowhere = sockaddr()
    nowhere.sa_family = sa_family_t(AF_UNSPEC)
    _ = withUnsafePointer(to: &nowhere) {
      Kernel.call(Int(SYS_connect), Int(c.pointee.fd), Int(bitPattern: $0), MemoryLayout<sockaddr>.size)
    }
  }
}
