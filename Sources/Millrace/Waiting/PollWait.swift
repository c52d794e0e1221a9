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
    pin(wait)
    let ready = lookAtLanes(wait)
    if ready > 0 || wait.pointee.deadline == 0 { return askKernel(wait, timeout: 0) }
    if spin(wait) { return askKernel(wait, timeout: 0) }
    return sleep(wait)
  }

  static func resume(_ wait: Wait) -> mr_step {
    let asked = wait.pointee.timeout
    if wait.pointee.result < 0 {
      unpin(wait)
      return MR_DONE
    }
    drainBells(wait)
    var total = lookAtLanes(wait) + kernelReady(wait)
    if total == 0 {
      // What the kernel reported may have been a mark: a connection that was its own is on a lane by now.
      unpin(wait)
      pin(wait)
      total = lookAtLanes(wait)
    }
    if total > 0 || isOver(wait, asked) {
      wait.pointee.result = Int32(total)
      unpin(wait)
      return MR_DONE
    }
    return sleep(wait)
  }

  static func abandon(_ wait: Wait) { unpin(wait) }

  // MARK: Pins

  private enum Kind {
    case other
    case kernelPath(ConnectionRef)
    case lane(ConnectionRef)
  }

  /// Holds every connection that is polled: on the kernel path so that its mark is left for this wait to be woken by,
  /// on a lane so that its memory stays.
  private static func pin(_ wait: Wait) {
    var index = 0
    while index < Int(wait.pointee.count) {
      let entry = wait.pointee.polled + index
      let slot = wait.pointee.kernel + index
      slot.pointee = pollfd(fd: entry.pointee.fd, events: entry.pointee.events, revents: 0)
      // The second half of the array remembers what is pinned: 0 nothing, else the pin's kind.
      (wait.pointee.kernel + Int(wait.pointee.count) + index).pointee = pollfd(fd: -1, events: 0, revents: 0)
      if let c = Table.connection(entry.pointee.fd) { pin(wait, index, c, entry.pointee.events) }
      index += 1
    }
    wait.pointee.pinned = true
  }

  private static func pin(_ wait: Wait, _ index: Int, _ c: ConnectionRef, _ events: Int16) {
    let note = wait.pointee.kernel + Int(wait.pointee.count) + index
    // A wait for nothing but room is not woken by a mark; it keeps the stream from moving, as a sender does.
    let kind = events & Int16(POLLIN | POLLRDNORM) != 0 ? Pins.poller : Pins.sender
    let before = c.pin(kind)
    if before & (Pins.receiveGate | Pins.sendGate | Pins.closing) == 0 {
      note.pointee.events = kind == Pins.poller ? 1 : 2
      return
    }
    _ = c.pin(Pins.sleeper)
    c.unpin(kind)
    note.pointee.events = 3
    (wait.pointee.kernel + index).pointee.fd = -1
  }

  private static func unpin(_ wait: Wait) {
    guard wait.pointee.pinned else { return }
    wait.pointee.pinned = false
    var index = 0
    while index < Int(wait.pointee.count) {
      let note = wait.pointee.kernel + Int(wait.pointee.count) + index
      let kind = note.pointee.events
      note.pointee.events = 0
      if kind != 0, let c = pinnedConnection(wait, index) {
        let now = c.unpin(kind == 1 ? Pins.poller : kind == 2 ? Pins.sender : Pins.sleeper)
        if kind != 3, now & (Pins.receiveGate | Pins.sendGate) != 0 { Mover.advance(c) }
      }
      index += 1
    }
  }

  private static func pinnedConnection(_ wait: Wait, _ index: Int) -> ConnectionRef? {
    Table.connection((wait.pointee.polled + index).pointee.fd)
  }

  private static func lane(_ wait: Wait, _ index: Int) -> ConnectionRef? {
    guard (wait.pointee.kernel + Int(wait.pointee.count) + index).pointee.events == 3 else { return nil }
    return pinnedConnection(wait, index)
  }

  // MARK: Looking

  /// Fills in what the lanes have; how many have something.
  @inline(__always)
  private static func lookAtLanes(_ wait: Wait) -> Int {
    var ready = 0
    var index = 0
    while index < Int(wait.pointee.count) {
      let entry = wait.pointee.polled + index
      entry.pointee.revents = 0
      if let c = lane(wait, index) {
        let interest = UInt32(UInt16(bitPattern: entry.pointee.events)) | Readiness.failed | Readiness.hangUp
        entry.pointee.revents = Int16(truncatingIfNeeded: Readiness.mask(c) & interest)
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

  /// Whether a report of the kernel's is about a mark: the connection has begun to move since.
  private static func isStale(_ entry: UnsafeMutablePointer<pollfd>, _ slot: UnsafeMutablePointer<pollfd>) -> Bool {
    guard let c = Table.connection(entry.pointee.fd) else { return false }
    return c.pointee.pins.load(ordering: .acquiring) & Pins.receiveGate != 0
  }

  /// Only the kernel's part is left to ask; not at all if there is none.
  private static func askKernel(_ wait: Wait, timeout: UInt64) -> mr_step {
    var index = 0
    var others = false
    while index < Int(wait.pointee.count) {
      if lane(wait, index) == nil, (wait.pointee.polled + index).pointee.fd >= 0 { others = true }
      index += 1
    }
    if !others {
      wait.pointee.result = Int32(lookAtLanes(wait))
      unpin(wait)
      return MR_DONE
    }
    wait.pointee.timeout = timeout
    return MR_KERNEL
  }

  // MARK: Waiting

  private static func spin(_ wait: Wait) -> Bool {
    var first: ConnectionRef?
    var index = 0
    while index < Int(wait.pointee.count), first == nil {
      first = lane(wait, index)
      index += 1
    }
    guard let c = first else { return false }
    let budget = c.pointee.receiveSpin.begin(limit: Configuration.spinCycles)
    if budget == 0 { return false }
    let start = cl_cycles()
    var last = start
    while true {
      if lookAtLanes(wait) > 0 {
        c.pointee.receiveSpin.won(after: last &- start)
        return true
      }
      cl_pause()
      let now = cl_cycles()
      if now &- last > Configuration.preemptionCycles || now &- start > budget { break }
      last = now
    }
    c.pointee.receiveSpin.lost()
    return false
  }

  /// Arms the lanes, looks once more, and lets C wait in the kernel.
  private static func sleep(_ wait: Wait) -> mr_step {
    var limit = UInt64.max
    var index = 0
    while index < Int(wait.pointee.count) {
      if let c = lane(wait, index) {
        if !arm(wait, index, c) { limit = movingSlice }
      }
      index += 1
    }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    if lookAtLanes(wait) > 0 { return askKernel(wait, timeout: 0) }
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
    let extra = wait.pointee.kernel + Int(wait.pointee.count) + index
    guard c.pointee.receivePath.load(ordering: .acquiring) == .lane, let segment = c.pointee.segment else {
      return false
    }
    let own = segment.side(c.pointee.role)
    let events = UInt32(UInt16(bitPattern: (wait.pointee.polled + index).pointee.events))
    if events & (Readiness.input | Readiness.readHangUp) != 0 {
      own.readerArm.pointee.bitwiseOr(ArmBits.bell, ordering: .sequentiallyConsistent)
    }
    if events & Readiness.output != 0 {
      own.writerArm.pointee.bitwiseOr(ArmBits.bell, ordering: .sequentiallyConsistent)
    }
    slot.pointee.fd = c.pointee.bell
    slot.pointee.events = Int16(POLLIN)
    slot.pointee.revents = 0
    // A shutdown by another thread of this process shows on the socket itself.
    extra.pointee.fd = -1
    return true
  }

  private static func drainBells(_ wait: Wait) {
    var index = 0
    while index < Int(wait.pointee.count) {
      let slot = wait.pointee.kernel + index
      if let c = lane(wait, index), slot.pointee.fd == c.pointee.bell, slot.pointee.revents != 0 {
        Bell.drain(slot.pointee.fd)
        // Whoever else sleeps on the same bell must not miss it.
        Registrations.nudge(c)
      }
      index += 1
    }
  }

  private static func isOver(_ wait: Wait, _ asked: UInt64) -> Bool {
    if wait.pointee.deadline == UInt64.max { return false }
    return wait.pointee.deadline == 0 || Kernel.now() >= wait.pointee.deadline
  }
}
