import CLinux
import MillraceShim
import Synchronization

/// The process's epoll sets, each known from its creation, so that whoever sleeps in it can be woken. Guarded by
/// ``Registrations/lock``.
enum EpollSets {
  private static let capacity = 1 << 14
  nonisolated(unsafe) private static var sets: EpollSetRef?
  nonisolated(unsafe) private static var used = 0
  nonisolated(unsafe) private static var free: EpollSetRef?

  static func known(_ epfd: Int32) -> EpollSetRef? {
    guard let entry = mr_entry(epfd), entry.load(as: UInt8.self) == UInt8(MR_EPOLL.rawValue) else { return nil }
    return entry.assumingMemoryBound(to: EpollSet.self)
  }

  /// The set that `epfd` names, noted now if it was not.
  static func find(_ epfd: Int32) -> EpollSetRef? {
    if let set = known(epfd) { return set }
    guard epfd < Int32(MR_TABLE_SIZE), mr_entry(epfd) == nil, let set = take() else { return nil }
    set.initialize(to: EpollSet())
    set.pointee.fd = epfd
    Table.lock.lock()
    mr_set_entry(epfd, set)
    Table.lock.unlock()
    return set
  }

  private static func take() -> EpollSetRef? {
    if let set = free {
      free = set.pointee.nextFree
      return set
    }
    if sets == nil {
      sets = Kernel.reserve(capacity * MemoryLayout<EpollSet>.stride)?
        .bindMemory(to: EpollSet.self, capacity: capacity)
    }
    guard let sets, used < capacity else { return nil }
    used += 1
    return sets + (used - 1)
  }

  /// Every record that was ever used.
  static func forEach(_ body: (EpollSetRef) -> Void) {
    var index = 0
    while let sets, index < used {
      body(sets + index)
      index += 1
    }
  }

  /// A new set.
  static func created(_ epfd: Int32) {
    Registrations.lock.lock()
    if known(epfd) != nil { mr_set_entry(epfd, nil) }
    _ = find(epfd)
    Registrations.lock.unlock()
  }

  /// `fd` names the set no more. True if nothing does.
  static func forget(_ set: EpollSetRef, fd: Int32) -> Bool {
    Table.lock.lock()
    defer { Table.lock.unlock() }
    mr_set_entry(fd, nil)
    set.pointee.descriptors -= 1
    return set.pointee.descriptors == 0
  }

  /// Gives up a set without registrations. One that somebody still waits in is not used again.
  static func put(_ set: EpollSetRef) {
    Table.closeHidden(set.pointee.nudge)
    set.pointee.nudge = -1
    guard set.pointee.waiters.load(ordering: .sequentiallyConsistent) == 0 else { return }
    set.pointee.nextFree = free
    free = set
  }

  /// The eventfd by which a sleeper in this set is woken from inside the process. The set's lock is held.
  static func ensureNudge(_ set: EpollSetRef) {
    guard set.pointee.nudge < 0 else { return }
    let made = Table.makeHidden { Kernel.call(Int(SYS_eventfd2), 0, Int(EFD_CLOEXEC | EFD_NONBLOCK)) }
    guard let hidden = try? made.get() else { return }
    set.pointee.nudge = hidden
    Kernel.epollControl(set.pointee.fd, EPOLL_CTL_ADD, hidden, events: EPOLLIN.rawValue, data: Tokens.nudge)
  }

  static func drainNudge(_ set: EpollSetRef) {
    var value: UInt64 = 0
    _ = withUnsafeMutablePointer(to: &value) {
      Kernel.call(Int(SYS_read), Int(set.pointee.nudge), Int(bitPattern: $0), 8)
    }
  }

  /// The ticket of a sleep in `set`: never the same twice in a process, nor in two processes by more than chance. Its low
  /// bits tell sets apart.
  static func ticket(_ set: EpollSetRef) -> UInt64 {
    let place = sets.map { set - $0 } ?? 0
    let count = tickets.wrappingAdd(1, ordering: .relaxed).newValue
    return (Tokens.cookie &+ count) << PeerProcess.placeBits | UInt64(place % PeerProcess.places)
  }

  private static let tickets = Atomic<UInt64>(0)
}

/// The pool of registrations. Guarded by ``Registrations/lock``.
enum RegistrationPool {
  private static let capacity = 1 << 18
  nonisolated(unsafe) private static var memory: RegistrationRef?
  nonisolated(unsafe) private static var free: RegistrationRef?
  nonisolated(unsafe) private static var used: UInt32 = 0

  static func take() -> RegistrationRef? {
    if let registration = free {
      free = registration.pointee.nextOfConnection
      registration.pointee.place = .kernel
      return registration
    }
    if memory == nil {
      memory = Kernel.reserve(capacity * MemoryLayout<Registration>.stride)?
        .bindMemory(to: Registration.self, capacity: capacity)
      Tokens.choose()
    }
    guard let memory, used < UInt32(capacity) else { return nil }
    let registration = memory + Int(used)
    registration.pointee.index = used
    used += 1
    return registration
  }

  static func put(_ registration: RegistrationRef) {
    registration.pointee.fd = -1
    registration.pointee.nextOfConnection = free
    free = registration
  }

  static func forEach(of set: EpollSetRef, _ body: (RegistrationRef) -> Void) {
    guard let memory else { return }
    var index = 0
    while index < Int(used) {
      let registration = memory + index
      if registration.pointee.fd >= 0, registration.pointee.set == set { body(registration) }
      index += 1
    }
  }

  static func registration(_ token: UInt64) -> RegistrationRef? {
    let index = Int(token & Tokens.placeMask)
    guard let memory, index < Int(used), (memory + index).pointee.fd >= 0 else { return nil }
    return memory + index
  }
}

/// What our own descriptors in an application's set are registered with: random, so nobody's data can be it.
enum Tokens {
  fileprivate static let indexMask: UInt64 = 0xff_ffff
  fileprivate static let placeMask: UInt64 = 0x7f_ffff
  nonisolated(unsafe) fileprivate(set) static var cookie: UInt64 = 0

  static func choose() {
    while cookie == 0 { cookie = Entropy.nonce().high & ~indexMask }
  }

  /// The token of a lane's bell, and of a connection that is the kernel's. Indices are below the bit that differs.
  static func token(_ index: UInt32) -> UInt64 { cookie | UInt64(index) }
  static func kernelToken(_ index: UInt32) -> UInt64 { cookie | kernelBit | UInt64(index) }
  private static let kernelBit: UInt64 = 0x80_0000
  static func isKernels(_ token: UInt64) -> Bool { token & kernelBit != 0 && token != nudge }
  /// The token of a set's own eventfd.
  static var nudge: UInt64 { cookie | indexMask }

  /// Whether an event's data is one of ours.
  @inline(__always)
  static func isToken(_ data: UInt64) -> Bool { data & ~indexMask == cookie && cookie != 0 }
}
