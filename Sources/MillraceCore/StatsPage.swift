import Synchronization

/// The statistics of one process, in memory that `millrace ss` reads from outside.
///
/// A header of one memory page (identity, events, decline reasons), then one `ConnectionRow` per
/// connection. Rows come from a free list, so only as much memory is touched as there are
/// connections at one time. Writers are the threads of the process; all of them may call everything
/// here at any time, except that one row has one updater at a time. Nothing allocates or blocks.
public struct StatsPage {
  /// "MILLRACE" in the order of its bytes.
  public static let magic: UInt64 = 0x4543_4152_4c4c_494d
  /// Changes with every incompatible change of the layout.
  public static let version: UInt32 = 1
  /// Rows in a page.
  public static let rowCount = 4096
  /// Slots for counters, and as many for decline reasons.
  public static let slotCount = 64
  /// Bytes of the header: one memory page.
  public static let headerBytes = 4096
  /// Bytes of one row.
  public static let rowBytes = 128
  /// Bytes of the whole page.
  public static let byteCount = headerBytes + rowCount * rowBytes
  /// The name of the memfd; its link in /proc reads `/memfd:NAME (deleted)`.
  public static let name: StaticString = "millrace-stats"

  /// Where the parts of the header are, in bytes. All numbers are in host order: the page never
  /// leaves its host.
  public enum Offset {
    /// `StatsPage.magic`, 64 bits.
    public static let magic = 0
    /// `StatsPage.version`, 32 bits.
    public static let version = 8
    /// The process that fills the page, as it knows itself, 32 bits. A child made by fork inherits the descriptor of
    /// its parent's page, and is told apart by this.
    public static let pid = 12
    /// When that process started, in clock ticks, or 0; 64 bits.
    public static let startTime = 16
    /// `StatsPage.byteCount`, 64 bits.
    public static let byteCount = 24
    /// `StatsPage.rowCount`, 32 bits.
    public static let rowCount = 32
    /// One more than the highest row ever claimed, 32 bits.
    public static let highWater = 36
    /// The head of the list of free rows, 64 bits; of no use to a reader.
    public static let freeList = 40
    /// What an operator wants of the whole process: an `OperatorWish`, 32 bits. Written from outside.
    public static let wish = 48
    /// The eventfd by which the process is told that a wish has changed, -1 if nobody listens; 32 bits.
    public static let wakeup = 52
    /// Changes with every wish, of the process or of a connection; 32 bits. Written from outside.
    public static let wishes = 56
    /// A slot of 64 bits per `Counter`.
    public static let counters = 64
    /// A slot of 64 bits per `DeclineReason`.
    public static let declines = counters + 8 * StatsPage.slotCount
  }

  /// The page's first byte, aligned to a memory page.
  public let base: UnsafeMutableRawPointer

  /// A view of memory of `byteCount` bytes that is zero, or that `initialize` has been called on.
  @inline(__always)
  public init(_ base: UnsafeMutableRawPointer) { self.base = base }

  /// Writes the header. The memory must be zero; call once, before any other thread can see it.
  /// `startTime` is the process' in clock ticks, field 22 of /proc/PID/stat; 0 if not known.
  public func initialize(pid: Int32, startTime: UInt64) {
    base.storeBytes(of: StatsPage.version, toByteOffset: Offset.version, as: UInt32.self)
    base.storeBytes(of: pid, toByteOffset: Offset.pid, as: Int32.self)
    base.storeBytes(of: startTime, toByteOffset: Offset.startTime, as: UInt64.self)
    base.storeBytes(of: Int32(-1), toByteOffset: Offset.wakeup, as: Int32.self)
    base.storeBytes(
      of: UInt64(StatsPage.byteCount), toByteOffset: Offset.byteCount, as: UInt64.self)
    base.storeBytes(of: UInt32(StatsPage.rowCount), toByteOffset: Offset.rowCount, as: UInt32.self)
    // The magic comes last: a reader that sees it sees the rest of the header.
    word64(Offset.magic).pointee.store(StatsPage.magic, ordering: .releasing)
  }

  /// Counts one event; exact among threads. One locked instruction.
  @inline(__always)
  public func count(_ counter: Counter) {
    word64(Offset.counters + 8 * counter.rawValue).pointee.wrappingAdd(1, ordering: .relaxed)
  }

  /// Counts several events.
  @inline(__always)
  public func count(_ counter: Counter, by number: UInt64) {
    word64(Offset.counters + 8 * counter.rawValue).pointee.wrappingAdd(number, ordering: .relaxed)
  }

