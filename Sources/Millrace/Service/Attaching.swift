import CLinux
import MillraceShim
import Synchronization

/// The way of one candidate from the threshold to a wired lane: rendezvous, proof of identity, offer and answer.
/// Service thread only, but for ``ended(_:)`` and
/// ``watchHangUpOnly(_:)``.
enum Attaching {
  /// Connections with a deadline that is near, and listeners that wait.
  nonisolated(unsafe) static var timed = 0
  nonisolated(unsafe) static var listening = 0

  private static let listenTime: UInt64 = 5_000_000_000
  private static let answerTime: UInt64 = 1_000_000_000
  /// How long an attempt may keep bytes back before anything is agreed.
  private static let quietTime: UInt64 = 200_000_000
  /// The same over verbs, where the leader waits for its application to send something.
  private static let leadTime: UInt64 = 5_000_000_000

  static func begin(_ c: ConnectionRef) {
    guard c.pointee.attempt.load(ordering: .relaxed) == .underway,
      c.pointee.pins.load(ordering: .acquiring) & Pins.closing == 0
    else { return }
    // The child of a fork has its first page, and the connection its first row there, with its first candidate.
    Stats.start()
    Stats.listens(on: Service.wakeup)
    Stats.claimRow(c)
    Stats.count(.candidates)
    c.pointee.attempts &+= 1
    c.pointee.wireup.callsInVain = 0
    if let reason = Policy.objection(c) { return refuse(c, reason) }
    Stats.publish(c)
    c.pointee.wireup.fabric = FabricChoice.first(for: c)
    switch c.pointee.wireup.fabric {
    case .none: refuse(c, .noPeer)
    case .shm: if c.pointee.role == .follower { listen(c) } else { call(c) }
    case .verbs: beginVerbs(c)
    }
  }

  private static func beginVerbs(_ c: ConnectionRef) {
    let isListener = c.pointee.role == .follower
    if let reason = isListener ? VerbsWireup.listen(c) : VerbsWireup.call(c) { return refuse(c, reason) }
    enter(c, isListener ? .listening : .calling, for: listenTime)
  }

  // MARK: The end that connected

  private static func listen(_ c: ConnectionRef) {
    do throws(Errno) {
      c.pointee.wireup.listener = try Rendezvous.listen(c)
      Stats.count(.rendezvousListens)
      enter(c, .listening, for: listenTime)
      Service.watch(c, c.pointee.wireup.listener, .listener, EPOLLIN.rawValue)
    } catch {
      refuse(c, error.want ?? .nameTaken)
    }
  }

  /// The peer has called over the connection manager, and has its answer.
  static func called(_ c: ConnectionRef) { enter(c, .called, for: listenTime) }

  static func callArrived(_ c: ConnectionRef) {
    // A few at a time: whoever calls in a loop does not keep the service from others.
    var rounds = 0
    while rounds < 8, c.pointee.wireup.stage == .listening, let socket = Rendezvous.accept(c.pointee.wireup.listener) {
      rounds += 1
      let doubt = Identity.doubt(socket, of: c)
      if let doubt, doubt != .identityMismatch {
        Bell.close(socket)
        return refuse(c, doubt)
      }
      guard doubt == nil else {
        // Somebody else's call leaves the name to the true peer.
        Stats.count(.hostileMessages)
        Stats.decline(.identityMismatch)
        Bell.close(socket)
        continue
      }
      c.pointee.wireup.socket = socket
      enter(c, .called, for: answerTime)
      Service.watch(c, socket, .bell, EPOLLIN.rawValue | EPOLLRDHUP.rawValue)
      bellRang(c, 0)
    }
  }

