import MillraceCore

/// The way in: the kernel path with its marks and records, the lane, and what a dead peer leaves behind.
extension End {
  /// The application reads up to `count` bytes.
  func receive(upTo count: Int) throws(Failure) {
    if isDead || family.sawEnd { return }
    guard try mayTouch() else { return }
    var room = count
    repeat {
      try deliverAhead(&room)
    } while try readKernel(&room, forApplication: true)
    if room > 0, ahead.isEmpty { try consume(&room) }
    if ahead.isEmpty { try lookForEnd() }
  }

  /// The service thread reads records, and looks ahead of an application that does not read.
  func readRecords() throws(Failure) {
    if isDead { return }
    // The records of a lane that several hold are for the one who leaves it.
    guard try mayTouch(), claimForRecord() else { return }
    var none = 0
    while try readKernel(&none, forApplication: false) {}
    settleClaim()
  }

  private func deliverAhead(_ room: inout Int) throws(Failure) {
    let count = min(room, ahead.count)
    for index in 0..<count { try deliver(ahead[index]) }
    ahead.removeFirst(count)
    room -= count
  }

  private func deliver(_ cell: Cell) throws(Failure) {
    if cell.kind != .application { throw Failure("end \(index): the application reads a byte of \(cell.kind)") }
    if cell.position != UInt32(family.delivered) {
      throw Failure("end \(index): the application reads byte \(cell.position) where \(family.delivered) is due")
    }
    family.delivered += 1
    progress += 1
  }

  /// Reads the kernel path as far as it goes. True if bytes were put before what is still to be read, so that it has to
  /// be called again.
  private func readKernel(_ room: inout Int, forApplication: Bool) throws(Failure) -> Bool {
    let delivered = family.delivered
    defer {
      let count = family.delivered - delivered
      if count > 0 { note("reads \(count) of TCP, \(family.delivered) in all") }
    }
    if leavesRecords { return false }
    while incoming.readable > 0 {
      switch cutover.inbound {
      case .records:
        try collect()
      case .until(let cut) where UInt64(received) >= cut && mutation != .inboundNotLimited:
        if try collectMark() { return true }
      case .until where !forApplication:
        if ahead.count >= options.lookAhead { return false }
        ahead.append(take())
        note("reads a byte ahead")
      case .application where !forApplication:
        return false
      case .until, .application:
        // With bytes left ahead of these, the application has no room.
        if room == 0 { return false }
        try deliver(take())
        room -= 1
      }
    }
    return false
  }

  private func take() -> Cell {
    received += 1
    return incoming.read()
  }

  // MARK: Marks and records

  /// Takes one byte at the peer's cut. True if it turns out that the bytes there are the application's.
  private func collectMark() throws(Failure) -> Bool {
    let lane = lane!
    let expected = lane.nonce.mark(from: cutover.role.peer, flipped: index == 1 && lane.isFlipped)
    let cell = take()
    progress += 1
    record.append(cell.byte)
    recordCells.append(cell)
    if !record.agrees(with: expected) {
      if options.fabric == .sharedMemory { throw Failure("end \(index): no mark at the cut") }
      if record.count > 1, mutation == nil {
        throw Failure("end \(index): the first byte at the cut has not decided")
      }
      if mutation != .missingMarkIgnored { ahead.append(contentsOf: recordCells) }
      clearRecord()
      try step(.markMissing) { (machine) throws(Cutover.Violation) in
        try machine.markRead(matches: false)
      }
      return true
    }
    guard record.take() != nil else { return false }
    try expect(.mark)
    try step(.markRead) { (machine) throws(Cutover.Violation) in
      try machine.markRead(matches: true)
    }
    return false
  }

