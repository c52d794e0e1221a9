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
    if let segment = c.pointee.segment {
      let own = segment.side(c.pointee.role)
      release(own.readerArm)
      release(own.writerArm)
    }
    Registrations.nudge(c)
  }

  private static func release(_ word: UnsafeMutablePointer<Atomic<UInt32>>) {
    // Only the futex's part: the bell stays armed for those who sleep on it.
    let before = word.pointee.bitwiseAnd(~ArmBits.futex, ordering: .sequentiallyConsistent).oldValue
    if before & ArmBits.futex != 0 { Kernel.futexWake(UnsafeMutableRawPointer(word)) }
  }
}
