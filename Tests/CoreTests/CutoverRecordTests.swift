import MillraceCore
import Testing

/// Marks and records as bytes, and their collection from whatever pieces TCP delivers.
@Suite struct CutoverRecordTests {
  private static let nonce = Nonce(0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210)

  private static func bytes(_ words: Nonce) -> [UInt8] {
    (0..<Record.byteCount).map { words[$0] }
  }

  @Test func bytesTravelBigEndian() {
    #expect(
      Self.bytes(Self.nonce) == [
        0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10,
      ])
  }

  @Test(arguments: [
    Record.learned, .detach(consumed: 0), .detach(consumed: 1), .detach(consumed: 1 << 40), .detach(consumed: .max),
  ])
  func aRecordIsReadBackAsWritten(record: Record) {
    #expect(Record(decoding: record.encoded(for: Self.nonce), for: Self.nonce) == record)
  }

  @Test func aRecordOfAnotherLaneIsNone() {
    let other = Nonce(Self.nonce.high ^ 1, Self.nonce.low)
    #expect(Record(decoding: Record.learned.encoded(for: Self.nonce), for: other) == nil)
    #expect(Record(decoding: Record.detach(consumed: 5).encoded(for: Self.nonce), for: other) == nil)
    #expect(Record(decoding: Nonce(0, 0), for: Self.nonce) == nil)
  }

  @Test func learnedWithAChangedBitIsNone() {
    let words = Record.learned.encoded(for: Self.nonce)
    for bit in 0..<64 {
      #expect(Record(decoding: Nonce(words.high ^ 1 << UInt64(bit), words.low), for: Self.nonce) == nil)
      #expect(Record(decoding: Nonce(words.high, words.low ^ 1 << UInt64(bit)), for: Self.nonce) == nil)
    }
  }

  @Test func marksAndRecordsOfALaneDiffer() {
    let leader = Self.nonce.mark(from: .leader)
    let follower = Self.nonce.mark(from: .follower)
    #expect(leader == Self.nonce)
    #expect(leader != follower)
    for mark in [leader, follower, Self.nonce.mark(from: .leader, flipped: true)] {
      #expect(Record(decoding: mark, for: Self.nonce) == nil)
    }
  }

  /// Whatever byte the application is about to send, one of the two marks begins with another.
  @Test func flippingChangesTheFirstByteAlone() {
    for role in [Role.leader, .follower] {
      let plain = Self.nonce.mark(from: role, flipped: false)
      let flipped = Self.nonce.mark(from: role, flipped: true)
      #expect(plain == Self.nonce.mark(from: role))
      #expect(flipped[0] == ~plain[0])
      #expect(Self.bytes(flipped).dropFirst() == Self.bytes(plain).dropFirst())
    }
  }

  /// All 32,768 ways to cut sixteen bytes.
  @Test func everyWayOfCuttingGivesTheSameSixteenBytes() {
    for cuts in 0..<(1 << 15) {
      var buffer = RecordBuffer()
      var index = 0
      while index < Record.byteCount {
        var piece = 1
        while index + piece < Record.byteCount, cuts & 1 << (index + piece - 1) == 0 { piece += 1 }
        precondition(buffer.missing == Record.byteCount - index && buffer.take() == nil)
        for offset in index..<index + piece { buffer.append(Self.nonce[offset]) }
        index += piece
      }
      let taken = buffer.take()
      guard taken == Self.nonce, buffer.count == 0, buffer.missing == Record.byteCount else {
        Issue.record("cut \(cuts) gives \(String(describing: taken))")
        return
      }
    }
  }

  @Test func theBufferTakesOneRecordAfterTheOther() {
    var buffer = RecordBuffer()
    for record in [Record.learned, .detach(consumed: 77)] {
      for byte in Self.bytes(record.encoded(for: Self.nonce)) { buffer.append(byte) }
      let words = buffer.take()
      #expect(words.flatMap { Record(decoding: $0, for: Self.nonce) } == record)
    }
  }

  @Test func everyPrefixAgreesAndEveryOtherByteDoesNot() {
    for length in 0..<Record.byteCount {
      var buffer = RecordBuffer()
      for index in 0..<length {
        buffer.append(Self.nonce[index])
        #expect(buffer[index] == Self.nonce[index])
      }
      #expect(buffer.agrees(with: Self.nonce))
      for bit in 0..<8 {
        var other = buffer
        other.append(Self.nonce[length] ^ UInt8(1 << bit))
        #expect(!other.agrees(with: Self.nonce))
      }
    }
  }

  @Test func rolesArePeersOfEachOther() {
    #expect(Role.leader.peer == .follower)
    #expect(Role.follower.peer == .leader)
  }
}
