import CLinux
import MillraceShim
import Synchronization

/// fork(2), seen from all sides. A child shares every connection with its parent, as it shares the kernel's sockets: a
/// lane's positions lie in memory that both have mapped, and a lock there keeps the two apart.
enum Forking {
  /// How long a fork waits, in all, for streams that move to come to rest. In nanoseconds.
  private static let patience: UInt64 = 200_000_000

  /// One fork at a time, from the first look until the child is there.
  private static let turn = Lock()
  /// Whether everything is held. Guarded by ``turn``.
  nonisolated(unsafe) private static var isHolding = false

  /// Every lane at rest, and no thread of this process in the middle of anything that the child could not know of: a copy,
  /// a step of a cutover, a change in a list. All of it is held until the child is there.
  static func prepare() {
    turn.lock()
    isHolding = Pool.highWater > 0
    guard isHolding else { return }
    // Before there is a child that could be numbered otherwise.
    _ = Kin.me
    let deadline = Kernel.now() &+ patience
    while true {
      Pool.forEach { if $0.pointee.verbs != nil { pinned($0) { leaveVerbs($0, until: deadline) } } }
      Pool.forEach { if isInMotion($0) { pinned($0) { Closing.settle($0, until: deadline) } } }
      hold()
      if isComplete(until: deadline) { break }
      release()
    }
    Pool.forEach(share)
  }

  /// Another thread may close the connection meanwhile: with a pin it is not taken apart.
  private static func pinned(_ c: ConnectionRef, _ body: (ConnectionRef) -> Void) {
    if c.pin(Pins.sleeper) & Pins.finished == 0 { body(c) }
    c.unpin(Pins.sleeper)
  }

  /// A queue pair is one process's: a child could not go on with it. Its connection is TCP's when the child comes into being.
  private static func leaveVerbs(_ c: ConnectionRef, until deadline: UInt64) {
    guard c.pointee.verbs != nil else { return }
    if isInMotion(c) { Closing.settle(c, until: deadline) }
    Detaching.detach(c, .sharedByFork)
  }

  /// Whether some of the stream is on neither path yet, or on one that a child cannot take.
  private static func isInMotion(_ c: ConnectionRef) -> Bool {
    if c.pointee.wireup.stage == .attached { return !Fabric.hasWords(c) }
    guard c.pointee.wireup.stage.isMoving else { return false }
    return c.pointee.sendPath.load(ordering: .relaxed) != .kernel
      || c.pointee.receivePath.load(ordering: .relaxed) != .kernel
  }

  /// Connections first, then who takes one apart, then lists, then the table: the order in which everybody takes them.
  private static func hold() {
    Pool.forEach { c in
      c.lockBoth()
      c.pointee.isHeld.store(1, ordering: .relaxed)
    }
    Closing.finishing.lock()
    Registrations.hold()
    Table.lock.lock()
  }

  /// Between the look and the locks a new connection may have come, or a stream may have begun to move. The latter is waited
  /// for within bounds only, since it may depend on a peer that is stopped.
  private static func isComplete(until deadline: UInt64) -> Bool {
    let mayWait = Kernel.now() < deadline
    var complete = true
    Pool.forEach {
      if $0.pointee.isHeld.load(ordering: .relaxed) == 0 || mayWait && isInMotion($0) { complete = false }
    }
    return complete
  }

  private static func release() {
    Table.lock.unlock()
    Registrations.release()
    Closing.finishing.unlock()
    // A record that was given back meanwhile, and perhaps taken again, is held all the same.
    Pool.forEachEver { c in
      guard c.pointee.isHeld.exchange(0, ordering: .relaxed) != 0 else { return }
      c.unlockBoth()
    }
  }

  private static func share(_ c: ConnectionRef) {
    // Who has the connection alone so far is not in the list of those who share it.
    if let family = c.pointee.family, family.pointee.users.load(ordering: .relaxed) == 1 { family.pointee.enter() }
    count(c, 1)
    if !c.pointee.isFamily, c.pointee.wireup.stage == .attached || isInMotion(c) {
      c.pointee.family?.pointee.reset()
      c.pointee.isFamily = true
    }
    // What the parent goes on with, the child waits for.
    if isInMotion(c) { SharedLane.claimForFork(c) }
  }

