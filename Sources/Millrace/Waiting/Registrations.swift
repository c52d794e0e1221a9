import CLinux
import MillraceShim
import Synchronization

/// Which connections are in which epoll sets. ``lock`` guards the lists of connections and the pools; a set's lock is
/// taken inside it.
enum Registrations {
  private static let lock = Lock()
  private static let capacity = 1 << 18
  nonisolated(unsafe) private static var memory: RegistrationRef?
  nonisolated(unsafe) private static var free: RegistrationRef?
  nonisolated(unsafe) private static var used: UInt32 = 0
  private static let setCapacity = 1 << 14
  nonisolated(unsafe) private static var sets: EpollSetRef?
  nonisolated(unsafe) private static var usedSets = 0
  nonisolated(unsafe) private static var freeSets: EpollSetRef?
  /// What distinguishes our tokens from an application's data: random, so nobody's data can be one.
  nonisolated(unsafe) private static var cookie: UInt64 = 0

  // MARK: epoll_ctl

  /// nil: the kernel is to be asked, and nothing is noted.
  static func control(_ epfd: Int32, _ op: Int32, _ fd: Int32, _ event: UnsafePointer<epoll_event>?) -> Int32? {
    guard let c = Table.connection(fd) else { return nil }
    lock.lock()
    defer { lock.unlock() }
    switch op {
    case EPOLL_CTL_ADD: return add(epfd, fd, c, event)
    case EPOLL_CTL_MOD: return modify(epfd, fd, c, event)
    case EPOLL_CTL_DEL: return remove(epfd, fd, c)
    default: return nil
    }
  }

  private static func add(
    _ epfd: Int32, _ fd: Int32, _ c: ConnectionRef, _ event: UnsafePointer<epoll_event>?
  ) -> Int32? {
    guard let event, c.pointee.pins.load(ordering: .acquiring) & Pins.closing == 0 else { return nil }
    if let known = knownSet(epfd), find(known, c, fd) != nil { return -EEXIST }
    // The kernel checks the set and the descriptor; on a lane it keeps the registration only for the length of this.
    let r = Kernel.epollControl(epfd, EPOLL_CTL_ADD, fd, events: event.pointee.events, data: event.pointee.data.u64)
    guard r == 0 else { return Int32(truncatingIfNeeded: r) }
    guard let set = setFor(epfd), let registration = take() else { return 0 }
    registration.initialize(
      to: Registration(
        set: set, connection: c, fd: fd, events: event.pointee.events, data: event.pointee.data.u64,
        index: registration.pointee.index))
    registration.pointee.nextOfConnection = c.pointee.registrations
    c.pointee.registrations = registration
    if c.pointee.receivePath.load(ordering: .acquiring) != .kernel
      || c.pointee.sendPath.load(ordering: .acquiring) != .kernel
    {
      moveToLane(registration)
      nudge(set)
    }
    return 0
  }

  private static func modify(
    _ epfd: Int32, _ fd: Int32, _ c: ConnectionRef, _ event: UnsafePointer<epoll_event>?
  ) -> Int32? {
    guard let event, let set = knownSet(epfd), let registration = find(set, c, fd) else { return nil }
    set.pointee.lock.lock()
    let place = registration.pointee.place
    if place != .kernel, (registration.pointee.events | event.pointee.events) & EPOLLEXCLUSIVE.rawValue != 0 {
      set.pointee.lock.unlock()
      return -EINVAL
    }
    if place == .kernel {
      set.pointee.lock.unlock()
      let r = Kernel.epollControl(epfd, EPOLL_CTL_MOD, fd, events: event.pointee.events, data: event.pointee.data.u64)
      if r == 0 {
        registration.pointee.events = event.pointee.events
        registration.pointee.data = event.pointee.data.u64
      }
      return Int32(truncatingIfNeeded: r)
    }
    registration.pointee.events = event.pointee.events
    registration.pointee.data = event.pointee.data.u64
    registration.pointee.isDisabled = false
    registration.pointee.isFresh = true
    registration.heat()
    set.pointee.lock.unlock()
    nudge(set)
    return 0
  }

