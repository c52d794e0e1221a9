import Testing

@testable import MillraceCore

/// What parsing gave, in a form that compares.
private enum Parsed: Equatable, CustomStringConvertible {
  case rules(Int)
  case error(Int, Int, String)

  var description: String {
    switch self {
    case .rules(let count): "\(count) rules"
    case .error(let line, let column, let message): "\(line):\(column): \(message)"
    }
  }
}

private func parse(_ text: String, room: Int = Rules.capacity) -> Parsed {
  withRules(text, room: room) { outcome, _ in outcome }
}

private func withRules<Result>(_ text: String, room: Int = Rules.capacity, _ body: (Parsed, Rules) -> Result) -> Result
{
  let storage = UnsafeMutableBufferPointer<Rule>.allocate(capacity: room)
  defer { storage.deallocate() }
  switch withBytes(text, { RulesParser.parse($0, into: storage) }) {
  case .rules(let count):
    return body(.rules(count), Rules(UnsafeBufferPointer(rebasing: storage[..<count])))
  case .error(let line, let column, let message):
    return body(.error(line, column, message.description), Rules(UnsafeBufferPointer(rebasing: storage[..<0])))
  }
}

/// Whether `rules` allow a connection; the test fails if they do not parse.
private func allows(
  _ rules: String, program: String = "redis-server", role: ConnectionRole = .accept,
  local: Endpoint = Endpoint(v4: 0x7f00_0001, port: 6379), peer: Endpoint = Endpoint(v4: 0x0a01_0203, port: 40000)
) -> Bool {
  withRules(rules) { outcome, rules in
    if case .error = outcome { Issue.record("\(outcome)") }
    return withBytes(program) { rules.allows(program: $0, role: role, local: local, peer: peer) }
  }
}

@Suite struct RulesTests {
  @Test func emptyTextAllowsEverything() {
    for text in ["", "   ", "\n\n", ";;\t;", "# nothing", "# one\n  # two\r\n"] {
      #expect(parse(text) == .rules(0), "\(text)")
      #expect(allows(text))
    }
  }

  @Test func firstMatchWins() {
    let text = "deny role=connect port=5432; allow program=redis-server address=10.0.0.0/8 port=6000-6999; deny *"
    #expect(parse(text) == .rules(3))
    #expect(allows(text))
    #expect(!allows(text, program: "redis-serve"))
    #expect(!allows(text, peer: Endpoint(v4: 0x0b01_0203, port: 40000)))
    #expect(!allows(text, local: Endpoint(v4: 0x7f00_0001, port: 7000)))
    #expect(!allows("deny *; allow *"))
    #expect(allows("allow *; deny *"))
  }

  @Test func separatorsAndComments() {
    let text = "# all but ssh\nallow port=80 # the web\r\n\n;deny\tport=22;allow *#end"
    #expect(parse(text) == .rules(3))
    #expect(!allows(text, local: Endpoint(v4: 0x7f00_0001, port: 22)))
    #expect(allows(text, local: Endpoint(v4: 0x7f00_0001, port: 80)))
  }

  @Test func programs() {
    #expect(!allows("deny program=redis-server"))
    #expect(allows("deny program=redis"))
    #expect(!allows("deny program=redis*"))
    #expect(!allows("deny program=redis-server*"))
    #expect(!allows("deny program=*"))
    #expect(allows("deny program=redis-server2*"))
    #expect(allows("deny program=Redis-server"))
  }

  @Test func thePortIsTheServices() {
    let near = Endpoint(v4: 0x7f00_0001, port: 6379)
    let far = Endpoint(v4: 0x7f00_0001, port: 40000)
    #expect(!allows("deny port=6379", role: .accept, local: near, peer: far))
    #expect(!allows("deny port=6379", role: .connect, local: far, peer: near))
    #expect(allows("deny port=40000", role: .accept, local: near, peer: far))
    #expect(!allows("deny peer-port=40000", role: .accept, local: near, peer: far))
    #expect(!allows("deny local-port=40000", role: .connect, local: far, peer: near))
    #expect(allows("deny local-port=6379", role: .connect, local: far, peer: near))
    #expect(!allows("deny port=6379-6379", role: .accept, local: near, peer: far))
    #expect(!allows("deny port=0-65535", role: .accept, local: near, peer: far))
  }

  @Test func roles() {
    #expect(!allows("deny role=accept", role: .accept))
    #expect(allows("deny role=accept", role: .connect))
    #expect(!allows("deny role=connect", role: .connect))
  }

