import Foundation
import Testing

@testable import MillraceCore

/// A zeroed page that lives as long as this object.
private final class Page: @unchecked Sendable {
  let stats: StatsPage
  private let memory: UnsafeMutableRawPointer

  init() {
    memory = .allocate(byteCount: StatsPage.byteCount, alignment: 4096)
    memory.initializeMemory(as: UInt8.self, repeating: 0, count: StatsPage.byteCount)
    stats = StatsPage(memory)
    stats.initialize(pid: 1234, startTime: 5678)
  }

  deinit { memory.deallocate() }
}

/// Runs `body` in `count` threads at once and waits for all of them.
private func inThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
  DispatchQueue.concurrentPerform(iterations: count, execute: body)
}

@Suite struct StatsPageTests {
  @Test func layoutIsFixed() {
    #expect(MemoryLayout<ConnectionRow>.size == StatsPage.rowBytes)
    #expect(MemoryLayout<ConnectionRow>.stride == StatsPage.rowBytes)
    #expect(MemoryLayout<ConnectionRow>.offset(of: \.sequence) == 0)
    #expect(MemoryLayout<ConnectionRow>.offset(of: \.fd) == 8)
    #expect(MemoryLayout<ConnectionRow>.offset(of: \.reason) == 15)
    #expect(MemoryLayout<ConnectionRow>.offset(of: \.attaches) == 60)
    #expect(MemoryLayout<ConnectionRow>.offset(of: \.kernelSent) == 64, "the counts have a cache line of their own")
    #expect(StatsPage.Offset.declines + 8 * StatsPage.slotCount <= StatsPage.headerBytes)
    #expect(Counter.count == Counter.allCases.count && Counter.count <= StatsPage.slotCount)
    #expect(DeclineReason.count == DeclineReason.allCases.count && DeclineReason.count <= StatsPage.slotCount)
    // Released raw values keep their meaning: page and getsockopt show them.
    #expect(DeclineReason.noPeer.rawValue == 4 && DeclineReason.unaccountedIO.rawValue == 11)
    #expect(DeclineReason.hiddenLimit.rawValue == 29 && Counter.hostileMessages.rawValue == 24)
  }

  @Test func namesAreDistinct() {
    #expect(Set(DeclineReason.allCases.map { $0.name.description }).count == DeclineReason.count)
    #expect(Set(Counter.allCases.map { $0.name.description }).count == Counter.count)
    for reason in DeclineReason.allCases {
      #expect(reason.name.description.allSatisfy { $0 == "-" || $0.isLowercase })
      #expect(reason.explanation.description.hasSuffix("."))
    }
  }

  @Test func header() {
    let page = Page()
    let base = page.stats.base
    #expect(base.load(fromByteOffset: StatsPage.Offset.magic, as: UInt64.self) == StatsPage.magic)
    #expect(String(decoding: UnsafeRawBufferPointer(start: base, count: 8), as: UTF8.self) == "MILLRACE")
    #expect(base.load(fromByteOffset: StatsPage.Offset.pid, as: Int32.self) == 1234)
    #expect(base.load(fromByteOffset: StatsPage.Offset.startTime, as: UInt64.self) == 5678)
  }

  @Test func countersAreExactAmongThreads() {
    let page = Page()
    inThreads(4) { _ in
      for _ in 0..<10_000 {
        page.stats.count(.attaches)
        page.stats.decline(.noPeer)
      }
    }
    #expect(page.stats.value(.attaches) == 40_000)
    #expect(page.stats.value(.noPeer) == 40_000)
    page.stats.tick(.spinsWon)
    page.stats.tick(.spinsWon)
    #expect(page.stats.value(.spinsWon) == 2)
    #expect(page.stats.value(.attachAborts) == 0)
  }

  @Test func rowsAreClaimedAndReleased() throws {
    let page = Page()
    let stats = page.stats
    let first = stats.claimRow()
    let second = stats.claimRow()
    #expect(first == 0 && second == 1 && stats.highWater == 2)
    // A claimed row has no descriptor yet, and so nothing to show.
    #expect(stats.snapshot(first) == nil)
    stats.beginUpdate(first)
    stats.row(first).pointee.fd = 7
    stats.row(first).pointee.role = ConnectionRole.accept.rawValue
    stats.row(first).pointee.local = Endpoint(v4: 0x7f00_0001, port: 80)
    #expect(stats.snapshot(first) == nil, "a row that changes is not shown")
    stats.endUpdate(first)
    stats.row(first).pointee.laneSent = 99
    let row = try #require(stats.snapshot(first))
    #expect(row.fd == 7 && row.laneSent == 99 && row.local.text == "127.0.0.1:80" && row.peer.text == "*")
    stats.releaseRow(first)
    #expect(stats.snapshot(first) == nil)
    stats.releaseRow(first)
    stats.releaseRow(-1)
    #expect(stats.claimRow() == first, "the row last freed is warm")
    #expect(stats.claimRow() == 2)
    #expect(stats.row(first).pointee.laneSent == 0 && stats.row(first).pointee.fd == -1)
    #expect(stats.row(first).pointee.sequence > row.sequence)
  }

