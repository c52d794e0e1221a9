import CLinux
import MillraceShim
import Synchronization

/// The data path of a verbs lane: what is in the own ring becomes work requests, and completions become what the peer's half of
/// the control page says.
extension UnsafeMutablePointer where Pointee == VerbsLane {
  /// See ``Fabric/look(_:)``. Whoever finds the lock taken leaves it to the holder, who looks.
  @inline(__always)
  func look(_ c: ConnectionRef) {
    guard pointee.lock.tryLock() else { return }
    takeIn(c)
    pointee.lock.unlock()
  }

  /// See ``Fabric/tell(_:)``.
  func tell(_ c: ConnectionRef) {
    pointee.lock.lock()
    if pointee.inFlight > 0 || credit <= VerbsFlow.reserve { takeIn(c) }
    push(c, isLast: false)
    if pointee.owes.load(ordering: .relaxed) { Stats.count(.gathered) }
    pointee.lock.unlock()
  }

  /// See ``Fabric/freed(_:)``. The receive lock is held.
  @inline(__always)
  func freed(_ c: ConnectionRef) {
    guard let consumer = c.pointee.consumer else { return }
    let untold = consumer.head &- pointee.toldHead.load(ordering: .relaxed)
    if untold < UInt64(consumer.capacity / 4) { return }
    tell(c)
  }

  /// Posts everything that is left, whatever else is in flight, and waits until all has arrived at the peer. False if the lane
  /// has failed, or by `deadline`. Any thread; in a process that ends another one may hold the lock for good.
  @discardableResult
  func settle(_ c: ConnectionRef, until deadline: UInt64) -> Bool {
    while Kernel.now() < deadline {
      guard pointee.lock.tryLock() else {
        cl_pause()
        continue
      }
      takeIn(c)
      // Only what is signalled tells of its arrival.
      push(c, isLast: true)
      if pointee.sinceSignalled > 0, pointee.isUp, let end = pointee.end {
        _ = write(end, c, offset: 0, bytes: 0, isLast: true, mustSignal: true)
      }
      let isOver = !pointee.isUp || !hasLeftOver(c) && pointee.inFlight == 0
      let isUp = pointee.isUp
      pointee.lock.unlock()
      if isOver { return isUp }
    }
    return false
  }

  /// Looks of the service thread, seconds apart, after which a work request that is not done never will be: a link that was
  /// down may leave a queue pair that neither goes on nor fails (Soft-RoCE).
  private static let mostIdleLooks = 3

  /// The service thread looks now and then whether what was posted arrives. What was not signalled tells nothing, so something
  /// that tells is posted behind it.
  func watch(_ c: ConnectionRef) {
    pointee.lock.lock()
    defer { pointee.lock.unlock() }
    takeIn(c)
    guard pointee.isUp, let end = pointee.end else { return }
    if pointee.inFlight == 0 || pointee.done != pointee.doneBefore {
      pointee.idleLooks = 0
      pointee.doneBefore = pointee.done
    } else {
      pointee.idleLooks += 1
      if pointee.idleLooks >= Self.mostIdleLooks { _ = fail() }
    }
    if pointee.inFlight == 0, pointee.sinceSignalled > 0 {
      _ = write(end, c, offset: 0, bytes: 0, isLast: true, mustSignal: true)
    }
  }

  /// The service thread looks after the lane. When it has to do so again; nil if it need not.
  func attend(_ c: ConnectionRef, now: UInt64) -> UInt64? {
    if pointee.hasFailed.load(ordering: .acquiring) { return VerbsWireup.lost(c) ? now : nil }
    guard pointee.owes.load(ordering: .acquiring) else {
      pointee.stuckSince = 0
      return nil
    }
    pointee.lock.lock()
    defer { pointee.lock.unlock() }
    // A peer that is stopped does not make this one busy.
    if pointee.stuckSince != 0, pointee.stuckAt == pointee.sent, now < pointee.nextLook { return pointee.nextLook }
    let before = pointee.sent
    takeIn(c)
    push(c, isLast: false)
    if !pointee.isUp { pointee.owes.store(false, ordering: .relaxed) }
    guard pointee.owes.load(ordering: .relaxed) else { return nil }
    if pointee.stuckSince == 0 || pointee.stuckAt != before || before != pointee.sent { pointee.stuckSince = now }
    pointee.stuckAt = pointee.sent
    pointee.nextLook = now &+ VerbsFlow.pause(stuckFor: now &- pointee.stuckSince)
    return pointee.nextLook
  }

