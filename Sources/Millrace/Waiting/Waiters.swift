import CLinux
import MillraceShim
import Synchronization

/// Waking the threads of this process that sleep for a connection, whatever they sleep in.
enum Waiters {
  /// Notes when a call's timeout ends, at its first sleep.
  static func startClock(_ call: UnsafeMutablePointer<mr_call>, timeout: UInt64) {
    guard !call.pointee.timed else { return }
    call.pointee.timed = true
    call.pointee.deadline = timeout == 0 ? 0 : Kernel.now() &+ timeout
  }

  /// A call that has moved bytes already returns them when a signal comes, even one whose handler asks for a restart. A
  /// futex wait with a time limit is never restarted (signal(7)).
  static func heedSignals(_ call: UnsafeMutablePointer<mr_call>) {
    if call.pointee.moved > 0, call.pointee.deadline == 0 { call.pointee.deadline = Kernel.now() &+ 1 << 55 }
  }

  /// Arms the word for a call that is about to sleep on it, and notes what it sleeps on. A look must follow: whoever changes
  /// something behind it changes the word (``release(_:)``) or takes the arm, and the futex does not sleep.
  static func sleep(_ call: UnsafeMutablePointer<mr_call>, on word: UnsafeMutablePointer<Atomic<UInt32>>) {
    // Partner: RingProducer.publish, RingConsumer.free and release.
    call.pointee.expected = word.pointee.bitwiseOr(ArmBits.futex, ordering: .sequentiallyConsistent).newValue
    call.pointee.word = UnsafeMutableRawPointer(word).assumingMemoryBound(to: UInt32.self)
  }

  /// The look found something. Another call of this end may be between its own look and its sleep, and must not take this
  /// one's arm for its own; it has pinned the connection before it let go of the direction's lock, which is held now.
  static func disarm(_ word: UnsafeMutablePointer<Atomic<UInt32>>, _ c: ConnectionRef) {
    if c.pointee.isFamily || Pins.sleepers(c.pointee.pins.load(ordering: .sequentiallyConsistent)) > 0 {
      release(word)
    } else {
      word.pointee.bitwiseAnd(~ArmBits.futex, ordering: .relaxed)
    }
  }

  /// Lets a call sleep until something about the connection changes: for as long as the stream moves.
  static func sleepOnChanges(_ call: UnsafeMutablePointer<mr_call>, _ c: ConnectionRef) {
    call.pointee.expected = c.pointee.changes.load(ordering: .sequentiallyConsistent)
    call.pointee.word = withUnsafePointer(to: c.pointee.changes) {
      UnsafeMutableRawPointer(mutating: $0).assumingMemoryBound(to: UInt32.self)
    }
  }

  /// Something changed that is not the ring's doing: the paths, the kernel's part, the peer's life, a shutdown. Wakes everybody
  /// in this process who sleeps for the connection; they look again.
  static func wake(_ c: ConnectionRef) {
    c.pointee.changes.wrappingAdd(1, ordering: .sequentiallyConsistent)
    withUnsafePointer(to: c.pointee.changes) { Kernel.futexWake(UnsafeMutableRawPointer(mutating: $0)) }
    releaseArms(c)
    PollSleepers.wake(c)
    Registrations.nudge(c)
  }

  /// Of those who wake, few hold a lock or a pin: the next attempt may be about to unmap this one's memory, or a close.
  private static func releaseArms(_ c: ConnectionRef) {
    // Partner: Attaching.adopt and Closing.finish. Either they see the pin, or this sees that the page is about to go.
    if c.pin(Pins.sleeper) & Pins.finished == 0,
      let page = UnsafeMutableRawPointer(bitPattern: c.pointee.wakePage.load(ordering: .sequentiallyConsistent))
    {
      let own = SideControl(page: page, role: c.pointee.laneRole)
      release(own.readerArm)
      release(own.writerArm)
    }
    c.unpin(Pins.sleeper)
  }

  /// Lets everybody go who sleeps on an arm word of this end, or is about to. The bell stays armed for those who sleep on it.
  ///
  /// Between its last look and its sleep, a sleeper has nothing but the word's value, so that value must not come again: a
  /// second sleeper that arms behind this release would otherwise restore what the first one expects. Hence the count in the
  /// word. And the bit says nothing about who sleeps, since a peer may have taken it and died before it woke anybody: so
  /// the futex is woken whatever it was.
  static func release(_ word: UnsafeMutablePointer<Atomic<UInt32>>) {
    word.pointee.wrappingAdd(ArmBits.release, ordering: .sequentiallyConsistent)
    word.pointee.bitwiseAnd(~ArmBits.futex, ordering: .sequentiallyConsistent)
    Kernel.futexWake(UnsafeMutableRawPointer(word))
  }

  /// Takes the bytes out of the bell. It may have rung for others, whom the kernel puts back to sleep if they come to look
  /// too late: they are woken otherwise.
  static func drainBell(_ c: ConnectionRef) {
    Bell.drain(c)
    PollSleepers.wake(c)
    Registrations.nudge(c)
  }
}
