import Glibc
import MillraceCore

/// A sentence for standard error, and the end of the command.
struct CommandError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }

  /// With what the kernel said: call it before anything else can change `errno`.
  static func system(_ what: String) -> CommandError {
    CommandError("\(what): \(String(cString: strerror(errno)))")
  }
}

/// `text` and spaces up to `width` characters.
func padded(_ text: String, _ width: Int) -> String {
  text + String(repeating: " ", count: max(0, width - text.count))
}

/// Spaces up to `width` characters, then `text`.
func paddedLeft(_ text: String, _ width: Int) -> String {
  String(repeating: " ", count: max(0, width - text.count)) + text
}

/// Writes one line to standard error.
func complain(_ line: String) {
  let text = Array("millrace: \(line)\n".utf8)
  // Nothing can be done about a standard error that takes nothing.
  _ = write(STDERR_FILENO, text, text.count)
}

/// Text from another process with everything that a terminal could obey replaced.
func printable(_ text: String) -> String {
  String(
    String.UnicodeScalarView(
      text.unicodeScalars.map { scalar in
        let isControl = scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
        return isControl ? "?" : scalar
      }))
}

extension Endpoint {
  /// `a.b.c.d:port`, `[v6]:port`, or `*`.
  var text: String {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: Endpoint.textCapacity) { buffer in
      let count = write(into: buffer)
      return String(decoding: buffer[..<count], as: UTF8.self)
    }
  }
}