  // MARK: Posting. The lane's lock is held.

  private func own(_ c: ConnectionRef) -> SideControl { c.pointee.segment!.side(c.pointee.laneRole) }
  private func peer(_ c: ConnectionRef) -> SideControl { c.pointee.segment!.side(c.pointee.laneRole.peer) }

  private func hasLeftOver(_ c: ConnectionRef) -> Bool {
    pointee.posted != own(c).tail.pointee.load(ordering: .acquiring) || !isAllTold(c)
  }

  /// Posts what is to be posted now. What has to wait is posted when a completion is taken, or by the service thread.
  private func push(_ c: ConnectionRef, isLast: Bool) {
    guard pointee.isUp, let end = pointee.end, let segment = c.pointee.segment else { return }
    // Acquires the bytes before it. Partner: RingProducer.publish.
    let tail = own(c).tail.pointee.load(ordering: .acquiring)
    let mask = segment.ringBytes &- 1
    while pointee.posted != tail {
      let offset = Int(truncatingIfNeeded: pointee.posted) & mask
      let bytes = VerbsFlow.nextWrite(
        unposted: Int(truncatingIfNeeded: tail &- pointee.posted), inFlight: pointee.inFlight, credit: credit,
        toEnd: segment.ringBytes &- offset, isLast: isLast)
      guard bytes > 0, write(end, c, offset: offset, bytes: bytes, isLast: isLast) else { break }
    }
    let isNoticed = isAllTold(c) || notify(end, c)
    if pointee.posted != tail || !isNoticed { owe() } else { pointee.owes.store(false, ordering: .relaxed) }
    if pointee.posted != tail { return }
    let untoldBytes = own(c).head.pointee.load(ordering: .relaxed) &- pointee.toldHead.load(ordering: .relaxed)
    if VerbsFlow.owesCredit(
      untoldBytes: untoldBytes, capacity: segment.ringBytes, untoldRequests: pointee.reposted &- pointee.toldReposted)
    {
      _ = write(end, c, offset: 0, bytes: 0, isLast: true)
      Stats.count(.creditUpdates)
    }
  }

  /// Messages that the peer has room for.
  private var credit: UInt64 {
    VerbsImmediate.depth &- min(VerbsImmediate.depth, pointee.sent &- pointee.peerReposted)
  }

  private func owe() {
    // Whoever finds it set has the service thread's promise to look again.
    if !pointee.owes.exchange(true, ordering: .acquiringAndReleasing) { Verbs.summon() }
  }

  /// What the peer is given back with the next message.
  private func immediate(_ c: ConnectionRef) -> VerbsImmediate {
    let head = own(c).head.pointee.load(ordering: .relaxed)
    pointee.toldHead.store(head, ordering: .relaxed)
    pointee.toldReposted = pointee.reposted
    return VerbsImmediate(head: head, reposted: pointee.reposted)
  }

  /// One work request; false if the queue pair takes none. Without bytes it gives credit only, and wakes nobody but a writer.
  private func write(
    _ end: OpaquePointer, _ c: ConnectionRef, offset: Int, bytes: Int, isLast: Bool, mustSignal: Bool = false
  ) -> Bool {
    guard credit > 0 else { return false }
    hearOfFailure(end)
    let unacknowledged = Int(truncatingIfNeeded: pointee.posted &- pointee.peerHead)
    let isSignalled =
      mustSignal || isLast && bytes > 0
      || VerbsFlow.isSignalled(unacknowledged: unacknowledged, sinceSignalled: pointee.sinceSignalled)
    let flags = (isSignalled ? MRV_SIGNALLED : 0) | (bytes > 0 ? MRV_SOLICITED : 0)
    let r = Verbs.table.pointee.write(
      end, offset, bytes, pointee.remoteAddress, pointee.remoteKey, immediate(c).word, flags)
    guard r == 0 else { return fail() }
    pointee.posted &+= UInt64(truncatingIfNeeded: bytes)
    note(isSignalled)
    return true
  }

