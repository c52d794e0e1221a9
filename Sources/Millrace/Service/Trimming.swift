import CLinux
import Synchronization

/// Gives the pages of rings back that are idle, or nearly: what ``RingTrim`` decides. Service thread only.
enum Trimming {
  /// How often it looks, in milliseconds, while there are lanes.
  static let period = 2000
  nonisolated(unsafe) private static var due: UInt64 = 0

  /// Looks at every lane, if it is time. Whether there is any.
  static func look() -> Bool {
    let now = Kernel.now()
    if now < due { return true }
    due = now &+ UInt64(period) &* 1_000_000
    var lanes = 0
    Pool.forEach { c in
      guard c.pointee.wireup.stage == .attached else { return }
      lanes += 1
      guard c.pin(Pins.sleeper) & Pins.finished == 0 else {
        c.unpin(Pins.sleeper)
        return
      }
      // A process that confines itself may not ask; this thread came before that.
      if c.isShared { c.pointee.family!.pointee.bury() }
      trim(c)
      c.unpin(Pins.sleeper)
    }
    return lanes > 0
  }

  /// Each end answers for the ring that it writes: under its send lock nobody puts anything in, and what the consumer has
  /// taken nobody reads again.
  private static func trim(_ c: ConnectionRef) {
    // A device knows the pages of a verbs lane's rings; other ones in their place it would not.
    if let lane = c.pointee.verbs { return lane.watch(c) }
    guard c.pointee.sendLock.tryLock() else { return }
    defer { c.pointee.sendLock.unlock() }
    guard c.pointee.wireup.stage == .attached, c.pointee.producer != nil else { return }
    if c.pointee.isFamily { SharedLane.whileNobodySends(c) { giveBack(c) } } else { giveBack(c) }
  }

  private static func giveBack(_ c: ConnectionRef) {
    guard let pages = c.pointee.trim.look(at: &c.pointee.producer!, pageBytes: 4096) else { return }
    _ = Kernel.call(Int(SYS_madvise), Int(bitPattern: pages.baseAddress), pages.count, Int(MADV_REMOVE))
  }
}
