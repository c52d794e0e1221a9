/// A deliberate mistake in the protocol or in the way an end drives it. The simulation must catch every one.
enum Mutation: String, CaseIterable {
  /// The leader writes its mark together with its offer, before anybody has learned its cut.
  case markBeforeLearned
  /// A follower consumes the lane as soon as it has seen the leader's mark, before its own is written.
  case followerConsumesBeforeOwnMark
  /// A leader consumes the lane before it has read the follower's mark.
  case leaderConsumesBeforePeersMark
  /// DETACH carries the position that the consumer has last published instead of the one that it has reached.
  case detachCarriesPublishedHead
  /// DETACH carries the position of the last byte that has arrived instead of the last consumed.
  case detachCarriesTail
  /// An end re-sends its ring from the beginning, whatever position it was told.
  case resendFromZero
  /// Bytes are the application's beyond the peer's cut.
  case inboundNotLimited
  /// The leader forgets to write LEARNED.
  case learnedOmitted
  /// What is re-sent overtakes the records that wait for room.
  case resendBeforeRecords
  /// Newer bytes of the application overtake what is re-sent.
  case newerBytesOvertakeResend
  /// Ring space is free as soon as its bytes have been published, not when they have been consumed.
  case spaceFreedAtPublish
  /// A follower that does not find the mark drops the bytes as if they had been one.
  case missingMarkIgnored
  /// An attached end takes the peer's DETACH without writing its own.
  case detachNotAnswered
  /// An end that has written its DETACH answers the peer's with another one.
  case detachAnsweredTwice
  /// A new lane is wired up while the old one is still being left.
  case attachWhileDetaching
  /// A cut is fixed while older bytes still wait to be re-sent.
  case cutBeforeResent
  /// A leader in shared memory gives up without looking whether the follower has learned.
  case giveUpWithoutSwap
  /// A leader on verbs offers without a byte in hand: nothing may follow at its cut if it gives up.
  case offerEmptyHanded
  /// A leader on verbs has a byte in hand, and lets its mark begin with the same byte.
  case markNotFlipped
  /// The ends move although more bytes lie unread than they can look ahead.
  case lookAheadUnlimited
  /// The follower publishes its cut together with "learned", before it has seen the leader's mark.
  case cutBeforeMarkSeen
  /// An end goes on consuming the lane after it has written DETACH.
  case consumeAfterDetach
  /// A FIN is written to TCP during an attach.
  case finishDuringAttach
  /// A follower whose lane dies after it has published its cut goes on in TCP without waiting for the leader's record.
  case undecidedGoesOn
  /// What a dead peer left in its ring is read from the consumer's head, though some was re-sent over TCP.
  case remainderFromHead
  /// What a dead peer left in its ring is read as soon as the lane's hang-up is noticed, though the kernel path still has
  /// bytes on their way.
  case remainderBeforeKernelEnd

  // Among the processes of one end, since a fork:

  /// A process goes on to use a lane that a relative is leaving for all.
  case claimIgnored
  /// Who leaves for all knows only what it has itself consumed and sent.
  case claimWithoutRefresh
  /// Each process of an end leaves for itself, with a DETACH of its own.
  case everybodyLeaves
  /// Whichever process comes by takes bytes of a record.
  case everybodyReadsRecords
  /// A process follows to TCP before its relative has re-sent everything.
  case followBeforeResent
  /// A connection attaches while another process holds it.
  case attachWhileShared
  /// A connection attaches though another process has read from it or written to it.
  case auditSkipped
  /// What a dead peer left in its ring is read by a process that does not know what its relatives have read over TCP.
  case remainderUnaudited
}