  /// Whoever sleeps until bytes come is to hear if what is posted now fails; see ``arm(_:forRoom:)``. Before it is posted.
  private func hearOfFailure(_ end: OpaquePointer) {
    guard pointee.armed == .bytes else { return }
    pointee.armed = .everything
    _ = Verbs.table.pointee.arm(end, 0)
  }

  private func note(_ isSignalled: Bool) {
    pointee.sent &+= 1
    pointee.inFlight &+= isSignalled ? 1 : 0
    pointee.sinceSignalled = isSignalled ? 0 : pointee.sinceSignalled &+ 1
    Stats.count(.workRequests)
  }

  /// What is to be said besides bytes. The end of the ring comes behind its last byte.
  private func dueNotice(_ c: ConnectionRef) -> VerbsNotice {
    let own = own(c)
    var notice = VerbsNotice()
    let finish = own.finish.pointee.load(ordering: .acquiring)
    let isPosted = pointee.posted == own.tail.pointee.load(ordering: .acquiring)
    notice.finish = isPosted ? finish : pointee.told.finish
    notice.cut = own.cut.pointee.load(ordering: .acquiring)
    notice.recordsTaken = own.recordsTaken.pointee.load(ordering: .acquiring)
    notice.fixedCut = own.fixedCut.pointee.load(ordering: .acquiring)
    let stage = c.pointee.segment!.header.stage.pointee.load(ordering: .acquiring)
    notice.hasLearned = c.pointee.laneRole == .follower && stage == LaneStage.learned
    notice.isFlipped = c.pointee.laneRole == .leader && c.pointee.isFlipped
    notice.proof = pointee.ownProof
    return notice
  }

  /// Whether ``dueNotice(_:)`` is what the peer was told last: asked for every message, and answered without making it.
  @inline(__always)
  private func isAllTold(_ c: ConnectionRef) -> Bool {
    let own = own(c)
    let finish = own.finish.pointee.load(ordering: .acquiring)
    if finish != pointee.told.finish, pointee.posted == own.tail.pointee.load(ordering: .acquiring) { return false }
    guard own.cut.pointee.load(ordering: .acquiring) == pointee.told.cut,
      own.fixedCut.pointee.load(ordering: .acquiring) == pointee.told.fixedCut,
      own.recordsTaken.pointee.load(ordering: .acquiring) == pointee.told.recordsTaken,
      pointee.ownProof == pointee.told.proof
    else { return false }
    if c.pointee.laneRole == .leader { return c.pointee.isFlipped == pointee.told.isFlipped }
    let stage = c.pointee.segment!.header.stage.pointee.load(ordering: .acquiring)
    return (stage == LaneStage.learned) == pointee.told.hasLearned
  }

  private func notify(_ end: OpaquePointer, _ c: ConnectionRef) -> Bool {
    guard credit > 0 else { return false }
    hearOfFailure(end)
    var notice = dueNotice(c)
    let said = notice
    notice.immediate = immediate(c)
    let r = withUnsafeTemporaryAllocation(byteCount: VerbsNotice.byteCount, alignment: 8) { space -> Int32 in
      notice.encode(into: space.baseAddress!)
      return Verbs.table.pointee.send(end, space.baseAddress!, space.count, MRV_SIGNALLED | MRV_SOLICITED)
    }
    guard r == 0 else { return fail() }
    pointee.told = said
    note(true)
    return true
  }

  /// The lane is over; the service thread leaves it.
  private func fail() -> Bool {
    pointee.isUp = false
    pointee.hasFailed.store(true, ordering: .releasing)
    Verbs.summon()
    return false
  }

  // MARK: Completions. The lane's lock is held.

