/// Decides which memory of a producer's ring is given back to the system.
///
/// Positions run through the whole ring as bytes go by, so a lane that has been used once would keep all of its pages.
/// Giving one back costs a page fault when the positions come round to it, which is nothing to a lane that needs longer
/// than the time between two looks to go round once, and too much for one that is busy.
public struct RingTrim {
  /// The producer's tail at the last look.
  private var lookedAt: UInt64 = 0
  /// The tail when pages were last given back. Nothing is resident before the first byte.
  private var trimmedAt: UInt64 = 0
  /// Every page was given back then, and not only those that held nothing.
  private var isWhole = true

  /// What is less than this is not worth a system call.
  private static let leastPages: UInt64 = 2

  /// Of a lane that has not carried anything yet.
  public init() {}

  /// Looks at the ring, once in a period. The memory to give back now, if any: whole pages that hold nothing which the
  /// consumer has not taken, in one piece, since the ring is mapped twice in a row. Whatever the producer writes to must not
  /// be written meanwhile.
  public mutating func look(at ring: inout RingProducer, pageBytes: Int) -> UnsafeMutableRawBufferPointer? {
    let moved = ring.tail &- lookedAt
    lookedAt = ring.tail
    // Busy: the next round through the ring would fault at each page.
    guard moved < UInt64(truncatingIfNeeded: ring.capacity), ring.refresh() else { return nil }
    if moved == 0, ring.pending == 0 {
      // Idle: the page that the next byte goes to as well.
      if isWhole, trimmedAt == ring.tail { return nil }
      trimmedAt = ring.tail
      isWhole = true
      return ring.memory
    }
    guard ring.tail &- trimmedAt >= Self.leastPages &* UInt64(truncatingIfNeeded: pageBytes) else { return nil }
    trimmedAt = ring.tail
    isWhole = false
    return ring.vacantPages(of: pageBytes)
  }
}
