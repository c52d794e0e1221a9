import CLinux
import Synchronization

/// Attempts at verbs lanes that have come to nothing are made again by time, not by traffic: a device that is gone may be back, and
/// connections that are busy would double their traffic less and less often. A connection that does nothing is asked for nothing. Service
/// thread only.
enum FabricRetry {
  /// Attempts of a connection that has never had a lane after which it stays on TCP for good.
  private static let mostAttempts: UInt8 = 16
  /// The longest pause of the end that listens, and of the one that calls, in nanoseconds. The listener is there most of the time,
  /// so that the caller meets it.
  private static let listenersPause: UInt64 = 500_000_000
  private static let callersPause: UInt64 = 2_000_000_000

  nonisolated(unsafe) private static var count = 0

  /// After an attempt, or a lane, that has failed. False if there will be no other.
  static func wait(_ c: ConnectionRef) -> Bool {
    // Whoever had a lane has a peer that gives it one.
    guard c.pointee.lanes > 0 || c.pointee.attempts < mostAttempts else { return false }
    let longest = c.pointee.role == .follower ? listenersPause : callersPause
    c.pointee.wireup.notBefore = Kernel.now() &+ min(2_000_000 << UInt64(min(c.pointee.attempts, 12)), longest)
    if c.pointee.attempts > mostAttempts { c.pointee.attempts = mostAttempts }
    count += 1
    c.pointee.attempt.store(.waiting, ordering: .releasing)
    return true
  }

  /// Makes candidates of those whose time has come, with their next call. How many milliseconds until the next; -1 if there is none.
  static func look() -> Int {
    guard count > 0 else { return -1 }
    let now = Kernel.now()
    var next = UInt64.max
    count = 0
    Pool.forEach { c in
      guard c.pointee.attempt.load(ordering: .relaxed) == .waiting else { return }
      if c.pin(Pins.sleeper) & (Pins.finished | Pins.closing) == 0 {
        if now >= c.pointee.wireup.notBefore {
          recall(c)
        } else {
          next = min(next, c.pointee.wireup.notBefore)
          count += 1
        }
      }
      c.unpin(Pins.sleeper)
    }
    return next == .max ? -1 : Int((next &- now) / 1_000_000) &+ 1
  }

  /// The next call makes an attempt.
  static func recall(_ c: ConnectionRef) {
    c.pointee.dueCalls = c.pointee.calls.load(ordering: .relaxed) &+ 1
    c.pointee.attempt.store(.none, ordering: .releasing)
  }

  static func forked() { count = 0 }
}
