/// How one end of a connection moves onto a lane and back: a pure machine, event in, effects out.
///
/// It keeps no bytes and does no I/O. The owner performs the effects in the order in which ``CutoverEffects`` lists
/// them, while it holds both directions of the connection. The machine decides, at every instant,
///
/// * where an application's next byte goes (``outbound``),
/// * what the next byte of the kernel path is (``inbound``),
/// * whether the lane may be consumed (``mayConsume``).
///
/// The order of steps is the one that leaves no doubt when the lane dies between any two of them:
///
///     leader                                  follower
///     offer(W)      -- lane: cut W -->        learn(W)      both have stopped writing to TCP
///     peerLearned   <-- lane: learned --
///                   == TCP: MARK ==>          markRead
///     peerCut(V)    <-- lane: cut V --
///                   == TCP: LEARNED ==>       record(.learned)
///     markRead      <== TCP: MARK ==                        both may consume now
///
/// Positions named `cut` count every byte that this end has written to the kernel path since the connection began,
/// marks and records included; both kernels and both ends count the same.
///
/// What the owner must see to, because the machine cannot (each rule is broken on purpose by the simulation):
///
/// * All events of one end are serialised. Records wait in a queue when the kernel buffer is full; whatever is to be
///   re-sent comes after them, and the application's newer bytes come after that.
/// * A new lane is wired up only when both ends are idle (``isIdle``), have nothing left in that queue or to re-send, and
///   have not ended their kernel stream. A FIN is written to TCP under the same conditions, never during an attach.
/// * An end stands ready to read every byte before the peer's mark, and the records after it, even if its application
///   reads nothing. It therefore keeps room for a bounded look-ahead, and moves only when the unread bytes before the
///   peer's cut fit: the follower waits with ``learn(peerCut:received:written:)``, and the leader that finds too many
///   calls ``laneDown(consumed:)`` instead of ``peerCut(_:received:)``. Otherwise one direction could hold up the other.
/// * Learning and giving up exclude each other. On a shared-memory lane the follower's "learned" and the leader's "given
///   up" are one compare-and-swap on one word: the follower calls ``learn(peerCut:received:written:)`` after it has won,
///   and a leader that has lost calls ``peerLearned()`` before ``laneDown(consumed:)``. Where no such word exists, the
///   leader offers only with an application's byte in hand, which then lies at its cut if it gives up, and the mark is
///   made to begin with another byte (``Nonce/mark(from:flipped:)``): one byte at the cut then decides.
public struct Cutover: Sendable {
  /// How far the cutover has come.
  public enum Phase: UInt8, Sendable {
    /// No lane, or no more. Both directions are TCP's.
    case kernel
    /// Leader: its cut is published, and nobody has said that it was learned.
    case offered
    /// Leader: its mark is written; the follower's cut is not known yet.
    case marked
    /// Leader: LEARNED is written; the follower's mark has not been read yet.
    case confirmed
    /// Follower: the leader's cut is known and acknowledged; its mark has not been read yet.
    case learned
    /// Follower: the leader's mark is read and the own cut published; the leader has not answered.
    case seen
    /// Both marks are written and this end has read the peer's: the lane carries the stream.
    case attached
    /// The own DETACH is written; the peer's is awaited.
    case detaching
    /// Follower: the lane died in `learned`, and the bytes at the leader's cut tell whether the leader had moved.
    case probing
    /// Follower: the lane died in `seen`, and only the leader's record tells whether the leader had confirmed.
    case undecided
  }

  /// Where an application's next byte goes.
  public enum Outbound: UInt8, Sendable {
    /// To TCP (after whatever is still to be re-sent out of the ring).
    case kernel
    /// Into the ring.
    case ring
  }

  /// What the next byte of the kernel path is.
  public enum Inbound: Equatable, Sendable {
    /// The application's, without limit.
    case application
    /// The application's before position `cut`; from there on the peer's mark.
    case until(cut: UInt64)
    /// A record.
    case records
  }

  /// A peer said what the protocol does not allow at this point. The connection is reset: a hostile peer breaks its own.
  public enum Violation: Error, Sendable {
    case unexpectedEvent
    case badMark
    case badPosition
  }

  /// Which end this is; fixed for the life of the machine.
  public let role: Role
  /// How far the cutover has come.
  public private(set) var phase: Phase = .kernel
  /// Where the application's next byte goes.
  public private(set) var outbound: Outbound = .kernel
  /// What the next byte of the kernel path is.
  public private(set) var inbound: Inbound = .application
  /// This end's cut of the attach under way: bytes on the kernel path before its mark.
  public private(set) var ownCut: UInt64 = 0
  /// Where the peer's last DETACH ended on the kernel path, and the lane position whose byte comes next there.
  private var resumed = (kernel: UInt64(0), lane: UInt64(0))