  @Test func aFullPageGivesNoRow() {
    let page = Page()
    for index in 0..<Int32(StatsPage.rowCount) { #expect(page.stats.claimRow() == index) }
    #expect(page.stats.claimRow() == -1)
    page.stats.releaseRow(17)
    #expect(page.stats.claimRow() == 17)
    #expect(page.stats.claimRow() == -1)
    #expect(page.stats.snapshot(-1) == nil && page.stats.snapshot(Int32(StatsPage.rowCount)) == nil)
  }

  @Test func oneRowHasOneOwner() {
    let page = Page()
    inThreads(4) { thread in
      for _ in 0..<5_000 {
        let index = page.stats.claimRow()
        let row = page.stats.row(index)
        if row.pointee.fd != -1 { Issue.record("row \(index) was given twice") }
        page.stats.beginUpdate(index)
        row.pointee.fd = Int32(thread)
        page.stats.endUpdate(index)
        if row.pointee.fd != Int32(thread) { Issue.record("row \(index) was given twice") }
        page.stats.releaseRow(index)
      }
    }
    #expect(page.stats.highWater <= 4)
  }

  @Test func aSnapshotIsNeverTorn() {
    let page = Page()
    let index = page.stats.claimRow()
    let last: Int32 = 20_000
    inThreads(2) { thread in
      if thread == 0 {
        for value in 1...last {
          page.stats.beginUpdate(index)
          let row = page.stats.row(index)
          row.pointee.fd = value
          row.pointee.localHigh = UInt64(value)
          row.pointee.peerLow = UInt64(value)
          row.pointee.attaches = UInt32(value)
          page.stats.endUpdate(index)
        }
        return
      }
      var seen: Int32 = 0
      while seen != last {
        guard let row = page.stats.snapshot(index) else { continue }
        let value = UInt64(row.fd)
        if row.localHigh != value || row.peerLow != value || UInt64(row.attaches) != value {
          Issue.record("torn: \(row)")
        }
        seen = row.fd
      }
    }
  }

  @Test func aRowThatChangesMeanwhileIsReadAgain() {
    let page = Page()
    let index = page.stats.claimRow()
    func update(_ fd: Int32) {
      page.stats.beginUpdate(index)
      page.stats.row(index).pointee.fd = fd
      page.stats.endUpdate(index)
    }
    update(1)
    var copies: Int32 = 0
    let row = page.stats.snapshot(index) {
      copies += 1
      if copies == 1 { update(2) }
    }
    #expect(row?.fd == 2 && copies == 2)
    #expect(page.stats.snapshot(index) { update(3) } == nil, "a row that never rests is given up")
  }

  @Test func implausibleRowsAreNotShown() {
    let page = Page()
    let index = page.stats.claimRow()
    let row = page.stats.row(index)
    row.pointee.fd = 3
    let spoilers: [(inout ConnectionRow) -> Void] = [
      { $0.state = 2 }, { $0.sequence |= 1 }, { $0.fd = -2 }, { $0.role = 2 }, { $0.path = 4 }, { $0.fabric = 3 },
      { $0.reason = UInt8(DeclineReason.count) }, { $0.localFamily = 5 }, { $0.peerFamily = 255 },
    ]
    let good = row.pointee
    #expect(page.stats.snapshot(index) != nil)
    for (number, spoil) in spoilers.enumerated() {
      spoil(&row.pointee)
      #expect(page.stats.snapshot(index) == nil, "spoiler \(number)")
      row.pointee = good
    }
  }

  @Test func randomPagesNeverTrap() {
    let page = Page()
    var generator = SeededGenerator(seed: 3)
    let bytes = UnsafeMutableRawBufferPointer(start: page.stats.base, count: StatsPage.headerBytes + 4096)
    for _ in 0..<200 {
      for index in bytes.indices { bytes[index] = UInt8.random(in: .min ... .max, using: &generator) }
      for index: Int32 in 0..<32 {
        if let row = page.stats.snapshot(index) { #expect(row.isPlausible) }
      }
      // A writer whose page somebody overwrote must not leave it either.
      let claimed = page.stats.claimRow()
      #expect(claimed >= -1 && claimed < StatsPage.rowCount)
    }
  }
}
