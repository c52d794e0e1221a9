import CLinux
import MillraceShim
import Synchronization

/// Sets that somebody waits for: in another set, or in poll. Of these the kernel sees what their lanes have: every bell is
/// armed, and what is ready shows in the nudge.
enum NestedSets {
  /// Somebody waits for the set itself.
  static func nest(_ set: EpollSetRef) {
    set.pointee.lock.lock()
    let moving = set.firstMoving()
    set.pointee.lock.unlock()
    if let c = moving {
      Mover.advance(c)
      c.unpin(Pins.sleeper)
    }
    set.pointee.lock.lock()
    if !set.pointee.isNested {
      heatAll(of: set)
      EpollSets.ensureNudge(set)
    }
    set.pointee.isNested = true
    expose(set)
    set.pointee.lock.unlock()
  }

  /// A nested set keeps all its lanes hot. Locks: the set's; the pool only grows.
  private static func heatAll(of set: EpollSetRef) {
    guard set.pointee.lanes > 0 else { return }
    RegistrationPool.forEach(of: set) { if $0.pointee.place == .cold { $0.heat() } }
  }

  /// What has shown may be over.
  static func refresh(_ set: EpollSetRef) {
    set.pointee.lock.lock()
    expose(set)
    set.pointee.lock.unlock()
  }

  /// The set's lock is held.
  static func expose(_ set: EpollSetRef) {
    var at = set.pointee.hotHead
    while let registration = at {
      at = registration.pointee.nextHot
      // A bell that rang for what has been read meanwhile must not go on showing it.
      Bell.drain(registration.pointee.connection)
    }
    set.armHot(ticket: nil)
    let isReady = set.hasReport()
    if isReady == set.pointee.isShown { return }
    set.pointee.isShown = isReady
    if isReady { Kernel.signal(set.pointee.nudge) } else { EpollSets.drainNudge(set) }
  }

  /// `inner` is registered in `outer`: a wait on the outer one brings the inner one up to date first.
  static func nest(_ inner: EpollSetRef, in outer: EpollSetRef) {
    Registrations.lock.lock()
    switch outer.pointee.inner {
    case (nil, _, _, _): outer.pointee.inner.0 = inner
    case (_, nil, _, _): outer.pointee.inner.1 = inner
    case (_, _, nil, _): outer.pointee.inner.2 = inner
    default: outer.pointee.inner.3 = inner
    }
    Registrations.lock.unlock()
    nest(inner)
  }

  @inline(__always)
  static func exposeInner(_ outer: EpollSetRef) {
    guard outer.pointee.inner.0 != nil else { return }
    exposeEach(outer)
  }

  private static func exposeEach(_ outer: EpollSetRef) {
    expose(outer.pointee.inner.0)
    expose(outer.pointee.inner.1)
    expose(outer.pointee.inner.2)
    expose(outer.pointee.inner.3)
  }

  private static func expose(_ inner: EpollSetRef?) {
    guard let inner else { return }
    // The kernel lets sets be nested five deep, and in no ring.
    exposeInner(inner)
    nest(inner)
  }
}
