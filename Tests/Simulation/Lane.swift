import MillraceCore

/// What makes the lane.
enum Fabric: UInt8 {
  /// Shared memory: what one end stores the other sees, it outlives its writer, and "learned" and "given up" exclude
  /// each other by a compare-and-swap.
  case sharedMemory
  /// Queue pairs: messages in order, each direction by itself, late or, once the lane breaks, never.
  case verbs
}

/// One direction of the lane. Positions are 64-bit counts; the storage wraps.
struct Ring {
  private var cells: ContiguousArray<Cell>
  let capacity: Int
  /// The producer's tail and the consumer's head.
  var tail: UInt64 = 0
  var head: UInt64 = 0
  /// What each end knows of the other's.
  var tailAtConsumer: UInt64 = 0
  var headAtProducer: UInt64 = 0
  /// Up to where the producer has re-sent the ring over TCP; below it the bytes may be overwritten.
  var resent: UInt64 = 0
  /// Where the stream ends, if the producer has shut its half down.
  var finish: UInt64?

  init(capacity: Int) {
    self.capacity = capacity
    cells = ContiguousArray(
      repeating: Cell(byte: 0, kind: .application, position: .max), count: capacity)
  }

  subscript(position: UInt64) -> Cell {
    get { cells[Int(truncatingIfNeeded: position) & (capacity - 1)] }
    set { cells[Int(truncatingIfNeeded: position) & (capacity - 1)] = newValue }
  }
}

/// A lane of one epoch, from wireup on. Index 0 is the leader and what the leader produces.
final class Lane {
  /// The word that the two ends of a shared-memory lane compare and swap.
  enum Word: UInt8 {
    case empty
    case offered
    case learned
    case givenUp
  }

  /// What travels on a verbs lane.
  enum Message {
    case cut(UInt64, flipped: Bool)
    case learned
    case tail(UInt64)
    case head(UInt64)
    case finish(UInt64)
  }

  let fabric: Fabric
  let nonce: Nonce
  let epoch: Int
  var word = Word.empty
  /// Each end's cut as stored in shared memory, or as it has arrived over verbs.
  var cuts: [UInt64?] = [nil, nil]
  var isFlipped = false
  /// The follower lets the leader act on its cut.
  var followerCutPublished = false
  /// Over verbs: the follower's "learned" has arrived.
  var learnedArrived = false
  var rings: [Ring]
  /// An end has left, and over shared memory the other can see it.
  var hungUp = [false, false]
  private var mailboxes: [ContiguousArray<Message>] = [[], []]
  private(set) var isBroken = false

  init(fabric: Fabric, nonce: Nonce, epoch: Int, capacity: Int) {
    self.fabric = fabric
    self.nonce = nonce
    self.epoch = epoch
    rings = [Ring(capacity: capacity), Ring(capacity: capacity)]
  }

  var otherMayNotice: Bool { hungUp[0] || hungUp[1] || isBroken }

  /// Sends `message` from `end`; shared memory has it at once.
  func post(_ message: Message, from end: Int) {
    if fabric == .sharedMemory {
      take(message, from: end)
    } else if !isBroken {
      mailboxes[end].append(message)
    }
  }

  /// The fabric fails: of what is on its way each direction loses all but a beginning.
  func breakDown(_ random: inout SplitMix64) {
    if isBroken || fabric == .sharedMemory { return }
    isBroken = true
    for end in 0...1 where !mailboxes[end].isEmpty {
      mailboxes[end].removeLast(random.below(mailboxes[end].count + 1))
    }
  }

  /// The oldest message from `end` arrives.
  func deliver(from end: Int) -> Bool {
    if mailboxes[end].isEmpty { return false }
    take(mailboxes[end].removeFirst(), from: end)
    return true
  }

  private func take(_ message: Message, from end: Int) {
    switch message {
    case .cut(let cut, let flipped):
      cuts[end] = cut
      if end == 0 {
        isFlipped = flipped
        if word == .empty { word = .offered }
      } else {
        followerCutPublished = true
      }
    case .learned: learnedArrived = true
    case .tail(let tail): rings[end].tailAtConsumer = tail
    case .head(let head): rings[1 - end].headAtProducer = head
    case .finish(let position): rings[end].finish = position
    }
  }
}
