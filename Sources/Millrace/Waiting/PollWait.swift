import CLinux
import MillraceShim
import Synchronization

/// One poll or select that names a connection: lanes are looked at first, then the kernel waits for the rest and for
/// the armed bells.
enum PollWait {
  typealias Wait = UnsafeMutablePointer<mr_wait>

  /// While a stream moves, nothing rings: its waiters look again after this long, in nanoseconds.
  private static let movingSlice: UInt64 = 1_000_000

  static func begin(_ wait: Wait) -> mr_step {
    SharedLane.watch()
    return start(wait, maySpin: true)
  }

  /// Begins again after a sleep that told nothing.
  static func again(_ wait: Wait) -> mr_step { start(wait, maySpin: false) }

  private static func start(_ wait: Wait, maySpin: Bool) -> mr_step {
    pin(wait)
    // Bytes that have arrived may wait for no more than somebody to take the mark before them.
    forEachLane(wait) { if $0.pointee.receivePath.load(ordering: .acquiring) == .moving { Mover.advance($0) } }
    let ready = lookAtLanes(wait)
    if ready > 0 || wait.pointee.deadline == 0 { return askKernel(wait, ready) }
    let spun = maySpin ? spin(wait) : 0
    return spun > 0 ? askKernel(wait, spun) : sleep(wait)
  }

  static func resume(_ wait: Wait) -> mr_step {
    if wait.pointee.word != nil { return resumeOnWord(wait) }
    if wait.pointee.result < 0 {
      stopSleeping(wait)
      unpin(wait)
      return MR_DONE
    }
    stopSleeping(wait)
    drainBells(wait)
    var total = lookAtLanes(wait) + kernelReady(wait)
    if total == 0 {
      // What the kernel reported may have been a mark: a connection that was its own is on a lane by now.
      unpin(wait)
      pin(wait)
      total = lookAtLanes(wait)
    }
    if total > 0 || isOver(wait) {
      wait.pointee.result = Int32(total)
      unpin(wait)
      return MR_DONE
    }
    return sleep(wait)
  }

  static func abandon(_ wait: Wait) {
    stopSleeping(wait)
    unpin(wait)
  }

  /// The second half of the array remembers what is pinned: 0 for nothing, else the connection's address and in its low
  /// bits the pin's kind. The number may name something else by the time that the wait ends. Between the halves is room
  /// for the eventfd of a thread that sleeps (``PollSleepers``).
  private static func note(_ wait: Wait, _ index: Int) -> UnsafeMutablePointer<UInt> {
    UnsafeMutableRawPointer(wait.pointee.kernel + Int(wait.pointee.count) + 1 + index)
      .assumingMemoryBound(to: UInt.self)
  }

  private static let kinds: UInt = 3
  private static let poller: UInt = 1
  private static let sender: UInt = 2
  private static let onLane: UInt = 3

  // MARK: Pins

  /// Holds every connection that is polled: on the kernel path so that its mark is left for this wait to be woken by,
  /// on a lane so that its memory stays.
  static func pin(_ wait: Wait) {
    var index = 0
    while index < Int(wait.pointee.count) {
      let entry = wait.pointee.polled + index
      let slot = wait.pointee.kernel + index
      slot.pointee = pollfd(fd: entry.pointee.fd, events: entry.pointee.events, revents: 0)
      note(wait, index).pointee = 0
      if let c = Table.connection(entry.pointee.fd) { pin(wait, index, c, entry.pointee.events) }
      index += 1
    }
    (wait.pointee.kernel + Int(wait.pointee.count)).pointee = pollfd(fd: -1, events: Int16(POLLIN), revents: 0)
    wait.pointee.pinned = true
  }

  private static func pin(_ wait: Wait, _ index: Int, _ c: ConnectionRef, _ events: Int16) {
    let note = note(wait, index)
    if c.pointee.isFamily { _ = SharedLane.follow(c) }
    // A wait for nothing but room is not woken by a mark; it keeps the stream from moving, as a sender does.
    let kind = events & Int16(POLLIN | POLLRDNORM) != 0 ? Pins.poller : Pins.sender
    let before = c.pin(kind)
    if before & (Pins.receiveGate | Pins.sendGate | Pins.closing) == 0 {
      note.pointee = UInt(bitPattern: c) | (kind == Pins.poller ? poller : sender)
      return
    }
    _ = c.pin(Pins.sleeper)
    c.unpin(kind)
    note.pointee = UInt(bitPattern: c) | onLane
    (wait.pointee.kernel + index).pointee.fd = -1
  }

