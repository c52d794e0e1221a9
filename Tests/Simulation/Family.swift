import MillraceCore

/// What the processes of one end have in common since a fork: the application's stream, the positions of the lane, and
/// the words by which one of them leaves it for all (`FamilyWords` and `SharedLane` in the library).
final class Family {
  // The application, in whichever process.
  var toSend: Int
  var sent = 0
  var delivered = 0
  var wantsFinish = false
  var finishIsWritten = false
  var sawEnd = false

  // The lane.
  var consumed: UInt64 = 0
  var publishedHead: UInt64 = 0
  /// Several processes have had this lane.
  var isShared = false
  /// There was a fork.
  var hasForked = false
  /// Who leaves the lane for all; nobody can touch it meanwhile.
  var owner: End?
  /// The lane was left, and everything is TCP's.
  var hasLeft = false

  /// Processes that hold the end, or died without saying that they do not any more.
  var holders = 1
  /// How often a lane was left by one for several, and how often a process followed.
  private(set) var claims = 0
  var follows = 0

  init(toSend: Int) {
    self.toSend = toSend
  }

  /// A new lane.
  func begin() {
    consumed = 0
    publishedHead = 0
    isShared = false
    owner = nil
    hasLeft = false
  }

  func claim(_ end: End) {
    owner = end
    claims += 1
  }
}

/// One process of several at the same end.
extension End {
  // MARK: fork

  /// A child of this process, which shares the end. Nil at a moment at which the library lets nobody fork.
  func fork() -> End? {
    guard !isDead, !awaitsParent, ahead.isEmpty, record.count == 0, family.owner == nil || family.owner === self else {
      return nil
    }
    // The last mark of an attach is written by who attached: there was room for it, or no cut would have been fixed.
    if cutover.phase == .attached, !waiting.isEmpty { return nil }
    let child = End(index: index, outgoing: outgoing, incoming: incoming, options: options, family: family)
    family.holders += 1
    family.hasForked = true
    child.trace = trace
    child.coverage = coverage
    child.written = written
    child.received = received
    child.isRefused = isRefused
    // The last lane's memory is the child's too, for what a dead peer left there.
    child.lane = lane
    child.seenConsumed = family.consumed
    child.seenTail = lane == nil ? 0 : produced.tail
    if cutover.phase == .attached, !hasLeft {
      // At rest on the lane: both have it.
      family.isShared = true
      child.hasLeft = false
      child.cutover = cutover
      child.markIsCommitted = markIsCommitted
    } else if isInMotion {
      // Only the parent knows how far the stream has come: it goes on, and leaves the lane as soon as it is there.
      family.isShared = true
      if family.owner == nil { family.claim(self) }
      child.awaitsParent = true
      child.isRefused = true
    } else {
      // An attempt that has moved nothing is the parent's.
      child.isRefused = child.isRefused || lane != nil && !hasLeft
      child.cutover = cutover
    }
    note("forks")
    return child
  }

  /// Some of the stream is on neither path.
  private var isInMotion: Bool {
    lane != nil && (!cutover.isIdle || cutover.outbound != .kernel || resendPosition != nil || !waiting.isEmpty)
  }

  /// The parent that was in motion when it forked has come onto the lane.
  func leaveForFork() throws(Failure) {
    if !hasLeft { try leave() }
  }

  // MARK: One leaves for all

  /// This process is one of several on a lane.
  private var isOneOfSeveral: Bool { family.isShared && lane != nil && !hasLeft && cutover.phase == .attached }

  /// Whether a call may go on. A relative that leaves is waited for; one that has left is followed.
  func mayTouch() throws(Failure) -> Bool {
    guard isOneOfSeveral || awaitsParent else { return true }
    if family.hasLeft || mutation == .followBeforeResent && family.owner?.cutover.isIdle == true {
      follow()
      return true
    }
    if mutation == .claimIgnored { return true }
    return !awaitsParent && (family.owner == nil || family.owner === self)
  }

  /// A relative leaves, or has left, and this process has not followed yet.
  var waitsForRelative: Bool {
    awaitsParent || isOneOfSeveral && (family.hasLeft || family.owner != nil && family.owner !== self)
  }

  private func follow() {
    note("follows to TCP")
    family.follows += 1
    hasLeft = true
    isRefused = true
    awaitsParent = false
    lane = nil
    markIsCommitted = false
    cutover = Cutover(role: cutover.role)
  }

  /// Whether this process may leave the lane: alone, or as the one who does it for all.
  func claim() -> Bool {
    guard isOneOfSeveral, mutation != .everybodyLeaves else { return true }
    if family.owner == nil, !family.hasLeft { family.claim(self) }
    return family.owner === self
  }

  /// Before records are read. Half of one is left where it is: whoever took it would hold up all until the rest comes.
  func claimForRecord() -> Bool {
    guard isOneOfSeveral, family.owner !== self, mutation != .everybodyReadsRecords else { return true }
    guard incoming.readable >= Record.byteCount - record.count, cutover.inbound == .records else { return true }
    return claim()
  }

  /// Records that are not this process's to read.
  var leavesRecords: Bool {
    isOneOfSeveral && family.owner !== self && mutation != .everybodyReadsRecords && mutation != .everybodyLeaves
  }

  /// A claim that has come to nothing.
  func settleClaim() {
    if family.owner === self, isOneOfSeveral { family.owner = nil }
  }

  /// Everything is re-sent: the others may go on in TCP.
  func finishClaim() {
    guard family.owner === self, !family.hasLeft, hasLeft, cutover.isIdle else { return }
    // What was read ahead is older than what relatives would read.
    guard waiting.isEmpty, resendPosition == nil, ahead.isEmpty else { return }
    note("has left for all")
    family.hasLeft = true
    family.owner = nil
  }

  /// The position up to which the application has consumed, in whichever process.
  var consumedNow: UInt64 { mutation == .claimWithoutRefresh ? seenConsumed : family.consumed }

  // MARK: Attaching again

  /// The kernel counts what this process has counted (`Audit`).
  var booksAgree: Bool {
    mutation == .auditSkipped || written == outgoing.writtenCount && received == incoming.readCount
  }

  /// Whether a lane is out of the question.
  var mustNotAttach: Bool {
    isRefused && mutation != .auditSkipped || family.holders > 1 && mutation != .attachWhileShared
  }

  /// The process ends in good order, and lets go of what it shares.
  func exit() -> Bool {
    guard !isDead, family.owner !== self, waiting.isEmpty, resendPosition == nil, record.count == 0, ahead.isEmpty,
      hasLeft || cutover.phase == .attached
    else { return false }
    note("exits")
    isDead = true
    family.holders -= 1
    return true
  }
}
