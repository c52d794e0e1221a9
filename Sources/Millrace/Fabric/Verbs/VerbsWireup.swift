import CLinux
import MillraceShim
import Synchronization

/// Meeting the peer by the connection manager, and the end of a verbs lane that was not agreed. The end that connected listens at its
/// own address and port in RDMA_PS_TCP, a port space apart from TCP's; the end that accepted calls there. Service thread only.
enum VerbsWireup {
  /// How long each step of a call may take, in milliseconds.
  private static let stepTime: Int32 = 2000

  // MARK: Beginning

  static func listen(_ c: ConnectionRef) -> DeclineReason? {
    if let reason = Verbs.open() { return reason }
    var end: OpaquePointer?
    let own = Configuration.settings.map.translated(c.pointee.wireup.local)
    let r = VerbsAddress.with(own) { Verbs.table.pointee.listen($0, cookie(c), &end) }
    guard r == 0, let end else { return Verbs.reason(for: r) }
    c.pointee.wireup.end = end
    Stats.count(.rendezvousListens)
    return nil
  }

  static func call(_ c: ConnectionRef) -> DeclineReason? {
    if let reason = Verbs.open() { return reason }
    var end: OpaquePointer?
    var own = Configuration.settings.map.translated(c.pointee.wireup.local)
    own.port = 0
    let peer = Configuration.settings.map.translated(c.pointee.wireup.peer)
    let r = VerbsAddress.with(own) { from in
      VerbsAddress.with(peer) { to in Verbs.table.pointee.call(from, to, cookie(c), stepTime, &end) }
    }
    guard r == 0, let end else { return Verbs.reason(for: r) }
    c.pointee.wireup.end = end
    Stats.count(.rendezvousCalls)
    return nil
  }

  /// Gives up what an attempt, or a lane, holds of the fabric.
  static func giveUp(_ c: ConnectionRef) {
    guard c.pointee.wireup.fabric == .verbs || c.pointee.verbs != nil else { return }
    let lane = c.pointee.verbs?.pointee.end
    // A caller's identifier is the lane's too.
    if let end = c.pointee.wireup.end, end != lane { VerbsRetired.add(end, inFlight: 0) }
    c.pointee.wireup.end = nil
    c.pointee.verbs?.retire()
  }

  // MARK: Events

  static func eventsArrived() {
    var event = mrv_event()
    while Verbs.table.pointee.next_event(&event) == 1 {
      if event.kind != 0 { handle(event) }
    }
  }

  /// Names a use of a record, as the service's epoll tokens do.
  private static func cookie(_ c: ConnectionRef) -> UInt64 {
    UInt64(UInt32(bitPattern: c.pointee.index)) << 32 | UInt64(c.pointee.wireup.serial)
  }

  private static func handle(_ event: mrv_event) {
    let index = Int32(truncatingIfNeeded: event.cookie >> 32)
    guard let c = Pool.record(index) else { return disown(event) }
    let pins = c.pin(Pins.sleeper)
    defer { c.unpin(Pins.sleeper) }
    guard pins & (Pins.finished | Pins.closing) == 0, c.pointee.kind == UInt8(MR_CONNECTION.rawValue),
      UInt32(truncatingIfNeeded: event.cookie) == c.pointee.wireup.serial
    else { return disown(event) }
    if event.kind == Int32(MRV_REQUEST.rawValue) { return requested(c, event) }
    if event.end == c.pointee.wireup.end { return stepped(c, event) }
    guard let lane = c.pointee.verbs, lane.pointee.end == event.end else { return disown(event) }
    switch mrv_event_kind(UInt32(event.kind)) {
    case MRV_ESTABLISHED: if c.pointee.wireup.stage == .called { Attaching.wired(c) }
    case MRV_REMOVED:
      if lost(c) { Verbs.summon() }
      c.pointee.verbs?.release()
    case MRV_DISCONNECTED, MRV_UNREACHABLE, MRV_REJECTED: if lost(c) { Verbs.summon() }
    default: break
    }
  }

  /// An event that is about nobody any more. A caller is turned away.
  private static func disown(_ event: mrv_event) {
    guard let end = event.end else { return }
    if event.kind == Int32(MRV_REMOVED.rawValue) { VerbsRetired.removed(end) }
    if event.kind == Int32(MRV_REQUEST.rawValue) { turnAway(end, .raced) }
  }

  private static func turnAway(_ end: OpaquePointer, _ reason: DeclineReason) {
    var word = reason.rawValue
    _ = Verbs.table.pointee.reject(end, &word, 1)
    Verbs.table.pointee.destroy(end)
  }

