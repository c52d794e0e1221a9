import CLinux
import Synchronization

/// Sending out of the ring over TCP what the lane did not carry, before anything newer. Both locks are held.
enum Resend {
  static func begin(_ c: ConnectionRef, from position: UInt64) {
    c.pointee.isResending = true
    c.pointee.resendFrom = position
    _ = go(c)
  }

  /// Writes as much as the kernel takes. True if everything is out and the connection is TCP's again.
  static func go(_ c: ConnectionRef) -> Bool {
    // Records go first.
    guard c.pointee.isResending, c.pointee.outgoing.count == 0 else { return false }
    // A call that came before the gate was closed writes its own bytes first.
    guard Pins.senders(c.pointee.pins.load(ordering: .sequentiallyConsistent)) == 0 else { return false }
    if c.pointee.segment != nil { Mover.fixCut(c) }
    if let producer = c.pointee.producer {
      while c.pointee.resendFrom != producer.tail {
        guard let rest = producer.retained(from: c.pointee.resendFrom) else {
          Leaving.breakOff(c)
          return false
        }
        switch write(c, rest.baseAddress!, rest.count) {
        case .wrote(let bytes): c.pointee.resendFrom &+= UInt64(bytes)
        case .full: return false
        case .dead: c.pointee.resendFrom = producer.tail
        }
      }
    }
    c.pointee.isResending = false
    Leaving.finishKernel(c)
    c.send(on: .kernel)
    c.pointee.pins.bitwiseAnd(~Pins.sendGate, ordering: .sequentiallyConsistent)
    _ = openReceive(c)
    return true
  }

  /// What has become of a write to the kernel path.
  enum Written {
    case wrote(Int)
    /// The kernel's buffer is full.
    case full
    /// Nobody will ever read it.
    case dead
  }

  /// Writes to the kernel path, and keeps the books.
  static func write(_ c: ConnectionRef, _ bytes: UnsafeRawPointer, _ count: Int) -> Written {
    // An error is the application's to see; a write would take it away.
    if Kernel.pollNow(c.pointee.fd, 0) & Int16(POLLERR) != 0 { return .dead }
    let r = Kernel.send(c.pointee.fd, bytes, count)
    if r > 0 {
      c.pointee.kernelSent.wrappingAdd(UInt64(r), ordering: .relaxed)
      return .wrote(r)
    }
    return r == -Int(EAGAIN) || r == -Int(EINTR) || r == -Int(ENOBUFS) || r == -Int(ENOMEM) ? .full : .dead
  }

  /// Whether both directions are TCP's again, whether or not the peer has read the last record.
  static func isThrough(_ c: ConnectionRef) -> Bool {
    c.pointee.wireup.stage == .leaving && c.pointee.cutover.isIdle && !c.pointee.isResending
  }

  /// The connection is wholly TCP's again, once everything is re-sent.
  static func openReceive(_ c: ConnectionRef) -> Bool {
    // A reset that answers a record of this end's must not be met on the kernel path, where nobody would know it for that.
    guard isThrough(c), StandIn.areRecordsTaken(c) || c.pointee.wireup.isImpatient else { return false }
    Leaving.finishKernel(c)
    c.receive(on: .kernel)
    c.pointee.pins.bitwiseAnd(~Pins.receiveGate, ordering: .sequentiallyConsistent)
    Registrations.toKernel(c)
    c.pointee.wireup.stage = .ended
    if c.pointee.isFamily { SharedLane.finishDetach(c) }
    Service.attemptEnded(c)
    return true
  }
}
