import CLinux

/// The key of MILLRACE_KEY_FILE: with it, there is no verbs lane to a peer that does not prove that it knows it too. Each end proves it
/// over the connection and the nonces of both, so that nothing that was once said can be said again.
enum VerbsKey {
  /// What a proof is for: no end can give back what it has heard.
  enum Step: UInt64 {
    case request = 1
    case reply = 2
    case confirmation = 3
  }

  nonisolated(unsafe) private static var bytes = InlineArray<64, UInt8>(repeating: 0)
  nonisolated(unsafe) private static var count = 0

  /// Whether there is a key.
  static var isDemanded: Bool { count > 0 }

  /// Reads the key, at start. False if there is none to be read.
  static func read(_ path: UnsafePointer<UInt8>) -> Bool {
    let fd = Kernel.call(Int(SYS_openat), Int(AT_FDCWD), Int(bitPattern: path), Int(O_RDONLY | O_CLOEXEC), 0)
    guard fd >= 0 else { return false }
    defer { Kernel.close(Int32(truncatingIfNeeded: fd)) }
    let r = withUnsafeMutableBytes(of: &bytes) {
      Kernel.call(Int(SYS_read), fd, Int(bitPattern: $0.baseAddress!), HMAC.longestKey)
    }
    count = max(0, r)
    return count > 0
  }

  /// Compares what a peer has proved with what it had to, in a time that does not tell how much of it is right.
  static func isSame(_ proof: Nonce, _ expected: Nonce) -> Bool {
    (proof.high ^ expected.high) | (proof.low ^ expected.low) == 0
  }

  /// The same of a proof's first half.
  static func isSame(_ proof: UInt64, _ expected: Nonce) -> Bool { proof ^ expected.high == 0 }

  /// The proof of one step; zero without a key.
  static func proof(_ step: Step, _ digest: UInt64, _ first: Nonce, _ second: Nonce = Nonce(0, 0)) -> Nonce {
    guard isDemanded else { return Nonce(0, 0) }
    let length = count
    return withUnsafeBytes(of: &bytes) { key -> Nonce in
      var hmac = HMAC(key: UnsafeRawBufferPointer(rebasing: key[..<length]))
      hmac.update(UInt64(VerbsOffer.version))
      hmac.update(step.rawValue)
      hmac.update(digest)
      hmac.update(first.high)
      hmac.update(first.low)
      hmac.update(second.high)
      hmac.update(second.low)
      return hmac.finish()
    }
  }
}
