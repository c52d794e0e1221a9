import CLinux
import MillraceShim
import Synchronization

/// Data calls on the kernel path: they pass through, and the books are kept.
enum KernelPath {
  /// Enters a call that reads. `.kernel` to go on in libc, or nil when the path is not the kernel's any more.
  @inline(__always)
  static func enterReceive(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step? {
    let kind = call.pointee.greedy || call.pointee.flags & greedyFlags != 0 ? Pins.greedy : Pins.reader
    let before = c.pin(kind)
    if before & (Pins.receiveGate | Pins.closing) == 0, c.isNamed(by: call.pointee.fd) {
      call.pointee.pin = Int32(kind == Pins.reader ? MR_PIN_READER.rawValue : MR_PIN_GREEDY.rawValue)
      return call.pointee.moved == 0 ? MR_KERNEL : MR_REST
    }
    c.unpin(kind)
    return nil
  }

  private static let greedyFlags = Int32(MSG_WAITALL) | Int32(MSG_TRUNC) | Int32(MSG_OOB)

  @inline(__always)
  static func enterSend(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step? {
    let before = c.pin(Pins.sender)
    if before & (Pins.sendGate | Pins.closing) == 0, c.isNamed(by: call.pointee.fd) {
      call.pointee.pin = Int32(MR_PIN_SENDER.rawValue)
      if call.pointee.flags & Int32(MSG_OOB) != 0 { Options.decline(c, .urgentData) }
      return call.pointee.moved == 0 ? MR_KERNEL : MR_REST
    }
    c.unpin(Pins.sender)
    return nil
  }

  // MARK: Behind a close

  /// Whether the descriptor was closed under the call, and the connection is there for its sake.
  static func outlivesClose(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> Bool {
    call.pointee.resumed && c.pointee.isDeferred
  }

  /// The descriptor of a call that has been asleep names its connection no more, and that is not there for its sake either. The
  /// close is not through yet, or could not be put off: true. No lock is held.
  static func isClosedAway(_ c: ConnectionRef) -> Bool {
    cl_pause()
    return c.pointee.pins.load(ordering: .acquiring) & Pins.closing != 0 && !c.pointee.isDeferred
  }

  /// Goes on in the kernel, on the hidden descriptor: the call's own number may name something else by now.
  static func receiveClosed(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    call.pointee.fd = c.pointee.fd
    let isGreedy = call.pointee.greedy || call.pointee.flags & greedyFlags != 0
    _ = c.pin(isGreedy ? Pins.greedy : Pins.reader)
    call.pointee.pin = Int32(isGreedy ? MR_PIN_GREEDY.rawValue : MR_PIN_READER.rawValue)
    return MR_REST
  }

  static func sendClosed(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    call.pointee.fd = c.pointee.fd
    _ = c.pin(Pins.sender)
    call.pointee.pin = Int32(MR_PIN_SENDER.rawValue)
    return MR_REST
  }

  /// The real call has returned. Keeps the books, takes a mark out of what was read, and leaves. `.done`, or nil when
  /// the call has to go on elsewhere because nothing of what came was the application's.
  static func receiveReturned(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step? {
    let kind = call.pointee.pin == Int32(MR_PIN_READER.rawValue) ? Pins.reader : Pins.greedy
    call.pointee.pin = Int32(MR_PIN_NONE.rawValue)
    let bytes = call.pointee.result
    let peeked = call.pointee.flags & Int32(MSG_PEEK) != 0
    if bytes > 0, !peeked { c.pointee.kernelReceived.wrappingAdd(UInt64(bytes), ordering: .relaxed) }
    // Closed while this call was inside: the cutover has begun, and what came may end in a mark.
    if c.pointee.pins.load(ordering: .acquiring) & Pins.receiveGate != 0 {
      return returnedWhileMoving(call, c, kind, bytes, peeked)
    }
    if bytes > 0 {
      Stats.kernelBytes(c)
      Policy.note(c)
    } else if c.pointee.segment != nil {
      Inheriting.answer(call, c)
    }
    c.unpin(kind)
    total(call)
    return MR_DONE
  }

  /// Adds what earlier rounds of the call have moved, on another path.
  @inline(__always)
  private static func total(_ call: UnsafeMutablePointer<mr_call>) {
    guard call.pointee.moved > 0 else { return }
    call.pointee.result = call.pointee.moved &+ max(call.pointee.result, 0)
    call.pointee.error = 0
  }

  @inline(never)
  private static func returnedWhileMoving(
    _ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef, _ kind: UInt64, _ bytes: Int, _ peeked: Bool
  ) -> mr_step? {
    c.lockBoth()
    var ours = bytes
    if bytes > 0, case .until(let cut) = c.pointee.cutover.inbound {
      let position = c.pointee.kernelReceived.load(ordering: .relaxed) &- (peeked ? 0 : UInt64(bytes))
      ours = position < cut ? Int(min(UInt64(bytes), cut &- position)) : 0
      if ours < bytes, !peeked { ours += Mover.takeRecords(c, from: call, at: ours, count: bytes - ours) }
    }
    // The end of the kernel stream is not the end of the stream while the peer's ring may hold more.
    let isReset = bytes < 0 && call.pointee.error == ECONNRESET
    let endOfKernel = (bytes == 0 || isReset) && Vectors.length(call) != 0 && c.pointee.wireup.stage == .wired
    if isReset, endOfKernel { Leaving.noteError(c, ECONNRESET) }
    if endOfKernel { _ = Leaving.kernelEnded(c) }
    c.unlockBoth()
    c.unpin(kind)
    Mover.advanceBehind(c)
    if endOfKernel { return nil }
    guard bytes > 0, ours == 0 else {
      call.pointee.result = ours
      total(call)
      return MR_DONE
    }
    return nil
  }

  /// A real call was left in its middle, by cancellation or siglongjmp. What the kernel had given it nobody has seen: the
  /// application's bytes are lost, as they are without a lane, but a mark among them is not the application's.
  static func receiveAbandoned(_ c: ConnectionRef, _ kind: UInt64) {
    c.lockBoth()
    let pins = c.pointee.pins.load(ordering: .sequentiallyConsistent)
    // What other calls have read, and not counted yet, cannot be told from it.
    let isOnly = Pins.readers(pins) &+ Pins.greedy(pins) == 1 && !c.pointee.isFamily && !c.isShared
    let isClosed = pins & Pins.closing != 0 && !c.pointee.isDeferred
    if isOnly, !isClosed, pins & Pins.receiveGate != 0, let read = Audit.received(c) {
      let lost = read &- c.pointee.kernelReceived.load(ordering: .relaxed)
      // Some of the kernel's count may be more than a receive buffer behind only if it is not about this.
      if lost > 0, lost < 1 << 40 { Mover.makeUp(c, lost: lost) }
    }
    c.unlockBoth()
    c.unpin(kind)
    if pins & Pins.receiveGate != 0 { Waiters.wake(c) }
  }

  static func sendReturned(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) -> mr_step {
    let kind = call.pointee.pin == Int32(MR_PIN_SLEEPER.rawValue) ? Pins.sleeper : Pins.sender
    call.pointee.pin = Int32(MR_PIN_NONE.rawValue)
    if call.pointee.result > 0 {
      c.pointee.kernelSent.wrappingAdd(UInt64(call.pointee.result), ordering: .relaxed)
      Stats.kernelBytes(c)
      Policy.note(c)
    }
    let now = c.unpin(kind)
    // The last sender out lets a waiting cutover go on.
    if now & Pins.sendGate != 0 || c.pointee.wireup.wantsQuiet { Mover.advanceBehind(c) }
    total(call)
    return MR_DONE
  }
}
