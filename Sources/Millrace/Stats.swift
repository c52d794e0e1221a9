import CLinux
import Synchronization

/// The process's statistics page, once there is one. Counting before that counts nothing.
enum Stats {
  nonisolated(unsafe) private static var page: StatsPage?
  private static let starting = Lock()
  nonisolated(unsafe) private static var descriptor: Int32 = -1

  @inline(__always)
  static func count(_ counter: Counter) {
    page?.count(counter)
  }

  @inline(__always)
  static func count(_ counter: Counter, by number: UInt64) {
    page?.count(counter, by: number)
  }

  static func decline(_ reason: DeclineReason) {
    page?.decline(reason)
  }

  static func value(_ counter: Counter) -> UInt64 { page?.value(counter) ?? 0 }

  /// Makes the page. It is a memfd that the process keeps open: `millrace ss` finds it under /proc/PID/fd, and it goes
  /// with the process, however that ends.
  static func start() {
    guard page == nil, Configuration.settings.stats else { return }
    starting.lock()
    defer { starting.unlock() }
    guard page == nil else { return }
    let made = Table.makeHidden {
      Kernel.call(Int(SYS_memfd_create), Int(bitPattern: StatsPage.name.utf8Start), Int(CL_MFD_FLAGS))
    }
    guard let hidden = try? made.get() else { return }
    guard Kernel.setSize(hidden, StatsPage.byteCount),
      let memory = Kernel.map(
        StatsPage.byteCount, protection: PROT_READ | PROT_WRITE, flags: MAP_SHARED, fd: hidden)
    else {
      Table.closeHidden(hidden)
      return
    }
    descriptor = hidden
    let fresh = StatsPage(memory)
    fresh.initialize(pid: Kernel.processID(), startTime: 0)
    page = fresh
  }

  /// The child of a fork counts on a page of its own, made when it first has something to count.
  static func forked() {
    starting.reset()
    guard let inherited = page else { return }
    Kernel.unmap(inherited.base, StatsPage.byteCount)
    Table.closeHidden(descriptor)
    page = nil
    descriptor = -1
  }

  // MARK: An operator's wishes

  /// Tells operators where to knock, once the service thread listens.
  static func listens(on eventfd: Int32) { page?.setWakeup(eventfd) }

  /// Changes whenever an operator has said something.
  static var wishes: UInt32 { page?.wishes ?? 0 }

  /// Whether an operator wants the connection, or the whole process, on TCP.
  static func wantsNoLane(_ connection: ConnectionRef) -> Bool {
    page?.wantsNoLane(connection.pointee.row) ?? false
  }

  // MARK: Rows

  static func claimRow(_ connection: ConnectionRef) {
    guard let page, connection.pointee.row < 0 else { return }
    connection.pointee.row = page.claimRow()
    publish(connection)
  }

  static func releaseRow(_ connection: ConnectionRef) {
    guard let page, connection.pointee.row >= 0 else { return }
    page.releaseRow(connection.pointee.row)
    connection.pointee.row = -1
  }

  /// Writes what a connection is and where it has come to into its row.
  static func publish(_ connection: ConnectionRef) {
    guard let page, connection.pointee.row >= 0 else { return }
    let index = connection.pointee.row
    page.beginUpdate(index)
    let row = page.row(index)
    row.pointee.fd = connection.pointee.fd
    row.pointee.role = (connection.pointee.role == .leader ? ConnectionRole.accept : .connect).rawValue
    row.pointee.path = Options.pathValue(connection)
    let fabric: FabricKind = connection.pointee.verbs == nil ? .shm : .verbs
    row.pointee.fabric = connection.pointee.segment == nil ? 0 : fabric.rawValue
    row.pointee.reason = connection.pointee.reason.rawValue
    row.pointee.ringBytes = UInt32(connection.pointee.segment?.ringBytes ?? 0)
    row.pointee.attaches = connection.pointee.lanes
    row.pointee.local = connection.pointee.wireup.local
    row.pointee.peer = connection.pointee.wireup.peer
    page.endUpdate(index)
    publishBytes(connection)
  }

  @inline(__always)
  static func kernelBytes(_ c: ConnectionRef) {
    guard let page, c.pointee.row >= 0 else { return }
    let row = page.row(c.pointee.row)
    row.pointee.kernelSent = c.pointee.kernelSent.load(ordering: .relaxed)
    row.pointee.kernelReceived = c.pointee.kernelReceived.load(ordering: .relaxed)
  }

  @inline(__always)
  static func sent(_ c: ConnectionRef) {
    guard let page, c.pointee.row >= 0 else { return }
    page.row(c.pointee.row).pointee.laneSent = c.pointee.carriedOut &+ c.pointee.producer!.tail
  }

  @inline(__always)
  static func received(_ c: ConnectionRef) {
    guard let page, c.pointee.row >= 0 else { return }
    page.row(c.pointee.row).pointee.laneReceived = c.pointee.carriedIn &+ c.pointee.consumer!.head
  }

  /// Copies the byte counts into the row. Called now and then, by the service thread and at turning points.
  static func publishBytes(_ connection: ConnectionRef) {
    guard let page, connection.pointee.row >= 0 else { return }
    let row = page.row(connection.pointee.row)
    row.pointee.kernelSent = connection.pointee.kernelSent.load(ordering: .relaxed)
    row.pointee.kernelReceived = connection.pointee.kernelReceived.load(ordering: .relaxed)
    row.pointee.laneSent = connection.pointee.carriedOut &+ (connection.pointee.producer?.tail ?? 0)
    row.pointee.laneReceived = connection.pointee.carriedIn &+ (connection.pointee.consumer?.head ?? 0)
  }
}
