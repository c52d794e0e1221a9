import MillraceCore
import Synchronization

/// A control page and one ring for tests. The second copy of the ring, which the library maps in a row with the first,
/// is kept by hand, so that a ring may be as small as four bytes.
final class RingMemory {
  let capacity: Int
  let page: UnsafeMutableRawPointer
  let data: UnsafeMutableRawPointer

  init(capacity: Int) {
    self.capacity = capacity
    page = .allocate(byteCount: LaneLayout.controlBytes, alignment: 4096)
    page.initializeMemory(as: UInt8.self, repeating: 0, count: LaneLayout.controlBytes)
    data = .allocate(byteCount: 2 * capacity, alignment: 64)
    data.initializeMemory(as: UInt8.self, repeating: 0, count: 2 * capacity)
  }

  deinit {
    page.deallocate()
    data.deallocate()
  }

  /// The leader produces and the follower consumes.
  var writer: SideControl { SideControl(page: page, role: .leader) }
  var reader: SideControl { SideControl(page: page, role: .follower) }

  /// An end that goes on where the page says that it is.
  func producer() -> RingProducer {
    let position = writer.tail.pointee.load(ordering: .relaxed)
    return RingProducer(data: data, capacity: capacity, own: writer, peer: reader, position: position)
  }

  /// As ``producer()``.
  func consumer() -> RingConsumer {
    let position = reader.head.pointee.load(ordering: .relaxed)
    return RingConsumer(
      data: UnsafeRawPointer(data), capacity: capacity, own: reader, peer: writer, position: position)
  }

  /// Byte `position` of the stream that the tests send.
  static func byte(_ position: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: position &* 167 &+ position >> 8) }

  /// Puts the byte that belongs there at `position`, in both copies.
  func fill(_ position: UInt64) {
    let offset = Int(truncatingIfNeeded: position) & (capacity - 1)
    data.storeBytes(of: Self.byte(position), toByteOffset: offset, as: UInt8.self)
    data.storeBytes(of: Self.byte(position), toByteOffset: offset + capacity, as: UInt8.self)
  }

  /// Writes up to `count` bytes of the stream; how many went in.
  func write(_ producer: inout RingProducer, upTo count: Int) -> Int {
    let tail = producer.tail
    let bytes = (0..<count).map { Self.byte(tail &+ UInt64($0)) }
    let written = bytes.withUnsafeBytes { producer.write($0.baseAddress!, count: count) }
    // What the second mapping does: the part that ran over the end lies at the beginning, and the other way round.
    for index in 0..<written {
      let at = (Int(truncatingIfNeeded: tail) & (capacity - 1)) + index
      let byte = data.load(fromByteOffset: at, as: UInt8.self)
      data.storeBytes(of: byte, toByteOffset: at < capacity ? at + capacity : at - capacity, as: UInt8.self)
    }
    return written
  }

  /// Whether the first `count` ready bytes are those of the stream.
  func holdsStream(_ consumer: RingConsumer, count: Int) -> Bool {
    var copy = [UInt8](repeating: 0, count: count)
    copy.withUnsafeMutableBytes { bytes in
      if count > 0 { consumer.copy(to: bytes.baseAddress!, offset: 0, count: count) }
    }
    return (0..<count).allSatisfy { copy[$0] == Self.byte(consumer.head &+ UInt64($0)) }
  }
}