  private static func offerArrived(_ c: ConnectionRef) {
    var descriptor: Int32 = -1
    let message = receive(c, descriptor: &descriptor)
    defer { cl_discard_descriptor(descriptor) }
    switch message {
    case .none: return
    case .garbage: return refuse(c, .badWireup)
    case .message(let offer):
      guard offer.version == WireupMessage.version else { return answerNo(c, .versionMismatch) }
      guard offer.kind == .offer, descriptor >= 0 else { return refuse(c, .badWireup) }
      let segment: Segment
      do throws(Errno) {
        segment = try Segment.open(descriptor, ringBytes: Int(offer.detail))
      } catch {
        return answerNo(c, error.want ?? .badSegment)
      }
      guard adopt(c, segment, offer.nonce, as: c.pointee.role) else {
        segment.unmap()
        return answerNo(c, .raced)
      }
      Stats.count(.wireupAccepts)
      if send(c, WireupMessage(.accept)) { wired(c) } else { refuse(c, .badWireup) }
    }
  }

  private static func answerNo(_ c: ConnectionRef, _ reason: DeclineReason) {
    _ = send(c, WireupMessage(.decline, detail: UInt32(reason.rawValue)))
    refuse(c, reason)
  }

  // MARK: The end that accepted

  private static func call(_ c: ConnectionRef) {
    Stats.count(.rendezvousCalls)
    do throws(Errno) {
      c.pointee.wireup.socket = try Rendezvous.call(c)
    } catch {
      if let reason = error.want { return refuse(c, reason) }
      return seek(c)
    }
    if let doubt = Identity.doubt(c.pointee.wireup.socket, of: c) { return refuse(c, doubt) }
    let made: (segment: Segment, descriptor: Int32)
    do throws(Errno) {
      made = try Segment.create(ringBytes: Int(Configuration.settings.ringBytes))
    } catch {
      return refuse(c, error.want ?? .memoryExhausted)
    }
    defer { Kernel.close(made.descriptor) }
    let nonce = Entropy.nonce()
    guard adopt(c, made.segment, nonce, as: c.pointee.role) else {
      made.segment.unmap()
      return refuse(c, .raced)
    }
    let offer = WireupMessage(.offer, detail: UInt32(made.segment.ringBytes), nonce: nonce)
    guard send(c, offer, descriptor: made.descriptor) else { return refuse(c, .badWireup) }
    Stats.count(.wireupOffers)
    enter(c, .calling, for: answerTime)
    Service.watch(c, c.pointee.wireup.socket, .bell, EPOLLIN.rawValue | EPOLLRDHUP.rawValue)
    bellRang(c, 0)
  }

  /// Nobody listens. On a busy machine the peer's service thread may be late, and the application may send nothing more that
  /// would bring another attempt; so this one goes on for 31 ms in all, unless the peer is elsewhere or lets such calls go
  /// by.
  private static func seek(_ c: ConnectionRef) {
    let calls = c.pointee.wireup.callsInVain
    guard calls < 5, PeerMemory.mayAppear(c), calls > 0 || Identity.isLocal(c) else {
      PeerMemory.noteVain(c)
      return refuse(c, .noPeer)
    }
    c.pointee.wireup.callsInVain = calls &+ 1
    enter(c, .seeking, for: 1_000_000 << UInt64(calls))
  }

  private static func answerArrived(_ c: ConnectionRef) {
    var descriptor: Int32 = -1
    let message = receive(c, descriptor: &descriptor)
    cl_discard_descriptor(descriptor)
    switch message {
    case .none: return
    case .garbage: refuse(c, .badWireup)
    case .message(let answer):
      if answer.version != WireupMessage.version { return refuse(c, .versionMismatch) }
      switch answer.kind {
      case .accept: wired(c)
      case .decline: refuse(c, .peerDeclined)
      case .offer: refuse(c, .badWireup)
      }
    }
  }

  // MARK: Both ends

  /// The Unix connection has something to say: a message of the wireup, a ring, or that the peer is gone.
  static func bellRang(_ c: ConnectionRef, _ events: UInt32) {
    switch c.pointee.wireup.stage {
    case .called where c.pointee.wireup.fabric == .shm: offerArrived(c)
    case .calling where c.pointee.wireup.fabric == .shm: answerArrived(c)
    case .wired, .leaving, .detaching:
      Waiters.drainBell(c)
      Fabric.arm(c, forRoom: true)
      Mover.advance(c)
      if c.pointee.wireup.stage == .attached { watchHangUpOnly(c) }
    default: break
    }
    if events & (EPOLLRDHUP.rawValue | EPOLLHUP.rawValue) != 0 { hungUp(c) }
  }

