import CLinux
import Synchronization

/// The shared memory of one lane as this process has it mapped: the control page, then each ring twice in a row.
struct Segment {
  let page: UnsafeMutableRawPointer
  let ringBytes: Int

  private static func mappedBytes(_ ringBytes: Int) -> Int { LaneLayout.controlBytes + 4 * ringBytes }

  func side(_ role: Role) -> SideControl { SideControl(page: page, role: role) }
  var header: LaneHeader { LaneHeader(page: page) }

  /// The ring into which the end of this role writes.
  func ring(_ role: Role) -> UnsafeMutableRawPointer {
    page + LaneLayout.controlBytes + (role == .leader ? 0 : 2 * ringBytes)
  }

  /// Makes the memory of a new lane. The caller closes `descriptor`.
  static func create(ringBytes: Int) throws(Errno) -> (segment: Segment, descriptor: Int32) {
    let name: StaticString = "millrace-lane"
    let fd = try Kernel.check(
      Kernel.call(Int(SYS_memfd_create), Int(bitPattern: name.utf8Start), Int(CL_MFD_FLAGS)))
    let descriptor = Int32(truncatingIfNeeded: fd)
    let bytes = LaneLayout.segmentBytes(ringBytes: ringBytes)
    if Kernel.setSize(descriptor, bytes),
      Kernel.call(Int(SYS_fcntl), fd, Int(F_ADD_SEALS), Int(CL_SEALS)) == 0,
      let segment = map(descriptor, ringBytes: ringBytes)
    {
      segment.page.storeBytes(of: LaneLayout.magic, as: UInt64.self)
      segment.page.storeBytes(of: LaneLayout.version, toByteOffset: 8, as: UInt32.self)
      segment.page.storeBytes(of: UInt32(ringBytes), toByteOffset: 12, as: UInt32.self)
      return (segment, descriptor)
    }
    Kernel.close(descriptor)
    throw Errno(code: ENOMEM)
  }

  /// Maps memory that a peer made. EBADMSG unless it has exactly the promised size, sealed so that it can never shrink
  /// under us (which would be a SIGBUS of the peer's choosing).
  static func open(_ descriptor: Int32, ringBytes: Int) throws(Errno) -> Segment {
    let wrong = Errno(code: EBADMSG)
    guard ringBytes >= 4096, ringBytes <= 1 << 26, ringBytes & (ringBytes - 1) == 0 else { throw wrong }
    var status = stat()
    let r = withUnsafeMutablePointer(to: &status) {
      Kernel.call(Int(SYS_fstat), Int(descriptor), Int(bitPattern: $0))
    }
    guard r == 0, Int(status.st_size) == LaneLayout.segmentBytes(ringBytes: ringBytes) else { throw wrong }
    let seals = Kernel.call(Int(SYS_fcntl), Int(descriptor), Int(F_GET_SEALS))
    guard seals >= 0, seals & Int(CL_SEALS) == Int(CL_SEALS) else { throw wrong }
    // What cannot be mapped is not what was promised, unless it is this process that has no room.
    guard let segment = map(descriptor, ringBytes: ringBytes) else {
      throw hasRoom(ringBytes) ? wrong : Errno(code: ENOMEM)
    }
    if segment.page.load(as: UInt64.self) == LaneLayout.magic,
      segment.page.load(fromByteOffset: 8, as: UInt32.self) == LaneLayout.version
    {
      return segment
    }
    segment.unmap()
    throw wrong
  }

  func unmap() {
    Kernel.unmap(page, Self.mappedBytes(ringBytes))
  }

  /// Whether there are addresses for so large a segment.
  private static func hasRoom(_ ringBytes: Int) -> Bool {
    let total = mappedBytes(ringBytes)
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    guard let base = Kernel.map(total, protection: PROT_NONE, flags: flags) else { return false }
    Kernel.unmap(base, total)
    return true
  }

  private static func map(_ fd: Int32, ringBytes: Int) -> Segment? {
    let total = mappedBytes(ringBytes)
    guard
      let base = Kernel.map(total, protection: PROT_NONE, flags: MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)
    else { return nil }
    let control = LaneLayout.controlBytes
    let first = LaneLayout.ringOffset(of: .leader, ringBytes: ringBytes)
    let second = LaneLayout.ringOffset(of: .follower, ringBytes: ringBytes)
    if place(fd, at: base, bytes: control, offset: 0),
      place(fd, at: base + control, bytes: ringBytes, offset: first),
      place(fd, at: base + control + ringBytes, bytes: ringBytes, offset: first),
      place(fd, at: base + control + 2 * ringBytes, bytes: ringBytes, offset: second),
      place(fd, at: base + control + 3 * ringBytes, bytes: ringBytes, offset: second)
    {
      return Segment(page: base, ringBytes: ringBytes)
    }
    Kernel.unmap(base, total)
    return nil
  }

  private static func place(_ fd: Int32, at address: UnsafeMutableRawPointer, bytes: Int, offset: Int) -> Bool {
    Kernel.map(
      bytes, protection: PROT_READ | PROT_WRITE, flags: MAP_SHARED | MAP_FIXED, fd: fd, offset: offset, at: address)
      != nil
  }
}
