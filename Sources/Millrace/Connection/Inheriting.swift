import CLinux
import MillraceShim
import Synchronization

/// What a peer that died on its way back to TCP had not re-sent any more. Its ring outlives it, and this end knows how far the
/// kernel stream came: the rest is read out of the ring, and only then has the kernel the last word.
enum Inheriting {
  /// A read has met the end of the kernel stream, or a reset. Gives the call bytes that are still in the ring, or the
  /// reset that was kept back until they were read, in place of the kernel's answer.
  static func answer(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) {
    let isReset = call.pointee.result < 0 && call.pointee.error == ECONNRESET
    guard isReset || call.pointee.result == 0, let wanted = Vectors.length(call), wanted > call.pointee.moved else {
      return
    }
    c.pointee.receiveLock.lock()
    defer { c.pointee.receiveLock.unlock() }
    // Relatives read on where the ring's head says.
    let family = c.pointee.isFamily ? c.pointee.family : nil
    family?.pointee.receiveLock.lock()
    defer { family?.pointee.receiveLock.unlock() }
    guard c.pointee.receivePath.load(ordering: .relaxed) == .kernel, findRest(c, isReset: isReset) else {
      if !isReset { return tellReset(call, c) }
      if family != nil, answersRecord(c) {
        call.pointee.result = 0
        call.pointee.error = 0
      }
      return
    }
    // A reset is told once, after the last byte.
    if isReset { c.pointee.pendingError.store(ECONNRESET, ordering: .relaxed) }
    take(call, c, min(wanted &- call.pointee.moved, c.pointee.consumer!.ready))
  }

  /// Whether the ring continues the stream behind what came over TCP. The receive lock is held.
  private static func findRest(_ c: ConnectionRef, isReset: Bool) -> Bool {
    guard c.pointee.cutover.isIdle, c.pointee.consumer != nil else { return false }
    guard c.pointee.isFamily ? countForFamily(c, isReset: isReset) : Audit.hasReadAll(c, isReset: isReset) else {
      return false
    }
    return skipToRest(c, isReset: isReset) && c.pointee.consumer!.ready > 0
  }

  // MARK: Families that are back on TCP

  /// What relatives need to know who follow to TCP. Before they are told to.
  static func publish(_ c: ConnectionRef) {
    guard let family = c.pointee.family else { return }
    family.pointee.recordsEnd.store(c.pointee.recordsEnd.load(ordering: .relaxed), ordering: .relaxed)
    let resumption = c.pointee.cutover.resumption
    family.pointee.resumedKernel.store(resumption?.kernel ?? 0, ordering: .relaxed)
    family.pointee.resumedLane.store(resumption?.lane ?? 0, ordering: .relaxed)
    // Partner: isInheritable in adopt and countForFamily.
    family.pointee.isInheritable.store(true, ordering: .releasing)
  }

  /// Follows. Both locks are held.
  static func adopt(_ c: ConnectionRef) {
    guard let family = c.pointee.family, family.pointee.isInheritable.load(ordering: .acquiring) else { return }
    c.pointee.cutover.follow(
      resumedAt: family.pointee.resumedKernel.load(ordering: .relaxed),
      lane: family.pointee.resumedLane.load(ordering: .relaxed))
    c.pointee.recordsEnd.store(family.pointee.recordsEnd.load(ordering: .relaxed), ordering: .relaxed)
  }

  /// Of what several processes have read, only the kernel has the count. The family's lock is held.
  private static func countForFamily(_ c: ConnectionRef, isReset: Bool) -> Bool {
    guard let family = c.pointee.family, family.pointee.isInheritable.load(ordering: .acquiring) else { return false }
    // The kernel tells of a reset once.
    if isReset { family.pointee.wasReset.store(true, ordering: .relaxed) }
    guard let received = Audit.received(c, wasReset: family.pointee.wasReset.load(ordering: .relaxed)),
      c.pointee.consumer!.reload()
    else { return false }
    c.pointee.kernelReceived.store(received, ordering: .relaxed)
    return true
  }

  /// Whether the reset answers a record that the peer had not taken when it went, and nothing of the application's; see
  /// ``StandIn``, which serves who is not back on TCP.
  private static func answersRecord(_ c: ConnectionRef) -> Bool {
    guard let segment = c.pointee.segment, let family = c.pointee.family,
      family.pointee.isInheritable.load(ordering: .acquiring), let acknowledged = Audit.acknowledged(c)
    else { return false }
    let end = family.pointee.recordsEnd.load(ordering: .relaxed)
    let peer = segment.side(c.pointee.laneRole.peer)
    return acknowledged <= end && peer.recordsTaken.pointee.load(ordering: .acquiring) < end
      && peer.finish.pointee.load(ordering: .acquiring) & FinishFlags.reset == 0
  }

  // MARK: Where the ring goes on

  /// Moves the consumer to where the ring of a peer that is gone continues the kernel stream. False if it does not. The
  /// receive lock is held.
  ///
  /// `total`: so many bytes have come over TCP, if not all of them are read.
  static func skipToRest(_ c: ConnectionRef, isReset: Bool = false, received total: UInt64? = nil) -> Bool {
    guard let segment = c.pointee.segment else { return false }
    let received = total ?? c.pointee.kernelReceived.load(ordering: .relaxed)
    // Partner: Mover.fixCut.
    let fixed = segment.side(c.pointee.laneRole.peer).fixedCut.pointee.load(ordering: .acquiring)
    // One that had calls in the kernel to its end has re-sent nothing: what it put in its ring meanwhile follows all that came
    // over TCP, if that was all.
    let cut = fixed != 0 ? fixed &- 1 : isReset ? nil : received
    let rest = c.pointee.cutover.remainder(
      received: received, consumed: c.pointee.consumer!.head, peerCut: cut, resent: 0)
    // The head is ahead of what TCP brought once some of the rest is read.
    guard let rest else { return false }
    return c.pointee.consumer!.refresh() && c.pointee.consumer!.skip(to: rest)
  }

  private static func take(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, _ count: Int) {
    if call.pointee.flags & Int32(MSG_TRUNC) == 0 {
      Vectors.scatter(call, from: c.pointee.consumer!.bytes.baseAddress!, at: call.pointee.moved, count: count)
    }
    if call.pointee.flags & Int32(MSG_PEEK) == 0 {
      _ = c.pointee.consumer!.free(count)
      Stats.received(c)
    }
    call.pointee.result = count
    call.pointee.error = 0
  }

  private static func tellReset(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) {
    let error = c.pointee.pendingError.exchange(0, ordering: .relaxed)
    guard error != 0 else { return }
    call.pointee.result = -1
    call.pointee.error = error
  }
}