  /// A connection that has never had a lane.
  public init(role: Role) {
    self.role = role
  }

  /// Whether the application may be given bytes of the lane.
  public var mayConsume: Bool { phase == .attached }

  /// Whether a new attach may begin.
  public var isIdle: Bool { phase == .kernel && inbound == .application }

  // MARK: Attach, on the leader

  /// The leader begins: the application's sends are in the ring from now on. `written` is the leader's cut.
  public mutating func offer(written: UInt64) throws(Violation) -> CutoverEffects {
    guard role == .leader, isIdle else { throw .unexpectedEvent }
    phase = .offered
    outbound = .ring
    ownCut = written
    return CutoverEffects(.publishCut)
  }

  /// The follower has acknowledged the leader's cut on the lane.
  public mutating func peerLearned() throws(Violation) -> CutoverEffects {
    guard phase == .offered else { throw .unexpectedEvent }
    phase = .marked
    return CutoverEffects(.writeMark)
  }

  /// The follower has published its cut on the lane.
  public mutating func peerCut(_ cut: UInt64, received: UInt64) throws(Violation) -> CutoverEffects {
    guard phase == .marked else { throw .unexpectedEvent }
    // Fewer bytes than were already read here cannot be the follower's count.
    guard cut >= received else { throw .badPosition }
    phase = .confirmed
    inbound = .until(cut: cut)
    return CutoverEffects(.writeLearned)
  }

  // MARK: Attach, on the follower

  /// The follower learns the leader's cut. `written` is its own, fixed by the same step.
  public mutating func learn(peerCut: UInt64, received: UInt64, written: UInt64) throws(Violation) -> CutoverEffects {
    guard role == .follower, isIdle else { throw .unexpectedEvent }
    guard peerCut >= received else { throw .badPosition }
    phase = .learned
    outbound = .ring
    ownCut = written
    inbound = .until(cut: peerCut)
    return CutoverEffects(.acknowledge)
  }

  // MARK: The kernel path

  /// The sixteen bytes at the peer's cut have been read. `matches`: they are the peer's mark.
  public mutating func markRead(matches: Bool) throws(Violation) -> CutoverEffects {
    guard case .until = inbound else { throw .unexpectedEvent }
    if !matches { return try markMissing() }
    inbound = .records
    switch phase {
    case .learned:
      phase = .seen
      return CutoverEffects(.publishCut)
    case .confirmed:
      phase = .attached
      return CutoverEffects()
    case .probing, .detaching:
      return CutoverEffects()
    default:
      throw .unexpectedEvent
    }
  }

  /// The bytes at the leader's cut are the application's: the leader never heard that its cut was learned, and went on
  /// in TCP. Only a follower may find that.
  private mutating func markMissing() throws(Violation) -> CutoverEffects {
    guard role == .follower else { throw .badMark }
    switch phase {
    case .learned:
      inbound = .application
      return leave(resendingFrom: 0)
    case .probing:
      inbound = .application
      phase = .kernel
      return CutoverEffects(.finished)
    default:
      throw .badMark
    }
  }

  /// A record has been read; `received` counts the kernel path's bytes up to its end. `consumed` is the lane position up
  /// to which this end's application has consumed. Of the own ring, the bytes from `held` to before `sent` are still there.
  public mutating func record(
    _ record: Record, received: UInt64, consumed: UInt64, held: UInt64, sent: UInt64
  ) throws(Violation) -> CutoverEffects {
    guard inbound == .records else { throw .unexpectedEvent }
    switch record {
    case .learned: return try leaderConfirmed()
    case .detach(let position):
      // Below `held` the peer itself has said that it consumed the bytes, and others may be in their place.
      guard position >= held, position <= sent else { throw .badPosition }
      let effects = try peerDetached(at: position, consumed: consumed)
      resumed = (received, consumed)
      return effects
    }
  }

  private mutating func leaderConfirmed() throws(Violation) -> CutoverEffects {
    switch phase {
    case .seen:
      phase = .attached
      return CutoverEffects(.writeMark)
    case .undecided:
      phase = .detaching
      return CutoverEffects(.writeMark, .writeDetach(consumed: 0))
    default:
      throw .unexpectedEvent
    }
  }

