import CLinux
import MillraceShim
import Synchronization

// The Swift side of the boundary in millrace.h: nothing here decides anything.

// MARK: Data

@c(millrace_receive)
public func millraceReceive(_ call: UnsafeMutablePointer<mr_call>) -> mr_step {
  Receive.begin(call, call.pointee.connection.assumingMemoryBound(to: Connection.self))
}

@c(millrace_receive_resume)
public func millraceReceiveResume(_ call: UnsafeMutablePointer<mr_call>) -> mr_step {
  Receive.resume(call, call.pointee.connection.assumingMemoryBound(to: Connection.self))
}

@c(millrace_send)
public func millraceSend(_ call: UnsafeMutablePointer<mr_call>) -> mr_step {
  Send.begin(call, call.pointee.connection.assumingMemoryBound(to: Connection.self))
}

@c(millrace_send_resume)
public func millraceSendResume(_ call: UnsafeMutablePointer<mr_call>) -> mr_step {
  Send.resume(call, call.pointee.connection.assumingMemoryBound(to: Connection.self))
}

@c(millrace_call_abandoned)
public func millraceCallAbandoned(_ call: UnsafeMutablePointer<mr_call>) {
  let c = call.pointee.connection.assumingMemoryBound(to: Connection.self)
  BellSleep.leave(call, c)
  switch UInt32(call.pointee.pin) {
  case MR_PIN_READER.rawValue: KernelPath.receiveAbandoned(c, Pins.reader)
  case MR_PIN_SENDER.rawValue: c.unpin(Pins.sender)
  case MR_PIN_GREEDY.rawValue: KernelPath.receiveAbandoned(c, Pins.greedy)
  case MR_PIN_SLEEPER.rawValue: c.unpin(Pins.sleeper)
  default: break
  }
  call.pointee.pin = Int32(MR_PIN_NONE.rawValue)
}

// MARK: Descriptors

@c(millrace_socket)
public func millraceSocket(_ fd: Int32, _ domain: Int32, _ type: Int32) {
  guard Configuration.settings.enabled else { return }
  _ = Table.track(fd, nonblocking: type & Int32(SOCK_NONBLOCK.rawValue) != 0)
}

@c(millrace_connected)
public func millraceConnected(_ fd: Int32) {
  guard let c = Table.connection(fd), !c.pointee.hasRole else { return }
  c.pointee.role = .follower
  Descriptors.admit(c)
}

@c(millrace_listening)
public func millraceListening(_ fd: Int32) {
  guard let c = Table.connection(fd) else { return }
  c.pointee.kind = UInt8(MR_LISTENER.rawValue)
}

@c(millrace_accepted)
public func millraceAccepted(_ fd: Int32, _ listener: Int32, _ flags: Int32) {
  guard Configuration.settings.enabled,
    let c = Table.track(fd, nonblocking: flags & Int32(SOCK_NONBLOCK.rawValue) != 0)
  else { return }
  c.pointee.role = .leader
  Descriptors.admit(c)
}

@c(millrace_close)
public func millraceClose(_ fd: Int32) -> Bool {
  guard let entry = mr_entry(fd) else { return true }
  switch UInt32(entry.load(as: UInt8.self)) {
  case MR_HIDDEN.rawValue: return false
  case MR_EPOLL.rawValue: Registrations.closeSet(entry.assumingMemoryBound(to: EpollSet.self), fd: fd)
  case MR_NONE.rawValue: mr_set_entry(fd, nil)
  default: Closing.close(entry.assumingMemoryBound(to: Connection.self), fd: fd)
  }
  return true
}

@c(millrace_forget)
public func millraceForget(_ fd: Int32) { Table.forget(fd) }

@c(millrace_duplicated)
public func millraceDuplicated(_ from: Int32, _ to: Int32) {
  Table.duplicate(from, as: to)
}

@c(millrace_shutdown)
public func millraceShutdown(_ fd: Int32, _ how: Int32, _ error: UnsafeMutablePointer<Int32>) -> Bool {
  guard let c = Table.connection(fd) else { return false }
  guard let answer = Descriptors.shutdown(c, how) else { return false }
  error.pointee = answer
  return true
}

@c(millrace_flags_changed)
public func millraceFlagsChanged(_ fd: Int32, _ nonblocking: Bool) {
  Table.connection(fd)?.pointee.nonblocking.store(nonblocking, ordering: .relaxed)
}

@c(millrace_decline_option) public func millraceDeclineOption(_ fd: Int32) { Descriptors.decline(fd, .socketOption) }
@c(millrace_decline_splice) public func millraceDeclineSplice(_ fd: Int32) { Descriptors.decline(fd, .splice) }
@c(millrace_decline_passed)
public func millraceDeclinePassed(_ fd: Int32) { Descriptors.decline(fd, .descriptorPassed) }
@c(millrace_decline_urgent) public func millraceDeclineUrgent(_ fd: Int32) { Descriptors.decline(fd, .urgentData) }
@c(millrace_decline_signals) public func millraceDeclineSignals(_ fd: Int32) { Descriptors.decline(fd, .asyncSignals) }
@c(millrace_decline_file) public func millraceDeclineFile(_ fd: Int32) { Descriptors.decline(fd, .splice) }

@c(millrace_decline_stdio) public func millraceDeclineStdio(_ fd: Int32) { Descriptors.decline(fd, .stdio) }

