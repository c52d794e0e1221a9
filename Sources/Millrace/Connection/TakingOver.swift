import CLinux
import Synchronization

/// A process that has claimed to leave a lane for its family, and is gone in the middle of it, or has closed the connection:
/// another one goes on.
///
/// The claimant's kernel stream says by itself how far it came: from where it stood at the claim on it is one DETACH, and then
/// the ring's bytes from where the peer's record says. That record is noted in the family's memory before it is taken out
/// of the kernel. So whoever takes over asks the kernel for its counts, and continues at that byte.
enum TakingOver {
  /// Some lane of this process waits for a sibling that leaves.
  private static let isAwaiting = Atomic<Bool>(false)
  /// Since when, by the service thread.
  nonisolated(unsafe) private static var since: UInt64 = 0
  /// How long a sibling is looked after closely, in nanoseconds: it may be stopped.
  private static let closely: UInt64 = 500_000_000
  private static let tick = 1
  private static let slowTick = 100

  static func forked() { isAwaiting.store(false, ordering: .relaxed) }

  /// The claim is about to be made: what another one would need to know. Both locks of the family are held, or everything is.
  static func prepare(_ c: ConnectionRef, isAtRest: Bool) {
    let family = c.pointee.family!
    let isWhole = isAtRest && c.pointee.records.count == 0 && c.pointee.outgoing.count == 0
    let sent = c.pointee.kernelSent.load(ordering: .relaxed)
    family.pointee.claimSent.store(isWhole ? sent &+ 1 : 0, ordering: .relaxed)
    family.pointee.claimReceived.store(c.pointee.kernelReceived.load(ordering: .relaxed), ordering: .relaxed)
    family.pointee.hasRecord.store(false, ordering: .relaxed)
  }

  /// The kernel holds the peer's record, which is about to be taken out.
  static func note(_ c: ConnectionRef, _ record: Nonce) {
    guard let family = c.pointee.family else { return }
    family.pointee.recordHigh.store(record.high, ordering: .relaxed)
    family.pointee.recordLow.store(record.low, ordering: .relaxed)
    // Partner: resume.
    family.pointee.hasRecord.store(true, ordering: .releasing)
  }

  // MARK: The one that lets go

  /// How long somebody who lets go in the middle of an attach waits for its end, in nanoseconds: nobody else could go on there.
  private static let patience: UInt64 = 5_000_000_000

  /// This process will not move the stream any more, and others may need it.
  static func abandon(_ c: ConnectionRef) {
    guard SharedLane.hasClaimed(c), c.isShared, let family = c.pointee.family else { return }
    if family.pointee.claimSent.load(ordering: .relaxed) == 0 { Closing.settle(c, until: Kernel.now() &+ patience) }
    c.lockBoth()
    if SharedLane.hasClaimed(c) {
      let isThrough = Resend.isThrough(c)
      c.pointee.wireup.stage = .ended
      if isThrough {
        SharedLane.finishDetach(c, isInheritable: true)
      } else {
        // Releases what the lane holds, to takeOver.
        family.pointee.owner.store(0, ordering: .releasing)
        SharedLane.wakeSiblings(c)
      }
    }
    c.unlockBoth()
  }

  // MARK: The others

  /// A sibling leaves: the service thread looks after it.
  @inline(never)
  static func watch(_ c: ConnectionRef) {
    if c.pointee.awaitsSibling.load(ordering: .relaxed) { return }
    c.pointee.awaitsSibling.store(true, ordering: .relaxed)
    // Partner: look.
    isAwaiting.store(true, ordering: .releasing)
    Service.prod()
  }

  /// Looks after the lanes that siblings leave. How long the service thread may sleep, in milliseconds; -1 if there are none.
  static func look() -> Int {
    // Whoever comes to wait behind this sets it again.
    guard isAwaiting.exchange(false, ordering: .acquiringAndReleasing) else {
      since = 0
      return -1
    }
    var waits = false
    Pool.forEach { c in
      guard c.pointee.awaitsSibling.load(ordering: .relaxed) else { return }
      if c.pin(Pins.sleeper) & (Pins.finished | Pins.closing) == 0 {
        c.pointee.awaitsSibling.store(isAwaited(c), ordering: .relaxed)
        if c.pointee.awaitsSibling.load(ordering: .relaxed) { waits = true }
      }
      c.unpin(Pins.sleeper)
    }
    guard waits else { return tick }
    isAwaiting.store(true, ordering: .releasing)
    let now = Kernel.now()
    if since == 0 { since = now }
    return now &- since < closely ? tick : slowTick
  }

