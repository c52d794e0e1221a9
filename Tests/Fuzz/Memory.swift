import Glibc
import MillraceCore

/// Memory before and behind which nothing may be touched.
enum Guarded {
  private static let pageBytes = 4096
  nonisolated(unsafe) private static let page: UnsafeMutableRawPointer = {
    let base = mmap(nil, 2 * pageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
    mprotect(base, pageBytes, PROT_READ | PROT_WRITE)
    return base
  }()

  /// `bytes` at the end of a page that is the last.
  static func with<Result>(_ bytes: [UInt8], _ body: (UnsafeRawPointer) -> Result) -> Result {
    let start = page + (pageBytes - bytes.count)
    bytes.withUnsafeBytes { if $0.count > 0 { start.copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
    return body(UnsafeRawPointer(start))
  }
}

/// The segment of a lane as the library maps it: the control page, then each ring twice in a row, and nothing around.
final class LaneMemory {
  static let ringBytes = 4096
  let page: UnsafeMutableRawPointer

  /// Made once for each target: a case begins by clearing the control page.
  nonisolated(unsafe) static let shared = LaneMemory()

  private init() {
    let ring = Self.ringBytes
    let fd = fileno(tmpfile())
    ftruncate(fd, LaneLayout.segmentBytes(ringBytes: ring))
    // A page that must not be touched, control, four times a ring, and the like again.
    let base = mmap(nil, LaneLayout.controlBytes + 4 * ring + 2 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
    page = base + 4096
    func place(_ at: Int, _ bytes: Int, _ offset: Int) {
      mmap(page + at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset)
    }
    place(0, LaneLayout.controlBytes, 0)
    for (index, role) in [Role.leader, .leader, .follower, .follower].enumerated() {
      place(LaneLayout.controlBytes + index * ring, ring, LaneLayout.ringOffset(of: role, ringBytes: ring))
    }
  }

  func clear() { page.initializeMemory(as: UInt8.self, repeating: 0, count: LaneLayout.controlBytes) }

  func side(_ role: Role) -> SideControl { SideControl(page: page, role: role) }
  var header: LaneHeader { LaneHeader(page: page) }

  /// The ring into which the end of this role writes.
  func ring(_ role: Role) -> UnsafeMutableRawPointer {
    page + LaneLayout.controlBytes + (role == .leader ? 0 : 2 * Self.ringBytes)
  }

  func producer(_ role: Role) -> RingProducer {
    RingProducer(data: ring(role), capacity: Self.ringBytes, own: side(role), peer: side(role.peer))
  }

  func consumer(_ role: Role) -> RingConsumer {
    RingConsumer(
      data: UnsafeRawPointer(ring(role.peer)), capacity: Self.ringBytes, own: side(role), peer: side(role.peer))
  }

  /// Writes what a liar would into one of the words, any of which a peer can reach.
  func forge(_ random: inout Random, near position: UInt64) {
    let side = side(random.once(in: 2) ? .leader : .follower)
    let word = random.word(near: position, spread: UInt64(Self.ringBytes) &+ 2)
    let narrow = UInt32(truncatingIfNeeded: word)
    switch random.below(9) {
    case 0, 1: side.tail.pointee.store(word, ordering: .relaxed)
    case 2, 3: side.head.pointee.store(word, ordering: .relaxed)
    case 4: side.cut.pointee.store(word, ordering: .relaxed)
    case 5: side.fixedCut.pointee.store(word, ordering: .relaxed)
    case 6: side.finish.pointee.store(narrow, ordering: .relaxed)
    case 7: (random.once(in: 2) ? side.readerArm : side.writerArm).pointee.store(narrow, ordering: .relaxed)
    default: header.stage.pointee.store(random.once(in: 4) ? narrow : UInt32(random.below(4)), ordering: .relaxed)
    }
  }
}