@c(millrace_epoll_created)
public func millraceEpollCreated(_ fd: Int32) {
  if Configuration.settings.enabled { EpollSets.created(fd) }
}

@c(millrace_epoll_nested)
public func millraceEpollNested(_ fd: Int32) {
  guard let set = EpollSets.known(fd) else { return }
  NestedSets.exposeInner(set)
  NestedSets.nest(set)
}

@c(millrace_epoll_inside)
public func millraceEpollInside(_ outer: Int32, _ inner: Int32) {
  guard let set = EpollSets.known(inner) else { return }
  if let around = EpollSets.known(outer) { NestedSets.nest(set, in: around) } else { NestedSets.nest(set) }
}

@c(millrace_disconnecting)
public func millraceDisconnecting(_ fd: Int32) {
  guard let c = Table.connection(fd) else { return }
  let nonblocking = c.pointee.nonblocking.load(ordering: .relaxed)
  Closing.close(c, fd: fd, resets: true)
  _ = Table.track(fd, nonblocking: nonblocking)
}

@c(millrace_uring)
public func millraceUring() { Uring.made() }

@c(millrace_on_lane)
public func millraceOnLane(_ fd: Int32) -> Bool {
  guard let c = Table.connection(fd) else { return false }
  return c.pointee.pins.load(ordering: .acquiring) & (Pins.receiveGate | Pins.sendGate) != 0
}

// MARK: Options

@c(millrace_getsockopt)
public func millraceGetsockopt(
  _ fd: Int32, _ level: Int32, _ name: Int32, _ value: UnsafeMutableRawPointer?,
  _ length: UnsafeMutablePointer<UInt32>?, _ result: UnsafeMutablePointer<Int32>
) -> Bool {
  guard let c = Table.connection(fd),
    let answer = Options.get(c, level: level, name: name, value: value, length: length)
  else { return false }
  result.pointee = answer
  return true
}

@c(millrace_setsockopt_before)
public func millraceSetsockoptBefore(_ fd: Int32, _ level: Int32, _ name: Int32) {
  guard let reason = Options.takesStream(level: level, name: name) else { return }
  Descriptors.decline(fd, reason)
}

@c(millrace_setsockopt_done)
public func millraceSetsockoptDone(
  _ fd: Int32, _ level: Int32, _ name: Int32, _ value: UnsafeRawPointer?, _ length: UInt32
) {
  guard let c = Table.connection(fd) else { return }
  if let reason = Options.changed(c, level: level, name: name) { Descriptors.decline(c, reason) }
}

@c(millrace_ioctl)
public func millraceIoctl(
  _ fd: Int32, _ request: UInt, _ argument: UnsafeMutableRawPointer?, _ result: UnsafeMutablePointer<Int32>
) -> Bool {
  guard let c = Table.connection(fd), let answer = Options.control(c, request: request, argument: argument) else {
    return false
  }
  result.pointee = answer
  return true
}

// MARK: Waiting

@c(millrace_poll)
public func millracePoll(_ wait: UnsafeMutablePointer<mr_wait>) -> mr_step { PollWait.begin(wait) }

@c(millrace_poll_resume)
public func millracePollResume(_ wait: UnsafeMutablePointer<mr_wait>) -> mr_step { PollWait.resume(wait) }

@c(millrace_poll_abandoned)
public func millracePollAbandoned(_ wait: UnsafeMutablePointer<mr_wait>) { PollWait.abandon(wait) }

@c(millrace_epoll_wait)
public func millraceEpollWait(_ wait: UnsafeMutablePointer<mr_epoll_wait>) -> mr_step { EpollWait.begin(wait) }

@c(millrace_epoll_resume)
public func millraceEpollResume(_ wait: UnsafeMutablePointer<mr_epoll_wait>) -> mr_step { EpollWait.resume(wait) }

@c(millrace_epoll_abandoned)
public func millraceEpollAbandoned(_ wait: UnsafeMutablePointer<mr_epoll_wait>) { EpollWait.abandon(wait) }

@c(millrace_epoll_ctl)
public func millraceEpollCtl(
  _ epfd: Int32, _ op: Int32, _ fd: Int32, _ event: UnsafeMutablePointer<epoll_event>?,
  _ result: UnsafeMutablePointer<Int32>
) -> Bool {
  guard let answer = Registrations.control(epfd, op, fd, event) else { return false }
  result.pointee = answer
  return true
}

// MARK: Process

@c(millrace_start)
public func millraceStart(_ environment: UnsafePointer<UnsafeMutablePointer<CChar>?>) {
  Configuration.read(environment)
}

@c(millrace_is_on)
public func millraceIsOn() -> Bool { Configuration.settings.enabled }

@c(millrace_service)
public func millraceService() { Service.run() }

@c(millrace_before_fork)
public func millraceBeforeFork() { Forking.prepare() }

@c(millrace_after_fork)
public func millraceAfterFork(_ child: Int32) { Forking.parent(child) }

@c(millrace_forked_child)
public func millraceForkedChild() { Forking.child() }

@c(millrace_before_exec)
public func millraceBeforeExec(_ borrowed: Bool, _ replaces: Bool) {
  Executing.prepare(borrowed: borrowed, replaces: replaces)
}

@c(millrace_exec_failed)
public func millraceExecFailed() { Executing.failed() }

@c(millrace_exit)
public func millraceExit() { Forking.exit() }
