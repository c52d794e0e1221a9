import CLinux
import MillraceShim
import Synchronization

/// exec(3) and its kin: another program finds plain TCP sockets, and uses them whenever it likes, unseen by us. A
/// connection that it gets is forbidden to attach first, and then leaves its lane.
enum Executing {
  /// `borrowed`: in a vfork child, which has descriptors of its own and the parent's memory. `replaces`: it is this
  /// process that becomes another program.
  static func prepare(borrowed: Bool, replaces: Bool) {
    guard Pool.highWater > 0 else { return }
    if borrowed { return forEachInherited(leaveToChild) }
    forEachSurviving { giveAway($0, comesBack: replaces) }
    if replaces { Verbs.settle() }
    guard Forking.hasRelatives, replaces else { return }
    Forking.isReplaced = true
    Forking.letGo()
  }

  private static func giveAway(_ c: ConnectionRef, comesBack: Bool) {
    let isFirst = c.pointee.forbidden.compareExchange(
      expected: 0, desired: DeclineReason.descriptorPassed.rawValue, ordering: .sequentiallyConsistent
    ).exchanged
    if comesBack {
      c.pointee.survivesExec = true
      c.pointee.forbiddenByExec = isFirst
    }
    Descriptors.decline(c, .descriptorPassed)
  }

  /// `c` is one of the vfork child's descriptors too.
  private static func leaveToChild(_ c: ConnectionRef, _ socket: UInt?, by fd: Int32) {
    // Where its number still means the same to the child, whoever moves it may be the child.
    if OpenDescriptors.inode(c.pointee.fd) == socket { return Descriptors.decline(c, .descriptorPassed) }
    Options.decline(c, .descriptorPassed)
    if !Detaching.haveParentDetach(c) { detach(c, by: fd) }
  }

  /// The child of a fork has no service thread before it uses what it has inherited. Then nothing but its own child's
  /// descriptors matters: the socket is put where the record says, until the exec.
  private static func detach(_ c: ConnectionRef, by fd: Int32) {
    let name = Int(c.pointee.fd)
    let copy = Kernel.call(Int(SYS_fcntl), name, Int(F_DUPFD_CLOEXEC), 0)
    let flags = Kernel.call(Int(SYS_fcntl), name, Int(F_GETFD))
    _ = Kernel.call(Int(SYS_dup3), Int(fd), name, Int(O_CLOEXEC))
    Detaching.detach(c, .descriptorPassed, isGivenAway: true)
    guard copy >= 0 else { return }
    _ = Kernel.call(Int(SYS_dup3), copy, name, flags & Int(FD_CLOEXEC) != 0 ? Int(O_CLOEXEC) : 0)
    Kernel.close(Int32(truncatingIfNeeded: copy))
  }

  /// The exec has failed: everything is as it was, but on TCP.
  static func failed() {
    guard Pool.highWater > 0 else { return }
    if Forking.isReplaced { Forking.takeBack() }
    Forking.isReplaced = false
    Pool.forEach { c in
      c.pointee.survivesExec = false
      guard c.pointee.forbiddenByExec else { return }
      c.pointee.forbiddenByExec = false
      let (freed, _) = c.pointee.forbidden.compareExchange(
        expected: DeclineReason.descriptorPassed.rawValue, desired: 0, ordering: .sequentiallyConsistent)
      if freed { Policy.pardon(c) }
    }
  }

  /// Connections with a descriptor of this process that is not closed by exec; one with several may come more than once.
  private static func forEachSurviving(_ body: (ConnectionRef) -> Void) {
    var left: Int32 = 0
    Pool.forEach { left &+= $0.pointee.descriptors }
    var fd: Int32 = 0
    while left > 0, fd < Int32(MR_TABLE_SIZE) {
      let kind = mr_entry_kind(fd)
      if kind == MR_CONNECTION || kind == MR_LISTENER { left &-= 1 }
      if kind == MR_CONNECTION, staysOpen(fd), let c = Table.connection(fd) { body(c) }
      fd += 1
    }
  }

  /// In a vfork child the table describes the parent. Which of its connections are among the child's own descriptors,
  /// whatever their numbers are by now, only the kernel knows: by the numbers of the sockets' inodes.
  private static func forEachInherited(_ body: (ConnectionRef, UInt?, Int32) -> Void) {
    _ = OpenDescriptors.contains { fd in
      guard staysOpen(fd), isConnected(fd) else { return false }
      let socket = OpenDescriptors.inode(fd)
      Pool.forEach { c in
        guard c.pointee.kind == UInt8(MR_CONNECTION.rawValue) else { return }
        // A parent that cannot be looked at is given the benefit of the doubt: its connections stay on TCP.
        let parents = OpenDescriptors.inode(of: shim_owner(), c.pointee.fd)
        if parents == nil || parents == socket { body(c, socket, fd) }
      }
      return false
    }
  }

  private static func staysOpen(_ fd: Int32) -> Bool {
    let flags = Kernel.call(Int(SYS_fcntl), Int(fd), Int(F_GETFD))
    return flags >= 0 && flags & Int(FD_CLOEXEC) == 0
  }

  private static func isConnected(_ fd: Int32) -> Bool {
    Kernel.option(fd, SOL_SOCKET, SO_PROTOCOL) == Int32(IPPROTO_TCP)
      && Kernel.option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 0
  }
}
