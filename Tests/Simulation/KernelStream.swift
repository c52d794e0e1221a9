/// One direction of the TCP connection: bytes in order, in a buffer that may be full, arriving a piece at a time. It
/// checks the grammar of everything that is written to it.
final class KernelStream {
  private var cells: ContiguousArray<Cell> = []
  private let capacity: Int
  private let writer: Int
  /// Bytes that the reader has taken.
  private(set) var readCount = 0
  /// Bytes that have arrived in the reader's kernel; those beyond `readCount` may be read.
  private(set) var arrivedCount = 0
  /// The writer's process has gone, or has said that it will send no more.
  private(set) var isFinished = false
  /// A reset took bytes that had been written.
  private(set) var isReset = false
  private var lastKind = Cell.Kind.application
  /// How many bytes of the mark or record being written are there, 0 to 15.
  private var partial = 0

  init(capacity: Int, writer: Int) {
    self.capacity = capacity
    self.writer = writer
    cells.reserveCapacity(1024)
  }

  /// Bytes written since the connection began.
  var writtenCount: Int { cells.count }
  var room: Int { isFinished ? 0 : max(0, capacity - (cells.count - readCount)) }
  var readable: Int { arrivedCount - readCount }
  var atEnd: Bool { isFinished && readCount == cells.count }

  func write(_ cell: Cell) throws(Failure) {
    if isFinished { throw Failure("a byte after FIN") }
    if !allows(cell.kind) { throw Failure("\(cell.kind) after \(lastKind) breaks the grammar of the kernel stream") }
    if cell.kind != .application { partial = (partial + 1) % 16 }
    lastKind = cell.kind
    cells.append(cell)
  }

  /// `app* ( MARK LEARNED? DETACH app* )*`, with LEARNED the leader's alone.
  private func allows(_ kind: Cell.Kind) -> Bool {
    if partial > 0 { return kind == lastKind }
    switch lastKind {
    case .application, .detach: return kind == .application || kind == .mark
    case .mark: return kind == .detach || (kind == .learned && writer == 0)
    case .learned: return kind == .detach
    }
  }

  func read() -> Cell {
    readCount += 1
    return cells[readCount - 1]
  }

  /// `count` more bytes arrive, or as many as there are.
  func arrive(_ count: Int) -> Bool {
    let moved = min(count, cells.count - arrivedCount)
    arrivedCount += moved
    return moved > 0
  }

  /// The writer ends its stream properly.
  func finish() throws(Failure) {
    if partial > 0 || lastKind == .mark || lastKind == .learned { throw Failure("FIN inside a cutover") }
    isFinished = true
  }

  /// The writer's process dies. A reset takes all but the first `surviving` of the bytes that have not arrived.
  func abandon(surviving: Int?) {
    isFinished = true
    if let surviving, arrivedCount + surviving < cells.count {
      isReset = true
      cells.removeLast(cells.count - arrivedCount - surviving)
    }
  }
}
