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
  /// It has just come from the kernel: what the kernel has told in the same wait is not told again.
  var hasMoved = false
  /// Edge triggered: what there was at the last report, and what was reported.
  var seen = Edge()
  var reported: UInt32 = 0
  /// In the kernel: an event of no more than these bits has been reported already, by the lane.
  var swallowed: UInt32 = 0
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

/// What an edge-triggered registration compares with what there was when it reported last.
struct Edge {
  /// The producer's position, or while the stream moves what the kernel has.
  var tail: UInt64 = 0
  var end: UInt32 = 0
  /// How often a writer was refused.
  var refusals: UInt32 = 0

  init() {}

  init(_ c: ConnectionRef) {
    Fabric.look(c)
    guard let peer = c.pointee.segment?.side(c.pointee.laneRole.peer) else { return }
    refusals = c.pointee.refusals.load(ordering: .acquiring)
    // A close after a half-close is no news, until the kernel says so. A peer that died said nothing, and has ended all the same.
    let finish = peer.finish.pointee.load(ordering: .acquiring)
    let hasEnded = finish != 0 || c.pointee.peerGone.load(ordering: .acquiring)
    end = (hasEnded ? 1 : 0) | (finish & FinishFlags.reset) | Readiness.endBits(c)
    tail = peer.tail.pointee.load(ordering: .acquiring)
    guard c.pointee.receivePath.load(ordering: .acquiring) == .moving else { return }
    tail &+= UInt64(Kernel.queued(c.pointee.fd, CL_FIONREAD) ?? 0) | 1 << 63
  }
}

typealias RegistrationRef = UnsafeMutablePointer<Registration>

extension UnsafeMutablePointer where Pointee == Registration {
  /// How old a set gets without a report of a hot registration until that goes cold. At about this age, looking at it in
  /// vain has cost as much as the bell that rings for a cold one. Those of many lanes are in nobody's cache: a look at one
  /// costs a dozen times as much.
  private var coldAge: UInt32 { pointee.set.pointee.hotCount > 64 ? 32 : 512 }

  /// The connection with a pin, if its stream moves: then what has arrived may not show yet. The set's lock is held.
  func pinIfMoving() -> ConnectionRef? {
    let c = pointee.connection
    guard c.pointee.receivePath.load(ordering: .acquiring) == .moving, !pointee.isDisabled,
      Readiness.mask(c, for: Readiness.input) == 0
    else { return nil }
    _ = c.pin(Pins.sleeper)
    return c
  }

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
    pointee.set.pointee.hotCount &+= 1
  }

  /// Takes it out of them. The set's lock is held.
  func cool(to place: Registration.Place) {
    if pointee.place == .hot {
      pointee.set.pointee.hotCount &-= 1
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
    guard pointee.set.pointee.age &- pointee.reportedAt > coldAge else { return }
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
    let mask = isEdge ? reportEdge() : Readiness.mask(pointee.connection, for: interest)
    if mask == 0 { return 0 }
    if pointee.events & EPOLLONESHOT.rawValue != 0 { pointee.isDisabled = true }
    pointee.reportedAt = pointee.set.pointee.age
    return mask
  }

  /// As ``report()``, without noting anything.
  func wouldReport() -> Bool {
    let edge = Edge(pointee.connection)
    let mask = Readiness.mask(pointee.connection, for: interest)
    return mask != 0 && (!isEdge || isNews(edge, mask))
  }

  /// What comes while this looks must be told now or be news the next time. So what is compared was read before the look,
  /// and what is noted was read behind it exactly if the look shows it.
  private func reportEdge() -> UInt32 {
    let c = pointee.connection
    let before = Edge(c)
    let mask = Readiness.mask(c, for: interest)
    guard mask != 0, isNews(before, mask) else { return 0 }
    let after = Edge(c)
    pointee.isFresh = false
    pointee.seen.tail = mask & Readiness.input != 0 ? after.tail : before.tail
    pointee.seen.end = mask & Readiness.ends != 0 ? after.end : before.end
    // A writer who was refused behind the look has not been told of room.
    if mask & Readiness.output != 0 { pointee.seen.refusals = before.refusals }
    pointee.reported = mask
    return mask
  }

  /// Whether something has happened since the last report.
  private func isNews(_ now: Edge, _ mask: UInt32) -> Bool {
    if pointee.isFresh || now.end != pointee.seen.end { return true }
    // Arrivals are no news to who waits for room only.
    if now.tail != pointee.seen.tail, interest & (Readiness.input | Readiness.readHangUp) != 0 { return true }
    return now.refusals != pointee.seen.refusals && mask & Readiness.output != 0
  }

  /// Arms the lane for what the registration waits for. With a ticket, the peer rings for the first of all lanes that
  /// bear the same one; without, it rings for this lane. A fence and a look must follow.
  @inline(__always)
  func arm(ticket: UInt64?) {
    let c = pointee.connection
    guard let segment = c.pointee.segment, c.pointee.receivePath.load(ordering: .acquiring) == .lane else { return }
    let own = segment.side(c.pointee.laneRole)
    let interest = interest
    guard Fabric.hasWords(c) else {
      let isFull = !Readiness.isWritable(
        own, segment.side(c.pointee.laneRole.peer), capacity: UInt64(segment.ringBytes))
      return Fabric.arm(c, forRoom: interest & Readiness.output != 0 && isFull)
    }
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
      !Readiness.isWritable(own, segment.side(c.pointee.laneRole.peer), capacity: UInt64(segment.ringBytes))
    {
      own.writerArm.pointee.bitwiseOr(ArmBits.bell, ordering: .sequentiallyConsistent)
    }
  }
}
