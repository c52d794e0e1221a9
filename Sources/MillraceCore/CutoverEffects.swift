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

  /// ``Effect/publishCut`` is to be done, first of all.
  public private(set) var publishesCut = false
  /// ``Effect/acknowledge`` is to be done.
  public private(set) var acknowledges = false
  /// ``Effect/writeMark`` is to be done.
  public private(set) var writesMark = false
  /// ``Effect/writeLearned`` is to be done.
  public private(set) var writesLearned = false
  /// The position of the DETACH to write, if one is.
  public private(set) var detachPosition: UInt64?
  /// The position from which the own ring is to be re-sent, if it is.
  public private(set) var resendPosition: UInt64?
  /// ``Effect/finished``: the last thing.
  public private(set) var finishes = false

  /// Nothing to do.
  public init() {}

  /// One thing to do.
  public init(_ effect: Effect) {
    add(effect)
  }

  /// Two things to do.
  public init(_ first: Effect, _ second: Effect) {
    add(first)
    add(second)
  }

  /// Asks for one thing more.
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

  /// Asks for what `other` asks for as well; its positions replace those given before.
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
