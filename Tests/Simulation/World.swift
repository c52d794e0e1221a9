import MillraceCore

/// One thing that goes wrong at a given step, for a sweep over all the steps of a schedule.
struct Disturbance: CustomStringConvertible {
  enum Kind: CaseIterable {
    case death
    case leaving
    case breakdown
  }

  let kind: Kind
  let end: Int
  let step: Int

  var description: String { "\(kind) of end \(end) at step \(step)" }
}

/// Two ends, two kernel streams and, now and then, a lane: one schedule, wholly determined by its seed.
final class World {
  let options: Options
  private var random: SplitMix64
  private let streams: [KernelStream]
  /// The processes of either end: one, or several after a fork.
  private var ends: [[End]]
  private let families: [Family]
  private var lane: Lane?
  private var epochs = 0
  private var dead: Int?
  private let trace: Trace?
  private let coverage: Coverage?
  private let disturbance: Disturbance?
  /// How often an end came to consume a lane.
  var attached: Int { sum(\.attached) }

  init(
    seed: UInt64, mutation: Mutation? = nil, disturbance: Disturbance? = nil, trace: Trace? = nil,
    coverage: Coverage? = nil
  ) {
    random = SplitMix64(seed: seed)
    options = Options(&random, mutation: mutation)
    self.disturbance = disturbance
    self.trace = trace
    self.coverage = coverage
    streams = [
      KernelStream(capacity: options.kernelBytes, writer: 0),
      KernelStream(capacity: options.kernelBytes, writer: 1),
    ]
    families = [Family(toSend: options.streamBytes[0]), Family(toSend: options.streamBytes[1])]
    ends = []
    for index in 0...1 {
      let end = End(
        index: index, outgoing: streams[index], incoming: streams[1 - index], options: options,
        family: families[index])
      end.trace = trace
      end.coverage = coverage
      families[index].wantsFinish = options.finishes[index]
      ends.append([end])
    }
    trace?.add("\(options)")
  }

  func run() throws(Failure) {
    for count in 0..<options.steps {
      if let disturbance {
        if count == disturbance.step { try happen(disturbance) }
      } else if count == options.killStep {
        kill(someone(random.below(2)))
      }
      try step()
    }
    trace?.add("settling")
    try settle(readers: dead == nil ? [options.firstReader] : [0, 1])
    if dead == nil { try expectEverything(readBy: options.firstReader) }
    try settle(readers: [0, 1])
    try expectEverything(readBy: 0)
    try expectEverything(readBy: 1)
    if dead != nil { return }
    trace?.add("leaving for the last time")
    if let lane, lane.fabric == .verbs { lane.breakDown(&random) }
    try someone(random.below(2)).leave()
    try settle(readers: [0, 1], noticing: true)
    for end in ends.joined() where !end.isDead { try expectRest(end) }
    coverage?.countFamilies(families)
  }

  private func sum(_ count: (End) -> Int) -> Int { ends.joined().reduce(0) { $0 + count($1) } }

  /// A process of an end: a living one, if there is any.
  private func someone(_ index: Int) -> End {
    let living = ends[index].filter { !$0.isDead }
    return living.isEmpty ? ends[index][0] : living[living.count == 1 ? 0 : random.below(living.count)]
  }

  // MARK: Random steps

  private func step() throws(Failure) {
    let end = someone(random.below(2))
    switch random.below(20) {
    case 0, 1, 2: _ = streams[random.below(2)].arrive(random.amount(upTo: 64))
    case 3, 4, 5:
      if random.chance(options.sendRate[end.index], in: 100) {
        try end.send(upTo: random.amount(upTo: 64))
      }
    case 6, 7, 8:
      if random.chance(options.readRate[end.index], in: 100) {
        try end.receive(upTo: random.amount(upTo: 64))
      }
    case 9, 10: try end.pump()
    case 11, 12: try end.readRecords()
    case 13, 14, 15: try end.pollLane()
    case 16, 17: _ = lane?.deliver(from: end.index)
    case 18: beginAttach()
    default:
      if let lane, lane.otherMayNotice { try notice(end) }
    }
    if options.leaveRate > 0, random.chance(options.leaveRate, in: 1000) { try disturb(end) }
    if options.forkRate > 0, random.chance(options.forkRate, in: 1000) { multiply(end) }
  }

  /// A process forks, or one of several ends: in good order, or killed.
  private func multiply(_ end: End) {
    let living = ends[end.index].filter { !$0.isDead }
    if living.count < 3, random.chance(1, in: 2) {
      if let child = end.fork() { ends[end.index].append(child) }
    } else if living.count > 1 {
      if random.chance(2, in: 3) { _ = end.exit() } else { kill(end) }
    }
  }

