import MillraceCore
import Testing

/// A peer that says anything at any time: the machine refuses or goes on, and what it promises its owner holds.
@Suite struct CutoverFuzzTests {
  /// What an honest owner keeps, and what it checks after each event.
  private struct Owner {
    var machine: Cutover
    let nonce = Nonce(0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00)
    var received: UInt64 = 0
    var consumed: UInt64 = 0
    var held: UInt64 = 0
    var sent: UInt64 = 0
    var writesRecordsOnly = false
    var problem: String?

    mutating func perform(_ effects: CutoverEffects) {
      if effects.writesMark {
        if writesRecordsOnly { problem = "a second mark" }
        writesRecordsOnly = true
      }
      if effects.writesLearned, !writesRecordsOnly || machine.role != .leader { problem = "LEARNED without a mark" }
      if let position = effects.detachPosition {
        if !writesRecordsOnly { problem = "DETACH without a mark" }
        if position > consumed { problem = "DETACH beyond what was consumed" }
        writesRecordsOnly = false
      }
      if let position = effects.resendPosition {
        if position < held || position > sent { problem = "re-sends what is not there" }
        if writesRecordsOnly { problem = "re-sends among records" }
        held = max(held, position)
      }
      if machine.outbound == .kernel, writesRecordsOnly { problem = "the application's bytes among records" }
      if machine.mayConsume, !writesRecordsOnly || machine.inbound != .records { problem = "consumes too early" }
      if machine.isIdle, machine.outbound != .kernel { problem = "idle with bytes for the ring" }
    }

    mutating func event(_ random: inout SeededGenerator) throws(Cutover.Violation) {
      let near = UInt64.random(in: 0...40, using: &random)
      let position = random.next() % 8 == 0 ? random.next() : near
      switch random.next() % 10 {
      case 0:
        if machine.isIdle {
          begin()
          perform(try machine.offer(written: near))
        }
      case 1:
        if machine.isIdle {
          begin()
          perform(try machine.learn(peerCut: position, received: received, written: near))
        }
      case 2: perform(try machine.peerLearned())
      case 3: perform(try machine.peerCut(position, received: received))
      case 4: perform(try machine.markRead(matches: random.next() % 4 != 0))
      case 5, 6:
        let words = random.next() % 4 == 0 ? Nonce(random.next(), random.next()) : Nonce(0, 0)
        let record: Record = random.next() % 2 == 0 ? .learned : .detach(consumed: position)
        let bytes = words == Nonce(0, 0) ? record.encoded(for: nonce) : words
        guard let decoded = Record(decoding: bytes, for: nonce) else { throw .badMark }
        received &+= 16
        perform(
          try machine.record(decoded, received: received, consumed: consumed, held: held, sent: sent))
      case 7: perform(machine.laneDown(consumed: consumed))
      case 8: if machine.mayConsume { consumed += near }
      default: if machine.outbound == .ring { sent += near }
      }
      let rest = machine.remainder(received: received, consumed: consumed, peerCut: position, resent: near)
      if let rest, rest < near { problem = "a remainder before what was re-sent" }
    }

    /// A new lane: both rings are empty.
    private mutating func begin() {
      consumed = 0
      held = 0
      sent = 0
    }
  }

  @Test(arguments: [Role.leader, .follower]) func whateverThePeerSaysThePromisesHold(role: Role) {
    var random = SeededGenerator(seed: UInt64(role.rawValue) + 1)
    var refused = 0
    var attached = 0
    for round in 0..<60_000 {
      var owner = Owner(machine: Cutover(role: role))
      for _ in 0..<20 {
        do {
          try owner.event(&random)
        } catch {
          // The connection is reset. Now and then the fuzzer goes on all the same, for the sake of depth.
          refused += 1
          if random.next() % 8 == 0 { break }
        }
        if let problem = owner.problem {
          Issue.record("round \(round), \(owner.machine.phase) of the \(role): \(problem)")
          return
        }
        if owner.machine.mayConsume { attached += 1 }
      }
    }
    #expect(refused > 10_000 && attached > 1_000)
  }
}
