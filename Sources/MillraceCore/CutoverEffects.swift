/// What the owner of a ``Cutover`` has to do after an event, in the order of the declarations here.
///
/// A value and not a list: the preloaded library allocates nothing on these paths.
public struct CutoverEffects: Equatable, Sendable {
  /// One thing to do.
  public enum Effect: Sendable {
    /// Publish ``Cutover/ownCut`` on the lane.
    case publishCut
    /// Say on the lane that the leader's cut was learned.
    case acknowledge
    /// Write the own mark to TCP.
    case writeMark
    /// Write LEARNED to TCP.
    case writeLearned
    /// Write DETACH to TCP, with the position up to which this end's application has consumed the lane.
    case writeDetach(consumed: UInt64)
    /// Send the bytes of the own ring from this position on over TCP, before anything newer.
    case resend(from: UInt64)
    /// The cutover is back at its beginning; the lane may go once the re-sending is done.
    case finished
  }

  public private(set) var publishesCut = false
  public private(set) var acknowledges = false
  public private(set) var writesMark = false
  public private(set) var writesLearned = false
  public private(set) var detachPosition: UInt64?
  public private(set) var resendPosition: UInt64?
  public private(set) var finishes = false

  public init() {}

  public init(_ effect: Effect) {
    add(effect)
  }

  public init(_ first: Effect, _ second: Effect) {
    add(first)
    add(second)
  }

  public mutating func add(_ effect: Effect) {
    switch effect {
    case .publishCut: publishesCut = true
    case .acknowledge: acknowledges = true
    case .writeMark: writesMark = true
    case .writeLearned: writesLearned = true
    case .writeDetach(let consumed): detachPosition = consumed
    case .resend(let position): resendPosition = position
    case .finished: finishes = true
    }
  }

  public mutating func formUnion(_ other: CutoverEffects) {
    publishesCut = publishesCut || other.publishesCut
    acknowledges = acknowledges || other.acknowledges
    writesMark = writesMark || other.writesMark
    writesLearned = writesLearned || other.writesLearned
    detachPosition = other.detachPosition ?? detachPosition
    resendPosition = other.resendPosition ?? resendPosition
    finishes = finishes || other.finishes
  }
}
