/// SHA-256 (FIPS 180-4), for the one purpose of ``HMAC``. The preloaded library may need nothing but libc, which has no
/// hash function to offer.
struct Sha256 {
  private var state: InlineArray<8, UInt32> = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19,
  ]
  private var block = InlineArray<64, UInt8>(repeating: 0)
  private var filled = 0
  private var total: UInt64 = 0

  private static let constants: InlineArray<64, UInt32> = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
  ]

  mutating func update(_ byte: UInt8) {
    block[filled] = byte
    filled &+= 1
    total &+= 1
    guard filled == 64 else { return }
    compress()
    filled = 0
  }

  /// The number's eight bytes, the most significant first.
  mutating func update(_ number: UInt64) {
    var shift = 64
    while shift > 0 {
      shift -= 8
      update(UInt8(truncatingIfNeeded: number >> UInt64(shift)))
    }
  }

  /// The digest as eight words.
  consuming func finish() -> InlineArray<8, UInt32> {
    let bits = total &* 8
    update(UInt8(0x80))
    while filled != 56 { update(UInt8(0)) }
    update(bits)
    return state
  }

  private mutating func compress() {
    var w = InlineArray<64, UInt32>(repeating: 0)
    for t in 0..<16 {
      let at = t &* 4
      w[t] =
        UInt32(block[at]) << 24 | UInt32(block[at &+ 1]) << 16 | UInt32(block[at &+ 2]) << 8 | UInt32(block[at &+ 3])
    }
    for t in 16..<64 {
      let s0 = Self.turn(w[t &- 15], 7) ^ Self.turn(w[t &- 15], 18) ^ (w[t &- 15] >> 3)
      let s1 = Self.turn(w[t &- 2], 17) ^ Self.turn(w[t &- 2], 19) ^ (w[t &- 2] >> 10)
      w[t] = w[t &- 16] &+ s0 &+ w[t &- 7] &+ s1
    }
    var v = state
    for t in 0..<64 {
      let s1 = Self.turn(v[4], 6) ^ Self.turn(v[4], 11) ^ Self.turn(v[4], 25)
      let choice = (v[4] & v[5]) ^ (~v[4] & v[6])
      let first = v[7] &+ s1 &+ choice &+ Self.constants[t] &+ w[t]
      let s0 = Self.turn(v[0], 2) ^ Self.turn(v[0], 13) ^ Self.turn(v[0], 22)
      let majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2])
      v[7] = v[6]
      v[6] = v[5]
      v[5] = v[4]
      v[4] = v[3] &+ first
      v[3] = v[2]
      v[2] = v[1]
      v[1] = v[0]
      v[0] = first &+ s0 &+ majority
    }
    for index in 0..<8 { state[index] = state[index] &+ v[index] }
  }

  private static func turn(_ word: UInt32, _ bits: UInt32) -> UInt32 { word >> bits | word << (32 &- bits) }
}

/// HMAC-SHA-256 (RFC 2104) over numbers: the proof that an end of a verbs lane knows the key of MILLRACE_KEY_FILE.
public struct HMAC {
  /// The longest key, in bytes: the hash's block. What is longer in a key file is not read.
  public static let longestKey = 64

  private var inner = Sha256()
  private var outer = Sha256()

  /// Begins with a key of at most ``longestKey`` bytes.
  public init(key: UnsafeRawBufferPointer) {
    var index = 0
    while index < 64 {
      let byte: UInt8 = index < key.count ? key[index] : 0
      inner.update(byte ^ 0x36)
      outer.update(byte ^ 0x5c)
      index += 1
    }
  }

  /// Takes in a number, the most significant byte first.
  public mutating func update(_ number: UInt64) { inner.update(number) }

  /// Takes in a byte.
  public mutating func update(_ byte: UInt8) { inner.update(byte) }

  /// The first sixteen bytes of the code.
  public consuming func finish() -> Nonce {
    let digest = inner.finish()
    for index in 0..<8 {
      var shift: UInt32 = 32
      while shift > 0 {
        shift -= 8
        outer.update(UInt8(truncatingIfNeeded: digest[index] >> shift))
      }
    }
    let code = outer.finish()
    return Nonce(UInt64(code[0]) << 32 | UInt64(code[1]), UInt64(code[2]) << 32 | UInt64(code[3]))
  }
}
