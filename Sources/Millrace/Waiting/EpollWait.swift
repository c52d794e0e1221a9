import CLinux
import MillraceShim
import Synchronization

/// One wait on an epoll set that holds connections: lanes first, the kernel often enough, then sleep.
enum EpollWait {
  typealias Wait = UnsafeMutablePointer<mr_epoll_wait>

  /// Rounds of looking at the lanes between two looks of a spinner at the clock and at who else wants the lock.
  private static let roundsPerTurn = 8
  /// A sleep is worth as many fruitless looks: a registration that is hot costs more there (``EpollSet/age``).
  private static let agePerSleep: UInt32 = 8
  /// The longest time that lanes alone satisfy waits, as a multiple of the shortest.
  private static let longestLookAfter: UInt64 = 16

  static func begin(_ wait: Wait) -> mr_step {
    let set = wait.pointee.set.assumingMemoryBound(to: EpollSet.self)
    set.pointee.waiters.wrappingAdd(1, ordering: .sequentiallyConsistent)
    Stats.count(.epollWaits)
    SharedLane.watch()
    wait.pointee.found = 0
    NestedSets.exposeInner(set)
    return goOn(wait, set, maySpin: true)
  }

  /// Looks, spins, and arranges the sleep.
  private static func goOn(_ wait: Wait, _ set: EpollSetRef, maySpin: Bool) -> mr_step {
    if set.pointee.lanes == 0 { return sleep(wait, set) }
    let now = cl_cycles()
    // Who does not wait asks for all that there is.
    let lookAfter = wait.pointee.deadline == 0 ? Configuration.lookCycles : set.pointee.lookAfter
    let isDue = now &- set.pointee.lastLook > lookAfter
    let lanesFirst = set.pointee.lanesFirst
    if lanesFirst { harvest(wait, set) }
    if isDue { look(wait, set, now) }
    if !lanesFirst { harvest(wait, set) }
    if wait.pointee.found > 0 { return finish(wait, set) }
    if wait.pointee.deadline == 0 {
      // A mere look must not miss what only the kernel knows.
      if !isDue {
        look(wait, set, now)
        harvest(wait, set)
      }
      return finish(wait, set)
    }
    if maySpin, spin(wait, set) { return finish(wait, set) }
    return sleep(wait, set)
  }

  // MARK: Looking

  /// Reports what the set's hot lanes have, behind what is found already; looks again up to so many times while they have
  /// nothing and nobody else wants the set.
  private static func harvest(_ wait: Wait, _ set: EpollSetRef, rounds: Int = 1) {
    guard wait.pointee.found < wait.pointee.capacity else { return }
    set.pointee.lock.lock()
    var moving: ConnectionRef?
    var round = 0
    while true {
      moving = harvestOnce(wait, set)
      round &+= 1
      if wait.pointee.found > 0 || moving != nil || round >= rounds || set.pointee.lock.isContended() { break }
      cl_pause()
    }
    if set.pointee.isNested { NestedSets.expose(set) }
    set.pointee.lock.unlock()
    if let c = moving { harvestMoving(wait, set, c) }
  }

  /// Bytes that have arrived may wait for no more than somebody to take the mark before them. `c` is pinned.
  private static func harvestMoving(_ wait: Wait, _ set: EpollSetRef, _ c: ConnectionRef) {
    Mover.advance(c)
    set.pointee.lock.lock()
    var at = set.pointee.hotHead
    while let registration = at, wait.pointee.found < wait.pointee.capacity {
      at = registration.pointee.nextHot
      if registration.pointee.connection == c { _ = report(wait, registration) }
    }
    set.pointee.lock.unlock()
    c.unpin(Pins.sleeper)
  }

  /// The set's lock is held. A connection that moves and has nothing for now, pinned.
  private static func harvestOnce(_ wait: Wait, _ set: EpollSetRef) -> ConnectionRef? {
    var at = set.pointee.hotHead
    var lastReported: RegistrationRef?
    var moving: ConnectionRef?
    while let registration = at, wait.pointee.found < wait.pointee.capacity {
      at = registration.pointee.nextHot
      if moving == nil, let c = registration.pinIfMoving() {
        // It is looked at last.
        moving = c
      } else if registration.pointee.connection != moving, report(wait, registration) {
        lastReported = registration
      } else if !set.pointee.isNested {
        registration.growCold()
      }
    }
    guard let lastReported else { return moving }
    set.pointee.age &+= 1
    // A full array leaves some unseen: the next wait begins with them.
    if at != nil { set.rotateHot(behind: lastReported) }
    return moving
  }

