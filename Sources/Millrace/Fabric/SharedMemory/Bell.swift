import CLinux
import Synchronization

/// Waking the peer: by futex if it sleeps in a data call, by the bell if it sleeps in poll or epoll.
enum Bell {
  /// Wakes whoever is named by `bits`, the peer's arm bits that were taken from `word`. Called after publishing, with
  /// the direction's lock held or not; the connection is pinned either way.
  @inline(never)
  static func ring(_ connection: ConnectionRef, _ bits: UInt32, word: UnsafeMutablePointer<Atomic<UInt32>>) {
    if bits & ArmBits.futex != 0 {
      Stats.count(.futexWakes)
      Kernel.futexWake(UnsafeMutableRawPointer(word))
    }
    if bits & ArmBits.bell != 0 { signal(connection.pointee.bell) }
  }

  /// One byte for the peer's end of the Unix connection. If its buffer is full it is readable already.
  static func signal(_ bell: Int32) {
    guard bell >= 0 else { return }
    Stats.count(.bellsRung)
    var byte: UInt8 = 1
    _ = withUnsafePointer(to: &byte) { Kernel.send(bell, $0, 1) }
  }

  /// Takes the bytes out of the own end, so that it is not readable any more.
  static func drain(_ bell: Int32) {
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
