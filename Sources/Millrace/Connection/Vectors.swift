import CLinux
import MillraceShim
import Synchronization

/// The application's memory of a call: one buffer or many, seen as one stretch of bytes.
enum Vectors {
  /// Bytes that the call asks for in all; nil if the vector is not one (EINVAL, as readv(2) has it).
  @inline(__always)
  static func length(_ call: UnsafeMutablePointer<mr_call>) -> Int? {
    if call.pointee.vector_count == 1 {
      let bytes = call.pointee.vector.pointee.iov_len
      return bytes >= 0 ? bytes : nil
    }
    return sum(call)
  }

  @inline(never)
  private static func sum(_ call: UnsafeMutablePointer<mr_call>) -> Int? {
    guard (0...1024).contains(Int(call.pointee.vector_count)) else { return nil }
    var total = 0
    var index = 0
    while index < Int(call.pointee.vector_count) {
      let bytes = call.pointee.vector[index].iov_len
      let (next, overflow) = total.addingReportingOverflow(bytes)
      if bytes < 0 || overflow { return nil }
      total = next
      index += 1
    }
    return total
  }

  /// Copies `count` bytes into the call's memory, from byte `at` of it on.
  @inline(__always)
  static func scatter(_ call: UnsafeMutablePointer<mr_call>, from bytes: UnsafeRawPointer, at: Int, count: Int) {
    if call.pointee.vector_count == 1 {
      call.pointee.vector.pointee.iov_base.advanced(by: at).copyMemory(from: bytes, byteCount: count)
      return
    }
    var done = 0
    forEachPiece(call, at: at, count: count) { piece, length in
      UnsafeMutableRawPointer(piece).copyMemory(from: bytes + done, byteCount: length)
      done &+= length
    }
  }

  /// Calls `body` with the pieces of the call's memory that hold bytes `at` ..< `at + count` of it.
  static func forEachPiece(
    _ call: UnsafeMutablePointer<mr_call>, at: Int, count: Int, _ body: (UnsafeMutableRawPointer, Int) -> Void
  ) {
    var skip = at
    var left = count
    var index = 0
    while left > 0, index < Int(call.pointee.vector_count) {
      let entry = call.pointee.vector[index]
      let length = Int(entry.iov_len)
      if skip >= length {
        skip &-= length
      } else {
        let piece = min(length &- skip, left)
        body(entry.iov_base + skip, piece)
        left &-= piece
        skip = 0
      }
      index &+= 1
    }
  }
}