  /// An end leaves of its own accord, both do, or the fabric fails.
  private func disturb(_ end: End) throws(Failure) {
    guard let lane else { return }
    switch random.below(3) {
    case 0: try end.leave()
    case 1:
      try end.leave()
      try someone(1 - end.index).leave()
    default:
      if lane.fabric == .verbs, !lane.isBroken {
        trace?.add("the lane breaks")
        lane.breakDown(&random)
      }
    }
  }

  private func notice(_ end: End) throws(Failure) {
    guard !end.hasLeft, !end.isDead, !end.waitsForRelative else { return }
    end.note("notices that the lane is over")
    try end.leave()
  }

  /// The wireup: a lane for both ends, if both are at rest and use none.
  private func beginAttach() {
    guard epochs < options.maximumEpochs, dead == nil else { return }
    var chosen: [End] = []
    for index in 0...1 {
      let end = someone(index)
      if !end.isAtRest || !end.hasLeft || end.isDead || end.mustNotAttach { return }
      chosen.append(end)
    }
    epochs += 1
    let lane = Lane(
      fabric: options.fabric, nonce: options.nonce(&random, sent: families[0].sent), epoch: epochs,
      capacity: options.ringBytes)
    self.lane = lane
    for end in chosen { end.take(lane) }
  }

  private func kill(_ end: End) {
    // What becomes of relatives whose one was killed while it left for all is `Tests/Kills`' to show.
    if end.isDead || end.family.owner === end, ends[end.index].contains(where: { $0 !== end && !$0.isDead }) { return }
    end.note("dies")
    if ends[end.index].contains(where: { $0 !== end && !$0.isDead }) {
      // It has not said so, and goes on being counted. A relative has the socket and the lane.
      end.isDead = true
      // But an attempt was its own.
      if !end.hasLeft, !end.family.isShared {
        lane?.hungUp[end.index] = true
        lane?.breakDown(&random)
      }
      return
    }
    dead = end.index
    coverage?.countDeath(of: end.index, in: end.cutover.phase)
    end.isDead = true
    // The kernel answers unread bytes with a reset, and a reset may take what was on its way.
    let unread = end.incoming.readable > 0
    end.outgoing.abandon(surviving: unread ? random.below(64) : nil)
    lane?.hungUp[end.index] = true
    lane?.breakDown(&random)
  }

  private func happen(_ disturbance: Disturbance) throws(Failure) {
    switch disturbance.kind {
    case .death: kill(someone(disturbance.end))
    case .leaving: try someone(disturbance.end).leave()
    case .breakdown: lane?.breakDown(&random)
    }
  }

  // MARK: Settling

  /// Gives every part its turn until nothing moves any more.
  private func settle(readers: [Int], noticing: Bool = false) throws(Failure) {
    for _ in 0..<20_000 {
      let before = sum(\.progress)
      var moved = false
      for end in ends.joined() {
        let index = end.index
        moved = streams[index].arrive(.max) || moved
        while let lane, lane.deliver(from: index) { moved = true }
        try end.send(upTo: 64)
        try end.pump()
        try end.readRecords()
        try end.pollLane()
        if readers.contains(index) { try end.receive(upTo: 64) }
        if let lane, lane.otherMayNotice { try notice(end) }
      }
      if !moved, before == sum(\.progress) { return }
    }
    throw Failure("the world does not come to rest")
  }

  /// What must have reached the application of `reader` by now.
  private func expectEverything(readBy reader: Int) throws(Failure) {
    let end = families[reader]
    let peer = families[1 - reader]
    if dead == reader { return }
    if dead != nil {
      if !end.sawEnd { throw Failure("end \(reader) waits for ever on a dead peer") }
      // A reset takes bytes as it does without a lane; so does the fabric with the memory on the other side. Of several
      // processes none may know how far all of them have come on TCP, once they are back there.
      if streams[1 - reader].isReset || options.fabric == .verbs || end.hasForked { return }
      if end.delivered != peer.sent {
        throw Failure("end \(reader) has \(end.delivered) of the \(peer.sent) bytes that its dead peer sent")
      }
      return
    }
    if end.delivered != peer.toSend {
      throw Failure(
        "end \(reader) has \(end.delivered) of \(peer.toSend) bytes, \(peer.sent) were sent, and nothing moves")
    }
    if peer.wantsFinish != end.sawEnd { throw Failure("end \(reader) sees the end: \(end.sawEnd)") }
  }

  private func expectRest(_ end: End) throws(Failure) {
    let machine = end.cutover
    if !machine.isIdle || machine.outbound != .kernel || !end.waiting.isEmpty || end.resendPosition != nil {
      throw Failure("end \(end.index) has not come to rest: \(machine.phase), \(machine.inbound)")
    }
  }
}
