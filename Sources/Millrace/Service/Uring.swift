import CLinux
import MillraceShim
import Synchronization

/// io_uring: what it does with a connection passes no entry of ours. So a process that has one has no lanes, and those that it
/// had before are left.
enum Uring {
  /// When the descriptors are looked at next, for rings that were made past libc.
  nonisolated(unsafe) private static var nextLook: UInt64 = 0
  private static let pause: UInt64 = 500_000_000
  /// A look costs time for each descriptor, and is to cost so small a part of it all.
  private static let rarity: UInt64 = 1000

  /// The program has made a ring by `syscall`. Returns when every connection is TCP's: what a lane had left to say over TCP, the
  /// ring would read for data.
  static func made() {
    guard Configuration.settings.enabled else { return }
    Configuration.usesRing = true
    // All are forbidden first, so that one whose peer is slow keeps no other on its lane.
    forEach { Options.decline($0, .ioUring) }
    forEach { Descriptors.decline($0, .ioUring) }
  }

  /// Whether there is a ring. Looks for one that came unseen, now and then. Service thread only.
  static func isUsed() -> Bool {
    let now = Kernel.now()
    if !Configuration.usesRing, now > nextLook {
      Configuration.usesRing = RingDetector.find()
      nextLook = Kernel.now() &+ pause &+ (Kernel.now() &- now) &* rarity
    }
    return Configuration.usesRing
  }

  /// There are lanes: if there is a ring as well, they are left. Called after every sleep of the service thread.
  static func look() {
    guard !Configuration.usesRing, isUsed() else { return }
    forEach { c in
      Options.decline(c, .ioUring)
      Detaching.beginInService(c, .ioUring)
    }
  }

  private static func forEach(_ body: (ConnectionRef) -> Void) {
    Pool.forEach { c in
      guard c.pointee.kind == UInt8(MR_CONNECTION.rawValue) else { return }
      if c.pin(Pins.sleeper) & (Pins.finished | Pins.closing) == 0 { body(c) }
      c.unpin(Pins.sleeper)
    }
  }
}
