import MillraceCore
import Testing

/// The machine by itself: what each event makes of each phase, and which events each phase refuses. The simulation has
/// the two ends together.
@Suite struct CutoverTests {
  private typealias Event = (String, (inout Cutover) throws(Cutover.Violation) -> CutoverEffects)

  private static var events: [Event] {
    [
      ("offer", { (machine) throws(Cutover.Violation) in try machine.offer(written: 10) }),
      ("peerLearned", { (machine) throws(Cutover.Violation) in try machine.peerLearned() }),
      ("peerCut", { (machine) throws(Cutover.Violation) in try machine.peerCut(20, received: 5) }),
      ("learn", { (machine) throws(Cutover.Violation) in try machine.learn(peerCut: 10, received: 5, written: 20) }),
      ("mark", { (machine) throws(Cutover.Violation) in try machine.markRead(matches: true) }),
      ("noMark", { (machine) throws(Cutover.Violation) in try machine.markRead(matches: false) }),
      ("learned", { (machine) throws(Cutover.Violation) in try record(.learned, &machine) }),
      ("detach0", { (machine) throws(Cutover.Violation) in try record(.detach(consumed: 0), &machine) }),
      ("detach3", { (machine) throws(Cutover.Violation) in try record(.detach(consumed: 3), &machine) }),
    ]
  }

  private static func record(
    _ record: Record, _ machine: inout Cutover, held: UInt64 = 0
  ) throws(Cutover.Violation) -> CutoverEffects {
    try machine.record(record, received: 100, consumed: 7, held: held, sent: 9)
  }

  /// A machine that has come through the named events; "down" is the end of the lane.
  private static func machine(_ role: Role, _ path: String...) throws -> Cutover {
    var machine = Cutover(role: role)
    for name in path {
      if name == "down" {
        _ = machine.laneDown(consumed: 7)
      } else {
        _ = try #require(events.first { $0.0 == name }).1(&machine)
      }
    }
    return machine
  }

  private static func machines() throws -> [(Cutover, Cutover.Phase, Set<String>)] {
    [
      (try machine(.leader), .kernel, ["offer"]),
      (try machine(.leader, "offer"), .offered, ["peerLearned"]),
      (try machine(.leader, "offer", "peerLearned"), .marked, ["peerCut"]),
      (try machine(.leader, "offer", "peerLearned", "peerCut"), .confirmed, ["mark"]),
      (try machine(.leader, "offer", "peerLearned", "peerCut", "mark"), .attached, ["detach0", "detach3"]),
      (try machine(.leader, "offer", "peerLearned", "peerCut", "down"), .detaching, ["mark"]),
      (
        try machine(.leader, "offer", "peerLearned", "peerCut", "down", "mark"), .detaching,
        ["detach0", "detach3"]
      ),
      (try machine(.follower), .kernel, ["learn"]),
      (try machine(.follower, "learn"), .learned, ["mark", "noMark"]),
      (try machine(.follower, "learn", "mark"), .seen, ["learned", "detach0"]),
      (try machine(.follower, "learn", "mark", "learned"), .attached, ["detach0", "detach3"]),
      (try machine(.follower, "learn", "mark", "learned", "down"), .detaching, ["detach0", "detach3"]),
      (try machine(.follower, "learn", "down"), .probing, ["mark", "noMark"]),
      (try machine(.follower, "learn", "down", "mark"), .probing, ["detach0"]),
      (try machine(.follower, "learn", "mark", "down"), .undecided, ["learned", "detach0"]),
      (try machine(.follower, "learn", "mark", "down", "learned"), .detaching, ["detach0", "detach3"]),
    ]
  }

  @Test func eachPhaseTakesItsEventsAndNoOthers() throws {
    for (machine, phase, allowed) in try Self.machines() {
      #expect(machine.phase == phase)
      for (name, event) in Self.events {
        var copy = machine
        let isAllowed: Bool
        do {
          _ = try event(&copy)
          isAllowed = true
        } catch {
          isAllowed = false
        }
        #expect(isAllowed == allowed.contains(name), "\(name) in \(phase) of the \(machine.role)")
      }
    }
  }

  @Test func aLaneMayGoDownAtAnyTimeAndTwice() throws {
    for (machine, phase, _) in try Self.machines() {
      var copy = machine
      _ = copy.laneDown(consumed: 7)
      #expect(!copy.mayConsume, "in \(phase)")
      #expect(copy.laneDown(consumed: 7) == CutoverEffects(), "in \(phase)")
    }
  }

  @Test func theLeaderAttaches() throws {
    var machine = Cutover(role: .leader)
    #expect(machine.isIdle && machine.outbound == .kernel && machine.inbound == .application)
    #expect(try machine.offer(written: 10) == CutoverEffects(.publishCut))
    #expect(machine.ownCut == 10 && machine.outbound == .ring && machine.inbound == .application)
    #expect(try machine.peerLearned() == CutoverEffects(.writeMark))
    #expect(try machine.peerCut(20, received: 5) == CutoverEffects(.writeLearned))
    #expect(machine.inbound == .until(cut: 20) && !machine.mayConsume)
    #expect(try machine.markRead(matches: true) == CutoverEffects())
    #expect(machine.mayConsume && machine.inbound == .records && machine.outbound == .ring && !machine.isIdle)
  }