  static func parent(_ child: Int32) {
    defer { turn.unlock() }
    guard isHolding else { return }
    if child > 0 { hasRelatives = true }
    if child < 0 { Pool.forEach { count($0, -1) } }
    release()
    // A thread that sleeps in a set has armed for itself alone; from now on each lane has to ring for itself.
    if child > 0 { Pool.forEach { if $0.pointee.isFamily { Registrations.nudge($0) } } }
  }

  static func child() {
    hasRelatives = true
    Kin.forked()
    TakingOver.forked()
    Table.lock.reset()
    Closing.finishing.reset()
    Registrations.forked()
    PeerProcess.forked()
    PollSleepers.forked()
    Stats.forked()
    Service.forked()
    Verbs.forked()
    Pool.forked()
    turn.reset()
    Pool.forEachEver { c in
      c.pointee.isHeld.store(0, ordering: .relaxed)
      c.pointee.sendLock.reset()
      c.pointee.receiveLock.reset()
    }
    Pool.forEach { c in
      c.pointee.family?.pointee.enter()
      c.pointee.pathsChanged = false
      c.pointee.row = -1
      c.pointee.wireup.isWatched = false
      abandonAttempt(c)
      if c.pointee.isFamily { SharedLane.isUnwatched = true }
      // Closed while some thread was inside, and that thread did not come along. The hidden descriptor would keep the peer from
      // seeing the end for as long as this child lives.
      if c.pointee.pins.load(ordering: .relaxed) & Pins.closing != 0 { Closing.finish(c) }
    }
  }

  /// What the parent's service thread has under way is the parent's to go on with.
  private static func abandonAttempt(_ c: ConnectionRef) {
    let keep = Pins.receiveGate | Pins.sendGate | Pins.closing
    c.pointee.pins.bitwiseAnd(keep, ordering: .relaxed)
    if c.pointee.attempt.load(ordering: .relaxed) == .waiting { FabricRetry.recall(c) }
    guard c.pointee.attempt.load(ordering: .relaxed) == .underway else { return }
    if isInMotion(c) { return SharedLane.awaitParent(c) }
    closeInherited(&c.pointee.wireup.listener)
    closeInherited(&c.pointee.wireup.socket)
    closeInherited(&c.pointee.bell)
    c.pointee.wireup.stage = .none
    c.pointee.attempt.store(.refused, ordering: .relaxed)
    c.pointee.reason = .sharedByFork
  }

  private static func closeInherited(_ fd: inout Int32) {
    Table.closeHidden(fd)
    fd = -1
  }

  /// The process ends, or becomes another program: others who share its connections learn that it does not any more.
  /// Descriptors that survive an exec stay shared.
  static func letGo() {
    Pool.forEach { c in
      guard !isReplaced || !c.pointee.survivesExec else { return }
      if c.pointee.isFamily { pinned(c, TakingOver.abandon) }
      _ = c.pointee.family?.pointee.leave()
    }
  }

  /// The exec has failed.
  static func takeBack() {
    Pool.forEach { c in
      guard !c.pointee.survivesExec else { return }
      count(c, 1)
      if hasRelatives { c.pointee.family?.pointee.enter() }
    }
  }

  private static func count(_ c: ConnectionRef, _ change: Int32) {
    c.pointee.family?.pointee.users.wrappingAdd(UInt32(bitPattern: change), ordering: .acquiringAndReleasing)
  }

  /// Whether there is somebody, child or parent, who might be left alone with what is shared.
  nonisolated(unsafe) static var hasRelatives = false
  /// An exec is under way.
  nonisolated(unsafe) static var isReplaced = false

  static func exit() {
    Verbs.settle()
    // Relatives wait for what this process has begun.
    Pool.forEach { c in
      if c.pointee.isFamily, isInMotion(c) { pinned(c) { Closing.settle($0, until: Kernel.now() &+ 5 &* patience) } }
    }
    if hasRelatives { letGo() }
    Log.summary(attaches: Stats.value(.attaches), candidates: Stats.value(.candidates))
  }
}
