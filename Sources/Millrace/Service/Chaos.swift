import CLinux

/// MILLRACE_CHAOS=seed,rate: a debugging aid that leaves lanes at random, so that whatever runs under it leaves and takes
/// them at every point of its stream. Service thread only.
enum Chaos {
  nonisolated(unsafe) private static var state: UInt64 = 0

  static var isOn: Bool { Configuration.settings.chaosRate > 0 }

  /// Called about once a millisecond. Whether there is any lane to leave.
  static func stir() -> Bool {
    guard isOn else { return false }
    var lanes = 0
    Pool.forEach { c in
      guard c.pointee.wireup.stage == .attached else { return }
      lanes += 1
      guard next() % 1000 < UInt64(Configuration.settings.chaosRate), !c.pointee.isFamily else { return }
      if c.pin(Pins.sleeper) & (Pins.finished | Pins.closing) == 0 { Detaching.begin(c, .chaos) }
      c.unpin(Pins.sleeper)
    }
    return lanes > 0
  }

  /// SplitMix64 over the seed.
  private static func next() -> UInt64 {
    if state == 0 { state = Configuration.settings.chaosSeed &+ UInt64(Kernel.processID()) }
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
