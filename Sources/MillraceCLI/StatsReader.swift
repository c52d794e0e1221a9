import Glibc
import MillraceCore

/// A copy of one process' statistics page.
struct ProcessStatistics {
  let pid: Int32
  /// The command name of the process, safe to print.
  let name: String
  /// By `Counter.rawValue`.
  let counters: [UInt64]
  /// By `DeclineReason.rawValue`.
  let declines: [UInt64]
  let connections: [ConnectionRow]
  /// Where each connection's row is in the page.
  let rows: [Int]
  /// The page itself, through the process' descriptor.
  let path: String
}

/// Finds and reads the statistics pages of other processes.
///
/// A page is its process' to fill as it likes. It is therefore read and not mapped (a page that shrinks under a mapping
/// would kill the reader), and every value is checked after it has been copied.
enum StatsReader {
  private static let linkTarget = "/memfd:\(StatsPage.name) (deleted)"
  /// How often a row that changes while it is read is read again.
  private static let attempts = 8

  /// The pages of all processes that the caller may look at, by pid; only that of `pid` if it is given.
  static func all(pid: Int32?) -> [ProcessStatistics] {
    if let pid { return statistics(of: pid).map { [$0] } ?? [] }
    return entries("/proc").compactMap { Int32($0) }.sorted().compactMap { statistics(of: $0) }
  }

  /// The page of one process; nil if it has none, or is not the caller's to look at.
  private static func statistics(of pid: Int32) -> ProcessStatistics? {
    let directory = "/proc/\(pid)/fd"
    for descriptor in entries(directory) where OpenFile.link("\(directory)/\(descriptor)") == linkTarget {
      guard let file = OpenFile("\(directory)/\(descriptor)"),
        let page = read(file, at: "\(directory)/\(descriptor)", pid: pid)
      else { continue }
      return page
    }
    return nil
  }

  private static func entries(_ path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names
  }

  /// Reads a page; nil if it is not one of this version, or not the process' own.
  private static func read(_ file: borrowing OpenFile, at path: String, pid: Int32) -> ProcessStatistics? {
    guard let status = file.status, status.st_mode & S_IFMT == S_IFREG else { return nil }
    let header = file.bytes(at: 0, count: StatsPage.headerBytes)
    guard header.count == StatsPage.headerBytes,
      header.number(UInt64.self, at: StatsPage.Offset.magic) == StatsPage.magic,
      header.number(UInt32.self, at: StatsPage.Offset.version) == StatsPage.version,
      header.number(UInt32.self, at: StatsPage.Offset.rowCount) == UInt32(StatsPage.rowCount),
      header.number(UInt64.self, at: StatsPage.Offset.byteCount) == UInt64(StatsPage.byteCount),
      let highWater = header.number(UInt32.self, at: StatsPage.Offset.highWater),
      let owner = header.number(Int32.self, at: StatsPage.Offset.pid),
      let startTime = header.number(UInt64.self, at: StatsPage.Offset.startTime),
      isOwn(pid: pid, owner: owner, startTime: startTime)
    else { return nil }
    let slots = { (offset: Int, count: Int) in
      (0..<count).map { header.number(UInt64.self, at: offset + 8 * $0) ?? 0 }
    }
    var connections: [ConnectionRow] = []
    var rows: [Int] = []
    for index in 0..<min(Int(highWater), StatsPage.rowCount) {
      guard let row = row(index, in: file) else { continue }
      connections.append(row)
      rows.append(index)
    }
    return ProcessStatistics(
      pid: pid, name: commandName(pid), counters: slots(StatsPage.Offset.counters, Counter.count),
      declines: slots(StatsPage.Offset.declines, DeclineReason.count), connections: connections, rows: rows, path: path)
  }

  /// Whether the page belongs to the process itself, and not to the one that it was forked from, whose page its
  /// descriptor shows until it closes it. `owner` is the pid as the owner knows it: that of the innermost namespace.
  private static func isOwn(pid: Int32, owner: Int32, startTime: UInt64) -> Bool {
    guard let text = OpenFile.contents("/proc/\(pid)/status", limit: 1 << 16) else { return false }
    let lines = String(decoding: text, as: UTF8.self).split(separator: "\n")
    guard let pids = lines.first(where: { $0.hasPrefix("NSpid:") }),
      let inner = pids.split(whereSeparator: \.isWhitespace).last
    else { return false }
    return Int32(inner) == owner && (startTime == 0 || startTime == self.startTime(of: pid))
  }

  /// When a process started, in clock ticks: field 22 of its stat file, counted behind the name, which may itself hold
  /// spaces and parentheses.
  private static func startTime(of pid: Int32) -> UInt64? {
    guard let text = OpenFile.contents("/proc/\(pid)/stat", limit: 4096), let name = text.lastIndex(of: 0x29) else {
      return nil
    }
    let fields = String(decoding: text[(name + 1)...], as: UTF8.self).split(separator: " ")
    return fields.count > 19 ? UInt64(fields[19]) : nil
  }

  private static func commandName(_ pid: Int32) -> String {
    let text = OpenFile.contents("/proc/\(pid)/comm", limit: 64) ?? []
    return printable(String(decoding: text.prefix { $0 != 0x0a }, as: UTF8.self))
  }

  /// A whole copy of one row, by the rule of `StatsPage.snapshot`; nil if the row is free or makes no sense.
  private static func row(_ index: Int, in file: borrowing OpenFile) -> ConnectionRow? {
    let offset = StatsPage.headerBytes + index * StatsPage.rowBytes
    for _ in 0..<attempts {
      let before = file.bytes(at: offset, count: 4).number(UInt32.self, at: 0)
      let bytes = file.bytes(at: offset, count: StatsPage.rowBytes)
      let after = file.bytes(at: offset, count: 4).number(UInt32.self, at: 0)
      guard let before, let after, bytes.count == MemoryLayout<ConnectionRow>.size else { return nil }
      let row = bytes.withUnsafeBytes { $0.loadUnaligned(as: ConnectionRow.self) }
      if before & 1 == 0 && before == after && row.sequence == before { return row.isPlausible ? row : nil }
    }
    return nil
  }
}
