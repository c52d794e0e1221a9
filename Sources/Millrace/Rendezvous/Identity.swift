import CLinux
import Synchronization

/// Who is at the other end: the user of the process on the Unix socket must be the user who owns the other end of this
/// very TCP connection, by the kernel's own word on both.
enum Identity {
  /// What speaks against whoever is at the other end of the socket; nil if it is the peer.
  static func doubt(_ socket: Int32, of c: ConnectionRef) -> DeclineReason? {
    Stats.count(.identityChecks)
    do throws(Errno) {
      let owner = try socketUser(local: c.pointee.wireup.peer, remote: c.pointee.wireup.local)
      return owner != nil && credentials(socket)?.uid == owner ? nil : .identityMismatch
    } catch {
      return error.want ?? .identityMismatch
    }
  }

  /// Whether the other end of the connection is a socket of this network namespace.
  static func isLocal(_ c: ConnectionRef) -> Bool {
    (try? socketUser(local: c.pointee.wireup.peer, remote: c.pointee.wireup.local)).flatMap { $0 } != nil
  }

  /// The process at the other end of a Unix connection, and its user (SO_PEERCRED, unix(7)).
  static func credentials(_ socket: Int32) -> ucred? {
    var credentials = ucred(pid: 0, uid: UInt32.max, gid: UInt32.max)
    var length = UInt32(MemoryLayout<ucred>.size)
    let r = withUnsafeMutablePointer(to: &credentials) { value in
      withUnsafeMutablePointer(to: &length) { size in
        Kernel.call(
          Int(SYS_getsockopt), Int(socket), Int(SOL_SOCKET), Int(SO_PEERCRED), Int(bitPattern: value),
          Int(bitPattern: size))
      }
    }
    return r == 0 ? credentials : nil
  }

  /// The user who owns the TCP socket with exactly these endpoints (sock_diag(7)); nil if there is none. Any process may ask,
  /// if it may make such a socket.
  private static func socketUser(local: Endpoint, remote: Endpoint) throws(Errno) -> UInt32? {
    let opened = try Kernel.check(
      Kernel.call(
        Int(SYS_socket), Int(AF_NETLINK), Int(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), Int(NETLINK_SOCK_DIAG)))
    let fd = Int32(truncatingIfNeeded: opened)
    defer { Kernel.close(fd) }
    var question = Question(
      header: nlmsghdr(
        nlmsg_len: UInt32(MemoryLayout<Question>.size), nlmsg_type: UInt16(SOCK_DIAG_BY_FAMILY),
        nlmsg_flags: UInt16(NLM_F_REQUEST), nlmsg_seq: 1, nlmsg_pid: 0),
      request: inet_diag_req_v2())
    question.request.sdiag_family = UInt8(local.family == 4 ? AF_INET : AF_INET6)
    question.request.sdiag_protocol = UInt8(IPPROTO_TCP)
    question.request.idiag_states = UInt32.max
    question.request.id.idiag_sport = local.port.bigEndian
    question.request.id.idiag_dport = remote.port.bigEndian
    write(local, into: &question.request.id.idiag_src)
    write(remote, into: &question.request.id.idiag_dst)
    question.request.id.idiag_cookie = (UInt32.max, UInt32.max)
    let sent = withUnsafePointer(to: &question) { Kernel.send(fd, $0, MemoryLayout<Question>.size) }
    guard sent == MemoryLayout<Question>.size else { return nil }
    return answer(fd)
  }

  private struct Question {
    var header: nlmsghdr
    var request: inet_diag_req_v2
  }

  private static func answer(_ fd: Int32) -> UInt32? {
    withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 8) { space -> UInt32? in
      // The kernel answers within the send call, so there is nothing to wait for.
      let r = Kernel.receive(fd, space.baseAddress!, space.count)
      let wanted = MemoryLayout<nlmsghdr>.size + MemoryLayout<inet_diag_msg>.size
      guard r >= wanted else { return nil }
      let header = space.load(as: nlmsghdr.self)
      guard header.nlmsg_type == UInt16(SOCK_DIAG_BY_FAMILY) else { return nil }
      return space.load(fromByteOffset: MemoryLayout<nlmsghdr>.size, as: inet_diag_msg.self).idiag_uid
    }
  }

  private static func write(_ end: Endpoint, into words: inout (UInt32, UInt32, UInt32, UInt32)) {
    if end.family == 4 {
      words = (UInt32(truncatingIfNeeded: end.low).bigEndian, 0, 0, 0)
      return
    }
    words = (
      UInt32(truncatingIfNeeded: end.high >> 32).bigEndian, UInt32(truncatingIfNeeded: end.high).bigEndian,
      UInt32(truncatingIfNeeded: end.low >> 32).bigEndian, UInt32(truncatingIfNeeded: end.low).bigEndian
    )
  }
}
