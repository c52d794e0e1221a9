import CLinux
import MillraceShim
import Synchronization

/// The one control-plane thread of a process, started with its first candidate. It meets the peer, moves connections
/// that nobody else moves at present, and notices when a peer is gone. Idle, it sleeps without a timeout.
enum Service {
  private static let state = Atomic<UInt32>(0)
  private static let queueLock = Lock()
  nonisolated(unsafe) private static var queue = CandidateQueue()
  nonisolated(unsafe) private static var epoll: Int32 = -1
  nonisolated(unsafe) private(set) static var wakeup: Int32 = -1
  /// How often the cutovers under way are looked after, in milliseconds.
  private static let tick = 1
  /// How often deadlines of listeners are looked at, in milliseconds.
  private static let slowTick = 1000

  /// What an event of the service's epoll set is about.
  enum Subject: UInt64 {
    case wakeup = 0
    case listener = 1
    case bell = 2
    case kernel = 3
  }

  // MARK: From application threads

  /// Hands a candidate over. The caller has set its attempt to underway. False if there is no service.
  static func submit(_ c: ConnectionRef) -> Bool {
    guard start() else { return false }
    _ = c.pin(Pins.sleeper)
    queueLock.lock()
    let taken = queue.push(c)
    queueLock.unlock()
    if taken {
      Kernel.signal(wakeup)
    } else {
      c.unpin(Pins.sleeper)
    }
    return taken
  }

  private static func start() -> Bool {
    if state.load(ordering: .acquiring) == 2 { return true }
    let (first, _) = state.compareExchange(expected: 0, desired: 1, ordering: .acquiringAndReleasing)
    // Somebody else is starting it: this candidate tries again with its next call.
    guard first else { return false }
    Configuration.prepareSpinning()
    if let reason = open() ?? startThread() {
      obstacle = reason
      // Releases the reason.
      state.store(3, ordering: .releasing)
      Log.error("no service thread: connections stay on TCP")
      return false
    }
    state.store(2, ordering: .releasing)
    return true
  }

  /// In the child of a fork that uses a lane of its parent's: somebody has to notice when the peer is gone.
  static func watchInherited() -> Bool {
    guard start() else { return false }
    Pool.forEach { c in
      guard c.pin(Pins.sleeper) & (Pins.finished | Pins.closing) == 0 else {
        c.unpin(Pins.sleeper)
        return
      }
      if c.pointee.wireup.stage == .attached, !c.pointee.wireup.isWatched { Attaching.watchAgain(c) }
      c.unpin(Pins.sleeper)
    }
    return true
  }

  /// Why there is no service thread; nil if there is one, or may be. It has been tried once.
  static var whyNot: DeclineReason? { state.load(ordering: .acquiring) == 3 ? obstacle : nil }
  nonisolated(unsafe) private static var obstacle = DeclineReason.none

  private static func startThread() -> DeclineReason? {
    let r = shim_start_thread()
    return r == 0 ? nil : r == EAGAIN ? .threadsExhausted : Errno(code: r).want ?? .threadsExhausted
  }

  /// Makes what the thread sleeps on. The reason if it cannot.
  private static func open() -> DeclineReason? {
    let set = Table.makeHidden { Kernel.call(Int(SYS_epoll_create1), Int(EPOLL_CLOEXEC)) }
    let event = Table.makeHidden { Kernel.call(Int(SYS_eventfd2), 0, Int(EFD_CLOEXEC | EFD_NONBLOCK)) }
    do throws(Errno) {
      epoll = try set.get()
      wakeup = try event.get()
    } catch {
      return error.want ?? .descriptorsExhausted
    }
    Kernel.epollControl(epoll, EPOLL_CTL_ADD, wakeup, events: EPOLLIN.rawValue, data: 0)
    return nil
  }

  /// In the child of a fork: there is no service thread, and its descriptors are the parent's.
  static func forked() {
    Table.closeHidden(epoll)
    Table.closeHidden(wakeup)
    epoll = -1
    wakeup = -1
    queue = CandidateQueue()
    queueLock.reset()
    state.store(0, ordering: .relaxed)
  }

  // MARK: The thread