  /// Counts one event of the data path: cheaper than `count`, and may lose events that two threads
  /// count at the same moment.
  @inline(__always)
  public func tick(_ counter: Counter) {
    let word = word64(Offset.counters + 8 * counter.rawValue)
    word.pointee.store(word.pointee.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
  }

  /// Counts one declined lane; exact among threads.
  @inline(__always)
  public func decline(_ reason: DeclineReason) {
    word64(Offset.declines + 8 * Int(reason.rawValue)).pointee
      .wrappingAdd(1, ordering: .relaxed)
  }

  /// The value of a counter.
  public func value(_ counter: Counter) -> UInt64 {
    word64(Offset.counters + 8 * counter.rawValue).pointee.load(ordering: .relaxed)
  }

  /// How often a reason was counted.
  public func value(_ reason: DeclineReason) -> UInt64 {
    word64(Offset.declines + 8 * Int(reason.rawValue)).pointee.load(ordering: .relaxed)
  }

  /// The descriptor on which the process listens for changed wishes.
  public func setWakeup(_ fd: Int32) {
    word32(Offset.wakeup).pointee.store(UInt32(bitPattern: fd), ordering: .relaxed)
  }

  /// Changes whenever an operator has said something.
  public var wishes: UInt32 { word32(Offset.wishes).pointee.load(ordering: .acquiring) }

  /// Whether an operator wants no lanes: for the whole process, or for the connection of row `index`; -1 asks for the
  /// process alone.
  public func wantsNoLane(_ index: Int32) -> Bool {
    let off = OperatorWish.off.rawValue
    if word32(Offset.wish).pointee.load(ordering: .relaxed) == off { return true }
    guard index >= 0, index < StatsPage.rowCount else { return false }
    return word32(StatsPage.headerBytes + Int(index) * StatsPage.rowBytes + ConnectionRow.wishOffset)
      .pointee.load(ordering: .relaxed) == off
  }

  /// One more than the highest row ever claimed.
  public var highWater: UInt32 { word32(Offset.highWater).pointee.load(ordering: .acquiring) }

  /// The row of index `i`, 0 ..< rowCount.
  @inline(__always)
  public func row(_ i: Int32) -> UnsafeMutablePointer<ConnectionRow> {
    base.advanced(by: StatsPage.headerBytes + Int(i) * StatsPage.rowBytes)
      .assumingMemoryBound(to: ConnectionRow.self)
  }

  // MARK: Rows

  /// Takes a free row, marked in use and otherwise blank; -1 if all are taken. Fill it in between
  /// `beginUpdate` and `endUpdate`.
  public func claimRow() -> Int32 {
    let index = popFree()
    guard index >= 0 else { return -1 }
    let row = row(index)
    beginUpdate(index)
    // Everything but the sequence, which must go on from the row's last use.
    var blank = ConnectionRow()
    blank.sequence = row.pointee.sequence
    blank.state = 1
    row.pointee = blank
    endUpdate(index)
    return index
  }

  /// Gives a row back. -1, and a row that is free already, are allowed and do nothing.
  public func releaseRow(_ index: Int32) {
    guard index >= 0, index < StatsPage.rowCount, row(index).pointee.state != 0 else { return }
    beginUpdate(index)
    row(index).pointee.state = 0
    endUpdate(index)
    pushFree(index)
  }

  /// Tells readers that the first line of a row is about to change.
  @inline(__always)
  public func beginUpdate(_ index: Int32) {
    sequence(index).pointee.wrappingAdd(1, ordering: .relaxed)
    // Partner: the fence in `snapshot`. A reader that sees a changed field sees the odd sequence.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
  }

  /// Tells readers that a row is at rest again.
  @inline(__always)
  public func endUpdate(_ index: Int32) {
    // Partner: the first load in `snapshot`.
    sequence(index).pointee.wrappingAdd(1, ordering: .releasing)
  }

  /// A whole, plausible copy of a row that is in use; nil if it is free, or still changes after a
  /// few tries, or holds values that no writer of this version writes.
  public func snapshot(_ index: Int32) -> ConnectionRow? {
    snapshot(index, afterCopy: {})
  }

  /// The same, calling `afterCopy` where a writer can come between the copy and the look back at the sequence.
  func snapshot(_ index: Int32, afterCopy: () -> Void) -> ConnectionRow? {
    guard index >= 0, index < StatsPage.rowCount else { return nil }
    for _ in 0..<16 {
      let before = sequence(index).pointee.load(ordering: .acquiring)
      if before & 1 != 0 { continue }
      let copy = row(index).pointee
      afterCopy()
      atomicMemoryFence(ordering: .acquiring)
      let after = sequence(index).pointee.load(ordering: .relaxed)
      if before != after || copy.sequence != before { continue }
      return copy.isPlausible ? copy : nil
    }
    return nil
  }

  // MARK: The free list

  // A stack of free rows: the low half of the head is a row's index plus one, the high half counts
  // the changes, so that a head that came back by itself is not taken for the old one.

  private func popFree() -> Int32 {
    let head = word64(Offset.freeList)
    var old = head.pointee.load(ordering: .acquiring)
    while true {
      let first = UInt32(truncatingIfNeeded: old)
      if first == 0 || first > UInt32(StatsPage.rowCount) { return extend() }
      let next = row(Int32(first) - 1).pointee.nextFree
      let new = ((old >> 32) &+ 1) << 32 | UInt64(next)
      let (done, seen) = head.pointee.compareExchange(
        expected: old, desired: new, ordering: .acquiringAndReleasing)
      if done { return Int32(first) - 1 }
      old = seen
    }
  }

  private func pushFree(_ index: Int32) {
    let head = word64(Offset.freeList)
    var old = head.pointee.load(ordering: .acquiring)
    while true {
      row(index).pointee.nextFree = UInt32(truncatingIfNeeded: old)
      let new = ((old >> 32) &+ 1) << 32 | UInt64(UInt32(index) + 1)
      let (done, seen) = head.pointee.compareExchange(
        expected: old, desired: new, ordering: .acquiringAndReleasing)
      if done { return }
      old = seen
    }
  }

  /// Takes the first row that was never used.
  private func extend() -> Int32 {
    let mark = word32(Offset.highWater)
    var old = mark.pointee.load(ordering: .relaxed)
    while old < UInt32(StatsPage.rowCount) {
      let (done, seen) = mark.pointee.compareExchange(
        expected: old, desired: old + 1, ordering: .acquiringAndReleasing)
      if done { return Int32(old) }
      old = seen
    }
    return -1
  }

  // MARK: Words

  @inline(__always)
  private func word64(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    base.advanced(by: offset).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  @inline(__always)
  private func word32(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    base.advanced(by: offset).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  @inline(__always)
  private func sequence(_ index: Int32) -> UnsafeMutablePointer<Atomic<UInt32>> {
    word32(StatsPage.headerBytes + Int(index) * StatsPage.rowBytes)
  }
}
