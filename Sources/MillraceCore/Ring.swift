import Synchronization

/// The producing end of a ring: one direction of a lane, one producer at a time.
///
/// The ring is mapped twice in a row, so no copy wraps. Positions count bytes and never decrease; the ring holds the
/// bytes from the consumer's head to the producer's tail. Nothing that the peer writes is trusted: its head is read
/// once, then checked. The connection's send lock guards a value of this type.
public struct RingProducer {
  private let data: UnsafeMutableRawPointer
  /// Bytes of the ring, a power of two.
  public let capacity: Int
  private let own: SideControl
  private let peer: SideControl
  /// Position behind the last byte written.
  public private(set) var tail: UInt64
  /// The consumer's head as last seen; the true one is never lower.
  private var seenHead: UInt64

  /// Bytes that are published at a time, so that both ends of a large transfer copy at once.
  public static let pieceBytes = 16 << 10

  /// The producing end over `data`, which is mapped twice in a row. Begins at `position`, whatever shared memory said: who
  /// made it may have left anything there.
  public init(
    data: UnsafeMutableRawPointer, capacity: Int, own: SideControl, peer: SideControl, position: UInt64 = 0
  ) {
    self.data = data
    self.capacity = capacity
    self.own = own
    self.peer = peer
    tail = position
    // Nothing that this could release is there yet.
    own.tail.pointee.store(position, ordering: .relaxed)
    // Full, until the peer shows a head that is none of a liar's.
    seenHead = tail &- UInt64(truncatingIfNeeded: capacity)
    _ = refresh()
  }

  /// Bytes that the consumer has not freed, by its head as last seen.
  @inline(__always)
  public var pending: Int { Int(truncatingIfNeeded: tail &- seenHead) }

  /// Position of the oldest byte that is certainly still in the ring.
  public var held: UInt64 { tail &- UInt64(truncatingIfNeeded: pending) }

  /// Free bytes, by the consumer's head as last seen. At least these are free.
  @inline(__always)
  public var room: Int { capacity &- pending }

  /// Reads the consumer's head again. False if it is absurd: then the peer is broken or hostile.
  @inline(__always)
  public mutating func refresh() -> Bool {
    // Partner: RingConsumer.free, which releases after its last read of the bytes.
    let head = peer.head.pointee.load(ordering: .acquiring)
    let pending = tail &- head
    guard pending <= UInt64(truncatingIfNeeded: capacity) else { return false }
    seenHead = head
    return true
  }

  /// Copies bytes in, as many as fit, and publishes them piece by piece but for the last, which ``publish()`` does.
  /// Returns how many went in. Call ``refresh()`` first when ``room`` does not suffice.
  @inline(__always)
  public mutating func write(_ bytes: UnsafeRawPointer, count: Int) -> Int {
    let total = min(count, room)
    if total <= Self.pieceBytes {
      copyIn(bytes, count: total)
      return total
    }
    return writePieces(bytes, count: total)
  }

  @inline(never)
  private mutating func writePieces(_ bytes: UnsafeRawPointer, count: Int) -> Int {
    var done = 0
    while done < count {
      let piece = min(count &- done, Self.pieceBytes)
      copyIn(bytes + done, count: piece)
      done &+= piece
      // Partner: RingConsumer.refresh.
      own.tail.pointee.store(tail, ordering: .releasing)
    }
    return done
  }

  @inline(__always)
  private mutating func copyIn(_ bytes: UnsafeRawPointer, count: Int) {
    let offset = Int(truncatingIfNeeded: tail) & (capacity &- 1)
    (data + offset).copyMemory(from: bytes, byteCount: count)
    tail &+= UInt64(truncatingIfNeeded: count)
  }

