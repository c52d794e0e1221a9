import MillraceCore
import Synchronization

/// A whole session of one honest end with a peer that lies: kernel bytes with marks and records that are almost right, cut
/// in any way, and forged words in shared memory, at every step of attach, transfer and detach.
enum SessionFuzz {
  static func run(role: Role, _ random: inout Random) -> String? {
    LaneMemory.shared.clear()
    var victim = Victim(role: role)
    var peer = Liar(role: role.peer)
    if random.once(in: 8) { victim.takeOver() }
    for _ in 0..<(8 + random.below(40)) {
      switch random.below(10) {
      case 0, 1, 2: for byte in peer.says(&random, of: victim) { victim.take(byte) }
      case 3 where random.once(in: 2): LaneMemory.shared.forge(&random, near: peer.guess(&random, of: victim))
      case 3, 4, 5: peer.keepsTo(&random, victim)
      case 6: victim.send(random.below(200))
      case 7: victim.receive(random.below(200))
      case 8: if random.once(in: 6) { victim.leave() }
      default: break
      }
      victim.advance()
      if let problem = victim.problem { return problem }
      if victim.isBroken { break }
    }
    if random.once(in: 8) {
      victim.follow(resumedAt: victim.received &- random.next() % 3, lane: peer.guess(&random, of: victim))
    }
    victim.endOfStream()
    Tally.count(victim.isBroken ? "broken off" : "\(victim.cutover.phase)")
    if victim.attached > 0 { Tally.count("was attached") }
    if victim.left > 0 { Tally.count("has left") }
    return victim.problem
  }
}

/// The peer: it knows the protocol, and keeps to it as far as that gets it inside.
struct Liar {
  let role: Role
  private var pending: [UInt8] = []

  init(role: Role) { self.role = role }

  /// A position that means something to the victim.
  func guess(_ random: inout Random, of victim: Victim) -> UInt64 {
    switch random.below(4) {
    case 0: victim.producer.tail
    case 1: victim.consumer.head
    case 2: victim.received &+ 1
    default: victim.producer.held
    }
  }

  /// The next bytes on the kernel path.
  mutating func says(_ random: inout Random, of victim: Victim) -> [UInt8] {
    if pending.isEmpty || random.once(in: 10) { pending += next(&random, victim) }
    let count = random.once(in: 3) ? 1 + random.below(3) : pending.count
    let part = Array(pending.prefix(count))
    pending.removeFirst(part.count)
    return part
  }

  private func next(_ random: inout Random, _ victim: Victim) -> [UInt8] {
    if !random.once(in: 4), let due = due(random.word(near: victim.producer.tail, spread: 3), victim) { return due }
    var words: Nonce
    switch random.below(7) {
    case 0: return (0..<random.below(40)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
    case 1, 2: words = Victim.nonce.mark(from: role)
    case 3: words = Record.learned.encoded(for: Victim.nonce)
    case 4, 5:
      let honest = random.once(in: 2)
      let consumed =
        honest ? victim.producer.held &+ random.next() % 3 : random.word(near: victim.producer.tail, spread: 5000)
      words = Record.detach(consumed: consumed).encoded(for: Victim.nonce)
    default: words = Nonce(random.next(), random.next())
    }
    if random.once(in: 12) { words.high ^= 1 &<< UInt64(random.below(64)) }
    var bytes = (0..<Record.byteCount).map { words[$0] }
    if random.once(in: 16) { bytes.remove(at: random.below(16)) }
    return bytes
  }

  /// What an honest peer might say now.
  private func due(_ consumed: UInt64, _ victim: Victim) -> [UInt8]? {
    switch (victim.cutover.inbound, victim.cutover.phase) {
    case (.application, _): return nil
    case (.until(let cut), _):
      let rest = cut &- victim.received
      let mark = Victim.nonce.mark(from: role)
      return rest > 100 ? nil : [UInt8](repeating: 0x61, count: Int(rest)) + (0..<16).map { mark[$0] }
    case (.records, .seen), (.records, .undecided):
      let record: Record = consumed % 2 == 0 ? .learned : .detach(consumed: 0)
      let words = record.encoded(for: Victim.nonce)
      return (0..<16).map { words[$0] }
    case (.records, _):
      let words = Record.detach(consumed: consumed).encoded(for: Victim.nonce)
      // On the lane for a while first.
      return consumed % 3 == 0 ? (0..<16).map { words[$0] } : nil
    }
  }

  /// One honest step on the lane, so that the victim goes on.
  func keepsTo(_ random: inout Random, _ victim: Victim) {
    let memory = LaneMemory.shared
    let own = memory.side(role)
    switch random.below(5) {
    case 0:
      // A follower shows its cut once it has seen the leader's mark; it says "learned" first.
      own.cut.pointee.store(victim.received &+ 1, ordering: .relaxed)
      own.fixedCut.pointee.store(victim.received &+ 1, ordering: .relaxed)
    case 1:
      memory.header.stage.pointee.store(role == .leader ? LaneStage.offered : LaneStage.learned, ordering: .relaxed)
    case 2: own.head.pointee.store(victim.producer.tail, ordering: .relaxed)
    default:
      own.tail.pointee.store(victim.consumer.head &+ UInt64(random.below(LaneMemory.ringBytes)), ordering: .relaxed)
    }
  }
}
