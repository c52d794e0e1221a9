import MillraceCore
import Synchronization

/// The honest end: the cutover machine with rings in real memory, driven as `Mover`, `Leaving` and `Resend` drive it in
/// the library. It checks its own promises.
struct Victim {
  static let nonce = Nonce(0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00)

  private let memory = LaneMemory.shared
  private let role: Role
  private(set) var cutover: Cutover
  private(set) var producer: RingProducer
  private(set) var consumer: RingConsumer
  private var records = RecordBuffer()
  private(set) var received: UInt64 = 0
  private var written: UInt64 = 0
  /// What this end may write to the kernel path next: the application's bytes, or records only.
  private var writesRecords = false
  private var hasOffered = false
  private(set) var isBroken = false
  private(set) var problem: String?
  private(set) var attached = 0
  private(set) var left = 0

  init(role: Role) {
    self.role = role
    cutover = Cutover(role: role)
    producer = LaneMemory.shared.producer(role)
    consumer = LaneMemory.shared.consumer(role)
  }

  private mutating func fail(_ text: String) { problem = problem ?? "\(text), in phase \(cutover.phase)" }

  /// The connection is reset, as a violation demands.
  private mutating func breakOff() { isBroken = true }

  private mutating func handle(
    _ event: (inout Cutover) throws(Cutover.Violation) -> CutoverEffects
  ) {
    do {
      perform(try event(&cutover))
    } catch {
      breakOff()
    }
  }

  // MARK: Effects

  private mutating func perform(_ effects: CutoverEffects) {
    if effects.publishesCut { memory.side(role).cut.pointee.store(cutover.ownCut &+ 1, ordering: .relaxed) }
    if effects.writesMark {
      if writesRecords { fail("a second mark") }
      write(16, isRecord: true)
      writesRecords = true
    }
    if effects.writesLearned {
      if !writesRecords || role == .follower { fail("LEARNED out of place") }
      write(16, isRecord: true)
    }
    if let position = effects.detachPosition {
      if !writesRecords { fail("DETACH without a mark") }
      if position > consumer.head { fail("DETACH beyond what was consumed") }
      write(16, isRecord: true)
      writesRecords = false
      left += 1
    }
    if let position = effects.resendPosition { resend(from: position) }
    if cutover.mayConsume { attached += 1 }
  }

  private mutating func resend(from position: UInt64) {
    guard let rest = producer.retained(from: position) else { return breakOff() }
    var sum: UInt8 = 0
    for byte in rest { sum &+= byte }
    if sum == 0x5b { Tally.count("sums to 0x5b") }
    write(UInt64(rest.count), isRecord: false)
  }

  private mutating func write(_ count: UInt64, isRecord: Bool) {
    if !isRecord, writesRecords, count > 0 { fail("the application's bytes among records") }
    written &+= count
  }

  // MARK: The kernel path

  /// One byte has been read from the kernel path (`Mover.takeByte`).
  mutating func take(_ byte: UInt8) {
    if isBroken { return }
    received &+= 1
    switch cutover.inbound {
    case .application: return
    case .until(let cut) where received <= cut: return
    case .until, .records: break
    }
    if records.missing == 0 { return fail("more bytes than a record has") }
    records.append(byte)
    guard let words = records.take() else { return }
    if case .until = cutover.inbound {
      guard words == Self.nonce.mark(from: role.peer) else { return breakOff() }
      Tally.count("marks")
      return handle { (machine) throws(Cutover.Violation) in try machine.markRead(matches: true) }
    }
    guard let record = Record(decoding: words, for: Self.nonce) else { return breakOff() }
    Tally.count("records")
    let (at, consumed, held, sent) = (received, consumer.head, producer.held, producer.tail)
    handle { (machine) throws(Cutover.Violation) in
      try machine.record(record, received: at, consumed: consumed, held: held, sent: sent)
    }
  }

  // MARK: Steps of the cutover