  @Test func addresses() {
    let v6 = Endpoint(v6High: 0x2001_0db8_0000_0000, low: 1, port: 40000)
    #expect(!allows("deny address=2001:db8::/32", peer: v6))
    #expect(allows("deny address=2001:db9::/32", peer: v6))
    #expect(!allows("deny address=2001:db8::1", peer: v6))
    #expect(allows("deny address=0.0.0.0/0", peer: v6))
    #expect(!allows("deny address=::/0", peer: v6))
    #expect(allows("deny address=::/0"))
    #expect(!allows("deny local-address=127.0.0.0/8"))
    #expect(allows("deny local-address=10.0.0.0/8"))
    // A dual-stack socket's IPv4 peer is an IPv4 peer, however the rule or the socket spells it.
    let mapped = Endpoint(v6High: 0, low: 0x0000_ffff_0a01_0203, port: 40000)
    #expect(!allows("deny address=10.0.0.0/8", peer: mapped))
    #expect(!allows("deny address=::ffff:10.1.2.3", peer: mapped))
    #expect(!allows("deny address=::ffff:10.0.0.0/104"))
    #expect(allows("deny address=::ffff:11.0.0.0/104"))
  }

  @Test(arguments: [
    ("den *", 1, 1, "expected allow or deny"),
    ("deny", 1, 5, "expected * or a condition (KEY=VALUE)"),
    ("deny ; allow *", 1, 6, "expected * or a condition (KEY=VALUE)"),
    ("denyport=3", 1, 1, "expected allow or deny"),
    ("deny *x", 1, 6, "expected * or a condition (KEY=VALUE)"),
    ("deny * port=1", 1, 8, "nothing may follow *"),
    ("deny port=1 *", 1, 13, "expected * or a condition (KEY=VALUE)"),
    ("allow *\n# two\n  deny prt=1", 3, 8, "expected * or a condition (KEY=VALUE)"),
    ("allow *;deny port=65536", 1, 19, "expected a port (0 to 65535)"),
    ("deny port=", 1, 11, "expected a port (0 to 65535)"),
    ("deny port=5-", 1, 13, "expected a port (0 to 65535)"),
    ("deny port=5-4", 1, 13, "this range ends before it starts"),
    ("deny port=5x", 1, 12, "unexpected character in this value"),
    ("deny port=99999999999999999999999", 1, 11, "expected a port (0 to 65535)"),
    ("deny port=1 port=2", 1, 13, "this condition is given twice"),
    ("deny role=listen", 1, 11, "expected connect or accept"),
    ("deny role=connects", 1, 11, "expected connect or accept"),
    ("deny address=1.2.3", 1, 14, "expected an IPv4 or IPv6 address"),
    ("deny address=1.2.3.256", 1, 14, "expected an IPv4 or IPv6 address"),
    ("deny address=01.2.3.4", 1, 14, "expected an IPv4 or IPv6 address"),
    ("deny address=1.2.3.4/33", 1, 22, "expected 0 to 32 bits"),
    ("deny address=::/129", 1, 17, "expected 0 to 128 bits"),
    ("deny address=::1::", 1, 14, "expected an IPv4 or IPv6 address"),
    ("deny program=", 1, 14, "expected a program's name"),
    ("deny program=a*b", 1, 16, "unexpected character in this value"),
    ("deny program=/bin/sh", 1, 14, "a program is named without its directory"),
    ("\u{7f}", 1, 1, "expected allow or deny"),
    ("ALLOW *", 1, 1, "expected allow or deny"),
  ])
  func errorsNameTheirPlace(text: String, line: Int, column: Int, message: String) {
    #expect(parse(text) == .error(line, column, message))
  }

  @Test func capacities() {
    let longest = String(repeating: "a", count: ProgramPattern.capacity)
    #expect(!allows("deny program=\(longest)", program: longest))
    #expect(!allows("deny program=\(longest)*", program: longest + "bc"))
    #expect(
      parse("deny program=\(longest)a") == .error(1, 14, "a program's name has at most 64 bytes; end it with *"))
    #expect(parse("deny *;deny *\ndeny *", room: 3) == .rules(3))
    #expect(parse("deny *;deny *\n deny *", room: 2) == .error(2, 2, "too many rules"))
    #expect(parse("deny *", room: 0) == .error(1, 1, "too many rules"))
  }

  @Test func randomTextNeverTraps() {
    let words = [
      "allow", "deny", " ", " ", "*", ";", "\n", "#", "program=", "role=", "address=", "local-address=", "port=",
      "local-port=", "peer-port=", "connect", "accept", "redis", "1.2.3.4", "::1", "2001:db8::", ":", "/", "-", "8",
      "65535", "18446744073709551616", "ffff",
    ]
    var generator = SeededGenerator(seed: 1)
    var parsed = 0
    let storage = UnsafeMutableBufferPointer<Rule>.allocate(capacity: 4)
    defer { storage.deallocate() }
    for _ in 0..<20_000 {
      let text = generator.text(of: words, pieces: 12)
      let outcome = text.withUnsafeBufferPointer { RulesParser.parse($0, into: storage) }
      switch outcome {
      case .rules(let count):
        parsed += 1
        #expect(count <= 4)
      case .error(let line, let column, _):
        let lines = text.split(separator: 0x0a, omittingEmptySubsequences: false)
        guard line >= 1, line <= lines.count else {
          Issue.record("line \(line) of \(text)")
          return
        }
        #expect(column >= 1 && column <= lines[line - 1].count + 1, "\(text)")
      }
    }
    #expect(parsed > 100, "the random text must reach the whole grammar")
  }
}
