import CLinux
import MillraceShim
import Synchronization

/// Moves a connection onto its lane: drives ``Cutover`` with what happens on the lane and on the kernel path, and
/// performs its effects. Called by the service thread, and by whichever data call finds that it may be waited for.
///
/// Everything here holds both locks of the connection, and never blocks.
enum Mover {
  /// Goes on as far as possible at present.
  static func advance(_ c: ConnectionRef) {
    guard c.pointee.wireup.stage.isMoving else { return }
    go(c) { c.pointee.wireup.stage.isMoving }
  }

  /// The same, for who has just taken his pin off: the record may be nobody's by now, or another connection's.
  static func advanceBehind(_ c: ConnectionRef) {
    if c.pin(Pins.sleeper) & Pins.finished == 0 { advance(c) }
    c.unpin(Pins.sleeper)
  }

  /// The kernel path of an attached connection has something: records of a peer that leaves, or the end.
  static func kernelReady(_ c: ConnectionRef) {
    // One process of several answers for all.
    if c.pointee.isFamily, !SharedLane.hasRecord(c) || !SharedLane.claimDetach(c) { return }
    go(c) { c.pointee.wireup.stage.isMoving || c.pointee.wireup.stage == .attached }
    if c.pointee.isFamily { SharedLane.settleClaim(c) }
  }

  private static func go(_ c: ConnectionRef, while mayGo: () -> Bool) {
    c.lockBoth()
    var changed = false
    var rounds = 0
    while mayGo(), rounds < 64, step(c) {
      changed = true
      rounds += 1
    }
    c.unlockBoth()
    if changed { Waiters.wake(c) }
  }

  /// One step; false if nothing can be done now.
  private static func step(_ c: ConnectionRef) -> Bool {
    Fabric.look(c)
    if flushRecords(c) == false { return false }
    switch c.pointee.cutover.phase {
    case .kernel:
      if c.pointee.wireup.stage == .leaving {
        let isOut = Resend.go(c)
        return Resend.openReceive(c) || isOut || readKernel(c)
      }
      if peerGaveUp(c) { return true }
      return (c.pointee.laneRole == .leader ? tryOffer(c) : tryLearn(c)) || readKernel(c)
    case .offered:
      return heardLearned(c) || peerGaveUp(c) || readKernel(c)
    case .marked:
      return heardCut(c) || readKernel(c) || Leaving.handOver(c)
    case .probing:
      let isOut = Resend.go(c)
      return readKernel(c) || isOut
    case .confirmed, .learned, .seen, .detaching, .undecided, .attached:
      return readKernel(c)
    }
  }

  // MARK: First steps

  /// Whether the application's calls are out of the way and the books agree with the kernel. Closes the gates.
  private static func isQuiet(_ c: ConnectionRef) -> Bool {
    if let lane = c.pointee.verbs, !lane.pointee.isTrusted.load(ordering: .acquiring) { return false }
    if let reason = DeclineReason(rawValue: c.pointee.forbidden.load(ordering: .sequentiallyConsistent)),
      reason != .none
    {
      return Leaving.cancel(c, reason) && false
    }
    // A child that was forked meanwhile knows the connection as TCP's.
    if c.isShared { return Leaving.cancel(c, .sharedByFork) && false }
    // What a process that had the connection too has shut down, only the kernel knows: a ring would take bytes all the same.
    if c.pointee.sendPath.load(ordering: .relaxed) == .kernel, !Audit.isEstablished(c) {
      return Leaving.cancel(c, .notConnected) && false
    }
    c.pointee.wireup.wantsQuiet = true
    let pins = c.pointee.pins.bitwiseOr(Pins.sendGate | Pins.receiveGate, ordering: .sequentiallyConsistent).newValue
    if c.pointee.sendPath.load(ordering: .relaxed) == .kernel {
      // Partner: PollWait.isStale.
      c.pointee.moves.wrappingAdd(1, ordering: .releasing)
      c.send(on: .moving)
      c.receive(on: .moving)
      Registrations.toLane(c)
    }
    guard Pins.senders(pins) == 0 else { return false }
    fixCut(c)
    guard Pins.readers(pins) <= 1 else { return false }
    guard Pins.greedy(pins) == 0 else {
      // What such a call waits for may be in the peer's ring already, and would come when the attempt is over.
      return Kernel.now() > c.pointee.wireup.since &+ greedyTime && Leaving.cancel(c, .busy) && false
    }
    guard Kernel.pollNow(c.pointee.fd, Int16(POLLOUT)) & Int16(POLLOUT) != 0 else { return false }
    return Audit.agrees(c)
  }