  /// The free space as one piece of memory, for reading a file straight into the ring. ``commit(_:)`` what was filled.
  public var space: UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(start: data + (Int(truncatingIfNeeded: tail) & (capacity &- 1)), count: room)
  }

  /// Counts bytes that were filled into ``space`` as written.
  public mutating func commit(_ count: Int) {
    tail &+= UInt64(truncatingIfNeeded: count)
  }

  /// Makes everything written visible, and tells who has to be woken: the consumer's ``ArmBits``, which are taken.
  @inline(__always)
  public func publish() -> UInt32 {
    // Partner: RingConsumer.isEmpty(afterArming:). Either this load sees its arm, or its load sees this tail.
    own.tail.pointee.store(tail, ordering: .sequentiallyConsistent)
    if peer.readerArm.pointee.load(ordering: .sequentiallyConsistent) & ArmBits.all == 0 { return 0 }
    return peer.takeReaders()
  }

  /// Sets flags behind the last byte, and tells who has to be woken.
  public func finish(_ flags: UInt32) -> UInt32 {
    own.tail.pointee.store(tail, ordering: .sequentiallyConsistent)
    own.finish.pointee.bitwiseOr(flags, ordering: .sequentiallyConsistent)
    return peer.takeReaders()
  }

  /// Whether this end has finished its ring, in whichever of its processes.
  @inline(__always)
  public var isFinished: Bool { own.finish.pointee.load(ordering: .relaxed) != 0 }

  /// Whether a writer should wait: less than a third is free, which is when TCP calls a socket not writable.
  @inline(__always)
  public var isCrowded: Bool { room < capacity / 3 }

  /// Arms: the consumer will ring when it has made room. Then looks once more; true if the writer may sleep.
  public mutating func mustWait(arming bits: UInt32) -> Bool {
    own.writerArm.pointee.bitwiseOr(bits, ordering: .sequentiallyConsistent)
    // Partner: RingConsumer.free. Either this load sees its head, or it sees the arm.
    let head = peer.head.pointee.load(ordering: .sequentiallyConsistent)
    guard tail &- head <= UInt64(truncatingIfNeeded: capacity) else { return false }
    seenHead = head
    return isCrowded
  }

  /// Bytes of the ring from `position` on, for sending them over TCP after a detach. Nil if the ring cannot hold them: a
  /// tail that was reloaded from shared memory may be a liar's.
  public func retained(from position: UInt64) -> UnsafeRawBufferPointer? {
    let count = tail &- position
    guard count <= UInt64(truncatingIfNeeded: capacity) else { return nil }
    let offset = Int(truncatingIfNeeded: position) & (capacity &- 1)
    return UnsafeRawBufferPointer(start: data + offset, count: Int(truncatingIfNeeded: count))
  }

  /// The memory of the whole ring, once.
  public var memory: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: data, count: capacity) }

  /// The whole pages within ``space``; nil if there is none. Nothing in them will be read again: what the consumer has
  /// not freed lies outside.
  public func vacantPages(of bytes: Int) -> UnsafeMutableRawBufferPointer? {
    let start = Int(truncatingIfNeeded: tail) & (capacity &- 1)
    let first = (start &+ bytes &- 1) & ~(bytes &- 1)
    let end = (start &+ room) & ~(bytes &- 1)
    return first < end ? UnsafeMutableRawBufferPointer(start: data + first, count: end &- first) : nil
  }

  /// Takes the own tail from shared memory, where another process of this end may have moved it. False if absurd.
  public mutating func reload() -> Bool {
    tail = own.tail.pointee.load(ordering: .acquiring)
    // The peer can write this word too. Whatever it says, and even if the result is ignored, nothing leads out of the
    // ring: it counts as full until the head agrees.
    seenHead = tail &- UInt64(truncatingIfNeeded: capacity)
    return refresh()
  }
}

/// The consuming end of a ring. The connection's receive lock guards a value of this type.
public struct RingConsumer {
  private let data: UnsafeRawPointer
  /// Bytes of the ring, a power of two.
  public let capacity: Int
  private let own: SideControl
  private let peer: SideControl
  /// Position of the next byte to consume.
  public private(set) var head: UInt64
  /// The producer's tail as last seen; the true one is never lower.
  private var seenTail: UInt64

  /// The consuming end over `data`, which is mapped twice in a row. Begins at `position`, as ``RingProducer`` does.
  public init(
    data: UnsafeRawPointer, capacity: Int, own: SideControl, peer: SideControl, position: UInt64 = 0
  ) {
    self.data = data
    self.capacity = capacity
    self.own = own
    self.peer = peer
    head = position
    seenTail = position
    own.head.pointee.store(position, ordering: .relaxed)
  }

