/// The named, counted cause for which a connection has no lane.
///
/// The raw values are the slots of the statistics page and the answer of
/// `getsockopt(SOL_MILLRACE, MILLRACE_REASON)`: a value, once released, keeps its meaning.
public enum DeclineReason: UInt8, CaseIterable, Sendable {
  case none = 0
  case off
  case ruleDenied
  case belowThreshold
  case noPeer
  case nameTaken
  case identityMismatch
  case peerDeclined
  case versionMismatch
  case badWireup
  case badSegment
  case unaccountedIO
  case sharedByFork
  case busy
  case urgentData
  case kernelTLS
  case asyncSignals
  case socketOption
  case descriptorPassed
  case ioUring
  case descriptorsExhausted
  case memoryExhausted
  case threadsExhausted
  case wireupTimeout
  case laneAborted
  case splice
  case notConnected
  case unsupportedFamily
  case raced
  case hiddenLimit
  case stdio
  case peerLeft
  case chaos
  case `operator`
  case noVerbs
  case noDevice
  case lockedMemory
  case fabricUnreachable
  case keyMismatch
  case laneFailed
  case notPermitted

  /// How many reasons there are; raw values are 0 ..< count.
  public static var count: Int { Int(DeclineReason.notPermitted.rawValue) + 1 }

  /// The name that logs, `millrace ss` and `millrace reasons` print.
  public var name: StaticString {
    switch self {
    case .none: "none"
    case .off: "off"
    case .ruleDenied: "rule-denied"
    case .belowThreshold: "below-threshold"
    case .noPeer: "no-peer"
    case .nameTaken: "name-taken"
    case .identityMismatch: "identity-mismatch"
    case .peerDeclined: "peer-declined"
    case .versionMismatch: "version-mismatch"
    case .badWireup: "bad-wireup"
    case .badSegment: "bad-segment"
    case .unaccountedIO: "unaccounted-io"
    case .sharedByFork: "shared-by-fork"
    case .busy: "busy"
    case .urgentData: "urgent-data"
    case .kernelTLS: "kernel-tls"
    case .asyncSignals: "async-signals"
    case .socketOption: "socket-option"
    case .descriptorPassed: "descriptor-passed"
    case .ioUring: "io-uring"
    case .descriptorsExhausted: "descriptors-exhausted"
    case .memoryExhausted: "memory-exhausted"
    case .threadsExhausted: "threads-exhausted"
    case .wireupTimeout: "wireup-timeout"
    case .laneAborted: "lane-aborted"
    case .splice: "splice"
    case .notConnected: "not-connected"
    case .unsupportedFamily: "unsupported-family"
    case .raced: "raced"
    case .hiddenLimit: "hidden-limit"
    case .stdio: "stdio"
    case .peerLeft: "peer-left"
    case .chaos: "chaos"
    case .operator: "operator"
    case .noVerbs: "no-verbs"
    case .noDevice: "no-device"
    case .lockedMemory: "locked-memory"
    case .fabricUnreachable: "fabric-unreachable"
    case .keyMismatch: "key-mismatch"
    case .laneFailed: "lane-failed"
    case .notPermitted: "not-permitted"
    }
  }

  /// One sentence for a person who asks why a connection is not on a lane.
  public var explanation: StaticString {
    switch self {
    case .none: "Nothing stands in the way, or nothing has been decided yet."
    case .off: "Millrace is off for this process (MILLRACE=off, or a setting with an error)."
    case .ruleDenied: "A rule of MILLRACE_RULES or MILLRACE_RULES_FILE denies this connection."
    case .belowThreshold: "The traffic has not yet reached the threshold of MILLRACE_ATTACH."
    case .noPeer: "Nobody answered at the rendezvous: the peer is remote or runs without Millrace."
    case .nameTaken: "Another socket holds the name of this connection's rendezvous."
    case .identityMismatch: "Who called at the rendezvous does not own the connection's other end."
    case .peerDeclined: "The peer has a reason of its own; ask `millrace ss` about its row."
    case .versionMismatch: "The peer runs a version of Millrace with another wireup protocol."
    case .badWireup: "The peer sent garbage or too much at the wireup, or hung up early."
    case .badSegment: "The shared memory that the peer offered has a wrong size or lacks its seals."
    case .unaccountedIO: "The kernel counts other bytes than Millrace saw: there is hidden I/O."
    case .sharedByFork: "The descriptor is shared with another process since a fork."
    case .busy: "Calls were in flight or data was unread; it is tried again later."
    case .urgentData: "The connection carries urgent data, which only TCP can."
    case .kernelTLS: "The kernel encrypts this connection (TCP_ULP)."
    case .asyncSignals: "The program asked for signals on this descriptor (O_ASYNC, F_SETOWN)."
    case .socketOption: "The program set a socket option that only the kernel can honour."
    case .descriptorPassed: "The descriptor was sent to another process."
    case .ioUring: "The process uses io_uring, which reaches sockets unseen."
    case .descriptorsExhausted: "No descriptor was left for the lane's bell."
    case .memoryExhausted: "No memory was left for the lane's rings."
    case .threadsExhausted: "The service thread could not be started."
    case .wireupTimeout: "The peer did not finish the wireup in time."
    case .laneAborted: "The lane failed before the stream had moved onto it."
    case .splice: "The program reads or moves this connection's data past read and write: splice, tee, an option."
    case .notConnected: "The connection was not established, or no longer, when a lane was tried."
    case .unsupportedFamily: "The socket is not a TCP connection over IPv4 or IPv6."
    case .raced: "The descriptor was closed or replaced while a lane was being agreed."
    case .hiddenLimit: "The limit of hidden descriptors or of lanes in this process is reached."
    case .stdio:
      "libc itself reads or writes the descriptor (fdopen, dprintf, aio_read, or it is stdin, stdout or stderr)."
    case .peerLeft: "The peer left the lane; it is tried again when the traffic has doubled."
    case .chaos: "MILLRACE_CHAOS made the connection leave its lane; it may attach again at once."
    case .noVerbs:
      "The verbs module, or a library that it needs, is not there."
    case .noDevice: "No RDMA device serves this connection's addresses, or the process may not use it."
    case .lockedMemory: "The process may not lock as much memory as a lane's rings need (RLIMIT_MEMLOCK)."
    case .fabricUnreachable: "The RDMA fabric does not lead to the peer, or it did not answer in time."
    case .keyMismatch: "The peer does not prove that it knows the key of MILLRACE_KEY_FILE."
    case .laneFailed: "The fabric failed while the lane was in use; it is tried again when the traffic has doubled."
    case .notPermitted: "The process may not make a system call that a lane needs (a seccomp filter, for example)."
    case .operator: "An operator wants this connection on TCP (`millrace off`), until told otherwise (`millrace on`)."
    }
  }
}