  @Test func theFollowerAttaches() throws {
    var machine = Cutover(role: .follower)
    #expect(try machine.learn(peerCut: 10, received: 5, written: 20) == CutoverEffects(.acknowledge))
    #expect(machine.ownCut == 20 && machine.outbound == .ring && machine.inbound == .until(cut: 10))
    #expect(try machine.markRead(matches: true) == CutoverEffects(.publishCut))
    #expect(machine.inbound == .records && !machine.mayConsume)
    #expect(try Self.record(.learned, &machine) == CutoverEffects(.writeMark))
    #expect(machine.mayConsume && machine.outbound == .ring)
  }

  @Test func anAttachedEndAnswersDetach() throws {
    var machine = try Self.machine(.follower, "learn", "mark", "learned")
    var expected = CutoverEffects(.writeDetach(consumed: 7))
    expected.formUnion(CutoverEffects(.resend(from: 3), .finished))
    #expect(try Self.record(.detach(consumed: 3), &machine) == expected)
    #expect(machine.isIdle && machine.outbound == .kernel)
  }

  @Test func anEndThatLeavesWaitsForTheAnswer() throws {
    var machine = try Self.machine(.leader, "offer", "peerLearned", "peerCut", "mark")
    #expect(machine.laneDown(consumed: 7) == CutoverEffects(.writeDetach(consumed: 7)))
    #expect(machine.outbound == .ring && machine.phase == .detaching)
    #expect(try Self.record(.detach(consumed: 3), &machine) == CutoverEffects(.resend(from: 3), .finished))
    #expect(machine.isIdle)
  }

  @Test func anAttachThatFailsGoesBackToItsBeginning() throws {
    var offered = try Self.machine(.leader, "offer")
    #expect(offered.laneDown(consumed: 0) == CutoverEffects(.resend(from: 0), .finished))
    #expect(offered.isIdle)
    var marked = try Self.machine(.leader, "offer", "peerLearned")
    var expected = CutoverEffects(.writeDetach(consumed: 0))
    expected.formUnion(CutoverEffects(.resend(from: 0), .finished))
    #expect(marked.laneDown(consumed: 0) == expected)
    #expect(marked.isIdle)
    var learned = try Self.machine(.follower, "learn")
    #expect(learned.laneDown(consumed: 0) == CutoverEffects(.resend(from: 0)))
    #expect(learned.outbound == .kernel && !learned.isIdle)
    #expect(try learned.markRead(matches: true) == CutoverEffects())
    #expect(try Self.record(.detach(consumed: 0), &learned) == CutoverEffects(.finished))
    #expect(learned.isIdle)
  }

  /// An end that has consumed nothing says so, whatever its owner believes.
  @Test func theLeaderHasConsumedNothingBeforeItIsAttached() throws {
    var machine = try Self.machine(.leader, "offer", "peerLearned", "peerCut")
    #expect(machine.laneDown(consumed: 7) == CutoverEffects(.writeDetach(consumed: 0)))
  }

  @Test func positionsOutOfBoundsAreRefused() throws {
    var follower = Cutover(role: .follower)
    #expect(throws: Cutover.Violation.badPosition) { try follower.learn(peerCut: 4, received: 5, written: 0) }
    #expect(follower.isIdle)
    var leader = try Self.machine(.leader, "offer", "peerLearned")
    #expect(throws: Cutover.Violation.badPosition) { try leader.peerCut(4, received: 5) }
    for position: UInt64 in [0, 2, 10, .max] {
      var attached = try Self.machine(.leader, "offer", "peerLearned", "peerCut", "mark")
      #expect(throws: Cutover.Violation.badPosition) {
        try Self.record(.detach(consumed: position), &attached, held: 3)
      }
    }
    for position: UInt64 in [3, 9] {
      var attached = try Self.machine(.leader, "offer", "peerLearned", "peerCut", "mark")
      #expect(throws: Never.self) { try Self.record(.detach(consumed: position), &attached, held: 3) }
    }
  }

  /// Where a dead peer's ring continues the stream.
  @Test func theRemainderFollowsWhatTheKernelHad() throws {
    func remainder(_ machine: Cutover, received: UInt64, consumed: UInt64 = 0, cut: UInt64? = 20, resent: UInt64 = 0)
      -> UInt64?
    {
      machine.remainder(received: received, consumed: consumed, peerCut: cut, resent: resent)
    }
    let marked = try Self.machine(.leader, "offer", "peerLearned")
    #expect(remainder(marked, received: 30, cut: nil) == nil)
    #expect(remainder(marked, received: 19) == nil)
    #expect(remainder(marked, received: 20) == 0)
    // A follower that had gone back to TCP, and re-sent four bytes.
    #expect(remainder(marked, received: 24) == 4)
    #expect(remainder(marked, received: 24, resent: 5) == nil)
    let confirmed = try Self.machine(.leader, "offer", "peerLearned", "peerCut")
    #expect(remainder(confirmed, received: 19) == nil)
    #expect(remainder(confirmed, received: 27) == 0)
    let attached = try Self.machine(.leader, "offer", "peerLearned", "peerCut", "mark")
    #expect(remainder(attached, received: 36, consumed: 7) == 7)
    // After its DETACH, which ended at 100 where 7 was consumed, the peer re-sent five bytes.
    let left = try Self.machine(.leader, "offer", "peerLearned", "peerCut", "mark", "detach3")
    #expect(remainder(left, received: 105, consumed: 7, resent: 12) == 12)
    #expect(remainder(left, received: 105, consumed: 7, resent: 13) == nil)
    // On the next lane the last DETACH means nothing any more.
    #expect(remainder(left, received: 110, cut: 108) == 2)
  }
}
