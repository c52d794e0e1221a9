import CLinux
import MillraceShim
import Synchronization

/// Queue pairs whose connections are closed or back on TCP. What was posted arrives first, within bounds; then they are destroyed,
/// by the service thread.
enum VerbsRetired {
  private struct Entry {
    var end: OpaquePointer
    var inFlight: Int
    var deadline: UInt64
  }

  private static let capacity = 4096
  /// How long the last bytes of a closed connection may take, in nanoseconds.
  private static let patience: UInt64 = 2_000_000_000
  private static let lock = Lock()
  nonisolated(unsafe) private static var entries: UnsafeMutablePointer<Entry>?
  nonisolated(unsafe) private(set) static var count = 0

  static func add(_ end: OpaquePointer, inFlight: Int) {
    lock.lock()
    if entries == nil {
      entries = Kernel.reserve(capacity * MemoryLayout<Entry>.stride)?.bindMemory(to: Entry.self, capacity: capacity)
    }
    // One that finds no place stays until the process ends.
    if let entries, count < capacity {
      (entries + count).initialize(
        to: Entry(end: end, inFlight: inFlight, deadline: Kernel.now() &+ (inFlight > 0 ? patience : 0)))
      count += 1
    }
    lock.unlock()
    Verbs.summon()
  }

  /// Destroys those whose last bytes have arrived. Whether some are left. Service thread, or the process's last.
  static func look() -> Bool {
    while let end = takeFinished() {
      // It may wait for the kernel, so nobody is kept from the list meanwhile.
      Verbs.table.pointee.disconnect(end)
      Verbs.table.pointee.destroy(end)
    }
    return count > 0
  }

  /// The device of an end is gone, and whatever is under way on it: nothing is waited for any more. Service thread.
  static func removed(_ end: OpaquePointer) {
    lock.lock()
    defer { lock.unlock() }
    guard let entries else { return }
    var index = 0
    while index < count {
      if entries[index].end == end { entries[index].deadline = 0 }
      index += 1
    }
  }

  private static func takeFinished() -> OpaquePointer? {
    lock.lock()
    defer { lock.unlock() }
    guard let entries else { return nil }
    let now = Kernel.now()
    var index = 0
    while index < count {
      reap(entries + index)
      let entry = entries[index]
      if entry.inFlight == 0 || now >= entry.deadline {
        if entry.inFlight > 0 { Stats.count(.undelivered) }
        count -= 1
        entries[index] = entries[count]
        return entry.end
      }
      index += 1
    }
    return nil
  }

  private static func reap(_ entry: UnsafeMutablePointer<Entry>) {
    withUnsafeTemporaryAllocation(of: mrv_completion.self, capacity: 16) { done in
      while entry.pointee.inFlight > 0 {
        let r = Int(Verbs.table.pointee.poll(entry.pointee.end, done.baseAddress!, 16))
        if r <= 0 { return }
        var index = 0
        while index < r {
          switch mrv_completion_kind(done[index].kind) {
          case MRV_SENT: entry.pointee.inFlight -= 1
          case MRV_FAILED: entry.pointee.inFlight = 0
          default: break
          }
          index += 1
        }
      }
    }
  }

  /// Whether bytes are still under way. Any thread; looks by itself, since the service thread may be gone.
  static var isPending: Bool {
    lock.lock()
    defer { lock.unlock() }
    guard let entries else { return false }
    var index = 0
    while index < count {
      reap(entries + index)
      if entries[index].inFlight > 0 { return true }
      index += 1
    }
    return false
  }

  static func forked() {
    lock.reset()
    count = 0
  }
}
