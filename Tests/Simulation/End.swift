import MillraceCore

/// One process at one end of the connection: an application, the service thread, and the cutover machine between them,
/// driven the way the preloaded library drives it. Every method is one event; the events of one end are serialised.
final class End {
  let index: Int
  /// What the processes of this end have in common since a fork; `Family.swift`.
  let family: Family
  let outgoing: KernelStream
  let incoming: KernelStream
  let options: Options
  var cutover: Cutover

  // The lane, and what this end has done on it.
  var lane: Lane?
  /// This end uses the lane no more, or never had one.
  var hasLeft = true
  /// The leader has offered on this lane.
  var hasOffered = false
  /// Lane position of the next byte to consume, and the tail of the own ring, as this process has last seen them.
  var seenConsumed: UInt64 = 0
  var seenTail: UInt64 = 0
  /// Bytes that this process has written to the kernel path and read from it.
  var written = 0
  var received = 0
  /// The own mark is written or stands in the queue.
  var markIsCommitted = false

  // The way out over TCP: records first, then what is re-sent out of the ring, then the application.
  var waiting: ContiguousArray<Cell> = []
  var resendPosition: UInt64?

  // The way in over TCP.
  /// Bytes that were read ahead of the application, to get at the mark behind them.
  var ahead: ContiguousArray<Cell> = []
  var record = RecordBuffer()
  var recordCells: ContiguousArray<Cell> = []

  /// The process is gone.
  var isDead = false
  /// This process has nothing to do with lanes any more: a relative has left one for it.
  var isRefused = false
  /// Forked while its parent's stream moved: it waits for the parent.
  var awaitsParent = false

  /// Grows with everything that happens; a settled end stands still.
  var progress = 0
  /// How often this end came to consume a lane.
  private(set) var attached = 0
  private(set) var isForcedToKernel = false
  var trace: Trace?
  var coverage: Coverage?

  init(index: Int, outgoing: KernelStream, incoming: KernelStream, options: Options, family: Family) {
    self.index = index
    self.outgoing = outgoing
    self.incoming = incoming
    self.options = options
    self.family = family
    cutover = Cutover(role: index == 0 ? .leader : .follower)
  }

  var mutation: Mutation? { options.mutation }
  var produced: Ring {
    get { lane!.rings[index] }
    _modify { yield &lane!.rings[index] }
  }

  /// Nothing of an attach or detach is under way, and nothing older than the application's next byte waits.
  var isAtRest: Bool {
    if mutation == .attachWhileDetaching, hasLeft { return true }
    let idle = cutover.isIdle && waiting.isEmpty && !family.finishIsWritten
    return idle && (resendPosition == nil || mutation == .cutBeforeResent)
  }

  func note(_ text: @autoclosure () -> String) {
    progress += 1
    if let trace { trace.add("\(index == 0 ? "leader  " : "follower") \(text())") }
  }

  // MARK: Events of the machine

  /// Runs one transition of the machine and performs what it asks for.
  func step(
    _ event: Event, _ detail: @autoclosure () -> String = "",
    _ transition: (inout Cutover) throws(Cutover.Violation) -> CutoverEffects
  ) throws(Failure) {
    let before = cutover.phase
    let effects: CutoverEffects
    do {
      effects = try transition(&cutover)
    } catch {
      throw Failure("end \(index): \(error) on \(event) \(detail()) in phase \(before)")
    }
    coverage?.count(event, in: before, of: index)
    note("\(event) \(detail()): \(before) -> \(cutover.phase), \(cutover.outbound), \(cutover.inbound)")
    if cutover.phase == .attached, before != .attached { attached += 1 }
    try perform(effects)
    if cutover.phase == .attached, family.owner === self { try leaveForFork() }
  }

  private func perform(_ effects: CutoverEffects) throws(Failure) {
    if effects.publishesCut { publishCut() }
    if effects.acknowledges { acknowledge() }
    if effects.writesMark { enqueue(mark, kind: .mark) }
    if effects.writesLearned, mutation != .learnedOmitted { enqueue(words(.learned), kind: .learned) }
    if let position = effects.detachPosition, !skipsDetach(effects) {
      enqueue(words(.detach(consumed: detachPosition(position))), kind: .detach)
    }
    if let position = effects.resendPosition {
      try resend(from: mutation == .resendFromZero ? 0 : position)
    }
    if mutation == .detachAnsweredTwice, effects.finishes, effects.detachPosition == nil, markIsCommitted {
      enqueue(words(.detach(consumed: family.consumed)), kind: .detach)
    }
    if effects.finishes { stop() }
    try pump()
  }

  private func skipsDetach(_ effects: CutoverEffects) -> Bool {
    mutation == .detachNotAnswered && effects.resendPosition != nil
  }

  private func detachPosition(_ position: UInt64) -> UInt64 {
    switch mutation {
    case .detachCarriesPublishedHead: family.publishedHead
    case .detachCarriesTail: position == 0 ? 0 : lane!.rings[1 - index].tailAtConsumer
    default: position
    }
  }

