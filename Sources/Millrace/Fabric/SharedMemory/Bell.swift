import CLinux
import Synchronization

/// Waking the peer: by futex if it sleeps in a data call, by the bell if it sleeps in poll or epoll.
enum Bell {
  /// Wakes the peer's readers that are named by `bits`, the arm bits that were taken. Called after publishing, with
  /// the direction's lock held or not; the connection is pinned either way.
  @inline(never)
  static func ringReaders(_ c: ConnectionRef, _ bits: UInt32) {
    let side = c.pointee.segment!.side(c.pointee.laneRole.peer)
    if bits & ArmBits.futex != 0 { wake(side.readerArm) }
    if bits & ArmBits.bell != 0 { return _ = signal(c) }
    if bits & ArmBits.group != 0 { ringGroup(c, side) }
  }

  /// Wakes the peer's writers.
  @inline(never)
  static func ringWriters(_ c: ConnectionRef, _ bits: UInt32) {
    if bits & ArmBits.futex != 0 { wake(c.pointee.segment!.side(c.pointee.laneRole.peer).writerArm) }
    if bits & ArmBits.bell != 0 { _ = signal(c) }
  }

  /// Rings for a sleeper who looks at all lanes with its ticket when it wakes, unless that was done.
  private static func ringGroup(_ c: ConnectionRef, _ side: SideControl) {
    // Partner: EpollSet.armHot. An older ticket than the one that the arm belongs to cannot be seen by who took the arm; and
    // by who sees an older one because the arm was left as it was, the tail was published before the sleeper's last look.
    let ticket = side.readerTicket.pointee.load(ordering: .sequentiallyConsistent)
    guard let peer = c.pointee.peerProcess else { return _ = signal(c) }
    if peer.pointee.isRung(ticket) { return Stats.count(.bellsSpared) }
    if signal(c) { peer.pointee.noteRung(ticket) }
  }

  private static func wake(_ word: UnsafeMutablePointer<Atomic<UInt32>>) {
    Stats.count(.futexWakes)
    Kernel.futexWake(UnsafeMutableRawPointer(word))
  }

  /// One byte for the peer's end of the Unix connection. If its buffer is full it is readable already. False if nothing
  /// was rung.
  @discardableResult
  static func signal(_ c: ConnectionRef) -> Bool {
    Fabric.tell(c)
    guard Fabric.hasWords(c) else { return true }
    let bell = c.pointee.bell
    guard bell >= 0 else { return false }
    Stats.count(.bellsRung)
    var byte: UInt8 = 1
    return withUnsafePointer(to: &byte) { Kernel.send(bell, $0, 1) } == 1
  }

  /// Takes the bytes out of the own end, so that it is not readable any more.
  static func drain(_ c: ConnectionRef) {
    if let lane = c.pointee.verbs { return lane.drain() }
    let bell = c.pointee.bell
    guard bell >= 0 else { return }
    Stats.count(.bellsDrained)
    var rounds = 0
    while rounds < 8, cl_drain(bell, 256) == 256 { rounds += 1 }
  }

  /// Closes the Unix connection, which no other process of this end holds. What has come is thrown away first: the kernel
  /// would close descriptors in it, whatever that takes. A socket's buffer holds no more messages than there are rounds.
  static func close(_ bell: Int32) {
    guard bell >= 0 else { return }
    cl_refuse_descriptors(bell)
    var rounds = 0
    while rounds < 1024, cl_drain(bell, 256) > 0 { rounds += 1 }
    Table.closeHidden(bell)
  }
}
