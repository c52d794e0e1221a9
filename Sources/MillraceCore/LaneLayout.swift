import Synchronization

/// Where things are in the memory that the two ends of a lane share: one control page, then the two rings.
///
/// Layout only; the algorithms are in ``RingProducer``, ``RingConsumer`` and the cutover. Everything that one end
/// writes often has a cache line of its own, because the other end reads it while it is written.
public enum LaneLayout {
  /// Bytes of the control page. The rings start behind it.
  public static let controlBytes = 4096
  /// Changes whenever anything here does; both ends must agree.
  public static let version: UInt32 = 3
  /// "Millrace" in the first eight bytes of a segment.
  public static let magic: UInt64 = 0x6563_6172_6c6c_694d

  static let lineBytes = 64
  static let sideBytes = 512
  static let headerBytes = 512

  /// Bytes of the whole segment for rings of `ringBytes` each.
  public static func segmentBytes(ringBytes: Int) -> Int { controlBytes &+ 2 &* ringBytes }

  /// Where the ring begins into which the end of this role writes.
  public static func ringOffset(of role: Role, ringBytes: Int) -> Int {
    controlBytes &+ (role == .leader ? 0 : ringBytes)
  }
}

/// The words of one end in the control page. The end itself writes them, except for the two arm words, which it sets
/// and its peer clears, and the stage, on which both compare and swap.
public struct SideControl {
  private let base: UnsafeMutableRawPointer

  /// The words of `role` in the control page at `page`.
  public init(page: UnsafeMutableRawPointer, role: Role) {
    base = page + LaneLayout.headerBytes + Int(role.rawValue) * LaneLayout.sideBytes
  }

  @inline(__always)
  private func wide(_ line: Int, _ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
    (base + (line &* LaneLayout.lineBytes &+ offset)).assumingMemoryBound(to: Atomic<UInt64>.self)
  }

  @inline(__always)
  private func narrow(_ line: Int, _ offset: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
    (base + (line &* LaneLayout.lineBytes &+ offset)).assumingMemoryBound(to: Atomic<UInt32>.self)
  }

  /// Bytes that this end has put in its ring since the lane began.
  public var tail: UnsafeMutablePointer<Atomic<UInt64>> { wide(0, 0) }
  /// ``FinishFlags``: set once, after the last tail.
  public var finish: UnsafeMutablePointer<Atomic<UInt32>> { narrow(0, 8) }
  /// Bytes that this end has consumed from the peer's ring.
  public var head: UnsafeMutablePointer<Atomic<UInt64>> { wide(1, 0) }
  /// ``ArmBits``: somebody at this end sleeps until the peer's ring holds more.
  public var readerArm: UnsafeMutablePointer<Atomic<UInt32>> { narrow(2, 0) }
  /// With ``ArmBits/group``: which sleep of this end's process the arm belongs to.
  public var readerTicket: UnsafeMutablePointer<Atomic<UInt64>> { wide(2, 8) }
  /// ``ArmBits``: somebody at this end sleeps until this end's ring has room.
  public var writerArm: UnsafeMutablePointer<Atomic<UInt32>> { narrow(3, 0) }
  /// Takes the arm of this end's readers, as its peer: whoever is named must be woken.
  public func takeReaders() -> UInt32 {
    // The rest of the word stays as it is. Acquires what was stored before arming.
    readerArm.pointee.bitwiseAnd(~ArmBits.all, ordering: .sequentiallyConsistent).oldValue & ArmBits.all
  }
  /// Takes the arm of this end's writers, as its peer.
  public func takeWriters() -> UInt32 {
    writerArm.pointee.bitwiseAnd(~ArmBits.all, ordering: .sequentiallyConsistent).oldValue & ArmBits.all
  }
  /// This end's cut plus one; 0 while it is not published.
  public var cut: UnsafeMutablePointer<Atomic<UInt64>> { wide(4, 0) }
  /// This end's cut plus one, from before it put anything into its ring. The peer acts on ``cut`` only; this one tells it,
  /// when this end has died, where the ring continues the kernel stream.
  public var fixedCut: UnsafeMutablePointer<Atomic<UInt64>> { wide(4, 16) }
  /// Position of the peer's kernel stream up to which this end has taken marks and records out of it; 0 for none. It tells
  /// the peer what a reset answers: see ``Cutover/isOwnReset(recordsEnd:taken:written:)``.
  public var recordsTaken: UnsafeMutablePointer<Atomic<UInt64>> { wide(4, 24) }
}

/// The words that belong to neither end.
public struct LaneHeader {
  private let page: UnsafeMutableRawPointer

  /// The header whose first byte is at `page`, the segment's first page.
  public init(page: UnsafeMutableRawPointer) {
    self.page = page
  }

  /// ``LaneStage``, by compare and swap: the one place where "offered" becomes either "learned" or "aborted".
  public var stage: UnsafeMutablePointer<Atomic<UInt32>> {
    (page + 64).assumingMemoryBound(to: Atomic<UInt32>.self)
  }
}

/// How far the wireup's first step has come, agreed by compare and swap in shared memory: with it neither end is ever
/// in doubt whether the leader's cut was learned.
public enum LaneStage {
  /// Nothing was published yet.
  public static let fresh: UInt32 = 0
  /// The leader published its cut.
  public static let offered: UInt32 = 1
  /// The follower read the leader's cut: the lane is on its way.
  public static let learned: UInt32 = 2
  /// One of the two gave up first: the connection stays in TCP.
  public static let aborted: UInt32 = 3
}

/// How an end has finished its ring.
public enum FinishFlags {
  /// No more bytes will follow (FIN).
  public static let finished: UInt32 = 1
  /// The end was closed: it will not read either.
  public static let closed: UInt32 = 2
  /// The end was closed with bytes unread, or aborted (RST).
  public static let reset: UInt32 = 4
}

/// Who sleeps at an end: the low bits of an arm word, which the peer takes. The rest of the word is the end's own: it
/// counts the times that its sleepers were released, so that who was about to sleep then does not (futex(2)).
public enum ArmBits {
  /// Somebody sleeps on the arm word itself, as a futex.
  public static let futex: UInt32 = 1
  /// Somebody sleeps in the kernel on the bell.
  public static let bell: UInt32 = 2
  /// Somebody sleeps in the kernel on the bells of several lanes, and looks at all of them when one rings. They bear the
  /// same ``SideControl/readerTicket``: it is enough to ring for one of them.
  public static let group: UInt32 = 4
  /// What the peer takes.
  public static let all: UInt32 = 7
  /// One release of the sleepers.
  public static let release: UInt32 = 8
}
