/// Where a connection's bytes travel, as `getsockopt(SOL_MILLRACE, MILLRACE_PATH)` answers it.
public enum ConnectionPath: UInt8, Sendable {
  case kernel = 0
  case attaching = 1
  case lane = 2
  case ended = 3
}

/// What makes lanes.
public enum FabricKind: UInt8, Sendable {
  case none = 0
  case shm = 1
  case verbs = 2
}

/// What an operator wants of a process or a connection (`millrace off`, `millrace on`).
public enum OperatorWish: UInt32, Sendable {
  /// Lanes as the settings say.
  case on = 0
  /// No lane: a connection that is on one goes back to TCP.
  case off = 1
}

/// One connection in the statistics page: 128 bytes, two cache lines.
///
/// The first line says what the connection is. It changes seldom, and only between `beginUpdate` and
/// `endUpdate` of `StatsPage`, so that a reader can tell a torn copy by `sequence`. The second line is
/// the byte counts, which change with every call: each is one aligned word, written whole, and a
/// reader takes each for itself.
public struct ConnectionRow: Sendable {
  /// Even when the row is at rest, odd while it changes. Never goes back, so it also tells one use
  /// of the row from the next.
  public var sequence: UInt32 = 0
  /// 0 free, 1 in use.
  public var state: UInt32 = 0
  /// The application's descriptor.
  public var fd: Int32 = -1
  /// A `ConnectionRole`.
  public var role: UInt8 = 0
  /// A `ConnectionPath`.
  public var path: UInt8 = 0
  /// A `FabricKind`.
  public var fabric: UInt8 = 0
  /// A `DeclineReason`.
  public var reason: UInt8 = 0
  /// The own end's address, as `Endpoint.high`.
  public var localHigh: UInt64 = 0
  /// Its other half, as `Endpoint.low`.
  public var localLow: UInt64 = 0
  /// The other end's address, as `Endpoint.high`.
  public var peerHigh: UInt64 = 0
  /// Its other half, as `Endpoint.low`.
  public var peerLow: UInt64 = 0
  /// The own end's port, in host order.
  public var localPort: UInt16 = 0
  /// The other end's port, in host order.
  public var peerPort: UInt16 = 0
  /// The own end's family: 4, 6, or 0 for not known.
  public var localFamily: UInt8 = 0
  /// The other end's family: 4, 6, or 0 for not known.
  public var peerFamily: UInt8 = 0
  var reserved0: UInt16 = 0
  /// Bytes of one direction's ring, 0 without a lane.
  public var ringBytes: UInt32 = 0
  /// How often this connection moved onto a lane.
  public var attaches: UInt32 = 0

  /// Bytes that the application sent over TCP.
  public var kernelSent: UInt64 = 0
  /// Bytes that the application received over TCP.
  public var kernelReceived: UInt64 = 0
  /// Bytes that the application sent over lanes.
  public var laneSent: UInt64 = 0
  /// Bytes that the application received over lanes.
  public var laneReceived: UInt64 = 0
  /// When the connection was noted, in seconds since 1970, or 0.
  public var since: UInt64 = 0
  /// The next free row plus one, while this one is free.
  var nextFree: UInt32 = 0
  /// What an operator wants of this connection: an `OperatorWish`. Written from outside.
  public var wish: UInt32 = 0
  var reserved2: UInt64 = 0
  var reserved3: UInt64 = 0

  /// Where ``wish`` is, in bytes.
  public static let wishOffset = 108

  /// A row that nobody uses.
  public init() {}

  /// The connection's own end.
  public var local: Endpoint {
    get { ConnectionRow.endpoint(localHigh, localLow, localPort, localFamily) }
    set {
      localHigh = newValue.high
      localLow = newValue.low
      localPort = newValue.port
      localFamily = newValue.family
    }
  }

  /// The connection's other end.
  public var peer: Endpoint {
    get { ConnectionRow.endpoint(peerHigh, peerLow, peerPort, peerFamily) }
    set {
      peerHigh = newValue.high
      peerLow = newValue.low
      peerPort = newValue.port
      peerFamily = newValue.family
    }
  }

  private static func endpoint(
    _ high: UInt64, _ low: UInt64, _ port: UInt16, _ family: UInt8
  ) -> Endpoint {
    var result = Endpoint()
    result.high = high
    result.low = low
    result.port = port
    result.family = family
    return result
  }

  /// Whether every field has a value that a writer of this version can have put there. A reader in
  /// another process drops a row that fails: the page is that process' to fill as it likes.
  public var isPlausible: Bool {
    state == 1 && sequence & 1 == 0 && fd >= 0
      && ConnectionRole(rawValue: role) != nil && ConnectionPath(rawValue: path) != nil
      && FabricKind(rawValue: fabric) != nil && DeclineReason(rawValue: reason) != nil
      && ConnectionRow.isFamily(localFamily) && ConnectionRow.isFamily(peerFamily)
  }

  private static func isFamily(_ family: UInt8) -> Bool {
    family == 0 || family == 4 || family == 6
  }
}