  private static func hungUp(_ c: ConnectionRef) {
    switch c.pointee.wireup.stage {
    case .called, .calling: refuse(c, .badWireup)
    case .attached where c.pointee.isFamily && SharedLane.siblingLeaves(c):
      // The hang-up may be the peer's, which is through with the lane; the sibling's follows when it is as well.
      if !SharedLane.follow(c) { return }
    case .wired, .attached: Leaving.peerLeft(c)
    default: break
    }
    Service.unwatch(c.pointee.bell)
  }

  /// Memory and rings of a new lane. False if somebody may still look at the last attempt's.
  static func adopt(
    _ c: ConnectionRef, _ segment: Segment, _ nonce: Nonce, as role: Role, verbs lane: VerbsLaneRef? = nil
  ) -> Bool {
    c.lockBoth()
    defer { c.unlockBoth() }
    if let old = c.pointee.segment {
      // Partner: Waiters.releaseArms.
      c.pointee.wakePage.store(0, ordering: .sequentiallyConsistent)
      // The one such pin is this thread's. Another call may still look at the last attempt's memory, or sleep there; one that is
      // in the kernel does not know it.
      guard Pins.sleepers(c.pointee.pins.load(ordering: .sequentiallyConsistent)) == 1 else {
        c.pointee.wakePage.store(UInt(bitPattern: old.page), ordering: .sequentiallyConsistent)
        return false
      }
      old.unmap()
      c.pointee.verbs?.unmap()
      c.pointee.carriedOut &+= c.pointee.producer!.tail
      c.pointee.carriedIn &+= c.pointee.consumer!.head
    }
    c.pointee.laneRole = role
    c.pointee.verbs = lane
    c.pointee.isFlipped = false
    let own = segment.side(c.pointee.laneRole)
    let peer = segment.side(c.pointee.laneRole.peer)
    c.pointee.producer = RingProducer(
      data: segment.ring(c.pointee.laneRole), capacity: segment.ringBytes, own: own, peer: peer)
    c.pointee.consumer = RingConsumer(
      data: UnsafeRawPointer(segment.ring(c.pointee.laneRole.peer)), capacity: segment.ringBytes, own: own, peer: peer)
    c.pointee.trim = RingTrim()
    c.pointee.segment = segment
    c.pointee.wakePage.store(UInt(bitPattern: segment.page), ordering: .sequentiallyConsistent)
    c.pointee.nonce = nonce
    c.pointee.records = RecordBuffer()
    c.pointee.outgoing = OutgoingRecords()
    c.pointee.recordsEnd.store(0, ordering: .relaxed)
    c.pointee.returning.end()
    c.pointee.wireup.isOrphan = false
    c.pointee.wireup.isImpatient = false
    c.pointee.wireup.courtesyEnd = 0
    c.pointee.isFamily = false
    c.pointee.family!.pointee.reset()
    c.pointee.wireup.kernelEnded = false
    c.pointee.cutover = Cutover(role: c.pointee.laneRole)
    return true
  }

  static func wired(_ c: ConnectionRef) {
    PeerMemory.noteAnswer(c)
    closeListener(c)
    if Fabric.hasWords(c) {
      c.pointee.bell = c.pointee.wireup.socket
      cl_refuse_descriptors(c.pointee.bell)
      c.pointee.wireup.socket = -1
      PeerProcess.join(c)
      enter(c, .wired, for: quietTime)
    } else {
      c.pointee.bell = c.pointee.wireup.channel
      enter(c, .wired, for: leadTime)
      Fabric.arm(c, forRoom: true)
    }
    c.pointee.wireup.isWatched = true
    let edges = EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue
    Service.watch(c, c.pointee.bell, .bell, edges)
    Service.watch(c, c.pointee.fd, .kernel, edges | EPOLLOUT.rawValue)
    Mover.advance(c)
    if c.pointee.wireup.stage == .attached { watchHangUpOnly(c) }
  }

