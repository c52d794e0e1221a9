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
  /// Set once the kernel may report tokens of ours.
  var hasTokens = false
  /// An eventfd in the set, for waking a sleeper from this process.
  var nudge: Int32 = -1
  /// Threads asleep in the kernel on this set.
  let sleepers = Atomic<UInt32>(0)
  /// Threads inside a wait, who keep the record from being reused.
  let waiters = Atomic<UInt32>(0)
  var spin = SpinBudget()
  /// When the kernel's descriptors were last looked at, in cycles.
  var lastLook: UInt64 = 0
  var nextFree: EpollSetRef?

  init() {}
}

typealias EpollSetRef = UnsafeMutablePointer<EpollSet>

/// One descriptor in one set.
struct Registration {
  enum Place: UInt8 {
    /// In the kernel's set, as the application registered it.
    case kernel
    /// Looked at by every wait.
    case hot
    /// Armed; its bell in the kernel's set will ring.
    case cold
  }

  var set: EpollSetRef
  var connection: ConnectionRef
  var fd: Int32
  var events: UInt32
  var data: UInt64
  var place: Place = .kernel
  /// EPOLLONESHOT has fired.
  var isDisabled = false
  /// The next report is due whatever was reported before: freshly added or modified.
  var isFresh = true
  /// Edge triggered: the producer's tail, the end and the writer's refusals as last reported.
  var seenTail: UInt64 = 0
  var seenEnd: UInt32 = 0
  var seenRefusals: UInt32 = 0
  /// Waits in a row that found nothing.
  var quiet: UInt32 = 0
  /// Place in the pool, for the token.
  var index: UInt32 = 0
  /// The kernel's set holds the bell under this registration's token.
  var ownsBell = false
  var nextOfConnection: RegistrationRef?
  var previousHot: RegistrationRef?
  var nextHot: RegistrationRef?
}

typealias RegistrationRef = UnsafeMutablePointer<Registration>

extension UnsafeMutablePointer where Pointee == Registration {
  /// Puts the registration among those that every wait looks at. The set's lock is held.
  func heat() {
    guard pointee.place != .hot else { return }
    pointee.place = .hot
    pointee.quiet = 0
    pointee.previousHot = nil
    pointee.nextHot = pointee.set.pointee.hotHead
    pointee.nextHot?.pointee.previousHot = self
    pointee.set.pointee.hotHead = self
  }

  /// Takes it out of them. The set's lock is held.
  func cool(to place: Registration.Place) {
    if pointee.place == .hot {
      if let previous = pointee.previousHot {
        previous.pointee.nextHot = pointee.nextHot
      } else {
        pointee.set.pointee.hotHead = pointee.nextHot
      }
      pointee.nextHot?.pointee.previousHot = pointee.previousHot
      pointee.previousHot = nil
      pointee.nextHot = nil
    }
    pointee.place = place
  }

  /// The application's interest, with what is always reported.
  var interest: UInt32 {
    pointee.isDisabled ? 0 : (pointee.events | Readiness.failed | Readiness.hangUp)
  }

  var isEdge: Bool { pointee.events & EPOLLET.rawValue != 0 }

  /// What is to be reported now; 0 for nothing. Notes what was reported. The set's lock is held.
  @inline(__always)
  func report() -> UInt32 {
    let mask = Readiness.mask(pointee.connection) & interest
    if mask == 0 { return 0 }
    if isEdge, !passesEdge(mask) { return 0 }
    if pointee.events & EPOLLONESHOT.rawValue != 0 { pointee.isDisabled = true }
    return mask
  }

  /// Edge triggered: whether something has happened since the last report.
  private func passesEdge(_ mask: UInt32) -> Bool {
    let c = pointee.connection
    let segment = c.pointee.segment!
    let peer = segment.side(c.pointee.role.peer)
    let tail =
      peer.tail.pointee.load(ordering: .acquiring)
      &+ (c.pointee.receivePath.load(ordering: .relaxed) == .moving
        ? UInt64(Kernel.queued(c.pointee.fd, CL_FIONREAD) ?? 0) | 1 << 63 : 0)
    // A close after a half-close is no news, until the kernel says so.
    let finish = peer.finish.pointee.load(ordering: .relaxed)
    let end = (finish != 0 ? 1 : 0) | (finish & FinishFlags.reset) | Readiness.endBits(c)
    let refusals = c.pointee.refusals.load(ordering: .relaxed)
    let roomCame = refusals != pointee.seenRefusals && mask & Readiness.output != 0
    let news = pointee.isFresh || tail != pointee.seenTail || end != pointee.seenEnd || roomCame
    guard news else { return false }
    pointee.isFresh = false
    pointee.seenTail = tail
    pointee.seenEnd = end
    if mask & Readiness.output != 0 { pointee.seenRefusals = refusals }
    return true
  }

  /// Arms the lane for what the registration waits for. True if there is nothing to report, so that it may go cold.
  func arm() -> Bool {
    let c = pointee.connection
    guard let segment = c.pointee.segment, c.pointee.receivePath.load(ordering: .acquiring) == .lane else {
      return false
    }
    let own = segment.side(c.pointee.role)
    if interest & (Readiness.input | Readiness.readHangUp) != 0 {
      // Partner: RingProducer.publish. The look at readiness below comes after.
      own.readerArm.pointee.bitwiseOr(ArmBits.bell, ordering: .sequentiallyConsistent)
    }
    if interest & Readiness.output != 0,
      !Readiness.isWritable(own, segment.side(c.pointee.role.peer), capacity: UInt64(segment.ringBytes))
    {
      // Partner: RingConsumer.free.
      own.writerArm.pointee.bitwiseOr(ArmBits.bell, ordering: .sequentiallyConsistent)
    }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    let mask = Readiness.mask(c) & interest
    if mask == 0 { return true }
    guard isEdge else { return false }
    return !wouldPassEdge(mask)
  }

  /// As ``passesEdge(_:)``, without noting anything.
  private func wouldPassEdge(_ mask: UInt32) -> Bool {
    let before = pointee
    let passes = passesEdge(mask)
    pointee.isFresh = before.isFresh
    pointee.seenTail = before.seenTail
    pointee.seenEnd = before.seenEnd
    pointee.seenRefusals = before.seenRefusals
    return passes
  }
}
