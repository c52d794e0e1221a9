import CLinux
import Synchronization

/// Sending out of the ring over TCP what the lane did not carry, before anything newer. Both locks are held.
enum Resend {
  static func begin(_ c: ConnectionRef, from position: UInt64) {
    c.pointee.isResending = true
    c.pointee.resendFrom = position
    if c.pointee.resendSkip > 0, let tail = c.pointee.producer?.tail {
      // Behind the ring's end come calls that went to the kernel.
      c.pointee.resendFrom = position &+ min(c.pointee.resendSkip, tail &- position)
      c.pointee.resendSkip = 0
    }
    _ = go(c)
  }

  /// Writes as much as the kernel takes. True if everything is out and the connection is TCP's again.
  static func go(_ c: ConnectionRef) -> Bool {
    // Records go first.
    guard c.pointee.isResending, c.pointee.outgoing.count == 0 else { return false }
    // A call that came before the gate was closed writes its own bytes first.
    if let producer = c.pointee.producer, c.pointee.resendFrom != producer.tail {
      guard Pins.senders(c.pointee.pins.load(ordering: .sequentiallyConsistent)) == 0 else { return false }
      Mover.fixCut(c)
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
    if c.pointee.resendFrom != 0 { push(c) }
    // Who was told of room in the ring must not find the kernel's buffer full.
    if c.pointee.resendFrom != 0, c.pointee.producer?.isFinished == false,
      Kernel.pollNow(c.pointee.fd, Int16(POLLOUT)) == 0
    {
      return false
    }
    c.pointee.isResending = false
    Leaving.finishKernel(c)
    c.send(on: .kernel)
    c.pointee.pins.bitwiseAnd(~Pins.sendGate, ordering: .sequentiallyConsistent)
    _ = openReceive(c)
    return true
  }

  /// Sends what the kernel holds back: behind one small segment that is not acknowledged yet it keeps the next (Nagle), while
  /// the peer puts its acknowledgement off for as long as 200 ms. Setting TCP_NODELAY pushes, even on a corked socket.
  static func push(_ c: ConnectionRef) {
    let isSet = Kernel.option(c.pointee.fd, Int32(IPPROTO_TCP), TCP_NODELAY) ?? 1
    Kernel.setOption(c.pointee.fd, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
    if isSet == 0 { Kernel.setOption(c.pointee.fd, Int32(IPPROTO_TCP), TCP_NODELAY, 0) }
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

  private static func isReturning(_ c: ConnectionRef) -> Bool {
    Returning.isIncomplete(c, unread: Kernel.queued(c.pointee.fd, CL_FIONREAD) ?? 0)
  }

  /// Whether both directions are TCP's again, whether or not the peer has read the last record.
  static func isThrough(_ c: ConnectionRef) -> Bool {
    c.pointee.wireup.stage == .leaving && c.pointee.cutover.isIdle && !c.pointee.isResending
  }

  /// The connection is wholly TCP's again, once everything is re-sent.
  static func openReceive(_ c: ConnectionRef) -> Bool {
    // A reset that answers a record of this end's must not be met on the kernel path, where nobody would know it for that.
    guard isThrough(c),
      StandIn.areRecordsTaken(c) && !isReturning(c) || c.pointee.wireup.isImpatient || c.pointee.wireup.kernelEnded
        || handsOver(c)
    else { return false }
    c.pointee.returning.end()
    Leaving.finishKernel(c)
    c.receive(on: .kernel)
    c.pointee.pins.bitwiseAnd(~Pins.receiveGate, ordering: .sequentiallyConsistent)
    Registrations.toKernel(c)
    c.pointee.wireup.stage = .ended
    if c.pointee.isFamily { SharedLane.finishDetach(c, isInheritable: true) }
    Service.attemptEnded(c)
    return true
  }

  /// The peer is gone, and what it has left in the kernel may be for a relative to read, who waits for this process: that what
  /// the kernel says at its end is understood, ``Inheriting`` sees to.
  private static func handsOver(_ c: ConnectionRef) -> Bool {
    c.pointee.isFamily && Leaving.kernelHasEnded(c) && c.isShared
  }
}
