import CLinux
import MillraceShim
import Synchronization

/// The process's connection records: a reserved stretch of memory, handed out by index, never given back.
///
/// Everything here is guarded by ``Table/lock``.
enum Pool {
  /// The most connections that a process tracks at a time; what comes beyond is left alone.
  static let capacity = 1 << 16

  nonisolated(unsafe) private static var records: ConnectionRef?
  /// Shared with the children of a fork: one for each record.
  nonisolated(unsafe) private static var families: UnsafeMutablePointer<FamilyWords>?
  nonisolated(unsafe) private static var template: ConnectionRef?
  nonisolated(unsafe) private static var serial: UInt32 = 0
  nonisolated(unsafe) private static var freeHead: Int32 = -1
  nonisolated(unsafe) private static var nextFree: UnsafeMutablePointer<Int32>?
  /// Released here while a child still holds them; their words are not ours to reuse yet.
  nonisolated(unsafe) private static var lentHead: Int32 = -1
  /// Records below this index have been handed out at least once.
  nonisolated(unsafe) private(set) static var highWater: Int32 = 0

  static func take() -> ConnectionRef? {
    guard prepare(), let records, let families, let nextFree else { return nil }
    var index = freeHead
    if index >= 0 {
      freeHead = nextFree[Int(index)]
    } else if let returned = takeReturned() {
      index = returned
    } else {
      guard highWater < Int32(capacity) else { return nil }
      index = highWater
      highWater += 1
    }
    let record = records + Int(index)
    renew(record)
    serial &+= 1
    record.pointee.wireup.serial = serial
    record.pointee.index = index
    record.pointee.family = families + Int(index)
    (families + Int(index)).initialize(to: FamilyWords())
    return record
  }

  /// Makes a record fresh, but for its pins and locks: somebody who looked it up long ago may be about to pin it, see that it
  /// is not the connection he meant, and unpin it; or to lock it. These lie in bytes 8 to 31.
  private static func renew(_ record: ConnectionRef) {
    guard let template else {
      template = Kernel.reserve(MemoryLayout<Connection>.stride)?.bindMemory(to: Connection.self, capacity: 1)
      template?.initialize(to: Connection())
      return renew(record)
    }
    let to = UnsafeMutableRawPointer(record)
    let from = UnsafeRawPointer(template)
    let kept = 32
    to.copyMemory(from: from, byteCount: 8)
    (to + kept).copyMemory(from: from + kept, byteCount: MemoryLayout<Connection>.size - kept)
    let pins = record.pointee.pins.load(ordering: .relaxed)
    if pins & Pins.finished != 0 {
      record.pointee.pins.wrappingSubtract(
        Pins.finished | Pins.closing | Pins.sleeper, ordering: .sequentiallyConsistent)
    }
  }

  /// Puts a record back. Its memory stays readable, and its first byte says that it is nothing.
  static func put(_ record: ConnectionRef, stillShared: Bool) {
    let index = record.pointee.index
    record.pointee.kind = UInt8(MR_NONE.rawValue)
    record.pointee.fd = -1
    guard let nextFree else { return }
    if stillShared {
      nextFree[Int(index)] = lentHead
      lentHead = index
    } else {
      nextFree[Int(index)] = freeHead
      freeHead = index
    }
  }

  /// A lent record whose borrower has let go, if the first one has: looking further would cost time for each socket.
  private static func takeReturned() -> Int32? {
    guard lentHead >= 0, let families, let nextFree else { return nil }
    guard families[Int(lentHead)].users.load(ordering: .acquiring) == 0 else { return nil }
    let index = lentHead
    lentHead = nextFree[Int(index)]
    return index
  }

  private static func prepare() -> Bool {
    if records == nil {
      records = Kernel.reserve(capacity * MemoryLayout<Connection>.stride)?
        .bindMemory(to: Connection.self, capacity: capacity)
      nextFree = Kernel.reserve(capacity * 4)?.bindMemory(to: Int32.self, capacity: capacity)
    }
    if families == nil {
      families = Kernel.reserve(capacity * MemoryLayout<FamilyWords>.stride, shared: true)?
        .bindMemory(to: FamilyWords.self, capacity: capacity)
    }
    return records != nil && families != nil && nextFree != nil
  }

  /// In the child of a fork: new connections get words of the child's own.
  static func forked() {
    families = nil
  }

  /// The record at `index`, if it was ever handed out.
  static func record(_ index: Int32) -> ConnectionRef? {
    guard let records, index >= 0, index < highWater else { return nil }
    return records + Int(index)
  }

  /// Calls `body` with every record that was ever in use.
  static func forEachEver(_ body: (ConnectionRef) -> Void) {
    guard let records else { return }
    var index: Int32 = 0
    while index < highWater {
      body(records + Int(index))
      index += 1
    }
  }

  /// Calls `body` with every record that is in use.
  static func forEach(_ body: (ConnectionRef) -> Void) {
    guard let records else { return }
    var index: Int32 = 0
    while index < highWater {
      let record = records + Int(index)
      if record.pointee.kind != UInt8(MR_NONE.rawValue) { body(record) }
      index += 1
    }
  }
}
