import CLinux
import Synchronization

/// A process at the other end of this one's lanes: what has been rung for it, so that it is not rung again in vain.
///
/// A process that sleeps in one epoll set on many lanes looks at all of them when it wakes. It arms them under one
/// *ticket*, a number that stands for this one sleep; a producer that has rung for the ticket on one lane need not ring on
/// the others. Only lanes of the same process may share what is noted here, or a hostile peer could pretend that another
/// one's sleeper was rung; so the process is the one that the kernel names at the other end of the bell (SO_PEERCRED).
struct PeerProcess: ~Copyable {
  /// Tickets say in their low bits in which of so many places they are noted: about one for each set of the peer.
  static let placeBits: UInt64 = 4
  static let places = 1 << 4
  private static let capacity = 1024

  /// Its process number, and how many lanes lead there (guarded by the lock).
  private var pid: Int32 = 0
  private var lanes: Int32 = 0
  /// The tickets that were rung last.
  private let rung = InlineArray<16, Atomic<UInt64>> { _ in Atomic(0) }

  private static let lock = Lock()
  nonisolated(unsafe) private static var memory: PeerProcessRef?

  private init() {}

  /// The bell is there: finds who is at its other end. Nobody is if the kernel cannot say, or if another process has the
  /// place; then each lane is rung for itself.
  static func join(_ c: ConnectionRef) {
    guard Fabric.hasWords(c), let pid = Identity.credentials(c.pointee.bell)?.pid, pid > 0 else { return }
    lock.lock()
    defer { lock.unlock() }
    if memory == nil {
      memory = Kernel.reserve(capacity * MemoryLayout<PeerProcess>.stride)?
        .bindMemory(to: PeerProcess.self, capacity: capacity)
    }
    guard let process = memory.map({ $0 + Int(pid) % capacity }) else { return }
    if process.pointee.lanes == 0 {
      process.initialize(to: PeerProcess())
      process.pointee.pid = pid
    }
    guard process.pointee.pid == pid else { return }
    process.pointee.lanes += 1
    c.pointee.peerProcess = process
  }

  /// The bell is closed.
  static func leave(_ c: ConnectionRef) {
    guard let process = c.pointee.peerProcess else { return }
    c.pointee.peerProcess = nil
    lock.lock()
    process.pointee.lanes -= 1
    lock.unlock()
  }

  private static func place(_ ticket: UInt64) -> Int { Int(ticket & UInt64(places - 1)) }

  /// Whether somebody in this process has rung for the ticket.
  func isRung(_ ticket: UInt64) -> Bool {
    // Acquires what was released after the ring.
    rung[Self.place(ticket)].load(ordering: .acquiring) == ticket
  }

  /// The bell has been rung for the ticket.
  func noteRung(_ ticket: UInt64) {
    rung[Self.place(ticket)].store(ticket, ordering: .releasing)
  }

  /// In the child of a fork: what the parent has rung is rung.
  static func forked() { lock.reset() }
}

typealias PeerProcessRef = UnsafeMutablePointer<PeerProcess>