  private static func remove(_ epfd: Int32, _ fd: Int32, _ c: ConnectionRef) -> Int32? {
    guard let set = knownSet(epfd), let registration = find(set, c, fd) else { return nil }
    let inKernel = registration.pointee.place == .kernel
    drop(registration, from: c)
    return inKernel ? nil : 0
  }

  private static func find(_ set: EpollSetRef, _ c: ConnectionRef, _ fd: Int32) -> RegistrationRef? {
    var at = c.pointee.registrations
    while let registration = at {
      if registration.pointee.set == set, registration.pointee.fd == fd { return registration }
      at = registration.pointee.nextOfConnection
    }
    return nil
  }

  // MARK: Moving

  /// The connection's stream leaves the kernel: so do its registrations.
  static func toLane(_ c: ConnectionRef) {
    forEach(c) { registration in
      moveToLane(registration)
      nudge(registration.pointee.set)
    }
  }

  /// The connection is the kernel's again.
  static func toKernel(_ c: ConnectionRef) {
    forEach(c) { moveToKernel($0) }
  }

  private static func moveToLane(_ registration: RegistrationRef) {
    let set = registration.pointee.set
    set.pointee.lock.lock()
    if registration.pointee.place == .kernel {
      Kernel.epollControl(set.pointee.fd, EPOLL_CTL_DEL, registration.pointee.fd)
      set.pointee.lanes += 1
      registration.pointee.isFresh = true
      registration.heat()
      takeBell(registration)
      ensureNudge(set)
    }
    set.pointee.lock.unlock()
  }

  /// Registers the bell in the kernel's set, unless another registration of the same connection has it there.
  private static func takeBell(_ registration: RegistrationRef) {
    let set = registration.pointee.set
    set.pointee.hasTokens = true
    let r = Kernel.epollControl(
      set.pointee.fd, EPOLL_CTL_ADD, registration.pointee.connection.pointee.bell, events: EPOLLIN.rawValue,
      data: token(registration.pointee.index))
    registration.pointee.ownsBell = r == 0
  }

  private static func moveToKernel(_ registration: RegistrationRef) {
    let set = registration.pointee.set
    set.pointee.lock.lock()
    if registration.pointee.place != .kernel {
      leaveSet(registration)
      registration.cool(to: .kernel)
      let events = registration.pointee.isDisabled ? EPOLLONESHOT.rawValue : registration.pointee.events
      Kernel.epollControl(
        set.pointee.fd, EPOLL_CTL_ADD, registration.pointee.fd, events: events, data: registration.pointee.data)
    }
    set.pointee.lock.unlock()
  }

  private static func leaveSet(_ registration: RegistrationRef) {
    let set = registration.pointee.set
    set.pointee.lanes -= 1
    if registration.pointee.ownsBell {
      Kernel.epollControl(set.pointee.fd, EPOLL_CTL_DEL, registration.pointee.connection.pointee.bell)
      registration.pointee.ownsBell = false
    }
  }

  // MARK: Removal

  /// The connection is closed. The kernel forgets its own registrations with the last descriptor.
  static func removeAll(_ c: ConnectionRef) {
    lock.lock()
    while let registration = c.pointee.registrations { drop(registration, from: c) }
    lock.unlock()
  }

  private static func drop(_ registration: RegistrationRef, from c: ConnectionRef) {
    let set = registration.pointee.set
    set.pointee.lock.lock()
    if registration.pointee.place != .kernel {
      leaveSet(registration)
      registration.cool(to: .kernel)
    }
    set.pointee.lock.unlock()
    if c.pointee.registrations == registration {
      c.pointee.registrations = registration.pointee.nextOfConnection
    } else {
      var at = c.pointee.registrations
      while let other = at, other.pointee.nextOfConnection != registration { at = other.pointee.nextOfConnection }
      at?.pointee.nextOfConnection = registration.pointee.nextOfConnection
    }
    // Another registration of the connection in the same set goes on with the bell.
    var at = c.pointee.registrations
    while let other = at {
      if other.pointee.set == set, other.pointee.place != .kernel, !other.pointee.ownsBell { takeBell(other) }
      at = other.pointee.nextOfConnection
    }
    registration.pointee.fd = -1
    registration.pointee.nextOfConnection = free
    free = registration
  }