  /// Bytes that are ready, by the producer's tail as last seen.
  @inline(__always)
  public var ready: Int { Int(truncatingIfNeeded: seenTail &- head) }

  /// Reads the producer's tail again. False if it is absurd.
  @inline(__always)
  public mutating func refresh() -> Bool {
    // Partner: RingProducer.publish and writePieces, which store after the bytes.
    let tail = peer.tail.pointee.load(ordering: .acquiring)
    guard tail &- head <= UInt64(truncatingIfNeeded: capacity) else { return false }
    seenTail = tail
    return true
  }

  /// Whether there is more than `seen` bytes, which somebody has looked at without consuming them. Reads the tail only if no
  /// more is known to be ready.
  @inline(__always)
  public mutating func holds(moreThan seen: Int) -> Bool {
    if ready > seen { return true }
    let count = peer.tail.pointee.load(ordering: .relaxed) &- head
    return count > UInt64(truncatingIfNeeded: seen)
  }

  /// Copies ready bytes out from `offset` behind the head, without consuming them.
  @inline(__always)
  public func copy(to bytes: UnsafeMutableRawPointer, offset: Int, count: Int) {
    let at = Int(truncatingIfNeeded: head &+ UInt64(truncatingIfNeeded: offset)) & (capacity &- 1)
    bytes.copyMemory(from: data + at, byteCount: count)
  }

  /// The ready bytes as one piece of memory.
  public var bytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: data + (Int(truncatingIfNeeded: head) & (capacity &- 1)), count: ready)
  }

  /// Gives `count` bytes back to the producer, and tells who has to be woken: the producer's ``ArmBits``, taken.
  @inline(__always)
  public mutating func free(_ count: Int) -> UInt32 {
    head &+= UInt64(truncatingIfNeeded: count)
    // Partner: RingProducer.mustWait. Either this load sees its arm, or its load sees this head.
    own.head.pointee.store(head, ordering: .sequentiallyConsistent)
    if peer.writerArm.pointee.load(ordering: .sequentiallyConsistent) & ArmBits.all == 0 { return 0 }
    return takeWriterArm()
  }

  @inline(never)
  private func takeWriterArm() -> UInt32 {
    // A producer that was woken for a few bytes would find itself crowded again.
    let tail = peer.tail.pointee.load(ordering: .relaxed)
    if Int(truncatingIfNeeded: tail &- head) > capacity &- capacity / 3 { return 0 }
    return peer.takeWriters()
  }

  /// Arms: the producer will ring when it has put something in. Then looks once more; true if the reader may sleep, who has
  /// looked at `seen` bytes without consuming them.
  public mutating func mustWait(arming bits: UInt32, seen: Int = 0) -> Bool {
    own.readerArm.pointee.bitwiseOr(bits, ordering: .sequentiallyConsistent)
    // Partner: RingProducer.publish.
    let tail = peer.tail.pointee.load(ordering: .sequentiallyConsistent)
    guard tail &- head <= UInt64(truncatingIfNeeded: seen) else { return false }
    return peer.finish.pointee.load(ordering: .sequentiallyConsistent) == 0
  }

  /// The producer's ``FinishFlags``. Read them before the last look at the tail: bytes come before the flags.
  @inline(__always)
  public var finishFlags: UInt32 { peer.finish.pointee.load(ordering: .acquiring) }

  /// Goes on at `position`, if it is not behind the head already. False if it is none of the ring's as last seen.
  public mutating func skip(to position: UInt64) -> Bool {
    if position <= head { return true }
    guard position <= seenTail else { return false }
    head = position
    own.head.pointee.store(head, ordering: .releasing)
    return true
  }

  /// Gives up what the ring holds: it does not continue the stream.
  public mutating func skipAll() {
    head = peer.tail.pointee.load(ordering: .acquiring)
    seenTail = head
    own.head.pointee.store(head, ordering: .releasing)
  }

  /// Takes the own head from shared memory, where another process of this end may have moved it. False if absurd.
  public mutating func reload() -> Bool {
    head = own.head.pointee.load(ordering: .acquiring)
    seenTail = head
    return refresh()
  }
}
