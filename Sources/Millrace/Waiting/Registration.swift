import CLinux
import MillraceShim
import Synchronization

/// One descriptor in one set.
struct Registration {
  enum Place: UInt8 {
    /// In the kernel's set, as the application registered it.
    case kernel
    /// Looked at by every wait.
    case hot
    /// Armed; its bell in the kernel's set will ring.
    case cold
    /// The application has taken the descriptor out. The bell stays in the kernel's set: programs that take a connection out
    /// of a set often put it in again, and so neither costs a system call.
    case vacant
  }

  var set: EpollSetRef
  var connection: ConnectionRef
  var fd: Int32
  /// The number under which the kernel's set has it: ``fd``, unless that is closed and a duplicate is not.
  var kernelName: Int32
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
  /// The set's age when something was last reported.
  var reportedAt: UInt32 = 0
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
  /// How old a set gets without a report of a hot registration until that goes cold. At about this age, looking at it in
  /// vain has cost as much as the bell that rings for a cold one.
  private static var coldAge: UInt32 { 512 }

  /// Whether the application knows it, and it is not the kernel's.
  var isOnLane: Bool { pointee.place == .hot || pointee.place == .cold }

  /// Puts the registration among those that every wait looks at. The set's lock is held.
  func heat() {
    guard pointee.place != .hot else { return }
    pointee.place = .hot
    pointee.reportedAt = pointee.set.pointee.age
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

  /// A registration that has had nothing for long is armed and left alone until it rings. The set's lock is held.
  func growCold() {
    guard pointee.set.pointee.age &- pointee.reportedAt > Self.coldAge else { return }
    guard pointee.connection.pointee.receivePath.load(ordering: .acquiring) == .lane else { return }
    arm(ticket: nil)
    // Partner: RingProducer.publish and RingConsumer.free, as in EpollSet.armHot.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    if !wouldReport() { cool(to: .cold) }
  }

  /// The application's interest, with what is always reported.
  @inline(__always)
  var interest: UInt32 {
    pointee.isDisabled ? 0 : (pointee.events | Readiness.failed | Readiness.hangUp)
  }

  var isEdge: Bool { pointee.events & EPOLLET.rawValue != 0 }

  /// What is to be reported now; 0 for nothing. Notes what was reported. The set's lock is held.
  @inline(__always)
  func report() -> UInt32 {
    let mask = Readiness.mask(pointee.connection, for: interest)
    if mask == 0 { return 0 }
    if isEdge {
      guard let news = edge(mask) else { return 0 }
      note(news, mask)
    }
    if pointee.events & EPOLLONESHOT.rawValue != 0 { pointee.isDisabled = true }
    pointee.reportedAt = pointee.set.pointee.age
    return mask
  }

  /// As ``report()``, without noting anything.
  func wouldReport() -> Bool {
    let mask = Readiness.mask(pointee.connection, for: interest)
    return mask != 0 && (!isEdge || edge(mask) != nil)
  }

  /// What an edge-triggered registration compares with what it reported last.
  private struct Edge {
    var tail: UInt64
    var end: UInt32
    var refusals: UInt32
  }

  /// What has happened since the last report; nil for nothing.
  private func edge(_ mask: UInt32) -> Edge? {
    let c = pointee.connection
    let peer = c.pointee.segment!.side(c.pointee.role.peer)
    // A close after a half-close is no news, until the kernel says so.
    let finish = peer.finish.pointee.load(ordering: .acquiring)
    let tail =
      peer.tail.pointee.load(ordering: .acquiring)
      &+ (c.pointee.receivePath.load(ordering: .relaxed) == .moving
        ? UInt64(Kernel.queued(c.pointee.fd, CL_FIONREAD) ?? 0) | 1 << 63 : 0)
    let now = Edge(
      tail: tail, end: (finish != 0 ? 1 : 0) | (finish & FinishFlags.reset) | Readiness.endBits(c),
      refusals: c.pointee.refusals.load(ordering: .relaxed))
    let roomCame = now.refusals != pointee.seenRefusals && mask & Readiness.output != 0
    let isNews = pointee.isFresh || now.tail != pointee.seenTail || now.end != pointee.seenEnd || roomCame
    return isNews ? now : nil
  }

  private func note(_ edge: Edge, _ mask: UInt32) {
    pointee.isFresh = false
    pointee.seenTail = edge.tail
    pointee.seenEnd = edge.end
    if mask & Readiness.output != 0 { pointee.seenRefusals = edge.refusals }
  }

  /// Arms the lane for what the registration waits for. With a ticket, the peer rings for the first of all lanes that
  /// bear the same one; without, it rings for this lane. A fence and a look must follow.
  @inline(__always)
  func arm(ticket: UInt64?) {
    let c = pointee.connection
    guard let segment = c.pointee.segment, c.pointee.receivePath.load(ordering: .acquiring) == .lane else { return }
    let own = segment.side(c.pointee.role)
    let interest = interest
    if interest & (Readiness.input | Readiness.readHangUp) != 0 {
      let word = own.readerArm.pointee.load(ordering: .relaxed)
      if let ticket, !c.pointee.isFamily, c.pointee.registered.load(ordering: .relaxed) <= 1 {
        own.readerTicket.pointee.store(ticket, ordering: .releasing)
        if word & ArmBits.group == 0 {
          own.readerArm.pointee.bitwiseOr(ArmBits.group, ordering: .sequentiallyConsistent)
        }
      } else if word & ArmBits.bell == 0 {
        own.readerArm.pointee.bitwiseOr(ArmBits.bell, ordering: .sequentiallyConsistent)
      }
    }
    if interest & Readiness.output != 0,
      !Readiness.isWritable(own, segment.side(c.pointee.role.peer), capacity: UInt64(segment.ringBytes))
    {
      own.writerArm.pointee.bitwiseOr(ArmBits.bell, ordering: .sequentiallyConsistent)
    }
  }
}