  private var mark: Nonce {
    lane!.nonce.mark(from: cutover.role, flipped: index == 0 && lane!.isFlipped)
  }

  private func words(_ record: Record) -> Nonce { record.encoded(for: lane!.nonce) }

  private func enqueue(_ words: Nonce, kind: Cell.Kind) {
    if kind == .mark { markIsCommitted = true }
    for index in 0..<Record.byteCount {
      waiting.append(Cell(byte: words[index], kind: kind, position: 0))
    }
  }

  private func publishCut() {
    let lane = lane!
    if index == 0 {
      lane.post(.cut(cutover.ownCut, flipped: lane.isFlipped), from: 0)
      if mutation == .markBeforeLearned { enqueue(mark, kind: .mark) }
    } else {
      lane.post(.cut(cutover.ownCut, flipped: false), from: 1)
    }
  }

  private func acknowledge() {
    lane!.post(.learned, from: 1)
    if mutation == .cutBeforeMarkSeen { publishCut() }
  }

  private func resend(from position: UInt64) throws(Failure) {
    let ring = produced
    if position > ring.tail { throw Failure("end \(index) re-sends from beyond its tail") }
    // What other bytes have taken the place of is noticed by the reader, byte by byte.
    resendPosition = position
    produced.resent = max(ring.resent, position)
    note("re-sends \(position)..<\(ring.tail)")
  }

  /// Stops using the lane. The rings stay for what is re-sent, and for what a dead peer left.
  func stop() {
    hasLeft = true
    lane?.hungUp[index] = true
  }

  // MARK: Writing to TCP

  private func write(_ cell: Cell) throws(Failure) {
    try outgoing.write(cell)
    written += 1
  }

  /// Writes what waits, as far as the kernel has room: records, then what is re-sent, then FIN.
  func pump() throws(Failure) {
    if isDead { return }
    if mutation == .resendBeforeRecords { try pumpRing() }
    var count = 0
    while count < waiting.count, outgoing.room > 0 {
      try write(waiting[count])
      count += 1
    }
    if count > 0 {
      note("writes \(count) bytes of records")
      waiting.removeFirst(count)
    }
    if waiting.isEmpty { try pumpRing() }
    finishClaim()
    try pumpFinish()
  }

  private func pumpRing() throws(Failure) {
    guard var position = resendPosition else { return }
    // The position is stored only now, on the way to the next piece: a process that dies in between has stored the old
    // one, and may not have let newer bytes take the place.
    produced.resent = position
    let tail = mutation == .claimWithoutRefresh ? min(seenTail, produced.tail) : produced.tail
    let first = position
    while position < tail, outgoing.room > 0 {
      try write(produced[position])
      position += 1
    }
    if position > first { note("re-sends \(first)..<\(position) of \(produced.tail)") }
    resendPosition = position
    if position >= tail {
      produced.resent = position
      resendPosition = nil
      note("has re-sent everything")
    }
  }

  private func pumpFinish() throws(Failure) {
    guard family.wantsFinish, !family.finishIsWritten, family.sent == family.toSend, try mayTouch() else { return }
    if cutover.isIdle && waiting.isEmpty && resendPosition == nil
      || mutation == .finishDuringAttach && waiting.isEmpty
    {
      try outgoing.finish()
      family.finishIsWritten = true
      note("writes FIN")
    } else if cutover.phase == .attached, !hasLeft, produced.finish == nil {
      lane!.post(.finish(produced.tail), from: index)
      note("puts FIN on the lane at \(produced.tail)")
    }
  }

  // MARK: The application sends

  /// The application sends up to `count` bytes, wherever they go now.
  func send(upTo count: Int) throws(Failure) {
    let count = min(count, family.toSend - family.sent)
    if count == 0 || isDead { return }
    guard try mayTouch() else { return }
    if index == 0, mayOffer, options.fabric == .verbs { try offer() }
    let queuesBehind = resendPosition != nil && mutation != .newerBytesOvertakeResend
    if cutover.outbound == .ring && !isForcedToKernel || queuesBehind {
      try sendIntoRing(count)
    } else {
      // Nothing older waits: records are followed by something to re-send, if only by its end.
      let accepted = min(count, outgoing.room)
      for _ in 0..<accepted { try write(nextCell()) }
      if accepted > 0 { note("sends \(accepted) over TCP, \(family.sent) in all") }
    }
  }

  private func sendIntoRing(_ count: Int) throws(Failure) {
    let ring = produced
    let free = resendPosition == nil ? ring.headAtProducer : ring.resent
    if ring.tail &- free > UInt64(ring.capacity), mutation != .spaceFreedAtPublish {
      throw Failure("end \(index) keeps \(ring.tail &- free) bytes in a ring of \(ring.capacity)")
    }
    let used = mutation == .spaceFreedAtPublish ? 0 : Int(ring.tail - free)
    let accepted = min(count, ring.capacity - used)
    if accepted <= 0 { return }
    for _ in 0..<accepted {
      let tail = produced.tail
      produced[tail] = nextCell()
      produced.tail = tail + 1
    }
    seenTail = produced.tail
    lane!.post(.tail(produced.tail), from: index)
    note("puts \(accepted) in the ring, tail \(produced.tail), \(family.sent) in all")
  }