  /// On the lane the bell is for the application's waits; the service hears only its end, and what the kernel path says:
  /// a peer's records, errors.
  static func watchHangUpOnly(_ c: ConnectionRef) {
    if Fabric.hasWords(c) {
      Service.watch(c, c.pointee.bell, .bell, EPOLLRDHUP.rawValue | EPOLLET.rawValue)
    } else {
      // The connection manager tells of its end.
      Service.unwatch(c.pointee.bell)
    }
    Service.watch(c, c.pointee.fd, .kernel, EPOLLIN.rawValue | EPOLLET.rawValue)
  }

  /// A lane that was the parent's, in the child of a fork.
  static func watchAgain(_ c: ConnectionRef) {
    c.pointee.wireup.isWatched = true
    watchHangUpOnly(c)
  }

  /// While the stream moves, every change on the kernel path matters.
  static func watchClosely(_ c: ConnectionRef) {
    let edges = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue
    Service.watch(c, c.pointee.fd, .kernel, edges)
    Service.watch(c, c.pointee.bell, .bell, EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue)
    timed = max(timed, 1)
    Service.prod()
  }

  /// The stream is on its way back to TCP, which takes no longer than it takes the peer to read a record.
  static func enterLeaving(_ c: ConnectionRef) {
    c.pointee.wireup.deadline = Kernel.now() &+ quietTime
    c.pointee.wireup.patience = 0
    c.pointee.wireup.stage = .leaving
  }

  private static func enter(_ c: ConnectionRef, _ stage: Wireup.Stage, for time: UInt64) {
    c.pointee.wireup.stage = stage
    c.pointee.wireup.deadline = Kernel.now() &+ time
    c.pointee.wireup.patience = 0
    c.pointee.wireup.since = Kernel.now()
    if stage.isTimed { timed = max(timed, 1) } else { listening = max(listening, 1) }
  }

  /// Gives up what has taken too long, and counts what is still to be watched.
  static func lookAtDeadlines() {
    let now = Kernel.now()
    timed = 0
    listening = 0
    Pool.forEach { c in
      let stage = c.pointee.wireup.stage
      guard stage.isTimed || stage == .listening else { return }
      // A record that is being closed is left to who closes it, but for the pin.
      if c.pin(Pins.sleeper) & Pins.closing == 0 || c.pointee.isDeferred { lookAt(c, now) }
      c.unpin(Pins.sleeper)
    }
  }

  private static func lookAt(_ c: ConnectionRef, _ now: UInt64) {
    if c.pointee.wireup.stage.isMoving { Mover.advance(c) }
    if c.pointee.wireup.stage == .attached { watchHangUpOnly(c) }
    if now > c.pointee.wireup.deadline { expire(c) }
    // A peer that has let several deadlines go by is no reason to hurry.
    if c.pointee.wireup.stage.isTimed {
      if c.pointee.wireup.patience < 1_000_000_000 { timed += 1 } else { listening += 1 }
    }
    if c.pointee.wireup.stage == .listening { listening += 1 }
  }

  private static func expire(_ c: ConnectionRef) {
    switch c.pointee.wireup.stage {
    case .listening: refuse(c, .noPeer)
    case .seeking: call(c)
    case .called, .calling: refuse(c, .wireupTimeout)
    case .wired, .detaching, .leaving:
      // From here on only the peer can go on; a peer that is stopped is looked after less and less often.
      c.pointee.wireup.patience = min(max(c.pointee.wireup.patience &* 2, quietTime), 4_000_000_000)
      c.pointee.wireup.deadline = Kernel.now() &+ c.pointee.wireup.patience
      // A peer that is gone says nothing; what it has left is read first.
      c.pointee.wireup.isImpatient =
        c.pointee.wireup.stage == .leaving && Kernel.pollNow(c.pointee.fd, 0) & Int16(POLLERR | POLLHUP) == 0
      guard c.pointee.wireup.stage == .wired else { return }
      c.lockBoth()
      let reason: DeclineReason = c.pointee.wireup.auditFailed ? .unaccountedIO : .busy
      if c.pointee.wireup.stage == .wired { Leaving.giveUp(c, reason) }
      c.unlockBoth()
      Waiters.wake(c)
    default: break
    }
  }