  /// Takes all completions there are, posts their receive requests anew, and goes on posting what waited for them.
  func takeIn(_ c: ConnectionRef) {
    guard let end = pointee.end else { return }
    withUnsafeTemporaryAllocation(of: mrv_completion.self, capacity: 16) { done in
      withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 16) { slots in
        var total = 0
        while true {
          let count = Int(Verbs.table.pointee.poll(end, done.baseAddress!, 16))
          if count <= 0 { break }
          total &+= count
          take(done, count, slots, end, c)
          if count < 16 { break }
        }
        guard total > 0 else { return }
        Stats.count(.completions, by: UInt64(total))
        push(c, isLast: false)
      }
    }
  }

  private func take(
    _ done: UnsafeMutableBufferPointer<mrv_completion>, _ count: Int, _ slots: UnsafeMutableBufferPointer<UInt32>,
    _ end: OpaquePointer, _ c: ConnectionRef
  ) {
    var used = 0
    var index = 0
    while index < count {
      let completion = done[index]
      index &+= 1
      switch mrv_completion_kind(completion.kind) {
      case MRV_SENT:
        pointee.inFlight &-= 1
        pointee.done &+= 1
        continue
      case MRV_WRITTEN: takeBytes(completion, c)
      case MRV_MESSAGE: takeNotice(completion, c)
      default:
        _ = fail()
        continue
      }
      slots[used] = completion.slot
      used &+= 1
    }
    guard used > 0 else { return }
    if Verbs.table.pointee.repost(end, slots.baseAddress!, Int32(used)) != 0, pointee.isUp { _ = fail() }
    pointee.reposted &+= UInt64(used)
  }

  private func takeBytes(_ completion: mrv_completion, _ c: ConnectionRef) {
    let received = pointee.received &+ UInt64(completion.bytes)
    // The peer may write what it has been given room for, and no more.
    guard received &- pointee.toldHead.load(ordering: .relaxed) <= UInt64(c.pointee.segment!.ringBytes) else {
      return breakOff(c)
    }
    pointee.received = received
    takeImmediate(VerbsImmediate(word: completion.word), c)
    // Releases the bytes that the device has written. Partner: RingConsumer.refresh.
    peer(c).tail.pointee.store(received, ordering: .sequentiallyConsistent)
  }

  private func takeImmediate(_ immediate: VerbsImmediate, _ c: ConnectionRef) {
    guard let head = immediate.head(after: pointee.peerHead, tail: pointee.posted),
      let reposted = immediate.reposted(after: pointee.peerReposted, sent: pointee.sent)
    else { return breakOff(c) }
    pointee.peerReposted = reposted
    guard head != pointee.peerHead else { return }
    pointee.peerHead = head
    // Partner: RingProducer.refresh.
    peer(c).head.pointee.store(head, ordering: .sequentiallyConsistent)
  }

  private func takeNotice(_ completion: mrv_completion, _ c: ConnectionRef) {
    let at = inbox + Int(completion.slot) * VerbsNotice.byteCount
    guard let notice = VerbsNotice(decoding: at, count: Int(completion.bytes)) else { return breakOff(c) }
    takeImmediate(notice.immediate, c)
    if !pointee.isTrusted.load(ordering: .relaxed) {
      guard VerbsKey.isSame(notice.proof, pointee.expectedProof) else { return breakOff(c) }
      pointee.isTrusted.store(true, ordering: .releasing)
    }
    let peer = peer(c)
    let header = c.pointee.segment!.header
    peer.recordsTaken.pointee.store(notice.recordsTaken, ordering: .releasing)
    peer.fixedCut.pointee.store(notice.fixedCut, ordering: .releasing)
    peer.cut.pointee.store(notice.cut, ordering: .releasing)
    if c.pointee.laneRole == .follower {
      c.pointee.isFlipped = notice.isFlipped
      if notice.cut != 0 {
        // Releases the cut. Partner: Mover.tryLearn.
        _ = header.stage.pointee.compareExchange(
          expected: LaneStage.fresh, desired: LaneStage.offered, ordering: .acquiringAndReleasing)
      }
    } else if notice.hasLearned {
      // The answer may be here before the offer is noted: whoever makes it looks for this.
      pointee.peerLearned.store(true, ordering: .releasing)
    }
    if notice.finish != 0 { peer.finish.pointee.bitwiseOr(notice.finish, ordering: .sequentiallyConsistent) }
  }

  /// The peer does not keep to the protocol.
  private func breakOff(_ c: ConnectionRef) {
    Stats.count(.hostileMessages)
    // Releases to the service thread, which decides what becomes of the connection. Partner: VerbsWireup.lost.
    pointee.isHostile.store(true, ordering: .releasing)
    _ = fail()
  }
}
