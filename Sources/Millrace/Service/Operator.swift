import CLinux
import Synchronization

/// What an operator wants (`millrace off`, `millrace on`), as it stands in the statistics page. Service thread only.
enum Operator {
  nonisolated(unsafe) private static var heard: UInt32 = 0

  /// If somebody has said something: connections that are wanted on TCP leave their lanes, and those that no longer are
  /// may have one again. Called after every sleep of the service thread.
  static func look() {
    let wishes = Stats.wishes
    guard wishes != heard else { return }
    heard = wishes
    Pool.forEach { c in
      if c.pin(Pins.sleeper) & (Pins.finished | Pins.closing) == 0 { look(at: c) }
      c.unpin(Pins.sleeper)
    }
  }

  private static func look(at c: ConnectionRef) {
    let no = DeclineReason.operator.rawValue
    if Stats.wantsNoLane(c) {
      // A graver reason stays.
      guard c.pointee.forbidden.compareExchange(expected: 0, desired: no, ordering: .sequentiallyConsistent).exchanged
      else { return }
      Options.decline(c, .operator)
      Detaching.beginInService(c, .operator)
    } else {
      _ = c.pointee.forbidden.compareExchange(expected: no, desired: 0, ordering: .sequentiallyConsistent)
      returnToPolicy(c)
    }
  }

  private static func returnToPolicy(_ c: ConnectionRef) {
    let attempt = c.pointee.attempt.load(ordering: .acquiring)
    guard c.pointee.hasRole,
      attempt == .none || attempt == .waiting || attempt == .refused && c.pointee.reason == .operator
    else { return }
    // Who wants lanes wants them now: also a connection whose peer was the one that left does not wait for its traffic
    // to double.
    c.pointee.attempts = 0
    Policy.admit(c)
    if attempt == .waiting { FabricRetry.recall(c) }
    guard attempt == .refused else { return }
    c.pointee.reason = .none
    Stats.publish(c)
    c.pointee.attempt.store(.none, ordering: .releasing)
  }
}