  /// Follows, takes over, or learns that the lane stays. Whether there is still something to wait for.
  private static func isAwaited(_ c: ConnectionRef) -> Bool {
    guard c.pointee.isFamily, c.pointee.wireup.stage == .attached, let family = c.pointee.family else { return false }
    // Acquires the claim.
    if family.pointee.down.load(ordering: .acquiring) == SharedLane.leaving {
      let owner = family.pointee.owner.load(ordering: .acquiring)
      if owner == 0 || Kin.isDead(owner) { takeOver(c, from: owner) }
      return c.pointee.wireup.stage == .attached
    }
    if SharedLane.follow(c) { return false }
    // The claim was withdrawn, because the peer is gone.
    SharedLane.attend(c)
    Waiters.wake(c)
    return false
  }

  private static func takeOver(_ c: ConnectionRef, from owner: UInt32) {
    let family = c.pointee.family!
    c.lockBoth()
    if c.pointee.wireup.stage == .attached, family.pointee.down.load(ordering: .acquiring) == SharedLane.leaving,
      family.pointee.owner.compareExchange(expected: owner, desired: Kin.me, ordering: .acquiringAndReleasing).exchanged
    {
      Stats.count(.takeovers)
      let claimed = family.pointee.claimSent.load(ordering: .relaxed)
      // In the middle of an attach nobody but the one that is gone knew what the two ends had agreed.
      if claimed == 0 || !resume(c, sentAt: claimed &- 1) { Leaving.breakOff(c) }
    }
    c.unlockBoth()
    Mover.advance(c)
    Waiters.wake(c)
  }

  /// Goes on where the kernel's counts say. False if they cannot be. Both locks are held.
  private static func resume(_ c: ConnectionRef, sentAt: UInt64) -> Bool {
    guard let counts = Audit.counts(c) else { return false }
    let family = c.pointee.family!
    let receivedAt = family.pointee.claimReceived.load(ordering: .relaxed)
    guard counts.written >= sentAt, counts.read >= receivedAt else { return false }
    SharedLane.refresh(c)
    c.pointee.reason = .sharedByFork
    c.pointee.records = RecordBuffer()
    c.pointee.outgoing = OutgoingRecords()
    c.pointee.isResending = false
    c.pointee.kernelSent.store(counts.written, ordering: .relaxed)
    c.pointee.kernelReceived.store(counts.read, ordering: .relaxed)
    c.pointee.cutover.rest()
    let length = UInt64(Record.byteCount)
    let gone = counts.written &- sentAt
    c.pointee.resendSkip = gone > length ? gone &- length : 0
    c.pointee.recordsEnd.store(sentAt &+ length, ordering: .releasing)
    Mover.perform(
      c.pointee.cutover.laneDown(consumed: c.pointee.consumer!.head), c, alreadySent: Int(min(gone, length)))
    // Acquires what note released.
    guard family.pointee.hasRecord.load(ordering: .acquiring) else { return counts.read == receivedAt }
    return takeRecord(c, endsAt: receivedAt &+ length)
  }

  /// The peer's record, of which the one that is gone may have left a part in the kernel.
  private static func takeRecord(_ c: ConnectionRef, endsAt end: UInt64) -> Bool {
    let family = c.pointee.family!
    var left = end &- min(end, c.pointee.kernelReceived.load(ordering: .relaxed))
    withUnsafeTemporaryAllocation(byteCount: Record.byteCount, alignment: 8) { space in
      while left > 0 {
        let r = Kernel.receive(c.pointee.fd, space.baseAddress!, Int(left))
        guard r > 0 else { break }
        left &-= UInt64(r)
        c.pointee.kernelReceived.wrappingAdd(UInt64(r), ordering: .relaxed)
      }
    }
    let words = Nonce(
      family.pointee.recordHigh.load(ordering: .relaxed), family.pointee.recordLow.load(ordering: .relaxed))
    guard left == 0, let record = Record(decoding: words, for: c.pointee.nonce) else { return false }
    return Mover.take(record, c, endsAt: end)
  }
}
