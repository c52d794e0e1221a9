import CLinux
import MillraceShim
import Synchronization

/// What the kernel path brings while the stream moves, and while it is on a lane: marks, records, and bytes that are the
/// application's.
extension Mover {
  /// Reads the peer's mark and records, once the application has read everything before them. Nobody reads while a call
  /// of the application's is still inside the kernel: it reads first.
  static func readKernel(_ c: ConnectionRef) -> Bool {
    let pins = c.pointee.pins.load(ordering: .sequentiallyConsistent)
    guard !Pins.hasKernelReaders(pins), Pins.pollers(pins) == 0 else { return false }
    // An error is the application's to see; reading would take it away.
    let events = Kernel.pollNow(c.pointee.fd, Int16(POLLIN))
    // What had arrived before a reset is still there, and read first.
    if events & Int16(POLLERR) != 0, isDrained(c) { return Leaving.kernelEnded(c) }
    // Below SO_RCVLOWAT there is something all the same.
    guard events & Int16(POLLIN) != 0 || !isDrained(c) else { return false }
    let received = c.pointee.kernelReceived.load(ordering: .relaxed)
    switch c.pointee.cutover.inbound {
    case .application: return endsHere(c)
    case .until(let cut) where received < cut: return endsHere(c)
    case .until where !Fabric.hasWords(c) && c.pointee.records.count == 0: return readFirst(c) || readRecord(c)
    case .until, .records: return readRecord(c)
    }
  }

  /// Whether everything that had arrived before a reset has been read: the kernel keeps it for the application.
  private static func isDrained(_ c: ConnectionRef) -> Bool { Kernel.queued(c.pointee.fd, CL_FIONREAD) == 0 }

  /// Over verbs the first byte at the leader's cut may be the application's: then the leader went on in TCP. True if so.
  private static func readFirst(_ c: ConnectionRef) -> Bool {
    var byte: UInt8 = 0
    let r = withUnsafeMutablePointer(to: &byte) { Kernel.receive(c.pointee.fd, $0, 1, Int32(MSG_PEEK)) }
    guard r == 1, isApplications(c, byte) else { return false }
    return handle(c) { () throws(Cutover.Violation) in try c.pointee.cutover.markRead(matches: false) }
  }

  private static func isApplications(_ c: ConnectionRef, _ byte: UInt8) -> Bool {
    let phase = c.pointee.cutover.phase
    guard phase == .learned || phase == .probing else { return false }
    return byte != peerMark(c)[0]
  }

  /// The mark that the peer writes. Only the leader's may be flipped.
  private static func peerMark(_ c: ConnectionRef) -> Nonce {
    let isFlipped = c.pointee.laneRole == .follower && c.pointee.isFlipped
    return c.pointee.nonce.mark(from: c.pointee.laneRole.peer, flipped: isFlipped)
  }

  /// Whether the kernel stream ends where the application's bytes are expected. A look that takes nothing.
  private static func endsHere(_ c: ConnectionRef) -> Bool {
    var byte: UInt8 = 0
    let r = withUnsafeMutablePointer(to: &byte) { Kernel.receive(c.pointee.fd, $0, 1, Int32(MSG_PEEK)) }
    return r == 0 && Leaving.kernelEnded(c)
  }

  private static func readRecord(_ c: ConnectionRef) -> Bool {
    withUnsafeTemporaryAllocation(byteCount: Record.byteCount, alignment: 8) { space in
      // Who takes over from this process, should it die now, needs what is in there.
      if c.pointee.isFamily, c.pointee.records.count == 0, !noteRecord(c, space) { return false }
      let r = Kernel.receive(c.pointee.fd, space.baseAddress!, c.pointee.records.missing)
      if r == 0 { return Leaving.kernelEnded(c) }
      guard r > 0 else { return false }
      var index = 0
      while index < r {
        _ = takeByte(c, space[index])
        index += 1
      }
      return true
    }
  }

  /// False if only a part is there, and the rest may still come.
  private static func noteRecord(_ c: ConnectionRef, _ space: UnsafeMutableRawBufferPointer) -> Bool {
    let r = Kernel.receive(c.pointee.fd, space.baseAddress!, Record.byteCount, Int32(MSG_PEEK))
    guard r == Record.byteCount else { return r <= 0 || Leaving.kernelHasEnded(c) }
    var buffer = RecordBuffer()
    for byte in space { buffer.append(byte) }
    if let words = buffer.take() { TakingOver.note(c, words) }
    return true
  }

