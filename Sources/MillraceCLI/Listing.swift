import MillraceCore

/// What `millrace ss --json` prints. Names and meanings are kept from version to version; new ones may come.
struct Listing: Encodable {
  struct Process: Encodable {
    let pid: Int32
    let name: String
    let counters: [String: UInt64]
    let declines: [String: UInt64]
    let connections: [Connection]
  }

  struct Connection: Encodable {
    let fd: Int32
    let role: String
    let local: String
    let peer: String
    /// kernel, attaching, lane or ended.
    let path: String
    /// none, shm or verbs.
    let fabric: String
    /// A decline reason; "none" without one.
    let reason: String
    let kernelSent: UInt64
    let kernelReceived: UInt64
    let laneSent: UInt64
    let laneReceived: UInt64
    /// Of one direction.
    let ringBytes: UInt32
    let attaches: UInt32
    /// In seconds since 1970; 0 if not known.
    let since: UInt64
  }

  let processes: [Process]

  init(_ processes: [ProcessStatistics]) {
    self.processes = processes.map { process in
      Process(
        pid: process.pid, name: process.name,
        counters: Dictionary(
          uniqueKeysWithValues: Counter.allCases.map { ($0.name.description, process.counters[$0.rawValue]) }),
        declines: Dictionary(
          uniqueKeysWithValues: DeclineReason.allCases.filter { $0 != .none }.map {
            ($0.name.description, process.declines[Int($0.rawValue)])
          }),
        connections: process.connections.map(Connection.init))
    }
  }
}

extension Listing.Connection {
  fileprivate init(_ row: ConnectionRow) {
    self.init(
      fd: row.fd, role: row.roleText, local: row.local.text, peer: row.peer.text, path: row.pathName,
      fabric: row.fabricName, reason: row.declineReason.name.description, kernelSent: row.kernelSent,
      kernelReceived: row.kernelReceived, laneSent: row.laneSent, laneReceived: row.laneReceived,
      ringBytes: row.ringBytes, attaches: row.attaches, since: row.since)
  }
}
