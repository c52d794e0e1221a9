import Testing

@testable import MillraceCore

@Suite struct VerbsTests {
  // MARK: The immediate

  @Test func immediateTellsBothCountsOnce() throws {
    var head: UInt64 = 0
    var reposted: UInt64 = 0
    var known: (head: UInt64, reposted: UInt64) = (0, 0)
    // Far beyond what the bits hold: both sides follow step by step.
    for round in 0..<200_000 {
      head += UInt64(round % 4097) * 7
      reposted += UInt64(round % 64)
      let word = VerbsImmediate(head: head, reposted: reposted)
      known.head = try #require(VerbsImmediate(word: word.word).head(after: known.head, tail: head))
      known.reposted = try #require(VerbsImmediate(word: word.word).reposted(after: known.reposted, sent: reposted))
      #expect(known == (head, reposted))
    }
  }

  @Test func immediateBeyondWhatWasSentIsRefused() {
    let word = VerbsImmediate(head: 101, reposted: 5)
    #expect(word.head(after: 0, tail: 100) == nil)
    #expect(word.head(after: 0, tail: 101) == 101)
    // A head that went back looks like one far ahead.
    #expect(word.head(after: 102, tail: 1 << 24) == nil)
    #expect(word.reposted(after: 0, sent: 4) == nil)
    #expect(word.reposted(after: 5, sent: 5) == 5)
  }

  // MARK: Messages