  /// The application closes its epoll set.
  static func closeSet(_ set: EpollSetRef, fd: Int32) {
    lock.lock()
    Table.lock.lock()
    mr_set_entry(fd, nil)
    set.pointee.descriptors -= 1
    let isLast = set.pointee.descriptors == 0
    Table.lock.unlock()
    if isLast {
      dropAll(of: set)
      Table.closeHidden(set.pointee.nudge)
      set.pointee.nudge = -1
      if set.pointee.waiters.load(ordering: .sequentiallyConsistent) == 0 {
        set.pointee.nextFree = freeSets
        freeSets = set
      }
    }
    lock.unlock()
  }

  private static func dropAll(of set: EpollSetRef) {
    guard let memory else { return }
    var index = 0
    while index < Int(used) {
      let registration = memory + index
      if registration.pointee.fd >= 0, registration.pointee.set == set {
        drop(registration, from: registration.pointee.connection)
      }
      index += 1
    }
  }

  // MARK: Waking

  /// Something about the connection has changed that no bell tells: its registrations are looked at again.
  static func nudge(_ c: ConnectionRef) {
    guard c.pointee.registrations != nil else { return }
    forEach(c) { registration in
      let set = registration.pointee.set
      set.pointee.lock.lock()
      if registration.pointee.place == .cold { registration.heat() }
      set.pointee.lock.unlock()
      nudge(set)
    }
  }

  private static func nudge(_ set: EpollSetRef) {
    // Partner: the sleeper counts itself before its last look (EpollWait.sleep).
    if set.pointee.isNested { set.pointee.isShown = true }
    if set.pointee.isNested || set.pointee.sleepers.load(ordering: .sequentiallyConsistent) > 0 {
      Kernel.signal(set.pointee.nudge)
    }
  }

  // MARK: Nested sets

  /// Somebody waits for the set itself. From now on the kernel sees what its lanes have: every bell is armed, and what is
  /// ready shows in the nudge.
  static func nest(_ set: EpollSetRef) {
    set.pointee.lock.lock()
    if !set.pointee.isNested { heatAll(of: set) }
    set.pointee.isNested = true
    expose(set)
    set.pointee.lock.unlock()
  }

  /// A nested set keeps all its lanes hot. Locks: the set's; the pool only grows.
  private static func heatAll(of set: EpollSetRef) {
    guard let memory, set.pointee.lanes > 0 else { return }
    var index = 0
    while index < Int(used) {
      let registration = memory + index
      if registration.pointee.fd >= 0, registration.pointee.set == set, registration.pointee.place == .cold {
        registration.heat()
      }
      index += 1
    }
  }

  /// The set's lock is held.
  static func expose(_ set: EpollSetRef) {
    var at = set.pointee.hotHead
    var isReady = false
    while let registration = at {
      at = registration.pointee.nextHot
      // A bell that rang for what has been read meanwhile must not go on showing it.
      Bell.drain(registration.pointee.connection.pointee.bell)
      if !registration.arm() { isReady = true }
    }
    if isReady == set.pointee.isShown { return }
    set.pointee.isShown = isReady
    if isReady { Kernel.signal(set.pointee.nudge) } else { drainNudge(set) }
  }

  static func drainNudge(_ set: EpollSetRef) {
    var value: UInt64 = 0
    _ = withUnsafeMutablePointer(to: &value) {
      Kernel.call(Int(SYS_read), Int(set.pointee.nudge), Int(bitPattern: $0), 8)
    }
  }

  /// `inner` is registered in `outer`: a wait on the outer one brings the inner one up to date first.
  static func nest(_ inner: EpollSetRef, in outer: EpollSetRef) {
    lock.lock()
    switch outer.pointee.inner {
    case (nil, _, _, _): outer.pointee.inner.0 = inner
    case (_, nil, _, _): outer.pointee.inner.1 = inner
    case (_, _, nil, _): outer.pointee.inner.2 = inner
    default: outer.pointee.inner.3 = inner
    }
    lock.unlock()
    nest(inner)
  }