  /// The next step of an end that calls.
  private static func stepped(_ c: ConnectionRef, _ event: mrv_event) {
    // A listener's device is gone; it listens again when there is one.
    if c.pointee.wireup.stage == .listening, event.kind == Int32(MRV_REMOVED.rawValue) {
      return Attaching.refuse(c, .noDevice)
    }
    guard c.pointee.wireup.stage == .calling, let end = c.pointee.wireup.end else { return }
    switch mrv_event_kind(UInt32(event.kind)) {
    case MRV_ADDRESS:
      let r = Verbs.table.pointee.resolve_route(end, stepTime)
      if r != 0 { Attaching.refuse(c, Verbs.reason(for: r)) }
    case MRV_ROUTE: if let reason = offer(c, end) { Attaching.refuse(c, reason) }
    case MRV_ESTABLISHED: answered(c, event)
    // The peer's connection manager says no by itself where nobody listens, and brings no data of ours then.
    case MRV_REJECTED: Attaching.refuse(c, whyRejected(event))
    case MRV_UNREACHABLE: Attaching.refuse(c, .fabricUnreachable)
    case MRV_DISCONNECTED, MRV_REMOVED: Attaching.refuse(c, .laneAborted)
    default: break
    }
  }

  private static func whyRejected(_ event: mrv_event) -> DeclineReason {
    guard event.data_length > 0, event.data.0 != 0 else { return .noPeer }
    return event.data.0 == DeclineReason.keyMismatch.rawValue ? .keyMismatch : .peerDeclined
  }

  // MARK: Offer and answer

  /// The accepted end offers: its ring, and the nonce. The reason if it cannot.
  private static func offer(_ c: ConnectionRef, _ end: OpaquePointer) -> DeclineReason? {
    let bytes = min(Int(Configuration.settings.ringBytes), VerbsImmediate.largestRing)
    guard let made = try? Segment.create(ringBytes: bytes) else { return .memoryExhausted }
    Kernel.close(made.descriptor)
    guard let lane = VerbsLaneRef.make() else {
      made.segment.unmap()
      return .memoryExhausted
    }
    // Who sends can lead. Which half of the memory is whose does not matter before the answer: each end has its own.
    let callerLeads = c.pointee.kernelSent.load(ordering: .relaxed) != c.pointee.wireup.sentBefore
    let nonce = Entropy.nonce()
    let ready = prepare(c, lane, end, made.segment, nonce, callerLeads ? .leader : .follower)
    guard case .success(let ready) = ready else { return reason(ready) }
    var offer = message(c, made.segment, ready, nonce, callerLeads: callerLeads)
    offer.proof = VerbsKey.proof(.request, offer.digest, nonce).high
    Stats.count(.wireupOffers)
    let r = withEncoded(offer) { Verbs.table.pointee.connect(end, $0, VerbsOffer.byteCount) }
    return r == 0 ? nil : Verbs.reason(for: r)
  }

  /// Somebody calls at a connection's listener.
  private static func requested(_ c: ConnectionRef, _ event: mrv_event) {
    guard let end = event.end else { return }
    guard c.pointee.wireup.stage == .listening else { return turnAway(end, .raced) }
    guard let offer = decode(event), offer.digest == digest(c) else {
      Stats.count(.hostileMessages)
      return turnAway(end, .badWireup)
    }
    guard offer.version == VerbsOffer.version else { return turnAway(end, .versionMismatch) }
    let proof = VerbsKey.proof(.request, offer.digest, offer.nonce)
    guard offer.hasKey == VerbsKey.isDemanded, VerbsKey.isSame(offer.proof, proof) else {
      // The true peer may still come.
      Stats.decline(.keyMismatch)
      return turnAway(end, .keyMismatch)
    }
    if let reason = answer(c, end, offer) {
      turnAway(end, reason)
      Attaching.refuse(c, reason)
    }
  }

  /// The connected end answers. The reason if it cannot; the queue pair is the caller's to destroy then.
  private static func answer(_ c: ConnectionRef, _ end: OpaquePointer, _ offer: VerbsOffer) -> DeclineReason? {
    guard let made = try? Segment.create(ringBytes: offer.ringBytes) else { return .memoryExhausted }
    Kernel.close(made.descriptor)
    guard let lane = VerbsLaneRef.make() else {
      made.segment.unmap()
      return .memoryExhausted
    }
    let ready = prepare(c, lane, end, made.segment, offer.nonce, offer.callerLeads ? .follower : .leader)
    guard case .success(let ready) = ready else { return reason(ready) }
    let nonce = Entropy.nonce()
    var reply = message(c, made.segment, ready, nonce, callerLeads: offer.callerLeads)
    reply.proof = VerbsKey.proof(.reply, offer.digest, offer.nonce, nonce).high
    lane.pointee.expectedProof = VerbsKey.proof(.confirmation, offer.digest, offer.nonce, nonce)
    lane.pointee.isTrusted.store(!VerbsKey.isDemanded, ordering: .releasing)
    lane.start(offer)
    Stats.count(.wireupAccepts)
    let r = withEncoded(reply) { Verbs.table.pointee.accept(end, cookie(c), $0, VerbsOffer.byteCount) }
    guard r == 0 else {
      lane.pointee.end = nil
      return Verbs.reason(for: r)
    }
    Attaching.called(c)
    return nil
  }

