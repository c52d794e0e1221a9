import CLinux
import Synchronization

/// Processes that share memory since a fork, by name, and whether one of them still lives.
enum Kin {
  /// Stands for a process whose number means another one to its relatives: it is never taken for dead.
  static let anonymous: UInt32 = 0x7fff_ffff

  /// This process, as its relatives know it; 0 before anybody has asked. No call on a lane asks the kernel for it.
  nonisolated(unsafe) private static var name: UInt32 = 0
  /// The namespace in which this process's ancestors were numbered when its first lane was shared.
  nonisolated(unsafe) private static var namespace: UInt64 = 0

  @inline(__always)
  static var me: UInt32 {
    name != 0 ? name : introduce()
  }

  @inline(never)
  private static func introduce() -> UInt32 {
    let own = ownNamespace()
    if namespace == 0 { namespace = own }
    name = own == namespace ? UInt32(bitPattern: Kernel.processID()) : anonymous
    return name
  }

  /// In the child of a fork, which may have a namespace of its own.
  static func forked() { name = 0 }

  /// Numbers are compared within one namespace only.
  private static func ownNamespace() -> UInt64 {
    var found = stat()
    let r = "/proc/self/ns/pid".withCString { path in
      withUnsafeMutablePointer(to: &found) {
        Kernel.call(Int(SYS_newfstatat), Int(AT_FDCWD), Int(bitPattern: path), Int(bitPattern: $0), 0)
      }
    }
    // Without /proc one has to believe that there is one.
    return r == 0 ? UInt64(found.st_ino) : 1
  }

  /// Whether this relative has ended, even if its parent has not yet asked how.
  static func isDead(_ other: UInt32) -> Bool {
    guard other != 0, other != anonymous, other != me, me != anonymous else { return false }
    let r = Kernel.call(Int(SYS_pidfd_open), Int(other), 0)
    if r == -Int(ESRCH) { return true }
    guard r >= 0 else { return false }
    defer { Kernel.close(Int32(r)) }
    return Kernel.pollNow(Int32(r), Int16(POLLIN)) != 0
  }
}
