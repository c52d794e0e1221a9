import Testing

@testable import MillraceCore

private func address(_ text: String) -> Endpoint? {
  withBytes(text) { bytes in
    var scanner = Scanner(bytes)
    guard let endpoint = scanner.address(), scanner.isAtEnd else { return nil }
    return endpoint
  }
}

@Suite struct EndpointTests {
  @Test(arguments: [
    ("127.0.0.1", "127.0.0.1:0"), ("255.255.255.255", "255.255.255.255:0"), ("0.0.0.0", "0.0.0.0:0"),
    ("::", "[::]:0"), ("::1", "[::1]:0"), ("1::", "[1::]:0"),
    ("2001:db8::8:800:200c:417a", "[2001:db8::8:800:200c:417a]:0"),
    ("2001:DB8:0:0:8:800:200C:417A", "[2001:db8::8:800:200c:417a]:0"),
    ("1:2:3:4:5:6:7:8", "[1:2:3:4:5:6:7:8]:0"), ("1:2:3:4:5:6:7::", "[1:2:3:4:5:6:7:0]:0"),
    ("1:0:0:2:0:0:0:3", "[1:0:0:2::3]:0"), ("1:0:0:2:3:0:0:4", "[1::2:3:0:0:4]:0"),
    ("1:0:2:0:3:0:4:0", "[1:0:2:0:3:0:4:0]:0"),
    ("::ffff:1.2.3.4", "[::ffff:1.2.3.4]:0"), ("64:ff9b::192.0.2.33", "[64:ff9b::c000:221]:0"),
    ("1:2:3:4:5:6:1.2.3.4", "[1:2:3:4:5:6:102:304]:0"), ("0:0:0:0:0:0:0:0", "[::]:0"), ("fe80::", "[fe80::]:0"),
  ])
  func addressesAreReadAndWritten(text: String, expected: String) {
    #expect(address(text)?.text == expected)
  }

  @Test(arguments: [
    "", "1", "1.2", "1.2.3.4.", "1.2.3.1000", "00.1.2.3", ":", ":::", "1:", ":1", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
    "1::2::3", "12345::", "g::", "::1.2.3", "1:2:3:4:5:6:7:1.2.3.4", "1:2:3:4:5:6:7:8::", "::1.2.3.4:5",
    "1:2:3:4:5:6:7:",
  ])
  func whatIsNoAddressIsRefused(text: String) {
    #expect(address(text) == nil)
  }

  @Test func socketAddresses() {
    let v4: [UInt8] = [2, 0, 0x1f, 0x90, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    var v6 = [UInt8](repeating: 0, count: 28)
    v6.replaceSubrange(0..<4, with: [10, 0, 0x1f, 0x90])
    v6[23] = 1
    var mapped = v6
    mapped.replaceSubrange(18..<24, with: [0xff, 0xff, 127, 0, 0, 1])
    func endpoint(_ bytes: [UInt8], _ length: Int? = nil) -> Endpoint? {
      bytes.withUnsafeBytes { Endpoint(sockaddr: $0.baseAddress!, length: length ?? bytes.count) }
    }
    #expect(endpoint(v4) == Endpoint(v4: 0x7f00_0001, port: 8080))
    #expect(endpoint(v4)?.text == "127.0.0.1:8080")
    #expect(endpoint(v6)?.text == "[::1]:8080")
    // Both ends of a connection between the families must give the same value.
    #expect(endpoint(mapped) == endpoint(v4))
    #expect(endpoint(v4, 7) == nil)
    #expect(endpoint(v6, 23) == nil)
    #expect(endpoint([1, 0] + Array(v4.dropFirst(2))) == nil)
  }

  @Test func normalisation() {
    let mapped = Endpoint(v6High: 0, low: 0x0000_ffff_0102_0304, port: 7)
    #expect(mapped.isV4Mapped)
    #expect(mapped.normalised == Endpoint(v4: 0x0102_0304, port: 7))
    #expect(!mapped.normalised.isV4Mapped)
    let compatible = Endpoint(v6High: 0, low: 0x0000_0000_0102_0304, port: 7)
    #expect(compatible.normalised == compatible)
  }

  @Test func prefixesCompareBitByBit() {
    let base = Endpoint(v6High: 0x0123_4567_89ab_cdef, low: 0xfedc_ba98_7654_3210, port: 1)
    for bit in 0..<128 {
      var other = base
      if bit < 64 { other.high ^= 1 << UInt64(63 - bit) } else { other.low ^= 1 << UInt64(127 - bit) }
      for prefix in 0...128 {
        #expect(base.sharesPrefix(UInt8(prefix), with: other) == (prefix <= bit))
      }
    }
    let v4 = Endpoint(v4: 0x0a0b_0c0d, port: 1)
    for bit in 0..<32 {
      let other = Endpoint(v4: 0x0a0b_0c0d ^ 1 << UInt32(31 - bit), port: 2)
      for prefix in 0...32 { #expect(v4.sharesPrefix(UInt8(prefix), with: other) == (prefix <= bit)) }
    }
    #expect(!v4.sharesPrefix(0, with: base))
  }

  @Test func textIsCutToItsRoom() {
    let endpoint = Endpoint(v6High: 0x2001_0db8_1111_2222, low: 0x3333_4444_5555_6666, port: 65535)
    #expect(endpoint.text == "[2001:db8:1111:2222:3333:4444:5555:6666]:65535")
    #expect(endpoint.text.utf8.count <= Endpoint.textCapacity)
    let room = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 4)
    defer { room.deallocate() }
    #expect(endpoint.write(into: room) == 4)
    #expect(Endpoint().text == "*")
  }
}
