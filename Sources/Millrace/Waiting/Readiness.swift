import CLinux
import MillraceShim
import Synchronization

/// What poll(2) would say about a connection whose stream is not the kernel's. Reads only words that are atomic, so it
/// may be asked without the connection's locks; the caller keeps the segment mapped (a pin, or the set's lock).
enum Readiness {
  /// The bits of poll and epoll, which are the same numbers (epoll_ctl(2)).
  static let input = UInt32(bitPattern: Int32(POLLIN)) | UInt32(bitPattern: Int32(POLLRDNORM))
  static let output = UInt32(bitPattern: Int32(POLLOUT)) | UInt32(bitPattern: Int32(POLLWRNORM))
  static let hangUp = UInt32(bitPattern: Int32(POLLHUP))
  static let readHangUp = UInt32(bitPattern: Int32(POLLRDHUP))
  static let failed = UInt32(bitPattern: Int32(POLLERR))
  /// What shows that a direction is over.
  static let ends = input | readHangUp | hangUp | failed

  /// What is ready of the bits that are `wanted`.
  @inline(__always)
  static func mask(_ c: ConnectionRef, for wanted: UInt32) -> UInt32 {
    guard wanted != 0, let segment = c.pointee.segment else { return 0 }
    // Nothing can be read or written until the sibling is through; the bell's hang-up tells it.
    if c.pointee.isFamily, SharedLane.siblingLeaves(c) { return 0 }
    Fabric.look(c)
    let own = segment.side(c.pointee.laneRole)
    let peer = segment.side(c.pointee.laneRole.peer)
    var mask: UInt32 = 0
    let moving = c.pointee.receivePath.load(ordering: .acquiring) != .lane
    // The flags before the tail: what they end is then certainly seen.
    let flags = moving ? 0 : peer.finish.pointee.load(ordering: .acquiring)
    if moving { mask |= whileMoving(c) } else if isReadable(own, peer) { mask |= input }
    // The consumer's cache line is left alone unless somebody asks for room.
    if wanted & output != 0, isWritable(own, peer, capacity: UInt64(segment.ringBytes)) { mask |= output }
    if flags != 0 || hasEnded(c) { mask |= ended(c, flags, mask) }
    return mask & wanted
  }

  /// While the stream moves: what the kernel holds for the application, and whether the peer is gone.
  private static func whileMoving(_ c: ConnectionRef) -> UInt32 {
    let kernel = UInt32(UInt16(bitPattern: Kernel.pollNow(c.pointee.fd, Int16(POLLIN | POLLRDHUP))))
    var mask: UInt32 = 0
    if kernel & input != 0,
      c.pointee.kernelReceived.load(ordering: .relaxed) < c.pointee.kernelLimit.load(ordering: .acquiring)
    {
      mask |= input
    }
    if mask == 0, Returning.isIncomplete(c, unread: 0) { mask |= input }
    if kernel & (readHangUp | hangUp | failed) != 0 {
      mask |= input | readHangUp
      if kernel & (hangUp | failed) != 0, !StandIn.hidesReset(c) { mask |= kernel & (hangUp | failed) }
    }
    return mask
  }

  @inline(__always)
  static func isReadable(_ own: SideControl, _ peer: SideControl) -> Bool {
    peer.tail.pointee.load(ordering: .acquiring) != own.head.pointee.load(ordering: .relaxed)
  }

  /// At least a third is free, as TCP has it (sk_stream_is_writeable).
  @inline(__always)
  static func isWritable(_ own: SideControl, _ peer: SideControl, capacity: UInt64) -> Bool {
    let pending = own.tail.pointee.load(ordering: .relaxed) &- peer.head.pointee.load(ordering: .acquiring)
    return pending <= capacity &- capacity / 3
  }

  @inline(__always)
  static func hasEnded(_ c: ConnectionRef) -> Bool {
    c.pointee.peerGone.load(ordering: .relaxed) || c.pointee.readShut.load(ordering: .relaxed)
      || c.pointee.writeShut.load(ordering: .relaxed)
  }

  /// What has ended at this end's own doing, or by the peer's death, as bits that differ for each.
  static func endBits(_ c: ConnectionRef) -> UInt32 {
    (c.pointee.readShut.load(ordering: .relaxed) ? 1 << 29 : 0)
      | (c.pointee.writeShut.load(ordering: .relaxed) ? 1 << 30 : 0)
      | (c.pointee.pendingError.load(ordering: .relaxed) != 0 ? 1 << 31 : 0)
  }

  /// The bits of a stream that is over in some direction.
  @inline(never)
  private static func ended(_ c: ConnectionRef, _ flags: UInt32, _ mask: UInt32) -> UInt32 {
    let gone = c.pointee.peerGone.load(ordering: .acquiring)
    let readOver = flags != 0 || gone || c.pointee.readShut.load(ordering: .acquiring)
    var more: UInt32 = 0
    if readOver { more |= input | readHangUp }
    if c.pointee.writeShut.load(ordering: .acquiring) {
      more |= output
      if readOver { more |= hangUp }
    }
    if gone || flags & FinishFlags.closed != 0 {
      // What remains is the kernel's to say: it may have been reset meanwhile.
      let kernel = UInt32(UInt16(bitPattern: Kernel.pollNow(c.pointee.fd, Int16(POLLRDHUP))))
      let end = kernel & (failed | hangUp)
      more |= output | (end != 0 && StandIn.hidesReset(c) ? 0 : end)
    }
    if c.pointee.pendingError.load(ordering: .acquiring) != 0 { more |= failed | hangUp | output }
    return more
  }
}
