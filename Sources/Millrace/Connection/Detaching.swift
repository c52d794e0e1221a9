import CLinux
import MillraceShim
import Synchronization

/// Leaving a lane while both ends live: DETACH on the kernel path, and on in TCP at the exact byte.
enum Detaching {
  /// How long a caller who needs plain TCP waits for the peer's answer before it goes on without: the peer may be stopped.
  private static let patience: UInt64 = 5_000_000_000

  /// Moves a connection back to TCP, and returns when it is there. Nothing happens if it is not on a lane.
  static func detach(_ c: ConnectionRef, _ reason: DeclineReason) {
    guard c.pointee.attempt.load(ordering: .acquiring) == .attached else { return }
    _ = c.pin(Pins.sleeper)
    defer { c.unpin(Pins.sleeper) }
    let deadline = Kernel.now() &+ patience
    if c.pointee.isFamily, !SharedLane.claimDetach(c) { return SharedLane.awaitSibling(c, until: deadline) }
    begin(c, reason)
    wait(c, until: deadline)
    if c.pointee.isFamily { SharedLane.settleClaim(c) }
  }

  /// Writes the own DETACH. The rest follows as the peer's arrives, whoever looks.
  static func begin(_ c: ConnectionRef, _ reason: DeclineReason) {
    c.lockBoth()
    if c.pointee.wireup.stage == .attached, !Leaving.peerIsGone(c) {
      SharedLane.refresh(c)
      c.pointee.reason = reason
      Mover.perform(c.pointee.cutover.laneDown(consumed: c.pointee.consumer!.head), c)
    }
    c.unlockBoth()
    Waiters.wake(c)
  }

  private static func wait(_ c: ConnectionRef, until deadline: UInt64) {
    while c.pointee.wireup.stage.isMoving, Kernel.now() < deadline {
      let seen = c.pointee.changes.load(ordering: .sequentiallyConsistent)
      Mover.advance(c)
      guard c.pointee.wireup.stage.isMoving else { return }
      withUnsafePointer(to: c.pointee.changes) {
        Kernel.futexWait(UnsafeMutableRawPointer(mutating: $0), expected: seen, nanoseconds: 1_000_000)
      }
    }
  }
}

/// exec(3): the new image finds plain TCP sockets.
enum Executing {
  static func prepare(borrowed: Bool, replaces: Bool) {
    guard Pool.highWater > 0 else { return }
    Pool.forEach { c in
      let attempt = c.pointee.attempt.load(ordering: .acquiring)
      guard attempt == .attached || c.pointee.wireup.stage.isMoving else { return }
      guard borrowed ? survivesBorrowed(c) : survives(c) else { return }
      if c.pointee.wireup.stage.isMoving { Closing.settle(c) }
      Detaching.detach(c, .descriptorPassed)
    }
    guard Forking.isChild, !borrowed, replaces else { return }
    Forking.isReplaced = true
    Forking.letGo()
  }

  /// The exec has failed: everything is as it was, but on TCP.
  static func failed() {
    guard Forking.isReplaced else { return }
    Forking.isReplaced = false
    Forking.takeBack()
  }

  /// Whether any descriptor of the connection is not closed by exec.
  static func survives(_ c: ConnectionRef) -> Bool {
    var left = c.pointee.descriptors
    var fd: Int32 = 0
    while left > 0, fd < Int32(MR_TABLE_SIZE) {
      if c.isNamed(by: fd) {
        left -= 1
        if staysOpen(fd) { return true }
      }
      fd += 1
    }
    return false
  }

  /// In a vfork child the table describes the parent: what its own descriptors are, only the kernel knows.
  private static func survivesBorrowed(_ c: ConnectionRef) -> Bool {
    guard let socket = inode(c.pointee.fd) else { return false }
    var fd: Int32 = 0
    while fd < 1024 {
      if staysOpen(fd), inode(fd) == socket { return true }
      fd += 1
    }
    return false
  }

  private static func staysOpen(_ fd: Int32) -> Bool {
    let flags = Kernel.call(Int(SYS_fcntl), Int(fd), Int(F_GETFD))
    return flags >= 0 && flags & Int(FD_CLOEXEC) == 0
  }

  private static func inode(_ fd: Int32) -> UInt? {
    var status = stat()
    let r = withUnsafeMutablePointer(to: &status) { Kernel.call(Int(SYS_fstat), Int(fd), Int(bitPattern: $0)) }
    guard r == 0, status.st_mode & UInt32(S_IFMT) == UInt32(S_IFSOCK) else { return nil }
    return status.st_ino
  }
}