  static func run() {
    withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 64) { events in
      while true {
        Verbs.inService.lock()
        let hasLanes = Trimming.look()
        if hasLanes { Uring.look() }
        let posting = Verbs.attend()
        Operator.look()
        Detaching.look()
        let awaiting = TakingOver.look()
        let others =
          Attaching.timed > 0 || Chaos.stir()
          ? tick : Attaching.listening > 0 ? slowTick : hasLanes ? Trimming.period : -1
        let timeout = sooner(sooner(awaiting, sooner(others, posting)), FabricRetry.look())
        Verbs.inService.unlock()
        let r = Kernel.call(
          Int(SYS_epoll_pwait), Int(epoll), Int(bitPattern: events.baseAddress!), events.count, timeout, 0, 8)
        Verbs.inService.lock()
        var index = 0
        while index < r {
          handle(events[index])
          index += 1
        }
        takeCandidates()
        if timeout > 0, timeout <= slowTick { Attaching.lookAtDeadlines() }
        Verbs.inService.unlock()
      }
    }
  }

  /// The sooner of two times, of which -1 is never.
  private static func sooner(_ one: Int, _ other: Int) -> Int {
    one < 0 ? other : other < 0 ? one : min(one, other)
  }

  private static func handle(_ event: epoll_event) {
    let data = event.data.u64
    if data == fabricEvents { return VerbsWireup.eventsArrived() }
    guard let subject = Subject(rawValue: data & 3), subject != .wakeup else { return drainWakeup() }
    let index = Int32(truncatingIfNeeded: data >> 32)
    guard let c = Pool.record(index), c.pin(Pins.sleeper) & Pins.finished == 0,
      c.pointee.kind == UInt8(MR_CONNECTION.rawValue),
      UInt64(c.pointee.wireup.serial & 0xfff_ffff) == (data >> 2) & 0xfff_ffff
    else {
      if let c = Pool.record(index) { c.unpin(Pins.sleeper) }
      return
    }
    switch subject {
    case .listener: Attaching.callArrived(c)
    case .bell: Attaching.bellRang(c, event.events)
    case .kernel: kernelReady(c, event.events)
    case .wakeup: break
    }
    c.unpin(Pins.sleeper)
  }

  private static func kernelReady(_ c: ConnectionRef, _ events: UInt32) {
    if c.pointee.isFamily, SharedLane.siblingLeaves(c) { return }
    if events & EPOLLERR.rawValue != 0, c.pointee.wireup.stage == .attached {
      return Leaving.peerLeft(c, byReset: true)
    }
    if c.pointee.wireup.stage == .attached { return Mover.kernelReady(c) }
    Mover.advance(c)
    // The application's own bytes may have come, for a call that sleeps meanwhile.
    Waiters.wake(c)
  }

  private static func drainWakeup() {
    var value: UInt64 = 0
    _ = withUnsafeMutablePointer(to: &value) { Kernel.call(Int(SYS_read), Int(wakeup), Int(bitPattern: $0), 8) }
  }

  private static func takeCandidates() {
    while true {
      queueLock.lock()
      let next = queue.pop()
      queueLock.unlock()
      guard let c = next else { return }
      Attaching.begin(c)
      c.unpin(Pins.sleeper)
    }
  }

  // MARK: Watching

  private static func token(_ c: ConnectionRef, _ subject: Subject) -> UInt64 {
    UInt64(UInt32(bitPattern: c.pointee.index)) << 32 | UInt64(c.pointee.wireup.serial & 0xfff_ffff) << 2
      | subject.rawValue
  }

  static func watch(_ c: ConnectionRef, _ fd: Int32, _ subject: Subject, _ events: UInt32) {
    let r = Kernel.epollControl(epoll, EPOLL_CTL_ADD, fd, events: events, data: token(c, subject))
    if r == -Int(EEXIST) { Kernel.epollControl(epoll, EPOLL_CTL_MOD, fd, events: events, data: token(c, subject)) }
  }

  /// What the service's set says of the connection manager's events: a wake-up that is none.
  private static let fabricEvents: UInt64 = 1 << 63

  static func watchEvents(_ channel: Int32) {
    Kernel.epollControl(epoll, EPOLL_CTL_ADD, channel, events: EPOLLIN.rawValue, data: fabricEvents)
  }

  static func unwatch(_ fd: Int32) {
    if fd >= 0, epoll >= 0 { Kernel.epollControl(epoll, EPOLL_CTL_DEL, fd) }
  }

  /// Wakes the service thread so that it looks at its deadlines. False if there is none.
  @discardableResult
  static func prod() -> Bool {
    guard state.load(ordering: .acquiring) == 2 else { return false }
    Kernel.signal(wakeup)
    return true
  }

  /// An attempt has ended on the kernel path; see ``Attaching``.
  static func attemptEnded(_ c: ConnectionRef) {
    Attaching.ended(c)
  }
}

/// Candidates on their way to the service thread. Guarded by the queue's lock.
struct CandidateQueue {
  private static let capacity = 1024
  private var items: UnsafeMutablePointer<ConnectionRef?>?
  private var head = 0
  private var tail = 0

  mutating func push(_ c: ConnectionRef) -> Bool {
    if items == nil {
      items = Kernel.reserve(Self.capacity * 8)?.bindMemory(to: ConnectionRef?.self, capacity: Self.capacity)
    }
    guard let items, tail - head < Self.capacity else { return false }
    items[tail % Self.capacity] = c
    tail += 1
    return true
  }

  mutating func pop() -> ConnectionRef? {
    guard let items, head < tail else { return nil }
    head += 1
    return items[(head - 1) % Self.capacity]
  }
}