  /// How long an attempt waits for a call that would swallow the mark, in nanoseconds.
  private static let greedyTime: UInt64 = 20_000_000

  /// The gate is closed, and no call is left that writes to the kernel path: what is sent from here on is in the ring. Should
  /// this end die, the peer has to know where that goes on.
  static func fixCut(_ c: ConnectionRef) {
    let cut = c.pointee.segment!.side(c.pointee.laneRole).fixedCut
    guard cut.pointee.load(ordering: .relaxed) == 0 else { return }
    // Partner: Inheriting.skipToRest at the peer.
    cut.pointee.store(c.pointee.kernelSent.load(ordering: .relaxed) &+ 1, ordering: .releasing)
  }

  private static func tryOffer(_ c: ConnectionRef) -> Bool {
    guard c.pointee.wireup.stage == .wired, let segment = c.pointee.segment, isQuiet(c) else { return false }
    guard Fabric.hasWords(c) || hasByteInHand(c) else { return false }
    guard let effects = try? c.pointee.cutover.offer(written: c.pointee.kernelSent.load(ordering: .relaxed)) else {
      return false
    }
    c.pointee.wireup.wantsQuiet = false
    perform(effects, c)
    // Releases the cut, for whoever sees the stage. If the peer has given up meanwhile, heardLearned finds out.
    _ = segment.header.stage.pointee.compareExchange(
      expected: LaneStage.fresh, desired: LaneStage.offered, ordering: .acquiringAndReleasing)
    Bell.signal(c)
    return true
  }

  /// Where the follower's "learned" and the leader's giving up are not one word, a leader that gives up lets its application's next
  /// byte follow at its cut, and one that does not a mark that begins otherwise. So there must be such a byte (the simulation's
  /// README says why).
  private static func hasByteInHand(_ c: ConnectionRef) -> Bool {
    guard let first = c.pointee.producer!.retained(from: 0), first.count > 0 else { return false }
    c.pointee.isFlipped = c.pointee.nonce.mark(from: .leader)[0] == first[0]
    return true
  }

  /// The peer has given up before anything was agreed: so does this end.
  private static func peerGaveUp(_ c: ConnectionRef) -> Bool {
    guard let segment = c.pointee.segment,
      segment.header.stage.pointee.load(ordering: .acquiring) == LaneStage.aborted
    else { return false }
    return Leaving.cancel(c, .laneAborted)
  }

  private static func tryLearn(_ c: ConnectionRef) -> Bool {
    guard c.pointee.wireup.stage == .wired, let segment = c.pointee.segment,
      segment.header.stage.pointee.load(ordering: .acquiring) == LaneStage.offered
    else { return false }
    let cut = segment.side(.leader).cut.pointee.load(ordering: .acquiring) &- 1
    guard isQuiet(c) else { return false }
    let received = c.pointee.kernelReceived.load(ordering: .relaxed)
    // The application has read everything before the mark, which can then be read at once. An application that does not
    // read keeps the attempt from going on, until its time is over; and a connection that has to be plain TCP again (exec)
    // never has bytes of before its lane left.
    guard cut == received else {
      // Over verbs the cut may come when the leader has given up, and gone on in TCP.
      return received > cut && Leaving.cancel(c, .busy)
    }
    // Should this end go with the leader's mark unread, the kernel resets, and throws away what it has not sent yet.
    guard Kernel.queued(c.pointee.fd, CL_SIOCOUTQNSD) == 0 else { return false }
    let written = c.pointee.kernelSent.load(ordering: .relaxed)
    let (learned, _) = segment.header.stage.pointee.compareExchange(
      expected: LaneStage.offered, desired: LaneStage.learned, ordering: .acquiringAndReleasing)
    guard learned else { return peerGaveUp(c) }
    guard let effects = try? c.pointee.cutover.learn(peerCut: cut, received: received, written: written) else {
      Leaving.breakOff(c)
      return false
    }
    c.pointee.wireup.wantsQuiet = false
    perform(effects, c)
    return true
  }

