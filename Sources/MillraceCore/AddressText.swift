// The text form of addresses, read and written without allocation.

extension Scanner {
  /// Takes an IPv4 address in four decimal parts, or an IPv6 address (RFC 4291, section 2.2); the
  /// port is 0. Nil, and no move, if there is none.
  mutating func address() -> Endpoint? {
    let start = position
    if let v4 = dotted() { return Endpoint(v4: v4, port: 0) }
    position = start
    if let (high, low) = groups() { return Endpoint(v6High: high, low: low, port: 0) }
    position = start
    return nil
  }

  /// Takes ADDRESS or ADDRESS/BITS; gives what is wrong, with the scanner there.
  mutating func prefix(_ result: inout AddressPrefix) -> StaticString? {
    guard let address = address() else { return "expected an IPv4 or IPv6 address" }
    var bits: UInt64 = address.family == 4 ? 32 : 128
    if take(0x2f) {
      let start = position
      guard let number = number(), number <= bits else {
        position = start
        return address.family == 4 ? "expected 0 to 32 bits" : "expected 0 to 128 bits"
      }
      bits = number
    }
    result = AddressPrefix(address: address, bits: UInt8(bits))
    if address.isV4Mapped, bits >= 96 {
      // Connections are compared after normalisation, so the prefix has to be an IPv4 one too.
      result = AddressPrefix(address: address.normalised, bits: UInt8(bits - 96))
    }
    return nil
  }

  private mutating func dotted() -> UInt32? {
    var value: UInt32 = 0
    for part in 0..<4 {
      if part > 0, !take(0x2e) { return nil }
      let start = position
      // A leading zero would mean octal to inet_aton: it is refused rather than misread.
      let isZero = next == 0x30
      guard let number = number(), number <= 255, position - start == 1 || !isZero else {
        return nil
      }
      value = value << 8 | UInt32(number)
    }
    return value
  }

  /// IPv6: up to eight groups of 16 bits, of which one run of zeros may be left out as `::`, and the
  /// last two of which may be written as an IPv4 address.
  private mutating func groups() -> (UInt64, UInt64)? {
    var group = InlineArray<8, UInt16>(repeating: 0)
    var count = 0
    var gap = -1
    if take(0x3a) {
      guard take(0x3a) else { return nil }
      gap = 0
    }
    while count < 8 {
      let start = position
      if count <= 6, let v4 = dotted() {
        group[count] = UInt16(v4 >> 16)
        group[count + 1] = UInt16(truncatingIfNeeded: v4)
        count += 2
        break
      }
      position = start
      guard let value = hexGroup() else {
        // Nothing may stand here only behind `::`.
        guard gap == count else { return nil }
        break
      }
      group[count] = value
      count += 1
      if count == 8 || !take(0x3a) { break }
      if take(0x3a) {
        guard gap < 0 else { return nil }
        gap = count
      }
    }
    guard gap >= 0 ? count < 8 : count == 8 else { return nil }
    return Scanner.joined(group, count: count, gap: gap)
  }

  private mutating func hexGroup() -> UInt16? {
    let start = position
    var value: UInt32 = 0
    while position - start < 4, let byte = next {
      switch byte {
      case 0x30...0x39: value = value << 4 | UInt32(byte - 0x30)
      case 0x41...0x46: value = value << 4 | UInt32(byte - 0x41 + 10)
      case 0x61...0x66: value = value << 4 | UInt32(byte - 0x61 + 10)
      default: return position > start ? UInt16(value) : nil
      }
      position += 1
    }
    return position > start ? UInt16(value) : nil
  }

  /// Puts the groups behind the gap at the end of the address.
  private static func joined(
    _ group: InlineArray<8, UInt16>, count: Int, gap: Int
  ) -> (UInt64, UInt64) {
    var high: UInt64 = 0
    var low: UInt64 = 0
    for slot in 0..<8 {
      var value: UInt16 = 0
      if gap < 0 || slot < gap {
        value = slot < count ? group[slot] : 0
      } else if slot >= 8 - (count - gap) {
        value = group[slot - (8 - count)]
      }
      if slot < 4 { high = high << 16 | UInt64(value) } else { low = low << 16 | UInt64(value) }
    }
    return (high, low)
  }
}

extension Endpoint {
  /// The most bytes that `write` writes.
  public static let textCapacity = 48

  /// Writes `a.b.c.d:port` or `[v6]:port` (RFC 5952) into at least `textCapacity` bytes and gives
  /// the number of bytes; an endpoint that is not known is `*`.
  public func write(into text: UnsafeMutableBufferPointer<UInt8>) -> Int {
    var writer = Writer(text)
    switch family {
    case 4:
      writer.dotted(v4)
    case 6:
      writer.byte(0x5b)
      writer.groups(high, low)
      writer.byte(0x5d)
    default:
      writer.byte(0x2a)
      return writer.count
    }
    writer.byte(0x3a)
    writer.decimal(UInt32(port))
    return writer.count
  }
}

/// Appends to memory of the caller, and drops what does not fit.
private struct Writer {
  let text: UnsafeMutableBufferPointer<UInt8>
  var count = 0

  init(_ text: UnsafeMutableBufferPointer<UInt8>) { self.text = text }

  mutating func byte(_ byte: UInt8) {
    guard count < text.count else { return }
    text[count] = byte
    count += 1
  }

  mutating func decimal(_ value: UInt32) {
    if value >= 10 { decimal(value / 10) }
    byte(0x30 + UInt8(value % 10))
  }

  private mutating func hex(_ value: UInt16) {
    if value >= 16 { hex(value >> 4) }
    let digit = UInt8(value & 15)
    byte(digit < 10 ? 0x30 + digit : 0x61 + digit - 10)
  }

  mutating func dotted(_ address: UInt32) {
    for part: UInt32 in 0..<4 {
      if part > 0 { byte(0x2e) }
      decimal(address >> (24 - 8 * part) & 255)
    }
  }

  mutating func groups(_ high: UInt64, _ low: UInt64) {
    if high == 0, low & ~0xffff_ffff == Endpoint.mappedPrefix {
      // ::ffff:
      for _ in 0..<2 { byte(0x3a) }
      for _ in 0..<4 { byte(0x66) }
      byte(0x3a)
      dotted(UInt32(truncatingIfNeeded: low))
      return
    }
    let (gap, gapEnd) = Writer.longestGap(high, low)
    var slot = 0
    while slot < 8 {
      if slot == gap {
        byte(0x3a)
        byte(0x3a)
        slot = gapEnd
        continue
      }
      if slot > 0, slot != gapEnd { byte(0x3a) }
      hex(Writer.group(slot, high, low))
      slot += 1
    }
  }

  private static func group(_ slot: Int, _ high: UInt64, _ low: UInt64) -> UInt16 {
    let half = slot < 4 ? high : low
    return UInt16(truncatingIfNeeded: half >> UInt64(48 - 16 * (slot & 3)))
  }

  /// The first of the longest runs of two or more zero groups; (-1, -1) without one.
  private static func longestGap(_ high: UInt64, _ low: UInt64) -> (Int, Int) {
    var best = (-1, -1)
    var start = 0
    while start < 8 {
      var end = start
      while end < 8, group(end, high, low) == 0 { end += 1 }
      if end - start >= 2, end - start > best.1 - best.0 { best = (start, end) }
      start = end + 1
    }
    return best
  }
}
