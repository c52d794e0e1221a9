import CLinux
import MillraceShim
import Synchronization

/// The verbs fabric of this process: the module, loaded with the first lane that is tried, and its event channel. Service thread
/// only, but for what says otherwise.
enum Verbs {
  private enum State {
    case untried
    case open
    /// Why there will be no verbs lane in this process.
    case absent(DeclineReason)
  }

  nonisolated(unsafe) private static var state = State.untried
  /// Set before the first lane exists, and never changed.
  nonisolated(unsafe) private(set) static var table: UnsafePointer<mrv_table>!
  /// Lanes whose unposted bytes, or failure, the service thread has to see to.
  static let due = Atomic<UInt32>(0)

  /// Loads the module if that was not tried yet. The reason for which there is no fabric, or nil.
  static func open() -> DeclineReason? {
    switch state {
    case .open: return nil
    case .absent(let reason): return reason
    case .untried: break
    }
    let reason = load()
    state = reason.map { .absent($0) } ?? .open
    return reason
  }

  /// Whether there is a fabric; what a device lacks at the moment it may have later.
  static var isOpen: Bool {
    if case .open = state { true } else { false }
  }

  private static func load() -> DeclineReason? {
    guard let loaded = shim_load_verbs() else { return .noVerbs }
    table = loaded
    let channel = loaded.pointee.open(
      { Table.hide($0) }, { Table.reveal($0) }, { Table.empty($0) }, { Verbs.unloading() })
    guard channel >= 0 else { return reason(for: channel) }
    Service.watchEvents(channel)
    return nil
  }

  /// The name of what a function of the module has failed with.
  static func reason(for result: Int32) -> DeclineReason {
    switch -result {
    case ENOMEM, EAGAIN: .lockedMemory
    case EMFILE, ENFILE: .descriptorsExhausted
    case ENODEV, ENOENT, EACCES, EPERM, ENXIO, EOPNOTSUPP, ENOSYS: .noDevice
    case EADDRINUSE: .nameTaken
    default: .fabricUnreachable
    }
  }

  /// In the child of a fork: the devices are open in the parent's name. What is open is closed here, and the module is loaded anew
  /// for the child's first own lane.
  static func forked() {
    due.store(0, ordering: .relaxed)
    inService.reset()
    VerbsRetired.forked()
    FabricRetry.forked()
    guard case .open = state else { return }
    table.pointee.forget()
    state = .untried
  }

  /// The process ends, or becomes another program: what was sent arrives first, within bounds.
  static func settle() {
    guard case .open = state else { return }
    let deadline = Kernel.now() &+ 1_000_000_000
    Pool.forEach { c in
      guard c.pointee.verbs != nil else { return }
      // With the pin, nobody takes the lane's memory away.
      if c.pin(Pins.sleeper) & Pins.finished == 0, let lane = c.pointee.verbs, c.pointee.wireup.stage == .attached {
        if !lane.settle(c, until: deadline) { Stats.count(.undelivered) }
      }
      c.unpin(Pins.sleeper)
    }
    while VerbsRetired.isPending, Kernel.now() < deadline { cl_pause() }
  }

  /// The process ends, and the libraries of the fabric are about to be taken down: from here on nobody calls them. The service
  /// thread may be in the middle of a call, which is waited for, within bounds.
  private static func unloading() {
    settle()
    let deadline = Kernel.now() &+ 100_000_000
    while !inService.tryLock(), Kernel.now() < deadline { cl_pause() }
    state = .absent(.noVerbs)
    Pool.forEach { c in
      if c.pin(Pins.sleeper) & Pins.finished == 0 { c.pointee.verbs?.abandon(until: deadline) }
      c.unpin(Pins.sleeper)
    }
  }

  /// Held by the service thread while it may call the module, and by a process that ends for good.
  static let inService = Lock()

  /// Something has to be done that no call of the application's is there for. Any thread.
  static func summon() {
    due.wrappingAdd(1, ordering: .acquiringAndReleasing)
    Service.prod()
  }

  /// Does it: goes on posting, and leaves lanes that have failed. How many milliseconds later there is more to do; -1 if nothing is.
  static func attend() -> Int {
    guard due.load(ordering: .acquiring) > 0 || VerbsRetired.count > 0 else { return -1 }
    // Whoever summons from here on does it again.
    due.store(0, ordering: .sequentiallyConsistent)
    let now = Kernel.now()
    var next = VerbsRetired.look() ? now : UInt64.max
    Pool.forEach { c in
      guard c.pointee.verbs != nil else { return }
      if c.pin(Pins.sleeper) & (Pins.finished | Pins.closing) == 0, let lane = c.pointee.verbs {
        if let time = lane.attend(c, now: now) { next = min(next, time) }
      }
      c.unpin(Pins.sleeper)
    }
    if next == .max { return -1 }
    due.wrappingAdd(1, ordering: .relaxed)
    return max(1, Int((max(next, now) &- now) / 1_000_000))
  }
}
