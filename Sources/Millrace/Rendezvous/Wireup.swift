import CLinux
import Synchronization

/// How far a connection has come on its way to a lane: the service thread's notes about it.
struct Wireup {
  enum Stage: UInt8 {
    /// Nothing under way.
    case none
    /// The connected end has bound the rendezvous name.
    case listening
    /// Somebody has called; his offer is awaited.
    case called
    /// The accepted end has called, and nobody listened yet; it calls again.
    case seeking
    /// The accepted end has offered; the answer is awaited.
    case calling
    /// Both ends have the memory: the cutover may begin, or has begun.
    case wired
    /// The attempt is over; what went into the ring is on its way over TCP.
    case leaving
    /// Leaving the lane: the own DETACH is written, the peer's is awaited.
    case detaching
    /// On the lane.
    case attached
    /// The lane is over, or the attempt was.
    case ended

    /// Whether data calls and the service thread have steps of the cutover to perform.
    var isMoving: Bool { self == .wired || self == .leaving || self == .detaching }
    /// Whether a deadline is watched.
    var isTimed: Bool { self == .called || self == .seeking || self == .calling || isMoving }
  }

  var stage: Stage = .none
  var listener: Int32 = -1
  /// The fabric that the attempt is for.
  var fabric = FabricKind.none
  /// verbs: the identifier that listens or calls, until there is a lane, and the completion channel that becomes the bell.
  var end: OpaquePointer?
  var channel: Int32 = -1
  /// Bytes that this end had sent when the last attempt ended: an end that has sent since can lead on verbs.
  var sentBefore: UInt64 = 0
  /// How often this attempt has called in vain.
  var callsInVain: UInt8 = 0
  /// The Unix connection before it becomes the bell.
  var socket: Int32 = -1
  /// When the present stage is given up, CLOCK_MONOTONIC in nanoseconds.
  var deadline: UInt64 = 0
  /// When the present stage began, likewise.
  var since: UInt64 = 0
  /// By how much it was moved on last, for a peer that does not answer.
  var patience: UInt64 = 0
  /// When the next attempt may be made at the earliest, likewise.
  var notBefore: UInt64 = 0
  var local = Endpoint()
  var peer = Endpoint()
  /// The cutover waits for calls to leave the kernel.
  var wantsQuiet = false
  /// The last look at the books did not fit.
  var auditFailed = false
  /// The peer has had its time to say that it has read the last record.
  var isImpatient = false
  /// When callers who need plain TCP stop waiting for that, CLOCK_MONOTONIC in nanoseconds; 0 until the first one waits.
  var courtesyEnd: UInt64 = 0
  /// The peer died in the middle of the cutover.
  var isOrphan = false
  /// The kernel stream has ended.
  var kernelEnded = false
  /// Whether the service thread watches the TCP socket and the bell.
  var isWatched = false
  /// Tells this use of the record from the next in what epoll reports late.
  var serial: UInt32 = 0

  /// The end that called connect, then the end that accepted.
  func ends(_ role: Role) -> (connector: Endpoint, acceptor: Endpoint) {
    role == .follower ? (local, peer) : (peer, local)
  }
}