  /// What `Mover.step` does on the lane's side.
  mutating func advance() {
    if isBroken { return }
    switch cutover.phase {
    case .kernel: if role == .leader { tryOffer() } else { tryLearn() }
    case .offered:
      if memory.header.stage.pointee.load(ordering: .relaxed) == LaneStage.learned {
        handle { (machine) throws(Cutover.Violation) in try machine.peerLearned() }
      }
    case .marked:
      let cut = memory.side(role.peer).cut.pointee.load(ordering: .relaxed)
      let at = received
      if cut != 0, cut &- 1 <= at {
        handle { (machine) throws(Cutover.Violation) in try machine.peerCut(cut &- 1, received: at) }
      }
    default: break
    }
  }

  private mutating func tryOffer() {
    if hasOffered || !cutover.isIdle || records.count > 0 { return }
    hasOffered = true
    let at = written
    handle { (machine) throws(Cutover.Violation) in try machine.offer(written: at) }
    _ = memory.header.stage.pointee.compareExchange(
      expected: LaneStage.fresh, desired: LaneStage.offered, ordering: .relaxed)
  }

  private mutating func tryLearn() {
    guard !hasOffered, cutover.isIdle, memory.header.stage.pointee.load(ordering: .relaxed) == LaneStage.offered,
      memory.side(.leader).cut.pointee.load(ordering: .relaxed) &- 1 == received
    else { return }
    hasOffered = true
    memory.side(.follower).fixedCut.pointee.store(written &+ 1, ordering: .relaxed)
    memory.header.stage.pointee.store(LaneStage.learned, ordering: .relaxed)
    let (at, cut) = (received, written)
    handle { (machine) throws(Cutover.Violation) in try machine.learn(peerCut: at, received: at, written: cut) }
  }

  mutating func leave() {
    if isBroken { return }
    perform(cutover.laneDown(consumed: consumer.head))
  }

  // MARK: Relatives

  /// A relative has brought the connection onto the lane, and is gone: this process takes the machine over (`TakingOver`).
  mutating func takeOver() {
    cutover.rest()
    writesRecords = true
    hasOffered = true
  }

  /// A relative has brought the connection back to TCP, and says where the peer's bytes go on (`Inheriting`), which it has from
  /// the peer.
  mutating func follow(resumedAt kernel: UInt64, lane: UInt64) {
    guard !isBroken else { return }
    cutover.follow(resumedAt: kernel, lane: lane)
    writesRecords = false
    records = RecordBuffer()
  }

  // MARK: The application

  mutating func send(_ count: Int) {
    if isBroken { return }
    guard cutover.outbound == .ring else { return write(UInt64(count), isRecord: false) }
    guard producer.refresh() else { return breakOff() }
    let bytes = [UInt8](repeating: 0x2d, count: max(count, 1))
    _ = bytes.withUnsafeBytes { producer.write($0.baseAddress!, count: count) }
    _ = producer.publish()
  }

  mutating func receive(_ count: Int) {
    guard !isBroken, cutover.mayConsume else { return }
    if !writesRecords || cutover.inbound != .records { fail("the lane is consumed too early") }
    guard consumer.refresh() else { return breakOff() }
    let bytes = consumer.bytes
    if bytes.count > LaneMemory.ringBytes { return fail("more ready than the ring holds") }
    let taken = min(count, bytes.count)
    var copy = [UInt8](repeating: 0, count: taken + 1)
    copy.withUnsafeMutableBytes { consumer.copy(to: $0.baseAddress!, offset: 0, count: taken) }
    _ = consumer.free(taken)
    if taken > 0 { Tally.count("consumed") }
  }

  /// The kernel stream ends, and the peer is gone (`Inheriting.skipToRest`).
  mutating func endOfStream() {
    if isBroken { return }
    let peer = memory.side(role.peer)
    let cut = (role == .leader ? peer.fixedCut : peer.cut).pointee.load(ordering: .relaxed)
    let rest = cutover.remainder(
      received: received, consumed: consumer.head, peerCut: cut == 0 ? nil : cut &- 1, resent: 0)
    guard let rest, consumer.refresh(), consumer.skip(to: rest) else { return }
    var sum: UInt8 = 0
    for byte in consumer.bytes { sum &+= byte }
    Tally.count(sum == 1 ? "inherited one" : "inherited")
  }
}