  /// Takes one byte of a record.
  private func collect() throws(Failure) {
    let cell = take()
    progress += 1
    record.append(cell.byte)
    recordCells.append(cell)
    guard let words = record.take() else { return }
    guard let record = Record(decoding: words, for: lane!.nonce) else {
      throw Failure("end \(index): sixteen bytes that are no record")
    }
    try expect(record == .learned ? .learned : .detach)
    let received = UInt64(self.received)
    let (consumed, held, sent) = (consumedNow, produced.headAtProducer, produced.tail)
    try step(record == .learned ? .recordLearned : .recordDetach, "\(record)") { (machine) throws(Cutover.Violation) in
      try machine.record(record, received: received, consumed: consumed, held: held, sent: sent)
    }
  }

  private func clearRecord() {
    record = RecordBuffer()
    recordCells.removeAll(keepingCapacity: true)
  }

  /// All the bytes just collected must be of `kind`.
  private func expect(_ kind: Cell.Kind) throws(Failure) {
    for cell in recordCells where cell.kind != kind {
      throw Failure("end \(index): a byte of \(cell.kind) was taken for \(kind)")
    }
    clearRecord()
  }

  // MARK: The lane

  private var mayConsume: Bool {
    switch mutation {
    case .followerConsumesBeforeOwnMark where cutover.phase == .seen: true
    case .leaderConsumesBeforePeersMark where cutover.phase == .confirmed: true
    case .consumeAfterDetach where cutover.phase == .detaching && markIsCommitted: true
    default: cutover.mayConsume && !hasLeft
    }
  }

  private func consume(_ room: inout Int) throws(Failure) {
    guard mayConsume, let lane else { return }
    let ring = lane.rings[1 - index]
    let first = family.consumed
    var consumed = first
    defer {
      family.consumed = consumed
      seenConsumed = consumed
    }
    while room > 0, consumed < ring.tailAtConsumer {
      // A mutation is to be caught by what it does to the streams, and not by this check.
      if !markIsCommitted, mutation == nil { throw Failure("end \(index) consumes before its own mark") }
      try deliver(ring[consumed])
      consumed += 1
      room -= 1
    }
    if consumed > first {
      note("consumes \(first)..<\(consumed) of \(ring.tailAtConsumer), \(family.delivered) in all")
    }
    if let finish = ring.finish, finish == consumed, !hasLeft {
      family.sawEnd = true
      note("reads the end of the stream on the lane")
    }
  }

  // MARK: The end of the stream

  private func lookForEnd() throws(Failure) {
    guard incoming.atEnd || endsEarly, !family.sawEnd else { return }
    // On a dead peer's lane the ring is what is left; a living peer's FIN comes when it is idle.
    // Who does not know how far all of them have come on TCP, knows not where the ring goes on.
    if let lane, lane.fabric == .sharedMemory, received == incoming.readCount || mutation == .remainderUnaudited {
      let from = cutover.remainder(
        received: UInt64(received), consumed: family.consumed, peerCut: lane.cuts[1 - index],
        resent: mutation == .remainderUnaudited ? 0 : lane.rings[1 - index].resent)
      coverage?.countRemainder(cutover.inbound, isEmpty: from.map { $0 >= lane.rings[1 - index].tail } ?? true)
      if let from { try deliverRemainder(of: lane.rings[1 - index], from: from) }
    }
    for cell in recordCells where cell.kind == .application {
      throw Failure("end \(index): the application's bytes are left in the record buffer")
    }
    family.sawEnd = true
    note("reads the end of the stream")
  }

  private var endsEarly: Bool {
    guard mutation == .remainderBeforeKernelEnd, let lane else { return false }
    return lane.hungUp[1 - index] && incoming.isFinished && incoming.readable == 0
  }

  private func deliverRemainder(of ring: Ring, from position: UInt64) throws(Failure) {
    var position = mutation == .remainderFromHead ? family.consumed : position
    if position >= ring.tail || ring.tail - position > UInt64(ring.capacity) { return }
    note("reads what is left in the ring: \(position)..<\(ring.tail)")
    while position < ring.tail {
      try deliver(ring[position])
      position += 1
    }
  }
}