  // MARK: Refusals

  /// The attempt is over before the stream began to move.
  static func refuse(_ c: ConnectionRef, _ reason: DeclineReason) {
    c.pointee.reason = reason
    c.pointee.wireup.stage = .ended
    ended(c)
  }

  /// Cleans up behind an attempt that has come to nothing, and lets the policy decide about another one.
  static func ended(_ c: ConnectionRef) {
    // What forbids another attempt says more than how this one ended.
    let forbidden = c.pointee.forbidden.load(ordering: .sequentiallyConsistent)
    if forbidden != 0 { c.pointee.reason = DeclineReason(rawValue: forbidden) ?? c.pointee.reason }
    Stats.decline(c.pointee.reason)
    closeListener(c)
    Service.unwatch(c.pointee.wireup.socket)
    Bell.close(c.pointee.wireup.socket)
    c.pointee.wireup.socket = -1
    if c.pointee.wireup.isWatched {
      c.pointee.wireup.isWatched = false
      Service.unwatch(c.pointee.fd)
      Service.unwatch(c.pointee.bell)
      PeerProcess.leave(c)
      if Fabric.hasWords(c) { Bell.close(c.pointee.bell) }
      c.pointee.bell = -1
    }
    VerbsWireup.giveUp(c)
    c.pointee.wireup.sentBefore = c.pointee.kernelSent.load(ordering: .relaxed)
    c.pointee.wireup.auditFailed = false
    Log.declined(c)
    Stats.publish(c)
    Policy.scheduleAgain(c)
  }

  private static func closeListener(_ c: ConnectionRef) {
    if let end = c.pointee.wireup.end, end != c.pointee.verbs?.pointee.end {
      c.pointee.wireup.end = nil
      VerbsRetired.add(end, inFlight: 0)
    }
    guard c.pointee.wireup.listener >= 0 else { return }
    Service.unwatch(c.pointee.wireup.listener)
    Rendezvous.close(c.pointee.wireup.listener)
    c.pointee.wireup.listener = -1
  }

  // MARK: Messages

  private enum Received {
    case none
    case garbage
    case message(WireupMessage)
  }

  private static func receive(_ c: ConnectionRef, descriptor: inout Int32) -> Received {
    withUnsafeTemporaryAllocation(byteCount: WireupMessage.byteCount, alignment: 8) { space in
      let r = cl_receive_descriptor(c.pointee.wireup.socket, space.baseAddress!, space.count, &descriptor)
      if r == -Int(EAGAIN) { return .none }
      guard r > 0, let message = WireupMessage(decoding: space.baseAddress!, count: r) else {
        Stats.count(.hostileMessages)
        return .garbage
      }
      return .message(message)
    }
  }

  private static func send(_ c: ConnectionRef, _ message: WireupMessage, descriptor: Int32 = -1) -> Bool {
    withUnsafeTemporaryAllocation(byteCount: WireupMessage.byteCount, alignment: 8) { space in
      message.encode(into: space.baseAddress!)
      return cl_send_descriptor(c.pointee.wireup.socket, space.baseAddress!, space.count, descriptor) == space.count
    }
  }
}

/// Random numbers of the kernel's.
enum Entropy {
  static func nonce() -> Nonce {
    var words: (UInt64, UInt64) = (0, 0)
    _ = withUnsafeMutablePointer(to: &words) { Kernel.call(Int(SYS_getrandom), Int(bitPattern: $0), 16, 0) }
    return Nonce(words.0, words.1)
  }
}
