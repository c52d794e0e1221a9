/// Reads text that a user wrote, byte by byte, without allocation.
///
/// A method that finds what it looks for moves on behind it; one that does not stays where it is,
/// so that `position` is where an error message points.
struct Scanner {
  let bytes: UnsafeBufferPointer<UInt8>
  /// The index of the next byte.
  var position = 0

  init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

  var isAtEnd: Bool { position >= bytes.count }

  /// The next byte, or nil at the end.
  var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  /// Takes one given byte.
  mutating func take(_ byte: UInt8) -> Bool {
    guard next == byte else { return false }
    position += 1
    return true
  }

  /// Takes given characters, whatever follows them.
  mutating func word(_ word: StaticString) -> Bool {
    let count = word.utf8CodeUnitCount
    guard bytes.count - position >= count else { return false }
    for i in 0..<count where bytes[position + i] != word.utf8Start[i] { return false }
    position += count
    return true
  }

  /// Takes a decimal number; nil if there is none or it does not fit 64 bits.
  mutating func number() -> UInt64? {
    let start = position
    var value: UInt64 = 0
    while let byte = next, byte >= 0x30, byte <= 0x39 {
      let (tens, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = tens.addingReportingOverflow(UInt64(byte - 0x30))
      if overflow || carry {
        position = start
        return nil
      }
      value = sum
      position += 1
    }
    return position > start ? value : nil
  }

  /// Takes a number with an optional K or M (times 1024 or its square); nil as `number`.
  mutating func size() -> UInt64? {
    let start = position
    guard let value = number() else { return nil }
    let shift: UInt64
    switch next {
    case 0x4b, 0x6b: shift = 10
    case 0x4d, 0x6d: shift = 20
    default: return value
    }
    if value >> (64 - shift) != 0 {
      position = start
      return nil
    }
    position += 1
    return value << shift
  }

  /// Nil at the end of the text, else the message, pointing at `start` if given.
  mutating func end(or message: StaticString, at start: Int? = nil) -> StaticString? {
    if isAtEnd { return nil }
    if let start { position = start }
    return message
  }
}