  private static func heardLearned(_ c: ConnectionRef) -> Bool {
    if let lane = c.pointee.verbs, lane.pointee.peerLearned.load(ordering: .acquiring) {
      // No peer shares the word here; it is this end's own note.
      _ = c.pointee.segment!.header.stage.pointee.compareExchange(
        expected: LaneStage.offered, desired: LaneStage.learned, ordering: .acquiringAndReleasing)
    }
    guard c.pointee.segment!.header.stage.pointee.load(ordering: .acquiring) == LaneStage.learned else { return false }
    return handle(c) { () throws(Cutover.Violation) in try c.pointee.cutover.peerLearned() }
  }

  private static func heardCut(_ c: ConnectionRef) -> Bool {
    let cut = c.pointee.segment!.side(.follower).cut.pointee.load(ordering: .acquiring)
    guard cut != 0 else { return false }
    let received = c.pointee.kernelReceived.load(ordering: .relaxed)
    // As in tryLearn. An application that does not read makes the leader leave again when the time is over.
    if (cut &- 1) > received { return false }
    return handle(c) { () throws(Cutover.Violation) in
      try c.pointee.cutover.peerCut(cut &- 1, received: received)
    }
  }

  /// Performs an event's effects; a violation breaks the connection.
  static func handle(
    _ c: ConnectionRef, _ event: () throws(Cutover.Violation) -> CutoverEffects
  ) -> Bool {
    do throws(Cutover.Violation) {
      perform(try event(), c)
      return true
    } catch {
      Leaving.breakOff(c)
      return false
    }
  }

  // MARK: Effects

  /// `alreadySent`: of the records, so many bytes have gone out before.
  static func perform(_ effects: CutoverEffects, _ c: ConnectionRef, alreadySent: Int = 0) {
    let own = c.pointee.segment!.side(c.pointee.laneRole)
    limitKernel(c)
    noteReturn(c)
    if effects.publishesCut {
      own.cut.pointee.store(c.pointee.cutover.ownCut &+ 1, ordering: .releasing)
      Bell.signal(c)
    }
    if effects.acknowledges { Bell.signal(c) }
    if effects.writesMark {
      Stats.count(.marksWritten)
      let isFlipped = c.pointee.laneRole == .leader && c.pointee.isFlipped
      queue(c.pointee.nonce.mark(from: c.pointee.laneRole, flipped: isFlipped), c)
    }
    if effects.writesLearned { queue(Record.learned.encoded(for: c.pointee.nonce), c) }
    if let position = effects.detachPosition {
      queue(Record.detach(consumed: position).encoded(for: c.pointee.nonce), c)
    }
    c.pointee.outgoing.drop(alreadySent)
    _ = flushRecords(c)
    if effects.detachPosition != nil || effects.finishes { beginToLeave(c) }
    if effects.finishes { Attaching.enterLeaving(c) }
    if let position = effects.resendPosition { Resend.begin(c, from: position) }
    if c.pointee.cutover.phase == .attached { attached(c) }
  }

  /// Shows the data calls how far the kernel path is the application's.
  private static func limitKernel(_ c: ConnectionRef) {
    let limit: UInt64
    switch c.pointee.cutover.inbound {
    case .application: limit = UInt64.max
    case .until(let cut): limit = cut
    case .records: limit = 0
    }
    c.pointee.kernelLimit.store(limit, ordering: .releasing)
  }

  /// The peer's DETACH says from where on the lane's bytes come over TCP.
  private static func noteReturn(_ c: ConnectionRef) {
    if let resumption = c.pointee.cutover.resumption { c.pointee.returning.resume(at: resumption.kernel) }
  }