  static func unpin(_ wait: Wait) {
    guard wait.pointee.pinned else { return }
    wait.pointee.pinned = false
    var index = 0
    while index < Int(wait.pointee.count) {
      let kind = note(wait, index).pointee & kinds
      if let c = pinnedConnection(wait, index) {
        note(wait, index).pointee = 0
        let now = c.unpin(kind == poller ? Pins.poller : kind == sender ? Pins.sender : Pins.sleeper)
        if kind != onLane, now & (Pins.receiveGate | Pins.sendGate) != 0 { Mover.advanceBehind(c) }
      }
      index += 1
    }
  }

  private static func pinnedConnection(_ wait: Wait, _ index: Int) -> ConnectionRef? {
    ConnectionRef(bitPattern: note(wait, index).pointee & ~kinds)
  }

  static func lane(_ wait: Wait, _ index: Int) -> ConnectionRef? {
    guard note(wait, index).pointee & kinds == onLane else { return nil }
    return pinnedConnection(wait, index)
  }

  // MARK: Looking

  /// Fills in what the lanes have; how many have something.
  @inline(__always)
  static func lookAtLanes(_ wait: Wait) -> Int {
    var ready = 0
    var index = 0
    while index < Int(wait.pointee.count) {
      let entry = wait.pointee.polled + index
      entry.pointee.revents = 0
      if let c = lane(wait, index) {
        let interest = UInt32(UInt16(bitPattern: entry.pointee.events)) | Readiness.failed | Readiness.hangUp
        entry.pointee.revents = Int16(truncatingIfNeeded: Readiness.mask(c, for: interest))
        if entry.pointee.revents != 0 { ready += 1 }
      }
      index += 1
    }
    return ready
  }

  /// Takes over what the kernel said about the descriptors that are its own.
  private static func kernelReady(_ wait: Wait) -> Int {
    var ready = 0
    var index = 0
    while index < Int(wait.pointee.count) {
      let entry = wait.pointee.polled + index
      let slot = wait.pointee.kernel + index
      if lane(wait, index) == nil, slot.pointee.fd == entry.pointee.fd, slot.pointee.revents != 0,
        !isStale(entry, slot)
      {
        entry.pointee.revents = slot.pointee.revents
        ready += 1
      }
      index += 1
    }
    return ready
  }

  /// Whether a report of the kernel's is about a mark. The connection moves, or has moved and come back while this thread was
  /// waking up: then the kernel is asked again.
  private static func isStale(_ entry: UnsafeMutablePointer<pollfd>, _ slot: UnsafeMutablePointer<pollfd>) -> Bool {
    guard let c = Table.connection(entry.pointee.fd) else { return false }
    // Partner: Mover.isQuiet counts before there can be a mark.
    let moves = c.pointee.moves.load(ordering: .acquiring)
    if moves == 0 { return false }
    slot.pointee.revents = Kernel.pollNow(c.pointee.fd, entry.pointee.events)
    return slot.pointee.revents == 0 || c.pointee.moves.load(ordering: .acquiring) != moves
      || c.pointee.pins.load(ordering: .acquiring) & Pins.receiveGate != 0
  }

  /// Only the kernel's part is left to ask; not at all if there is none. Then what the look has found is the answer: a second one
  /// might find that a lane was left meanwhile, and a wait without a timeout would return with nothing.
  private static func askKernel(_ wait: Wait, _ ready: Int) -> mr_step {
    var index = 0
    var others = false
    while index < Int(wait.pointee.count) {
      if lane(wait, index) == nil, (wait.pointee.polled + index).pointee.fd >= 0 { others = true }
      index += 1
    }
    if !others {
      wait.pointee.result = Int32(ready)
      unpin(wait)
      return MR_DONE
    }
    wait.pointee.timeout = 0
    return MR_KERNEL
  }

  // MARK: Waiting

  /// How many lanes have something when it ends.
  private static func spin(_ wait: Wait) -> Int {
    var first: ConnectionRef?
    var index = 0
    while index < Int(wait.pointee.count), first == nil {
      first = lane(wait, index)
      index += 1
    }
    guard let c = first else { return 0 }
    let slowness = Fabric.slowness(c)
    let budget = c.pointee.receiveSpin.begin(limit: Configuration.spinCycles &* slowness)
    if budget == 0 { return 0 }
    let start = cl_cycles()
    var last = start
    while true {
      let ready = lookAtLanes(wait)
      if ready > 0 {
        c.pointee.receiveSpin.won()
        return ready
      }
      cl_pause()
      let now = cl_cycles()
      if now &- last > Configuration.preemptionCycles &* slowness || now &- start > budget { break }
      last = now
    }
    c.pointee.receiveSpin.lost()
    return 0
  }

