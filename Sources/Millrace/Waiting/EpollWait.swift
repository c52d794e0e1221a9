import CLinux
import MillraceShim
import Synchronization

/// One wait on an epoll set that holds connections: lanes first, the kernel often enough, then sleep.
enum EpollWait {
  typealias Wait = UnsafeMutablePointer<mr_epoll_wait>

  /// How often a spinning waiter looks at the kernel, in rounds of looking at the lanes.
  private static let roundsPerLook = 64
  /// Waits that find nothing after which a hot registration goes cold.
  private static let quietWaits: UInt32 = 512

  static func begin(_ wait: Wait) -> mr_step {
    let set = wait.pointee.set.assumingMemoryBound(to: EpollSet.self)
    set.pointee.waiters.wrappingAdd(1, ordering: .sequentiallyConsistent)
    Stats.count(.epollWaits)
    wait.pointee.found = 0
    Registrations.exposeInner(set)
    return goOn(wait, set, maySpin: true)
  }

  /// Looks, spins, and arranges the sleep.
  private static func goOn(_ wait: Wait, _ set: EpollSetRef, maySpin: Bool) -> mr_step {
    if set.pointee.lanes == 0 { return sleep(wait, set) }
    let now = cl_cycles()
    if now &- set.pointee.lastLook > Configuration.lookCycles { look(wait, set, now) }
    harvest(wait, set)
    if wait.pointee.deadline == 0, set.pointee.lastLook != now {
      // A mere look must not miss what only the kernel knows.
      look(wait, set, now)
      if wait.pointee.found == 0 { harvest(wait, set) }
      return finish(wait, set)
    }
    if wait.pointee.found > 0 || wait.pointee.deadline == 0 { return finish(wait, set) }
    if maySpin, spin(wait, set) { return finish(wait, set) }
    return sleep(wait, set)
  }

  // MARK: Looking

  /// Reports what the set's hot lanes have, behind what is found already.
  private static func harvest(_ wait: Wait, _ set: EpollSetRef) {
    set.pointee.lock.lock()
    var at = set.pointee.hotHead
    var lastReported: RegistrationRef?
    while let registration = at, wait.pointee.found < wait.pointee.capacity {
      at = registration.pointee.nextHot
      let mask = registration.report()
      if mask == 0 {
        registration.pointee.quiet &+= 1
        if registration.pointee.quiet > quietWaits, !set.pointee.isNested, registration.arm() {
          registration.cool(to: .cold)
        }
        continue
      }
      registration.pointee.quiet = 0
      emit(wait, mask, registration.pointee.data)
      lastReported = registration
    }
    if set.pointee.isNested { Registrations.expose(set) }
    // A full array leaves some unseen: the next wait begins with them.
    if at != nil, let lastReported { rotate(set, behind: lastReported) }
    set.pointee.lock.unlock()
  }

  private static func emit(_ wait: Wait, _ mask: UInt32, _ data: UInt64) {
    let event = wait.pointee.events + Int(wait.pointee.found)
    event.pointee.events = mask
    event.pointee.data.u64 = data
    wait.pointee.found += 1
  }

  /// Puts what follows `registration` in the list first.
  private static func rotate(_ set: EpollSetRef, behind registration: RegistrationRef) {
    guard let first = registration.pointee.nextHot, let head = set.pointee.hotHead else { return }
    var last = first
    while let next = last.pointee.nextHot { last = next }
    last.pointee.nextHot = head
    head.pointee.previousHot = last
    registration.pointee.nextHot = nil
    first.pointee.previousHot = nil
    set.pointee.hotHead = first
  }

  /// Asks the kernel without waiting, behind what is found already.
  private static func look(_ wait: Wait, _ set: EpollSetRef, _ now: UInt64) {
    set.pointee.lastLook = now
    Stats.count(.kernelLooks)
    let room = wait.pointee.capacity - wait.pointee.found
    guard room > 0 else { return }
    let r = Kernel.call(
      Int(SYS_epoll_pwait), Int(wait.pointee.epfd),
      Int(bitPattern: wait.pointee.events + Int(wait.pointee.found)), Int(room), 0, 0, 8)
    if r > 0 { takeKernelEvents(wait, set, count: r) }
  }