  /// A record that another process of this end has found before.
  static func take(_ record: Record, _ c: ConnectionRef, endsAt end: UInt64) -> Bool {
    let taken = handle(c) { () throws(Cutover.Violation) in
      try c.pointee.cutover.record(
        record, received: end, consumed: c.pointee.consumer!.head, held: c.pointee.producer!.held,
        sent: c.pointee.producer!.tail)
    }
    if taken { tellTaken(c, end) }
    return taken
  }

  /// Bytes that a call of the application's read behind its own: marks, records, and what follows a DETACH, which is the
  /// application's again and is moved up behind the rest. How many bytes that were.
  static func takeRecords(_ c: ConnectionRef, from call: UnsafeMutablePointer<mr_call>, at: Int, count: Int) -> Int {
    // They are counted one by one: a record's place in the stream matters.
    c.pointee.kernelReceived.wrappingSubtract(UInt64(count), ordering: .relaxed)
    var kept = 0
    Vectors.forEachPiece(call, at: at, count: count) { piece, length in
      var index = 0
      while index < length {
        var byte = (piece + index).load(as: UInt8.self)
        if !takeByte(c, byte) {
          Vectors.scatter(call, from: &byte, at: at &+ kept, count: 1)
          kept &+= 1
        }
        index += 1
      }
    }
    return kept
  }

  /// The kernel has given bytes to a call that did not come back. A mark is known, whoever reads it; a record is not.
  static func makeUp(_ c: ConnectionRef, lost: UInt64) {
    var left = lost
    while left > 0 {
      let received = c.pointee.kernelReceived.load(ordering: .relaxed)
      switch c.pointee.cutover.inbound {
      case .application:
        c.pointee.kernelReceived.wrappingAdd(left, ordering: .relaxed)
        return
      case .until(let cut) where received < cut:
        let count = min(left, cut &- received)
        c.pointee.kernelReceived.wrappingAdd(count, ordering: .relaxed)
        left &-= count
      case .until(let cut) where received &- cut < UInt64(Record.byteCount):
        _ = takeByte(c, peerMark(c)[Int(received &- cut)])
        left &-= 1
      case .until, .records:
        return Leaving.breakOff(c)
      }
    }
  }

  /// Takes one byte of the kernel path. False if it is the application's.
  private static func takeByte(_ c: ConnectionRef, _ byte: UInt8) -> Bool {
    let received = c.pointee.kernelReceived.wrappingAdd(1, ordering: .relaxed).newValue
    switch c.pointee.cutover.inbound {
    case .application:
      return false
    case .until(let cut) where received <= cut:
      return false
    case .until where !Fabric.hasWords(c) && c.pointee.records.count == 0 && isApplications(c, byte):
      return handle(c) { () throws(Cutover.Violation) in try c.pointee.cutover.markRead(matches: false) } && false
    case .until, .records:
      takeRecordByte(c, byte, received)
      return true
    }
  }

  private static func takeRecordByte(_ c: ConnectionRef, _ byte: UInt8, _ received: UInt64) {
    c.pointee.records.append(byte)
    guard let words = c.pointee.records.take() else { return }
    defer { tellTaken(c, received) }
    if case .until = c.pointee.cutover.inbound { return takeMark(c, words) }
    guard let record = Record(decoding: words, for: c.pointee.nonce) else { return Leaving.breakOff(c) }
    _ = handle(c) { () throws(Cutover.Violation) in
      try c.pointee.cutover.record(
        record, received: received, consumed: c.pointee.consumer!.head, held: c.pointee.producer!.held,
        sent: c.pointee.producer!.tail)
    }
  }

  /// Tells the peer how far its records are read: what it still has there would make the kernel reset when this end goes.
  private static func tellTaken(_ c: ConnectionRef, _ received: UInt64) {
    // Partner: StandIn.areRecordsTaken at the peer.
    c.pointee.segment?.side(c.pointee.laneRole).recordsTaken.pointee.store(received, ordering: .releasing)
    // It waits for this before it is TCP's again.
    if c.pointee.cutover.inbound == .application { Bell.signal(c) }
  }

  private static func takeMark(_ c: ConnectionRef, _ words: Nonce) {
    Stats.count(.marksRead)
    let matches = words == peerMark(c)
    _ = handle(c) { () throws(Cutover.Violation) in
      // Whether the leader moved is agreed in shared memory, or was told by the first byte: other bytes in this place are
      // nobody's.
      guard matches else { throw .badMark }
      return try c.pointee.cutover.markRead(matches: true)
    }
  }
}