  /// Arms the lanes, looks once more, and lets C wait in the kernel.
  static func sleep(_ wait: Wait) -> mr_step {
    if let step = sleepOnWord(wait) { return step }
    var limit = startSleeping(wait)
    var index = 0
    while index < Int(wait.pointee.count) {
      if let c = lane(wait, index) {
        if !arm(wait, index, c) { limit = movingSlice }
      }
      index += 1
    }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    let ready = lookAtLanes(wait)
    if ready > 0 {
      stopSleeping(wait)
      return askKernel(wait, ready)
    }
    // The sibling's bell may have hung up before it was armed here, for the lane that it had then.
    forEachLane(wait) { if SharedLane.mustFollow($0) { limit = 0 } }
    Stats.count(.pollSleeps)
    var left = UInt64.max
    if wait.pointee.deadline != UInt64.max {
      let now = Kernel.now()
      left = wait.pointee.deadline > now ? wait.pointee.deadline &- now : 0
    }
    wait.pointee.timeout = min(left, limit)
    return MR_KERNEL
  }

  /// Puts the bell where the connection was. False while it moves.
  private static func arm(_ wait: Wait, _ index: Int, _ c: ConnectionRef) -> Bool {
    let slot = wait.pointee.kernel + index
    guard c.pointee.receivePath.load(ordering: .acquiring) == .lane, let segment = c.pointee.segment else {
      return false
    }
    let own = segment.side(c.pointee.laneRole)
    let events = UInt32(UInt16(bitPattern: (wait.pointee.polled + index).pointee.events))
    Fabric.arm(c, forRoom: events & Readiness.output != 0)
    if events & (Readiness.input | Readiness.readHangUp) != 0 {
      own.readerArm.pointee.bitwiseOr(ArmBits.bell, ordering: .sequentiallyConsistent)
    }
    if events & Readiness.output != 0 {
      own.writerArm.pointee.bitwiseOr(ArmBits.bell, ordering: .sequentiallyConsistent)
    }
    slot.pointee.fd = c.pointee.bell
    slot.pointee.events = Int16(POLLIN)
    slot.pointee.revents = 0
    return true
  }

  /// From here on other threads wake this one (``PollSleepers``). The longest time to sleep, in nanoseconds.
  ///
  /// A wait without lanes needs no waker: the kernel wakes it, and a lane that comes does so by its mark.
  private static func startSleeping(_ wait: Wait) -> UInt64 {
    guard hasLanes(wait) else { return UInt64.max }
    wait.pointee.place = PollSleepers.enter()
    wait.pointee.sleeps = true
    (wait.pointee.kernel + Int(wait.pointee.count)).pointee.fd = PollSleepers.descriptor(wait.pointee.place)
    // Partner: PollSleepers.wake. Either it sees the count, or the look before the sleep sees what has changed.
    forEachLane(wait) { $0.pointee.pollSleepers.wrappingAdd(1, ordering: .sequentiallyConsistent) }
    return wait.pointee.place < 0 ? movingSlice : UInt64.max
  }

  private static func stopSleeping(_ wait: Wait) {
    guard wait.pointee.sleeps else { return }
    wait.pointee.sleeps = false
    (wait.pointee.kernel + Int(wait.pointee.count)).pointee.fd = -1
    forEachLane(wait) { $0.pointee.pollSleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent) }
    PollSleepers.leave(wait.pointee.place)
  }

  private static func hasLanes(_ wait: Wait) -> Bool {
    var index = 0
    while index < Int(wait.pointee.count) {
      if lane(wait, index) != nil { return true }
      index += 1
    }
    return false
  }

  private static func forEachLane(_ wait: Wait, _ body: (ConnectionRef) -> Void) {
    var index = 0
    while index < Int(wait.pointee.count) {
      if let c = lane(wait, index) { body(c) }
      index += 1
    }
  }

  private static func drainBells(_ wait: Wait) {
    var index = 0
    while index < Int(wait.pointee.count) {
      let slot = wait.pointee.kernel + index
      if let c = lane(wait, index), slot.pointee.fd == c.pointee.bell, slot.pointee.revents != 0 {
        Waiters.drainBell(c)
      }
      index += 1
    }
  }

  static func isOver(_ wait: Wait) -> Bool {
    if wait.pointee.deadline == UInt64.max { return false }
    return wait.pointee.deadline == 0 || Kernel.now() >= wait.pointee.deadline
  }
}
