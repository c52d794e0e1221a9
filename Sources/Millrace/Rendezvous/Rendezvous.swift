import CLinux
import MillraceShim
import Synchronization

/// The Unix sockets by which the two ends of a connection on one host find each other. Service thread only.
enum Rendezvous {
  private static let socketType = Int(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)

  /// Binds the connection's name and listens: what the end that connected does.
  static func listen(_ c: ConnectionRef) throws(Errno) -> Int32 {
    let fd = try open()
    do throws(Errno) {
      _ = try Kernel.check(withName(c) { Kernel.call(Int(SYS_bind), Int(fd), Int(bitPattern: $0), $1) })
      _ = try Kernel.check(Kernel.call(Int(SYS_listen), Int(fd), 4))
      return fd
    } catch {
      Table.closeHidden(fd)
      throw error
    }
  }

  /// Calls the end that connected: what the end that accepted does. Never waits.
  static func call(_ c: ConnectionRef) throws(Errno) -> Int32 {
    let fd = try open()
    do throws(Errno) {
      // This end offers; nothing is to be passed to it.
      cl_refuse_descriptors(fd)
      _ = try Kernel.check(withName(c) { Kernel.call(Int(SYS_connect), Int(fd), Int(bitPattern: $0), $1) })
      return fd
    } catch {
      Table.closeHidden(fd)
      throw error
    }
  }

  /// The next caller at a listener, hidden; nil if there is none.
  static func accept(_ listener: Int32) -> Int32? {
    let made = Table.makeHidden {
      Kernel.call(Int(SYS_accept4), Int(listener), 0, 0, Int(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue))
    }
    return try? made.get()
  }

  /// Gives the name up. Callers whose turn never came are hung up on, with all that they have sent; see ``Bell/close(_:)``.
  static func close(_ listener: Int32) {
    guard listener >= 0 else { return }
    var rounds = 0
    while rounds < 64, let socket = accept(listener) {
      Bell.close(socket)
      rounds += 1
    }
    Table.closeHidden(listener)
  }

  private static func open() throws(Errno) -> Int32 {
    try Table.makeHidden { Kernel.call(Int(SYS_socket), Int(AF_UNIX), socketType, 0) }.get()
  }

  private static func withName(_ c: ConnectionRef, _ body: (UnsafePointer<sockaddr_un>, Int) -> Int) -> Int {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let ends = c.pointee.wireup.ends(c.pointee.role)
    withUnsafeMutableBytes(of: &address.sun_path) {
      RendezvousName.write(connector: ends.connector, acceptor: ends.acceptor, into: $0.baseAddress!)
    }
    let length = MemoryLayout<sa_family_t>.size + RendezvousName.byteCount
    return withUnsafePointer(to: &address) { body($0, length) }
  }
}