  /// Keeps the application's events and takes ours out: a bell that rang makes its lanes hot.
  private static func takeKernelEvents(_ wait: Wait, _ set: EpollSetRef, count: Int) {
    let first = wait.pointee.events + Int(wait.pointee.found)
    guard set.pointee.hasTokens else {
      wait.pointee.found += Int32(count)
      return
    }
    var index = 0
    while index < count {
      let event = first[index]
      index += 1
      if Registrations.isToken(event.data.u64) {
        rang(event.data.u64, set)
      } else {
        let slot = wait.pointee.events + Int(wait.pointee.found)
        slot.pointee = event
        wait.pointee.found += 1
      }
    }
  }

  private static func rang(_ token: UInt64, _ set: EpollSetRef) {
    if token == Registrations.nudgeToken {
      // In a nested set it shows whether anything is ready, and is put right when the lanes have been looked at.
      if !set.pointee.isNested { Registrations.drainNudge(set) }
      return
    }
    set.pointee.lock.lock()
    if let registration = Registrations.registration(token), registration.pointee.set == set {
      Bell.drain(registration.pointee.connection.pointee.bell)
      heatAll(of: registration.pointee.connection, in: set)
      if registration.pointee.connection.pointee.peerGone.load(ordering: .acquiring), registration.pointee.ownsBell {
        // A bell that has hung up would ring for ever.
        Kernel.epollControl(set.pointee.fd, EPOLL_CTL_DEL, registration.pointee.connection.pointee.bell)
        registration.pointee.ownsBell = false
      }
    }
    set.pointee.lock.unlock()
  }

  private static func heatAll(of c: ConnectionRef, in set: EpollSetRef) {
    var at = c.pointee.registrations
    while let registration = at {
      if registration.pointee.set == set, registration.pointee.place == .cold { registration.heat() }
      at = registration.pointee.nextOfConnection
    }
  }

  // MARK: Spinning

  /// Spins over the hot lanes. True if something was found.
  private static func spin(_ wait: Wait, _ set: EpollSetRef) -> Bool {
    guard set.pointee.hotHead != nil else { return false }
    let budget = set.pointee.spin.begin(limit: Configuration.spinCycles)
    if budget == 0 { return false }
    let start = cl_cycles()
    var last = start
    var round = 0
    while true {
      cl_pause()
      harvest(wait, set)
      round &+= 1
      let now = cl_cycles()
      if round % roundsPerLook == 0 { look(wait, set, now) }
      if wait.pointee.found > 0 {
        set.pointee.spin.won(after: now &- start)
        return true
      }
      if now &- last > Configuration.preemptionCycles || now &- start > budget { break }
      if set.pointee.lock.isContended() { break }
      last = now
    }
    set.pointee.spin.lost()
    return false
  }

  // MARK: Sleeping

  /// Arms what is hot and lets C wait in the kernel; or finishes, if something came meanwhile or time is up.
  private static func sleep(_ wait: Wait, _ set: EpollSetRef) -> mr_step {
    // Counted before the last look: who changes something after it sees a sleeper (Registrations.nudge).
    set.pointee.sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
    if set.pointee.lanes > 0 {
      armHot(set)
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

  private static func armHot(_ set: EpollSetRef) {
    set.pointee.lock.lock()
    var at = set.pointee.hotHead
    while let registration = at {
      at = registration.pointee.nextHot
      if registration.arm(), !set.pointee.isNested { registration.cool(to: .cold) }
    }
    set.pointee.lock.unlock()
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
    set.pointee.waiters.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    return MR_DONE
  }

  /// The waiting thread is being cancelled.
  static func abandon(_ wait: Wait) {
    let set = wait.pointee.set.assumingMemoryBound(to: EpollSet.self)
    set.pointee.sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent)
    _ = leave(wait, set)
  }
}