  /// Whether the kernel has reported the registration in this very wait, just before it came to a lane. It is put back,
  /// for the event may be another one's with the same data.
  private static func isTold(_ wait: Wait, _ registration: RegistrationRef) -> Bool {
    registration.pointee.hasMoved = false
    var index = 0
    while index < Int(wait.pointee.found) {
      if wait.pointee.events[index].data.u64 == registration.pointee.data {
        registration.pointee.isFresh = true
        registration.pointee.isDisabled = false
        return true
      }
      index += 1
    }
    return false
  }

  /// Reports what the registration has, if anything.
  @inline(__always)
  private static func report(_ wait: Wait, _ registration: RegistrationRef) -> Bool {
    let mask = registration.report()
    if mask == 0 || registration.pointee.hasMoved && isTold(wait, registration) { return false }
    emit(wait, mask, registration.pointee.data)
    return true
  }

  private static func emit(_ wait: Wait, _ mask: UInt32, _ data: UInt64) {
    let event = wait.pointee.events + Int(wait.pointee.found)
    event.pointee.events = mask
    event.pointee.data.u64 = data
    wait.pointee.found += 1
  }

  /// Asks the kernel without waiting, behind what is found already. While it has nothing it is asked less often.
  private static func look(_ wait: Wait, _ set: EpollSetRef, _ now: UInt64) {
    let room = wait.pointee.capacity - wait.pointee.found
    guard room > 0 else {
      set.pointee.lanesFirst = false
      return
    }
    set.pointee.lastLook = now
    Stats.count(.kernelLooks)
    let r = Kernel.call(
      Int(SYS_epoll_pwait), Int(wait.pointee.epfd),
      Int(bitPattern: wait.pointee.events + Int(wait.pointee.found)), Int(room), 0, 0, 8)
    if r > 0 { takeKernelEvents(wait, set, count: r) }
    set.pointee.lanesFirst = wait.pointee.found == wait.pointee.capacity
    let shortest = Configuration.lookCycles
    set.pointee.lookAfter =
      r > 0 ? shortest : min(max(set.pointee.lookAfter &* 2, shortest), shortest &* longestLookAfter)
  }

  /// Keeps the application's events and takes ours out: a bell that rang makes its lanes hot.
  private static func takeKernelEvents(_ wait: Wait, _ set: EpollSetRef, count: Int) {
    let before = Int(wait.pointee.found)
    let first = wait.pointee.events + before
    var index = 0
    while index < count {
      let event = first[index]
      index += 1
      guard Tokens.isToken(event.data.u64) else {
        emit(wait, event.events, event.data.u64)
        continue
      }
      if !Tokens.isKernels(event.data.u64) {
        rang(event.data.u64, set)
      } else if let told = Registrations.kernelReported(event, in: set) {
        tell(wait, told, behind: before)
      }
    }
  }

  /// One of the first `count` events may be this registration's: its lane had it, and was left before the kernel was asked. No
  /// wait gives a registration two events, and who frees something with the first would do so again with the second.
  private static func tell(_ wait: Wait, _ told: epoll_event, behind count: Int) {
    var index = 0
    while index < count {
      if wait.pointee.events[index].data.u64 == told.data.u64 {
        wait.pointee.events[index].events |= told.events
        return
      }
      index += 1
    }
    emit(wait, told.events, told.data.u64)
  }

  private static func rang(_ token: UInt64, _ set: EpollSetRef) {
    if token == Tokens.nudge {
      // In a nested set it shows whether anything is ready, and is put right when the lanes have been looked at.
      if !set.pointee.isNested { EpollSets.drainNudge(set) }
      return
    }
    guard let c = Registrations.heat(token, in: set) else { return }
    Bell.drain(c)
    if c.pointee.isFamily { _ = SharedLane.follow(c) }
    // It may have rung for others as well (Waiters.drainBell), and only for them if the connection was taken out of this set.
    PollSleepers.wake(c)
    Registrations.nudge(c, but: set)
    c.unpin(Pins.sleeper)
  }

  // MARK: Spinning