  @Test func noticeSurvivesTheWay() {
    var notice = VerbsNotice()
    notice.finish = 3
    notice.cut = 0x1122_3344_5566_7788
    notice.fixedCut = 77
    notice.recordsTaken = 1 << 40
    notice.hasLearned = true
    notice.isFlipped = true
    notice.immediate = VerbsImmediate(head: 99, reposted: 12)
    notice.proof = Nonce(1, 2)
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: VerbsNotice.byteCount, alignment: 8)
    defer { bytes.deallocate() }
    notice.encode(into: bytes)
    #expect(VerbsNotice(decoding: bytes, count: VerbsNotice.byteCount) == notice)
    #expect(VerbsNotice(decoding: bytes, count: 63) == nil)
    bytes.storeBytes(of: 0, as: UInt8.self)
    #expect(VerbsNotice(decoding: bytes, count: VerbsNotice.byteCount) == nil)
  }

  @Test func offerSurvivesTheWayAndGarbageDoesNot() {
    let offer = VerbsOffer(
      ringBytes: 1 << 18, callerLeads: true, hasKey: true, digest: 0x0123_4567_89ab_cdef, nonce: Nonce(5, 6),
      address: 0x7fff_0000_1000, remoteKey: 0xdead_beef, proof: 42)
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: 256, alignment: 8)
    defer { bytes.deallocate() }
    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: 256)
    offer.encode(into: bytes)
    #expect(VerbsOffer(decoding: bytes, count: VerbsOffer.byteCount) == offer)
    // The connection manager pads.
    #expect(VerbsOffer(decoding: bytes, count: 196) == offer)
    #expect(VerbsOffer(decoding: bytes, count: 55) == nil)
    for shift: UInt8 in [0, 11, 25, 63, 64, 255] {
      bytes.storeBytes(of: shift, toByteOffset: 3, as: UInt8.self)
      #expect(VerbsOffer(decoding: bytes, count: 56) == nil)
    }
  }

  // MARK: What is posted when

  @Test func aMessageAloneIsPostedAtOnceAndOthersGather() {
    #expect(VerbsFlow.nextWrite(unposted: 64, inFlight: 0, credit: 64, toEnd: 4096, isLast: false) == 64)
    #expect(VerbsFlow.nextWrite(unposted: 64, inFlight: 1, credit: 64, toEnd: 4096, isLast: false) == 0)
    #expect(VerbsFlow.nextWrite(unposted: 64, inFlight: 1, credit: 64, toEnd: 4096, isLast: true) == 64)
    let large = VerbsFlow.largeWrite
    #expect(VerbsFlow.nextWrite(unposted: large, inFlight: 1, credit: 64, toEnd: 1 << 20, isLast: false) == large)
    let most = VerbsFlow.mostInFlight
    #expect(VerbsFlow.nextWrite(unposted: large, inFlight: most, credit: 64, toEnd: 1 << 20, isLast: false) == 0)
    #expect(VerbsFlow.nextWrite(unposted: 1 << 20, inFlight: 0, credit: 64, toEnd: 100, isLast: false) == 100)
  }

  @Test func creditIsKeptBackForTheEnd() {
    let reserve = VerbsFlow.reserve
    #expect(VerbsFlow.nextWrite(unposted: 1, inFlight: 0, credit: reserve, toEnd: 9, isLast: false) == 0)
    #expect(VerbsFlow.nextWrite(unposted: 1, inFlight: 0, credit: reserve, toEnd: 9, isLast: true) == 1)
    #expect(VerbsFlow.nextWrite(unposted: 1, inFlight: 0, credit: 0, toEnd: 9, isLast: true) == 0)
  }

  @Test func whatWaitsForCreditIsLookedAtLessAndLessOften() {
    var waited: UInt64 = 0
    var looks = 0
    while waited < 10_000_000_000 {
      let pause = VerbsFlow.pause(stuckFor: waited)
      #expect(pause <= max(1_000_000, waited / 4))
      waited += pause
      looks += 1
    }
    #expect(looks < 100)
  }

  @Test func theSendQueueIsReaped() {
    #expect(!VerbsFlow.isSignalled(unacknowledged: 0, sinceSignalled: 0))
    #expect(VerbsFlow.isSignalled(unacknowledged: 1, sinceSignalled: 0))
    #expect(VerbsFlow.isSignalled(unacknowledged: 0, sinceSignalled: VerbsFlow.signalEvery - 1))
    // What may be in the send queue unreaped never fills it.
    #expect(VerbsFlow.signalEvery + VerbsImmediate.depth < VerbsFlow.sendDepth)
  }

  // MARK: The proof

  /// RFC 4231, test cases 1, 2 and 4; the first half of each code.
  @Test(
    arguments: [
      ([UInt8](repeating: 0x0b, count: 20), "Hi There", 0xb034_4c61_d8db_3853, 0x5ca8_afce_af0b_f12b),
      (Array("Jefe".utf8), "what do ya want for nothing?", 0x5bdc_c146_bf60_754e, 0x6a04_2426_0895_75c7),
    ] as [([UInt8], String, UInt64, UInt64)])
  func hmacIsThatOfTheStandard(key: [UInt8], text: String, high: UInt64, low: UInt64) {
    let code = key.withUnsafeBytes { bytes in
      var hmac = HMAC(key: bytes)
      for byte in text.utf8 { hmac.update(byte) }
      return hmac.finish()
    }
    #expect(code == Nonce(high, low))
  }

  // MARK: Addresses

  private func parsed(_ text: String) -> AddressMap? {
    var settings = Settings.defaults
    var bytes = Array(text.utf8)
    let problem = bytes.withUnsafeMutableBufferPointer { settings.apply(.map, value: UnsafeBufferPointer($0)) }
    return problem == nil ? settings.map : nil
  }

  @Test func prefixesAreReplaced() throws {
    let map = try #require(parsed("10.1.0.0/16=192.168.0.0/16,127.0.0.1=10.76.0.1,fd00::/64=fd01:0:0:7::/64"))
    #expect(map.translated(Endpoint(v4: 0x0a01_0203, port: 7)) == Endpoint(v4: 0xc0a8_0203, port: 7))
    #expect(map.translated(Endpoint(v4: 0x7f00_0001, port: 1)) == Endpoint(v4: 0x0a4c_0001, port: 1))
    #expect(map.translated(Endpoint(v4: 0x0808_0808, port: 1)) == Endpoint(v4: 0x0808_0808, port: 1))
    let six = Endpoint(v6High: 0xfd00_0000_0000_0000, low: 5, port: 9)
    #expect(map.translated(six) == Endpoint(v6High: 0xfd01_0000_0000_0007, low: 5, port: 9))
  }

  @Test func mapsThatMakeNoSenseAreRefused() {
    for text in ["10.0.0.0/8=10.0.0.0/16", "10.0.0.1", "10.0.0.1=", "=10.0.0.1", "10.0.0.1=10.0.0.2;", "x=y"] {
      #expect(parsed(text) == nil)
    }
    #expect(parsed(Array(repeating: "10.0.0.1=10.0.0.2", count: 17).joined(separator: ",")) == nil)
  }
}