  /// The lane is over for this end: nothing more is consumed, and what is sent waits behind what is re-sent.
  private static func beginToLeave(_ c: ConnectionRef) {
    guard c.pointee.wireup.stage == .attached else { return }
    c.pointee.returning.begin(at: c.pointee.consumer!.head)
    noteReturn(c)
    c.receive(on: .moving)
    c.send(on: .moving)
    c.pointee.attempt.store(.underway, ordering: .releasing)
    c.pointee.wireup.stage = .detaching
    if c.pointee.reason == .none { c.pointee.reason = .peerLeft }
    Stats.count(.laneEnds)
    Attaching.watchClosely(c)
  }

  private static func attached(_ c: ConnectionRef) {
    guard c.pointee.receivePath.load(ordering: .relaxed) != .lane else { return }
    c.receive(on: .lane)
    c.send(on: .lane)
    c.pointee.attempt.store(.attached, ordering: .releasing)
    c.pointee.wireup.stage = .attached
    // The peer's death was noticed before its last mark was read.
    if c.pointee.wireup.isOrphan { Leaving.bereave(c) }
    c.pointee.reason = .none
    // Arms the edge again, whoever has moved the stream: a record may have come together with the mark.
    Attaching.watchHangUpOnly(c)
    c.pointee.lanes &+= 1
    Stats.count(.attaches)
    Stats.publish(c)
    Log.attached(c)
    leaveForChild(c)
  }

  /// A child that was forked in the middle of this waits to go on in TCP.
  private static func leaveForChild(_ c: ConnectionRef) {
    guard SharedLane.hasClaimed(c) else { return }
    SharedLane.refresh(c)
    c.pointee.reason = .sharedByFork
    perform(c.pointee.cutover.laneDown(consumed: c.pointee.consumer!.head), c)
  }

  private static func queue(_ words: Nonce, _ c: ConnectionRef) {
    var index = 0
    while index < Record.byteCount {
      c.pointee.outgoing.append(words[index])
      index += 1
    }
  }

  /// Writes the records that are due. False if the kernel's buffer is full: then nothing may overtake them. On a dead
  /// connection they are as good as written, and what the kernel has to say of it is found by reading.
  private static func flushRecords(_ c: ConnectionRef) -> Bool {
    // A record that reaches a socket which has been closed makes the kernel reset, and drop what the peer still had to send.
    if c.pointee.outgoing.count > 0, let flags = c.pointee.consumer?.finishFlags, flags & FinishFlags.closed != 0 {
      c.pointee.outgoing.drop(c.pointee.outgoing.count)
    }
    let due = c.pointee.outgoing.count
    defer { if c.pointee.outgoing.count < due { Resend.push(c) } }
    while c.pointee.outgoing.count > 0 {
      switch c.pointee.outgoing.withBytes({ Resend.write(c, $0, $1) }) {
      case .wrote(let bytes):
        c.pointee.outgoing.drop(bytes)
        c.pointee.recordsEnd.store(c.pointee.kernelSent.load(ordering: .relaxed), ordering: .releasing)
      case .full: return false
      case .dead: c.pointee.outgoing.drop(c.pointee.outgoing.count)
      }
    }
    return true
  }
}

/// Records on their way to the kernel path: at most a mark, LEARNED and DETACH.
struct OutgoingRecords {
  private var storage: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0, 0, 0)
  private var start = 0
  private var end = 0

  var count: Int { end &- start }

  mutating func append(_ byte: UInt8) {
    guard end < 64 else { return }
    let at = end
    withUnsafeMutableBytes(of: &storage) { $0[at] = byte }
    end &+= 1
  }

  mutating func withBytes<Result>(_ body: (UnsafeRawPointer, Int) -> Result) -> Result {
    let first = start
    let length = count
    return withUnsafeMutableBytes(of: &storage) { body(UnsafeRawPointer($0.baseAddress! + first), length) }
  }

  mutating func drop(_ bytes: Int) {
    start &+= bytes
    if start == end {
      start = 0
      end = 0
    }
  }
}
