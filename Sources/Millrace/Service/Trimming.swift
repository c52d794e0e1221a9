import CLinux
import Synchronization

/// Gives the pages of idle rings back: positions run through a whole ring as bytes go by, and a lane that has been busy
/// would otherwise keep all of it. Service thread only.
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
      trim(c)
      c.unpin(Pins.sleeper)
    }
    return lanes > 0
  }

  /// Each end answers for the ring that it writes: under its send lock nobody puts anything in, and an empty ring has
  /// nothing that anybody could read.
  private static func trim(_ c: ConnectionRef) {
    guard !c.pointee.isFamily, c.pointee.sendLock.tryLock() else { return }
    defer { c.pointee.sendLock.unlock() }
    guard c.pointee.wireup.stage == .attached, let producer = c.pointee.producer else { return }
    let wasIdle = producer.tail == c.pointee.lookedAt
    c.pointee.lookedAt = producer.tail
    guard wasIdle, producer.tail != c.pointee.trimmed, c.pointee.producer!.isDrained() else { return }
    c.pointee.trimmed = producer.tail
    _ = Kernel.call(Int(SYS_madvise), Int(bitPattern: producer.memory), producer.capacity, Int(MADV_REMOVE))
  }
}
