import CLinux
import MillraceShim
import Synchronization

/// An application's epoll set that holds connections.
///
/// The set's own descriptor keeps all that is the kernel's. The registration of a connection on a lane is taken out of
/// it and answered from here; the lane's bell is registered in its place, so that the kernel wakes a sleeper for it.
/// Registrations that are *hot* are looked at by every wait; a registration that has been quiet is *cold*: its bell is
/// armed, and it costs nothing until it rings. So the cost of a wait grows with the busy lanes, not with all of them.
struct EpollSet: ~Copyable {
  /// An `mr_kind`; C reads it as the first byte.
  var kind = UInt8(MR_EPOLL.rawValue)
  /// Descriptors of this process that name the set (guarded by the table's lock), and one of them.
  var descriptors: Int32 = 1
  var fd: Int32 = -1
  /// Guards everything below, and the registrations of the set.
  let lock = Lock()
  /// Registrations that are not the kernel's, and the hot ones among them in a ring of links.
  var lanes = 0
  /// Somebody waits for the set itself: what its lanes have must show in the kernel.
  var isNested = false
  /// Sets of this process that are registered in this one, as far as they fit.
  var inner: (EpollSetRef?, EpollSetRef?, EpollSetRef?, EpollSetRef?) = (nil, nil, nil, nil)
  /// The nudge is readable because something is ready.
  var isShown = false
  var hotHead: RegistrationRef?
  var hotCount = 0
  /// Counts looks that found something, and sleeps by more: the time by which a registration grows cold.
  var age: UInt32 = 0
  /// An eventfd in the set, for waking a sleeper from this process.
  var nudge: Int32 = -1
  /// Threads asleep in the kernel on this set.
  let sleepers = Atomic<UInt32>(0)
  /// Threads inside a wait, who keep the record from being reused.
  let waiters = Atomic<UInt32>(0)
  /// A thread spins for all of them.
  let isSpun = Atomic<Bool>(false)
  var spin = SpinBudget()
  /// When the kernel's descriptors were last looked at, and for how long lanes alone may satisfy waits, in cycles.
  var lastLook: UInt64 = 0
  var lookAfter: UInt64 = 0
  /// The kernel's events left no room for the lanes': the next wait begins with those.
  var lanesFirst = false
  var nextFree: EpollSetRef?

  init() {}
}

typealias EpollSetRef = UnsafeMutablePointer<EpollSet>

extension UnsafeMutablePointer where Pointee == EpollSet {
  /// Puts what follows `registration` in the list of hot ones first. The set's lock is held.
  func rotateHot(behind registration: RegistrationRef) {
    guard let first = registration.pointee.nextHot, let head = pointee.hotHead else { return }
    var last = first
    while let next = last.pointee.nextHot { last = next }
    last.pointee.nextHot = head
    head.pointee.previousHot = last
    registration.pointee.nextHot = nil
    first.pointee.previousHot = nil
    pointee.hotHead = first
  }

  /// Arms every hot registration: for a sleeper who is alone under its ticket, else each for itself (``ArmBits``). The
  /// caller looks at all of them afterwards. The set's lock is held.
  func armHot(ticket: UInt64?) {
    var at = pointee.hotHead
    while let registration = at {
      at = registration.pointee.nextHot
      registration.arm(ticket: ticket)
    }
    // Partner: RingProducer.publish and RingConsumer.free. Either they see the arm, or the looks that follow see their
    // position. A ticket is stored without a locked instruction, so the fence is what orders it.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
  }

  /// A connection whose stream moves, and which has nothing for now: what has arrived may wait for no more than somebody to
  /// take the mark before it. It is pinned. The set's lock is held.
  func firstMoving() -> ConnectionRef? {
    var at = pointee.hotHead
    while let registration = at {
      at = registration.pointee.nextHot
      if let c = registration.pinIfMoving() { return c }
    }
    return nil
  }

  /// How slow the fabric of the first hot registration is; nil if there is none. Registrations come and go meanwhile.
  func slowness() -> UInt64? {
    pointee.lock.lock()
    defer { pointee.lock.unlock() }
    return pointee.hotHead.map { Fabric.slowness($0.pointee.connection) }
  }

  /// Whether a hot registration has something to report. The set's lock is held.
  func hasReport() -> Bool {
    var at = pointee.hotHead
    while let registration = at {
      at = registration.pointee.nextHot
      if registration.wouldReport() { return true }
    }
    return false
  }
}
