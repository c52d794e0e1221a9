import ArgumentParser
import MillraceCore

/// `millrace reasons`: what the names in the last column of `millrace ss` mean.
struct ReasonsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reasons", abstract: "List the reasons for which a connection has no lane.")

  func run() {
    let width = DeclineReason.allCases.map { $0.name.utf8CodeUnitCount }.max() ?? 0
    for reason in DeclineReason.allCases where reason != .none {
      print("\(padded(reason.name.description, width))  \(reason.explanation)")
    }
  }
}
