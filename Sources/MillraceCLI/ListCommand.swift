import ArgumentParser
import FoundationEssentials
import MillraceCore

/// `millrace ss`: the connections of all processes under Millrace, in the manner of ss(8).
struct ListCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "ss", abstract: "List connections and where their bytes travel.",
    discussion: """
      Shows the processes that the caller may look at: the caller's own, and for root every one. Connections that have \
      not yet had enough traffic for a lane are left out unless --all is given.
      """)

  @Flag(name: .shortAndLong, help: "Also list connections below the threshold, and counters that are 0.")
  var all = false

  @Flag(help: "Print one JSON object with everything.")
  var json = false

  @Option(name: .shortAndLong, help: ArgumentHelp("Only this process.", valueName: "pid"))
  var pid: Int32?

  @Flag(help: "Print the events and the decline reasons that each process counted, instead of its connections.")
  var counters = false

  func run() throws {
    let processes = StatsReader.all(pid: pid)
    if json {
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
      print(String(decoding: try encoder.encode(Listing(processes)), as: UTF8.self))
      return
    }
    if processes.isEmpty {
      complain("no process that runs under Millrace is to be seen")
      if pid != nil { throw ExitCode.failure }
    } else if counters {
      processes.forEach(printCounters)
    } else {
      printConnections(processes)
    }
  }

  // MARK: Connections

  private static let titles = [
    "PATH", "ROLE", "LOCAL", "PEER", "PROCESS", "FD", "TCP-SENT", "TCP-RECV", "LANE-SENT", "LANE-RECV", "WHY-NOT",
  ]
  /// The columns of numbers, which are set to the right.
  private static let numbers: ClosedRange<Int> = 5...9

  private func printConnections(_ processes: [ProcessStatistics]) {
    var lines = [ListCommand.titles]
    var hidden = 0
    for process in processes {
      for row in process.connections {
        if all || !row.isUndecided {
          lines.append(ListCommand.cells(row, of: process))
        } else {
          hidden += 1
        }
      }
    }
    let widths = ListCommand.titles.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
    for line in lines {
      let cells = line.enumerated().map { column, text in
        ListCommand.numbers.contains(column) ? paddedLeft(text, widths[column]) : padded(text, widths[column])
      }
      print(cells.joined(separator: "  ").trimmingTrailingSpaces)
    }
    if hidden > 0 { complain("\(hidden) connections below the threshold are left out; --all lists them") }
  }

  private static func cells(_ row: ConnectionRow, of process: ProcessStatistics) -> [String] {
    [
      row.pathText, row.roleText, row.local.text, row.peer.text, "\(process.name)(\(process.pid))", "\(row.fd)",
      "\(row.kernelSent)", "\(row.kernelReceived)", "\(row.laneSent)", "\(row.laneReceived)",
      row.declineReason == .none ? "-" : row.declineReason.name.description,
    ]
  }

  // MARK: Counters

  private func printCounters(_ process: ProcessStatistics) {
    print("\(process.name)(\(process.pid))")
    let events = Counter.allCases.map { ($0.name.description, process.counters[$0.rawValue]) }
    let reasons = DeclineReason.allCases.filter { $0 != .none }.map {
      ("decline " + $0.name.description, process.declines[Int($0.rawValue)])
    }
    for (name, value) in events + reasons where all || value > 0 {
      print("  \(padded(name, 32))\(paddedLeft("\(value)", 14))")
    }
  }
}

// What the bytes of a row mean; `StatsReader` only gives rows of which `isPlausible` is true.
extension ConnectionRow {
  var declineReason: DeclineReason { DeclineReason(rawValue: reason) ?? .none }

  /// Whether nothing has been decided because there has not been enough traffic.
  var isUndecided: Bool {
    path == ConnectionPath.kernel.rawValue && (declineReason == .none || declineReason == .belowThreshold)
  }

  var pathName: String {
    switch ConnectionPath(rawValue: path) {
    case .attaching: "attaching"
    case .lane: "lane"
    case .ended: "ended"
    case .kernel, nil: "kernel"
    }
  }

  var fabricName: String {
    switch FabricKind(rawValue: fabric) {
    case .shm: "shm"
    case .verbs: "verbs"
    case .some(.none), nil: "none"
    }
  }

  /// The path, and behind a lane its fabric.
  var pathText: String { path == ConnectionPath.lane.rawValue ? "lane \(fabricName)" : pathName }

  var roleText: String { role == ConnectionRole.accept.rawValue ? "accept" : "connect" }
}

extension String {
  fileprivate var trimmingTrailingSpaces: String {
    var text = self[...]
    while text.last == " " { text.removeLast() }
    return String(text)
  }
}
