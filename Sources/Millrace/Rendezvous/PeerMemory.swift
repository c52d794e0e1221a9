import CLinux

/// Peers that did not answer: a service without Millrace is not asked for every connection again. Service thread only.
///
/// A small table by address and service port. An entry that is overwritten, or a hash that two peers share, costs an
/// attempt or delays a lane; nothing else depends on it.
enum PeerMemory {
  private static let size = 256
  /// Connections in a row without an answer after which a peer is left alone.
  private static let enough: UInt32 = 3
  /// For how long, in nanoseconds.
  private static let time: UInt64 = 30_000_000_000

  private struct Entry {
    var key: UInt64 = 0
    var until: UInt64 = 0
    var silent: UInt32 = 0
    /// Attempts in a row that have called several times in vain.
    var vain: UInt32 = 0
  }

  nonisolated(unsafe) private static var entries: UnsafeMutablePointer<Entry>?

  /// Whether this connection's peer is known not to answer.
  static func isSilent(_ c: ConnectionRef) -> Bool {
    guard let entry = entry(c), entry.pointee.key == key(c) else { return false }
    return entry.pointee.silent >= enough && Kernel.now() < entry.pointee.until
  }

  /// Whether a peer that does not listen yet may do so in a moment. Who has kept many attempts waiting for nothing may not.
  static func mayAppear(_ c: ConnectionRef) -> Bool {
    guard let entry = entry(c), entry.pointee.key == key(c) else { return true }
    return entry.pointee.vain < 8 || Kernel.now() > entry.pointee.until
  }

  /// An attempt has called in vain.
  static func noteVain(_ c: ConnectionRef) {
    guard let entry = entry(c) else { return }
    if entry.pointee.key != key(c) { entry.pointee = Entry(key: key(c)) }
    entry.pointee.vain &+= 1
    entry.pointee.until = Kernel.now() &+ time
  }

  /// A connection has used up its attempts without an answer.
  static func noteSilence(_ c: ConnectionRef) {
    guard let entry = entry(c) else { return }
    if entry.pointee.key != key(c) { entry.pointee = Entry(key: key(c)) }
    entry.pointee.silent &+= 1
    entry.pointee.until = Kernel.now() &+ time
  }

  /// The peer has answered.
  static func noteAnswer(_ c: ConnectionRef) {
    guard let entry = entry(c), entry.pointee.key == key(c) else { return }
    entry.pointee = Entry()
  }

  /// The peer's address, with the port that stays the same from one connection to the next: the accepting end's.
  private static func key(_ c: ConnectionRef) -> UInt64 {
    let wireup = c.pointee.wireup
    let port = c.pointee.role == .follower ? wireup.peer.port : wireup.local.port
    var hash = wireup.peer.high &* 0x9e37_79b9_7f4a_7c15
    hash = (hash ^ wireup.peer.low) &* 0xff51_afd7_ed55_8ccd
    hash = (hash ^ (hash >> 32) ^ UInt64(port)) &* 0xc4ce_b9fe_1a85_ec53
    return hash ^ (hash >> 29) | 1
  }

  private static func entry(_ c: ConnectionRef) -> UnsafeMutablePointer<Entry>? {
    if entries == nil {
      entries = Kernel.reserve(size * MemoryLayout<Entry>.stride)?.bindMemory(to: Entry.self, capacity: size)
    }
    guard let entries else { return nil }
    return entries + Int(key(c) % UInt64(size))
  }
}
