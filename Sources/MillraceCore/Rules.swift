/// A range of ports, both ends included.
public struct PortRange: Equatable, Sendable {
  /// The lowest port.
  public var first: UInt16
  /// The highest port.
  public var last: UInt16

  /// Every port: what a rule has that does not name one.
  public static var any: PortRange { PortRange(first: 0, last: .max) }

  /// Whether `port`, in host order, is in the range.
  @inline(__always)
  public func contains(_ port: UInt16) -> Bool { first <= port && port <= last }
}

/// Addresses with a common prefix.
public struct AddressPrefix: Equatable, Sendable {
  /// The address; `family` 0 means that every address of every family is meant.
  public var address: Endpoint
  /// How many leading bits count: 0 ... 32 or 0 ... 128, by the address' family.
  public var bits: UInt8

  /// Every address: what a rule has that does not name one.
  public static var any: AddressPrefix { AddressPrefix(address: Endpoint(), bits: 0) }

  /// Whether the endpoint's address, taken as IPv4 if it is v4-mapped, has the prefix.
  @inline(__always)
  public func contains(_ endpoint: Endpoint) -> Bool {
    address.family == 0 || endpoint.normalised.sharesPrefix(bits, with: address)
  }
}

/// A program's name, or the beginning of one.
public struct ProgramPattern: Sendable {
  /// The longest name or beginning that a rule can hold, in bytes.
  public static let capacity = 64

  var text: InlineArray<64, UInt8>
  var count: UInt8
  /// Whether more may follow: the pattern ended with `*`.
  var isPrefix: Bool

  /// Every program: what a rule has that does not name one.
  public static var any: ProgramPattern {
    ProgramPattern(text: InlineArray(repeating: 0), count: 0, isPrefix: true)
  }

  /// Whether `program`, a name without directory, is meant.
  public func matches(_ program: UnsafeBufferPointer<UInt8>) -> Bool {
    let count = Int(count)
    guard isPrefix ? program.count >= count : program.count == count else { return false }
    for i in 0..<count where program[i] != text[i] { return false }
    return true
  }
}

/// One rule: whether the connections that meet all its conditions may have a lane.
public struct Rule: Sendable {
  /// What the rule says of them.
  public var allows: Bool
  /// The program's name.
  public var program: ProgramPattern
  /// Nil for both roles.
  public var role: ConnectionRole?
  /// The other end's address.
  public var address: AddressPrefix
  /// The own end's address.
  public var localAddress: AddressPrefix
  /// The port of the service: of the end that accepted, whichever end this process is.
  public var port: PortRange
  /// The own end's port.
  public var localPort: PortRange
  /// The other end's port.
  public var peerPort: PortRange

  /// A rule without conditions.
  public init(allows: Bool) {
    self.allows = allows
    program = .any
    role = nil
    address = .any
    localAddress = .any
    port = .any
    localPort = .any
    peerPort = .any
  }

  /// Whether a connection meets every condition.
  public func matches(
    program name: UnsafeBufferPointer<UInt8>, role connection: ConnectionRole,
    local: Endpoint, peer: Endpoint
  ) -> Bool {
    let service = connection == .accept ? local.port : peer.port
    return (role == nil || role == connection)
      && port.contains(service) && localPort.contains(local.port) && peerPort.contains(peer.port)
      && address.contains(peer) && localAddress.contains(local) && program.matches(name)
  }
}

/// The rules of a process, in order.
public struct Rules {
  /// The most rules that a process can have: room that the caller provides to `RulesParser`.
  public static let capacity = 256

  /// The rules; the memory is the caller's.
  public var rules: UnsafeBufferPointer<Rule>

  /// The rules that `RulesParser.parse` put in front of the caller's memory.
  public init(_ rules: UnsafeBufferPointer<Rule>) { self.rules = rules }

  /// Whether a connection may have a lane: what the first rule that matches says, else yes.
  /// `program` is the last component of the name that the process was started by.
  public func allows(
    program: UnsafeBufferPointer<UInt8>, role: ConnectionRole, local: Endpoint, peer: Endpoint
  ) -> Bool {
    for i in 0..<rules.count {
      let rule = rules.baseAddress.unsafelyUnwrapped + i
      if rule.pointee.matches(program: program, role: role, local: local, peer: peer) {
        return rule.pointee.allows
      }
    }
    return true
  }
}