  /// The connected end has answered: the lane is there.
  private static func answered(_ c: ConnectionRef, _ event: mrv_event) {
    guard let reply = decode(event), reply.digest == digest(c), let lane = c.pointee.verbs,
      reply.ringBytes == c.pointee.segment?.ringBytes
    else { return Attaching.refuse(c, .badWireup) }
    let nonce = c.pointee.nonce
    guard reply.hasKey == VerbsKey.isDemanded,
      VerbsKey.isSame(reply.proof, VerbsKey.proof(.reply, reply.digest, nonce, reply.nonce))
    else { return Attaching.refuse(c, .keyMismatch) }
    lane.pointee.ownProof = VerbsKey.proof(.confirmation, reply.digest, nonce, reply.nonce)
    c.pointee.wireup.end = nil
    lane.start(reply)
    Attaching.wired(c)
  }

  private static func prepare(
    _ c: ConnectionRef, _ lane: VerbsLaneRef, _ end: OpaquePointer, _ segment: Segment, _ nonce: Nonce, _ role: Role
  ) -> Result<mrv_ready, Errno> {
    let ready = lane.prepare(end, segment, role)
    guard case .success(let values) = ready else {
      lane.unmap()
      segment.unmap()
      return ready
    }
    guard Attaching.adopt(c, segment, nonce, as: role, verbs: lane) else {
      // The queue pair goes with its identifier; the memory is pinned for it until then.
      lane.unmap()
      segment.unmap()
      return .failure(Errno(code: EBUSY))
    }
    c.pointee.wireup.channel = values.channel
    return ready
  }

  private static func reason(_ ready: Result<mrv_ready, Errno>) -> DeclineReason {
    guard case .failure(let error) = ready else { return .none }
    return error.code == EBUSY ? .raced : Verbs.reason(for: -error.code)
  }

  private static func message(
    _ c: ConnectionRef, _ segment: Segment, _ ready: mrv_ready, _ nonce: Nonce, callerLeads: Bool
  ) -> VerbsOffer {
    let inward = UInt64(UInt(bitPattern: segment.ring(c.pointee.laneRole.peer)))
    return VerbsOffer(
      ringBytes: segment.ringBytes, callerLeads: callerLeads, hasKey: VerbsKey.isDemanded, digest: digest(c),
      nonce: nonce,
      address: inward, remoteKey: ready.remote_key, proof: 0)
  }

  private static func digest(_ c: ConnectionRef) -> UInt64 {
    let ends = c.pointee.wireup.ends(c.pointee.role)
    return VerbsOffer.digest(connector: ends.connector, acceptor: ends.acceptor)
  }

  private static func decode(_ event: mrv_event) -> VerbsOffer? {
    withUnsafeBytes(of: event.data) { VerbsOffer(decoding: $0.baseAddress!, count: Int(event.data_length)) }
  }

  private static func withEncoded(_ offer: VerbsOffer, _ body: (UnsafeRawPointer) -> Int32) -> Int32 {
    withUnsafeTemporaryAllocation(byteCount: VerbsOffer.byteCount, alignment: 8) { space in
      offer.encode(into: space.baseAddress!)
      return body(UnsafeRawPointer(space.baseAddress!))
    }
  }

  // MARK: The end

  /// How long a lane that is lost waits for the kernel to say that the peer is gone, in nanoseconds. A record that is written to
  /// one that is would be answered with a reset, and the connection would end with that.
  private static let grace: UInt64 = 50_000_000

  /// The lane has failed, or the peer has left it. What has come before is kept. Whether it has to be looked at again soon.
  static func lost(_ c: ConnectionRef) -> Bool {
    guard let lane = c.pointee.verbs else { return false }
    lane.takeDown(c)
    // Until the marks have shown who is at the other end, somebody else may be to blame, and TCP goes on.
    if lane.pointee.isHostile.load(ordering: .acquiring), c.pointee.wireup.stage == .attached {
      Leaving.abort(c)
      return false
    }
    if c.pointee.wireup.stage == .attached, !Leaving.peerIsGone(c), !Leaving.kernelHasEnded(c) {
      if lane.pointee.lostAt == 0 { lane.pointee.lostAt = Kernel.now() }
      if Kernel.now() &- lane.pointee.lostAt < grace {
        lane.pointee.hasFailed.store(true, ordering: .releasing)
        return true
      }
    }
    Leaving.laneLost(c)
    return false
  }
}

/// An endpoint as the system calls have it.
enum VerbsAddress {
  static func with(_ end: Endpoint, _ body: (UnsafePointer<sockaddr>) -> Int32) -> Int32 {
    if end.family == 4 {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = end.port.bigEndian
      address.sin_addr.s_addr = end.v4.bigEndian
      return withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0) }
      }
    }
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(AF_INET6)
    address.sin6_port = end.port.bigEndian
    withUnsafeMutableBytes(of: &address.sin6_addr) {
      $0.storeBytes(of: end.high.bigEndian, as: UInt64.self)
      $0.storeBytes(of: end.low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
    return withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0) }
    }
  }
}
