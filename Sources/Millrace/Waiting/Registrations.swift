import CLinux
import MillraceShim
import Synchronization

/// Which connections are in which epoll sets: epoll_ctl(2), and the moves between the kernel and lanes.
///
/// ``lock`` guards the lists of connections and the pools; a set's lock is taken inside it.
enum Registrations {
  static let lock = Lock()

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
    let known = EpollSets.known(epfd)
    if let known, find(known, c, fd) != nil { return -EEXIST }
    let isKernels =
      c.pointee.receivePath.load(ordering: .acquiring) == .kernel
      && c.pointee.sendPath.load(ordering: .acquiring) == .kernel
    if let known, !isKernels { return addLane(known, fd, c, event.pointee) }
    // The kernel checks the set and the descriptor; on a lane it keeps the registration only for the length of this.
    let r = Kernel.epollControl(epfd, EPOLL_CTL_ADD, fd, events: event.pointee.events, data: event.pointee.data.u64)
    guard r == 0 else { return Int32(truncatingIfNeeded: r) }
    guard let set = EpollSets.find(epfd), let registration = RegistrationPool.take() else { return 0 }
    fill(registration, set, c, fd, event.pointee)
    if !isKernels {
      moveToLane(registration)
      wake(set)
    } else if usesToken(registration) {
      // Nobody can have seen an event with other data: this is not known to be in a set until it returns.
      _ = tell(registration, EPOLL_CTL_MOD)
    }
    return 0
  }

  /// On a lane, and in a set that is known: no more than a note in memory, if the bell is in the set already.
  private static func addLane(_ set: EpollSetRef, _ fd: Int32, _ c: ConnectionRef, _ event: epoll_event) -> Int32 {
    guard !isExclusive(event.events) || event.events & ~exclusiveBits == 0 else { return -EINVAL }
    guard let registration = vacant(set, c) ?? RegistrationPool.take() else { return -ENOMEM }
    set.pointee.lock.lock()
    let ownedBell = registration.pointee.place == .vacant && registration.pointee.ownsBell
    if registration.pointee.place == .vacant {
      registration.pointee.fd = fd
      registration.pointee.kernelName = fd
      note(registration, event)
      c.pointee.registered.wrappingAdd(1, ordering: .relaxed)
    } else {
      fill(registration, set, c, fd, event)
    }
    set.pointee.lanes += 1
    registration.heat()
    if !ownedBell { takeBell(registration) }
    EpollSets.ensureNudge(set)
    set.pointee.lock.unlock()
    wake(set)
    return 0
  }

  /// What may be combined with EPOLLEXCLUSIVE (fs/eventpoll.c: EPOLLEXCLUSIVE_OK_BITS).
  private static let exclusiveBits =
    EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLERR.rawValue | EPOLLHUP.rawValue | EPOLLWAKEUP.rawValue
    | EPOLLET.rawValue | EPOLLEXCLUSIVE.rawValue

  private static func isExclusive(_ events: UInt32) -> Bool { events & EPOLLEXCLUSIVE.rawValue != 0 }

  private static func fill(
    _ registration: RegistrationRef, _ set: EpollSetRef, _ c: ConnectionRef, _ fd: Int32, _ event: epoll_event
  ) {
    registration.initialize(
      to: Registration(
        set: set, connection: c, fd: fd, kernelName: fd, events: event.events, data: event.data.u64,
        index: registration.pointee.index))
    registration.pointee.nextOfConnection = c.pointee.registrations
    c.pointee.registrations = registration
    c.pointee.registered.wrappingAdd(1, ordering: .relaxed)
  }

  private static func note(_ registration: RegistrationRef, _ event: epoll_event) {
    registration.pointee.events = event.events
    registration.pointee.data = event.data.u64
    registration.pointee.isDisabled = false
    registration.pointee.isFresh = true
    registration.pointee.swallowed = 0
  }

  /// Whether the kernel reports the registration to us first: what it has reported decides what is reported next.
  private static func usesToken(_ registration: RegistrationRef) -> Bool {
    registration.pointee.events & EPOLLONESHOT.rawValue != 0 || registration.pointee.swallowed != 0
  }

  /// Registers it with the kernel, or changes it there.
  private static func tell(_ registration: RegistrationRef, _ op: Int32) -> Int {
    let events = registration.pointee.isDisabled ? EPOLLONESHOT.rawValue : registration.pointee.events
    return Kernel.epollControl(
      registration.pointee.set.pointee.fd, op, registration.pointee.kernelName, events: events,
      data: usesToken(registration)
        ? Tokens.kernelToken(registration.pointee.index) : registration.pointee.data)
  }

  /// The kernel has reported a registration of its own under our token: what the application is to see of it, if anything.
  static func kernelReported(_ event: epoll_event, in set: EpollSetRef) -> epoll_event? {
    lock.lock()
    defer { lock.unlock() }
    guard let registration = RegistrationPool.registration(event.data.u64), registration.pointee.set == set,
      registration.pointee.place == .kernel
    else { return nil }
    let known = registration.pointee.swallowed
    registration.pointee.swallowed = 0
    // One that has fired on the lane, and is not armed again: the kernel tells of an error or an end once.
    if registration.pointee.isDisabled { return nil }
    if known != 0, event.events & ~known == 0 { return nil }
    if registration.pointee.events & EPOLLONESHOT.rawValue != 0 { registration.pointee.isDisabled = true }
    var told = event
    told.data.u64 = registration.pointee.data
    return told
  }

  private static func modify(
    _ epfd: Int32, _ fd: Int32, _ c: ConnectionRef, _ event: UnsafePointer<epoll_event>?
  ) -> Int32? {
    guard let event, let set = EpollSets.known(epfd), let registration = find(set, c, fd) else { return nil }
    if registration.pointee.place == .kernel {
      let before = registration.pointee
      note(registration, event.pointee)
      let r = tell(registration, EPOLL_CTL_MOD)
      if r != 0 {
        registration.pointee.events = before.events
        registration.pointee.data = before.data
        registration.pointee.isDisabled = before.isDisabled
      }
      return Int32(truncatingIfNeeded: r)
    }
    if isExclusive(registration.pointee.events | event.pointee.events) { return -EINVAL }
    set.pointee.lock.lock()
    note(registration, event.pointee)
    registration.heat()
    set.pointee.lock.unlock()
    wake(set)
    return 0
  }

  private static func remove(_ epfd: Int32, _ fd: Int32, _ c: ConnectionRef) -> Int32? {
    guard let set = EpollSets.known(epfd), let registration = find(set, c, fd) else { return nil }
    if registration.pointee.place == .kernel {
      drop(registration, from: c)
      return nil
    }
    // What shows in the kernel to a set around it must not go on ringing; and one vacancy is enough.
    if set.pointee.isNested || vacant(set, c) != nil {
      drop(registration, from: c)
      if set.pointee.isNested { NestedSets.refresh(set) }
      return 0
    }
    set.pointee.lock.lock()
    registration.cool(to: .vacant)
    set.pointee.lanes -= 1
    c.pointee.registered.wrappingSubtract(1, ordering: .relaxed)
    set.pointee.lock.unlock()
    return 0
  }

  private static func find(_ set: EpollSetRef, _ c: ConnectionRef, _ fd: Int32) -> RegistrationRef? {
    var at = c.pointee.registrations
    while let registration = at {
      if registration.pointee.set == set, registration.pointee.fd == fd, registration.pointee.place != .vacant {
        return registration
      }
      at = registration.pointee.nextOfConnection
    }
    return nil
  }

  private static func vacant(_ set: EpollSetRef, _ c: ConnectionRef) -> RegistrationRef? {
    var at = c.pointee.registrations
    while let registration = at {
      if registration.pointee.set == set, registration.pointee.place == .vacant { return registration }
      at = registration.pointee.nextOfConnection
    }
    return nil
  }

  // MARK: Moving

  /// The connection's stream leaves the kernel: so do its registrations.
  static func toLane(_ c: ConnectionRef) {
    // Whoever is adding one holds the lock, and has it in the list when this gets it.
    lock.lock()
    forEachLocked(c) { registration in
      moveToLane(registration)
      wake(registration.pointee.set)
    }
    lock.unlock()
  }

  /// The connection is the kernel's again; `atEnd` if only because the stream is over.
  static func toKernel(_ c: ConnectionRef, atEnd: Bool = false) {
    lock.lock()
    forEachLocked(c) { registration in
      if registration.pointee.place == .vacant { return drop(registration, from: c) }
      // The kernel tells an edge of what it finds. The end that the lane has told is none; and nothing else can come now.
      let hasToldEnd = registration.isEdge && !registration.pointee.isFresh
      registration.pointee.swallowed =
        atEnd && hasToldEnd && registration.isOnLane ? registration.pointee.reported & Readiness.ends : 0
      if registration.pointee.swallowed != 0 { registration.pointee.swallowed |= Readiness.output }
      moveToKernel(registration)
    }
    lock.unlock()
  }

  private static func moveToLane(_ registration: RegistrationRef) {
    let set = registration.pointee.set
    set.pointee.lock.lock()
    if registration.pointee.place == .kernel {
      Kernel.epollControl(set.pointee.fd, EPOLL_CTL_DEL, registration.pointee.kernelName)
      set.pointee.lanes += 1
      registration.pointee.isFresh = true
      registration.pointee.hasMoved = true
      registration.heat()
      takeBell(registration)
      EpollSets.ensureNudge(set)
    }
    set.pointee.lock.unlock()
  }

  /// Registers the bell in the kernel's set, unless another registration of the same connection has it there.
  private static func takeBell(_ registration: RegistrationRef) {
    let set = registration.pointee.set
    let r = Kernel.epollControl(
      set.pointee.fd, EPOLL_CTL_ADD, registration.pointee.connection.pointee.bell, events: EPOLLIN.rawValue,
      data: Tokens.token(registration.pointee.index))
    registration.pointee.ownsBell = r == 0
  }

  private static func moveToKernel(_ registration: RegistrationRef) {
    let set = registration.pointee.set
    let c = registration.pointee.connection
    set.pointee.lock.lock()
    if registration.isOnLane {
      leaveSet(registration)
      registration.cool(to: .kernel)
      // A closed number goes on being reported under another one that is open.
      registration.pointee.kernelName = c.isNamed(by: registration.pointee.fd) ? registration.pointee.fd : c.pointee.fd
      _ = tell(registration, EPOLL_CTL_ADD)
    }
    set.pointee.lock.unlock()
  }

  private static func leaveSet(_ registration: RegistrationRef) {
    let set = registration.pointee.set
    if registration.isOnLane { set.pointee.lanes -= 1 }
    if registration.pointee.ownsBell {
      Kernel.epollControl(set.pointee.fd, EPOLL_CTL_DEL, registration.pointee.connection.pointee.bell)
      registration.pointee.ownsBell = false
      // The bell may have rung for all that bear the sleeper's ticket, and will not be heard any more.
      wake(set)
    }
  }

  // MARK: Removal

  /// The connection is closed. The kernel forgets its own registrations with the last descriptor: `isKept` if there is a hidden
  /// one, with which it would go on to tell of what the application has closed.
  static func removeAll(_ c: ConnectionRef, isKept: Bool = false) {
    lock.lock()
    while let registration = c.pointee.registrations {
      let set = registration.pointee.set
      if isKept, registration.pointee.place == .kernel {
        Kernel.epollControl(set.pointee.fd, EPOLL_CTL_DEL, registration.pointee.kernelName)
      }
      drop(registration, from: c)
      if set.pointee.isNested { NestedSets.refresh(set) }
    }
    lock.unlock()
  }

  private static func drop(_ registration: RegistrationRef, from c: ConnectionRef) {
    let set = registration.pointee.set
    set.pointee.lock.lock()
    if registration.pointee.place != .vacant { c.pointee.registered.wrappingSubtract(1, ordering: .relaxed) }
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
      if other.pointee.set == set, other.isOnLane, !other.pointee.ownsBell { takeBell(other) }
      at = other.pointee.nextOfConnection
    }
    RegistrationPool.put(registration)
  }

  /// The application closes its epoll set.
  static func closeSet(_ set: EpollSetRef, fd: Int32) {
    lock.lock()
    if EpollSets.forget(set, fd: fd) {
      RegistrationPool.forEach(of: set) { drop($0, from: $0.pointee.connection) }
      EpollSets.put(set)
    }
    lock.unlock()
  }

  // MARK: Waking

  /// Something about the connection has changed that no bell tells, or its bell was drained: its registrations are looked
  /// at again, but for those in `set`.
  static func nudge(_ c: ConnectionRef, but set: EpollSetRef? = nil) {
    guard c.pointee.registrations != nil else { return }
    lock.lock()
    forEachLocked(c) { registration in
      let other = registration.pointee.set
      if other == set { return }
      other.pointee.lock.lock()
      if registration.pointee.place == .cold { registration.heat() }
      other.pointee.lock.unlock()
      wake(other)
    }
    lock.unlock()
  }

  /// A bell has rung in a set: the connection's registrations there are hot. The connection, pinned.
  static func heat(_ token: UInt64, in set: EpollSetRef) -> ConnectionRef? {
    lock.lock()
    defer { lock.unlock() }
    guard let registration = RegistrationPool.registration(token), registration.pointee.set == set else { return nil }
    let c = registration.pointee.connection
    _ = c.pin(Pins.sleeper)
    set.pointee.lock.lock()
    forEachLocked(c) { if $0.pointee.set == set, $0.pointee.place == .cold { $0.heat() } }
    if c.pointee.peerGone.load(ordering: .acquiring), registration.pointee.ownsBell {
      // A bell that has hung up would ring for ever.
      Kernel.epollControl(set.pointee.fd, EPOLL_CTL_DEL, c.pointee.bell)
      registration.pointee.ownsBell = false
    }
    set.pointee.lock.unlock()
    return c
  }

  /// Wakes a sleeper of the set, if there is one.
  static func wake(_ set: EpollSetRef) {
    // Partner: the sleeper counts itself before its last look (EpollWait.sleep).
    if set.pointee.isNested { set.pointee.isShown = true }
    if set.pointee.isNested || set.pointee.sleepers.load(ordering: .sequentiallyConsistent) > 0 {
      Kernel.signal(set.pointee.nudge)
    }
  }

  private static func forEachLocked(_ c: ConnectionRef, _ body: (RegistrationRef) -> Void) {
    var at = c.pointee.registrations
    while let registration = at {
      at = registration.pointee.nextOfConnection
      body(registration)
    }
  }

  // MARK: fork

  /// No thread is in the middle of a change until ``release()``.
  static func hold() {
    lock.lock()
    EpollSets.forEach { $0.pointee.lock.lock() }
  }

  static func release() {
    EpollSets.forEach { $0.pointee.lock.unlock() }
    lock.unlock()
  }

  /// In the child of a fork: what was held is free, and nobody waits in any set.
  static func forked() {
    EpollSets.forEach { set in
      set.pointee.lock.reset()
      set.pointee.sleepers.store(0, ordering: .relaxed)
      set.pointee.waiters.store(0, ordering: .relaxed)
      set.pointee.isSpun.store(false, ordering: .relaxed)
    }
    lock.reset()
  }
}