  private mutating func peerDetached(at position: UInt64, consumed: UInt64) throws(Violation) -> CutoverEffects {
    switch phase {
    case .attached:
      inbound = .application
      var effects = CutoverEffects(.writeDetach(consumed: consumed))
      effects.formUnion(leave(resendingFrom: position))
      return effects
    case .detaching:
      inbound = .application
      return leave(resendingFrom: position)
    case .seen, .undecided:
      // The leader never learned this end's cut, so it consumed nothing, and this end writes no mark.
      guard position == 0 else { throw .badPosition }
      inbound = .application
      return leave(resendingFrom: 0)
    case .probing:
      guard position == 0 else { throw .badPosition }
      inbound = .application
      phase = .kernel
      return CutoverEffects(.finished)
    default:
      throw .unexpectedEvent
    }
  }

  // MARK: Leaving

  /// The lane is over: it failed, the peer is gone from it, or this end wants to leave. `consumed` is the lane position
  /// up to which this end's application has consumed; it must not consume any more. May be repeated.
  public mutating func laneDown(consumed: UInt64) -> CutoverEffects {
    switch phase {
    case .kernel, .detaching, .probing, .undecided:
      return CutoverEffects()
    case .offered:
      return leave(resendingFrom: 0)
    case .marked:
      // The follower cannot have written a mark without LEARNED, so its kernel stream is still the application's.
      var effects = CutoverEffects(.writeDetach(consumed: 0))
      effects.formUnion(leave(resendingFrom: 0))
      return effects
    case .confirmed, .attached:
      let position = phase == .attached ? consumed : 0
      phase = .detaching
      return CutoverEffects(.writeDetach(consumed: position))
    case .learned:
      // Whatever the leader has done, it has consumed nothing, and no mark of this end's is on the way.
      phase = .probing
      outbound = .kernel
      return CutoverEffects(.resend(from: 0))
    case .seen:
      phase = .undecided
      return CutoverEffects()
    }
  }

  /// Where this end's kernel stream goes on behind the peer's last DETACH: the count of bytes up to its end, and the lane
  /// position of the first byte that follows. Nil before the DETACH of the present lane is read.
  public var resumption: (kernel: UInt64, lane: UInt64)? {
    inbound == .application && resumed.kernel != 0 ? resumed : nil
  }

  /// As it is on a lane at rest, for another process of this end that takes the machine over.
  public mutating func rest() {
    phase = .attached
    outbound = .ring
    inbound = .records
    resumed = (0, 0)
  }

  /// Another process of this end has brought the connection back to TCP, where the peer's bytes go on like this.
  public mutating func follow(resumedAt kernel: UInt64, lane: UInt64) {
    phase = .kernel
    outbound = .kernel
    inbound = .application
    resumed = (kernel, lane)
  }

  /// The kernel path has ended (FIN, or a reset after which nothing more can be read) and the peer's process is gone or
  /// has closed: the lane position from which the peer's ring, if its memory outlives it, continues the stream; nil if
  /// the stream ends here.
  ///
  /// `received` and `consumed` are this end's counts. `peerCut` is the cut that the peer has left in the shared memory
  /// of this lane (a follower stores it there before it says "learned", though the leader acts on it only once it is
  /// published), nil if it never moved. `resent` is the position up to which the peer has re-sent its ring; it stores
  /// that before it lets newer bytes take the place. All three are hostile input: the caller still checks the result
  /// against the ring's tail and size.
  public func remainder(received: UInt64, consumed: UInt64, peerCut: UInt64?, resent: UInt64) -> UInt64? {
    guard let peerCut else { return nil }
    let position: UInt64
    switch inbound {
    case .records:
      position = consumed
    case .until(let cut):
      guard received >= cut else { return nil }
      position = 0
    case .application where resumed.kernel > peerCut:
      position = resumed.lane &+ (received &- resumed.kernel)
    case .application:
      guard received >= peerCut else { return nil }
      position = received &- peerCut
    }
    // A reset may have taken bytes that were re-sent: then there is a hole, and the stream ends before it.
    return position >= resent ? position : nil
  }

  /// Whether a reset of the kernel path is but the answer to a mark or a record of this end's, which lay unread there when
  /// the peer closed or died. Without a lane the kernel would have sent a FIN in its place, if the peer's application has
  /// left nothing unread: what it has in the ring, the caller knows.
  ///
  /// `recordsEnd` is where this end's last mark or record ended on its kernel stream (0 for none), `written` how many bytes
  /// it has written there, and `taken` the end of the last one that the peer said it has taken.
  public static func isOwnReset(recordsEnd: UInt64, taken: UInt64, written: UInt64) -> Bool {
    // Behind a record that was not read, the application's bytes were not either.
    taken < recordsEnd && written == recordsEnd
  }

  /// Back in TCP, with the ring's bytes from `position` on going first.
  private mutating func leave(resendingFrom position: UInt64) -> CutoverEffects {
    phase = .kernel
    outbound = .kernel
    return CutoverEffects(.resend(from: position), .finished)
  }
}