  private func nextCell() -> Cell {
    let cell = Cell(
      byte: options.byte(family.sent, from: index), kind: .application, position: UInt32(family.sent))
    family.sent += 1
    return cell
  }

  // MARK: Attach and leave

  /// A lane has been wired up for this end.
  func take(_ lane: Lane) {
    self.lane = lane
    hasLeft = false
    family.begin()
    seenConsumed = 0
    seenTail = 0
    markIsCommitted = false
    hasOffered = false
    note("has a lane, epoch \(lane.epoch)")
  }

  private var mayOffer: Bool {
    guard index == 0, lane != nil, !hasLeft, isAtRest, booksAgree, !mustNotAttach else {
      return false
    }
    return !hasOffered
  }

  private func offer() throws(Failure) {
    let lane = lane!
    if options.fabric == .verbs, mutation != .offerEmptyHanded, mutation != .markNotFlipped {
      lane.isFlipped = lane.nonce.mark(from: .leader)[0] == options.byte(family.sent, from: 0)
    }
    hasOffered = true
    let written = UInt64(self.written)
    try step(.offer) { (machine) throws(Cutover.Violation) in
      try machine.offer(written: written)
    }
  }

  /// Looks at what the peer has said on the lane.
  func pollLane() throws(Failure) {
    guard let lane, !hasLeft, !isDead, try mayTouch() else { return }
    if cutover.phase == .kernel, mustNotAttach || !booksAgree { return try leave() }
    if index == 0 { try pollAsLeader(lane) } else { try pollAsFollower(lane) }
    if cutover.phase == .attached, family.publishedHead != family.consumed {
      family.publishedHead = family.consumed
      lane.post(.head(family.consumed), from: index)
      note("publishes head \(family.consumed)")
    }
  }

  private func pollAsLeader(_ lane: Lane) throws(Failure) {
    switch cutover.phase {
    case .kernel:
      let byteNotNeeded = options.fabric == .sharedMemory || mutation == .offerEmptyHanded
      if family.finishIsWritten { try leave() } else if mayOffer, byteNotNeeded { try offer() }
    case .offered:
      guard lane.learnedArrived else { return }
      try step(.peerLearned) { (machine) throws(Cutover.Violation) in try machine.peerLearned() }
    case .marked:
      guard lane.followerCutPublished, let cut = lane.cuts[1] else { return }
      let received = UInt64(self.received)
      if !fitsAhead(cut) { return try leave() }
      try step(.peerCut, "\(cut)") { (machine) throws(Cutover.Violation) in
        try machine.peerCut(cut, received: received)
      }
    default: break
    }
  }

  private func pollAsFollower(_ lane: Lane) throws(Failure) {
    guard cutover.phase == .kernel, let cut = lane.cuts[0] else { return }
    if family.finishIsWritten { return try leave() }
    // Over verbs the cut may come when the leader has long given up and gone on in TCP.
    if options.fabric == .verbs, received > Int(cut) { return try leave() }
    guard isAtRest, fitsAhead(cut) else { return }
    let written = UInt64(self.written)
    if options.fabric == .sharedMemory {
      // The cut lies in memory before the word says "learned"; the leader acts on it only once it is published.
      lane.cuts[1] = written
      if lane.word != .offered { return }
      lane.word = .learned
    }
    let received = UInt64(self.received)
    try step(.learn, "\(cut), own cut \(written)") { (machine) throws(Cutover.Violation) in
      try machine.learn(peerCut: cut, received: received, written: written)
    }
  }

  /// Whether the unread bytes before the peer's cut fit in the look-ahead.
  private func fitsAhead(_ cut: UInt64) -> Bool {
    if mutation == .lookAheadUnlimited { return true }
    return ahead.count + Int(cut) - received <= options.lookAhead
  }

  /// This end leaves the lane: because it wants to, or because it notices that the lane is over.
  func leave() throws(Failure) {
    guard let lane, !hasLeft, !isDead, !awaitsParent, claim() else { return }
    if options.fabric == .sharedMemory, index == 0, cutover.phase == .offered {
      if lane.word == .offered || mutation == .giveUpWithoutSwap {
        lane.word = .givenUp
      } else {
        try step(.peerLearned) { (machine) throws(Cutover.Violation) in try machine.peerLearned() }
      }
    }
    stop()
    let position = consumedNow
    try step(.laneDown) { (machine) throws(Cutover.Violation) in machine.laneDown(consumed: position) }
    if mutation == .undecidedGoesOn, cutover.phase == .undecided {
      isForcedToKernel = true
      try resend(from: 0)
      try pump()
    }
  }
}