  @inline(__always)
  static func exposeInner(_ outer: EpollSetRef) {
    guard outer.pointee.inner.0 != nil else { return }
    if let set = outer.pointee.inner.0 { nest(set) }
    if let set = outer.pointee.inner.1 { nest(set) }
    if let set = outer.pointee.inner.2 { nest(set) }
    if let set = outer.pointee.inner.3 { nest(set) }
  }

  private static func forEach(_ c: ConnectionRef, _ body: (RegistrationRef) -> Void) {
    guard c.pointee.registrations != nil else { return }
    lock.lock()
    var at = c.pointee.registrations
    while let registration = at {
      at = registration.pointee.nextOfConnection
      body(registration)
    }
    lock.unlock()
  }

  // MARK: Tokens

  static func token(_ index: UInt32) -> UInt64 { cookie | UInt64(index) }
  /// The token of a set's own eventfd.
  static var nudgeToken: UInt64 { cookie | 0xff_ffff }

  /// Whether an event's data is one of ours, and the registration that it names (nil for the nudge).
  @inline(__always)
  static func isToken(_ data: UInt64) -> Bool { data & ~0xff_ffff == cookie && cookie != 0 }

  static func registration(_ data: UInt64) -> RegistrationRef? {
    let index = Int(data & 0xff_ffff)
    guard let memory, index < Int(used), (memory + index).pointee.fd >= 0 else { return nil }
    return memory + index
  }

  // MARK: Pools

  private static func take() -> RegistrationRef? {
    if let registration = free {
      free = registration.pointee.nextOfConnection
      return registration
    }
    if memory == nil {
      memory = Kernel.reserve(capacity * MemoryLayout<Registration>.stride)?
        .bindMemory(to: Registration.self, capacity: capacity)
      while cookie == 0 { cookie = Entropy.nonce().high & ~0xff_ffff }
    }
    guard let memory, used < UInt32(capacity) else { return nil }
    let registration = memory + Int(used)
    registration.pointee.index = used
    used += 1
    return registration
  }

  static func knownSet(_ epfd: Int32) -> EpollSetRef? {
    guard let entry = mr_entry(epfd), entry.load(as: UInt8.self) == UInt8(MR_EPOLL.rawValue) else { return nil }
    return entry.assumingMemoryBound(to: EpollSet.self)
  }

  private static func setFor(_ epfd: Int32) -> EpollSetRef? {
    if let known = knownSet(epfd) { return known }
    guard epfd < Int32(MR_TABLE_SIZE), mr_entry(epfd) == nil else { return nil }
    guard let set = takeSet() else { return nil }
    set.initialize(to: EpollSet())
    set.pointee.fd = epfd
    Table.lock.lock()
    mr_set_entry(epfd, set)
    Table.lock.unlock()
    return set
  }

  private static func takeSet() -> EpollSetRef? {
    if let set = freeSets {
      freeSets = set.pointee.nextFree
      return set
    }
    if sets == nil {
      sets = Kernel.reserve(setCapacity * MemoryLayout<EpollSet>.stride)?
        .bindMemory(to: EpollSet.self, capacity: setCapacity)
    }
    guard let sets, usedSets < setCapacity else { return nil }
    usedSets += 1
    return sets + (usedSets - 1)
  }

  /// A set is known from its creation, so that whoever sleeps in it can be woken.
  static func created(_ epfd: Int32) {
    lock.lock()
    if let stale = mr_entry(epfd), stale.load(as: UInt8.self) == UInt8(MR_EPOLL.rawValue) { mr_set_entry(epfd, nil) }
    _ = setFor(epfd)
    lock.unlock()
  }

  /// The eventfd by which a sleeper in this set is woken from inside the process. The set's lock is held.
  private static func ensureNudge(_ set: EpollSetRef) {
    guard set.pointee.nudge < 0 else { return }
    let made = Table.makeHidden { Kernel.call(Int(SYS_eventfd2), 0, Int(EFD_CLOEXEC | EFD_NONBLOCK)) }
    guard let hidden = try? made.get() else { return }
    set.pointee.nudge = hidden
    Kernel.epollControl(set.pointee.fd, EPOLL_CTL_ADD, hidden, events: EPOLLIN.rawValue, data: nudgeToken)
  }

  /// In the child of a fork: whatever lock another thread held is free.
  static func forked() { lock.reset() }
}
