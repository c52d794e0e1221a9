/// Reads the text of MILLRACE_RULES or of the file of MILLRACE_RULES_FILE.
///
///     rules     = [rule] { (";" | newline) [rule] }
///     rule      = ("allow" | "deny") ("*" | condition { condition })
///     condition = "program=" NAME ["*"]
///               | "role=" ("connect" | "accept")
///               | ("address=" | "local-address=") ADDRESS ["/" BITS]
///               | ("port=" | "local-port=" | "peer-port=") PORT ["-" PORT]
///
/// Words are separated by spaces or tabs; `#` starts a comment that ends with the line. NAME is any
/// characters but white space, `;`, `#` and `*`.
public struct RulesParser {
  /// What parsing gave: how many rules, or the first error, counted in lines and bytes from 1.
  public enum Outcome: Sendable {
    case rules(Int)
    case error(line: Int, column: Int, message: StaticString)
  }

  private var scanner: Scanner
  private let storage: UnsafeMutableBufferPointer<Rule>
  private var count = 0
  private var line = 1
  private var lineStart = 0

  /// Parses `bytes` into the front of `storage`, whose memory need not be initialised. On an error
  /// nothing in `storage` may be used.
  public static func parse(
    _ bytes: UnsafeBufferPointer<UInt8>, into storage: UnsafeMutableBufferPointer<Rule>
  ) -> Outcome {
    var parser = RulesParser(scanner: Scanner(bytes), storage: storage)
    if let message = parser.run() {
      return .error(
        line: parser.line, column: parser.scanner.position - parser.lineStart + 1,
        message: message)
    }
    return .rules(parser.count)
  }

  private init(scanner: Scanner, storage: UnsafeMutableBufferPointer<Rule>) {
    self.scanner = scanner
    self.storage = storage
  }

  /// Reads everything; gives what is wrong, with the scanner where it is wrong.
  private mutating func run() -> StaticString? {
    while true {
      skipSeparators()
      if scanner.isAtEnd { return nil }
      if count == storage.count { return "too many rules" }
      var rule: Rule
      if keyword("allow") {
        rule = Rule(allows: true)
      } else if keyword("deny") {
        rule = Rule(allows: false)
      } else {
        return "expected allow or deny"
      }
      if let message = conditions(of: &rule) { return message }
      (storage.baseAddress.unsafelyUnwrapped + count).initialize(to: rule)
      count += 1
    }
  }

  /// Moves to the next rule, over blanks, separators and comments.
  private mutating func skipSeparators() {
    while let byte = scanner.next {
      if byte == 0x23 {  // #
        skipComment()
      } else if byte == 0x0a || byte == 0x3b || RulesParser.isBlank(byte) {  // newline, ;
        scanner.position += 1
        if byte == 0x0a {
          line += 1
          lineStart = scanner.position
        }
      } else {
        return
      }
    }
  }

  private mutating func skipComment() {
    while let byte = scanner.next, byte != 0x0a { scanner.position += 1 }
  }

  private mutating func skipBlanks() {
    while let byte = scanner.next, RulesParser.isBlank(byte) { scanner.position += 1 }
  }

  private static func isBlank(_ byte: UInt8) -> Bool {
    byte == 0x20 || byte == 0x09 || byte == 0x0d  // space, tab, and the return of a DOS line end
  }

  /// Whether a word ends here.
  private var isAtWordEnd: Bool {
    guard let byte = scanner.next else { return true }
    return RulesParser.isBlank(byte) || isRuleEnd(byte)
  }

  private func isRuleEnd(_ byte: UInt8) -> Bool {
    byte == 0x0a || byte == 0x3b || byte == 0x23  // newline, ;, #
  }

  /// Takes a whole word.
  private mutating func keyword(_ word: StaticString) -> Bool {
    let start = scanner.position
    if scanner.word(word) && isAtWordEnd { return true }
    scanner.position = start
    return false
  }

  // MARK: Conditions

  /// A bit per condition, to notice one that is given twice.
  private enum Key: UInt8 {
    case program = 0x01
    case role = 0x02
    case address = 0x04
    case localAddress = 0x08
    case port = 0x10
    case localPort = 0x20
    case peerPort = 0x40
  }

  private mutating func conditions(of rule: inout Rule) -> StaticString? {
    var seen: UInt8 = 0
    skipBlanks()
    if keyword("*") {
      skipBlanks()
      if let byte = scanner.next, !isRuleEnd(byte) { return "nothing may follow *" }
      return nil
    }
    repeat {
      let start = scanner.position
      guard let key = key() else { return "expected * or a condition (KEY=VALUE)" }
      if seen & key.rawValue != 0 {
        scanner.position = start
        return "this condition is given twice"
      }
      seen |= key.rawValue
      if let message = value(of: key, in: &rule) { return message }
      if !isAtWordEnd { return "unexpected character in this value" }
      skipBlanks()
    } while scanner.next.map { !isRuleEnd($0) } ?? false
    return nil
  }

  private mutating func key() -> Key? {
    if scanner.word("program=") { return .program }
    if scanner.word("role=") { return .role }
    if scanner.word("address=") { return .address }
    if scanner.word("local-address=") { return .localAddress }
    if scanner.word("port=") { return .port }
    if scanner.word("local-port=") { return .localPort }
    if scanner.word("peer-port=") { return .peerPort }
    return nil
  }

  private mutating func value(of key: Key, in rule: inout Rule) -> StaticString? {
    switch key {
    case .program: program(&rule.program)
    case .role: role(&rule.role)
    case .address: scanner.prefix(&rule.address)
    case .localAddress: scanner.prefix(&rule.localAddress)
    case .port: ports(&rule.port)
    case .localPort: ports(&rule.localPort)
    case .peerPort: ports(&rule.peerPort)
    }
  }

  private mutating func program(_ result: inout ProgramPattern) -> StaticString? {
    let start = scanner.position
    result.isPrefix = false
    while !isAtWordEnd, let byte = scanner.next, byte != 0x2a {
      if byte == 0x2f { return "a program is named without its directory" }
      if result.count == ProgramPattern.capacity {
        scanner.position = start
        return "a program's name has at most 64 bytes; end it with *"
      }
      result.text[Int(result.count)] = byte
      result.count += 1
      scanner.position += 1
    }
    if scanner.take(0x2a) { result.isPrefix = true }
    return scanner.position == start ? "expected a program's name" : nil
  }

  private mutating func role(_ result: inout ConnectionRole?) -> StaticString? {
    if keyword("connect") {
      result = .connect
    } else if keyword("accept") {
      result = .accept
    } else {
      return "expected connect or accept"
    }
    return nil
  }

  private mutating func ports(_ result: inout PortRange) -> StaticString? {
    guard let first = port() else { return "expected a port (0 to 65535)" }
    result = PortRange(first: first, last: first)
    if scanner.take(0x2d) {
      let start = scanner.position
      guard let last = port() else { return "expected a port (0 to 65535)" }
      if last < first {
        scanner.position = start
        return "this range ends before it starts"
      }
      result.last = last
    }
    return nil
  }

  private mutating func port() -> UInt16? {
    let start = scanner.position
    guard let number = scanner.number(), number <= 65535 else {
      scanner.position = start
      return nil
    }
    return UInt16(number)
  }
}