  /// Spins over the hot lanes. True if something was found. One thread of those in a set does it for all.
  private static func spin(_ wait: Wait, _ set: EpollSetRef) -> Bool {
    guard let slowness = set.slowness() else { return false }
    let budget = set.pointee.spin.begin(limit: Configuration.spinCycles &* slowness)
    guard budget > 0, !set.pointee.isSpun.exchange(true, ordering: .acquiring) else { return false }
    defer { set.pointee.isSpun.store(false, ordering: .releasing) }
    let start = cl_cycles()
    var last = start
    while true {
      harvest(wait, set, rounds: roundsPerTurn)
      let now = cl_cycles()
      if wait.pointee.found == 0, now &- set.pointee.lastLook > set.pointee.lookAfter { look(wait, set, now) }
      if wait.pointee.found > 0 {
        set.pointee.spin.won()
        Stats.count(.spinsWon)
        return true
      }
      if now &- last > Configuration.preemptionCycles &* slowness || now &- start > budget { break }
      last = now
    }
    set.pointee.spin.lost()
    Stats.count(.spinsLost)
    return false
  }

  // MARK: Sleeping

  /// Arms what is hot and lets C wait in the kernel; or finishes, if something came meanwhile or time is up.
  private static func sleep(_ wait: Wait, _ set: EpollSetRef) -> mr_step {
    // Counted before the last look: who changes something after it sees a sleeper (Registrations.wake).
    let others = set.pointee.sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent).oldValue
    if set.pointee.lanes > 0 {
      set.pointee.lock.lock()
      // Who sleeps alone looks at all lanes whichever rang. Of several, one wakes and goes away with what it found first.
      set.armHot(ticket: others == 0 && !set.pointee.isNested ? EpollSets.ticket(set) : nil)
      set.pointee.age &+= agePerSleep
      set.pointee.lock.unlock()
      harvest(wait, set)
      if wait.pointee.found > 0 {
        set.pointee.sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent)
        return finish(wait, set)
      }
      Stats.count(.epollSleeps)
    }
    switch wait.pointee.deadline {
    case 0: wait.pointee.timeout = 0
    case UInt64.max: wait.pointee.timeout = UInt64.max
    default:
      let now = Kernel.now()
      wait.pointee.timeout = wait.pointee.deadline > now ? wait.pointee.deadline &- now : 0
    }
    wait.pointee.asleep = true
    return MR_KERNEL
  }

  static func resume(_ wait: Wait) -> mr_step {
    let set = wait.pointee.set.assumingMemoryBound(to: EpollSet.self)
    set.pointee.sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    wait.pointee.asleep = false
    if wait.pointee.result < 0 {
      // Interrupted, or the application's own mistake; but what came at the last moment is not lost.
      return leave(wait, set)
    }
    if wait.pointee.result > 0 { takeKernelEvents(wait, set, count: Int(wait.pointee.result)) }
    if set.pointee.lanes > 0 {
      set.pointee.lastLook = cl_cycles()
      harvest(wait, set)
    }
    if wait.pointee.found > 0 || isOver(wait) { return finish(wait, set) }
    return goOn(wait, set, maySpin: false)
  }

  private static func isOver(_ wait: Wait) -> Bool {
    if wait.pointee.deadline == UInt64.max { return false }
    return wait.pointee.deadline == 0 || Kernel.now() >= wait.pointee.deadline
  }

  private static func finish(_ wait: Wait, _ set: EpollSetRef) -> mr_step {
    wait.pointee.result = wait.pointee.found
    wait.pointee.error = 0
    return leave(wait, set)
  }

  private static func leave(_ wait: Wait, _ set: EpollSetRef) -> mr_step {
    if set.pointee.sleepers.load(ordering: .sequentiallyConsistent) > 0 { passOn(set) }
    set.pointee.waiters.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    return MR_DONE
  }

  /// This thread goes away, and others sleep in the set: what it was woken for may be for them as well, and from now on
  /// each lane has to ring for itself.
  private static func passOn(_ set: EpollSetRef) {
    guard set.pointee.lanes > 0 else { return }
    set.pointee.lock.lock()
    set.armHot(ticket: nil)
    let isReady = set.hasReport()
    set.pointee.lock.unlock()
    if isReady { Registrations.wake(set) }
  }

  /// The waiting thread is being cancelled.
  static func abandon(_ wait: Wait) {
    let set = wait.pointee.set.assumingMemoryBound(to: EpollSet.self)
    set.pointee.sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    _ = leave(wait, set)
  }
}
