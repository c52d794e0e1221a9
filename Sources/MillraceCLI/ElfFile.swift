/// What the headers of an executable or a library say about preloading. The file is not trusted: a header that leads
/// beyond it is taken for absent.
struct ElfFile {
  /// The class, the byte order and the machine, which must be the same in a program and what is preloaded into it.
  struct Architecture: Equatable {
    let elfClass: UInt8
    let byteOrder: UInt8
    let machine: UInt16
  }

  let architecture: Architecture
  /// The dynamic loader that the program asks for; nil without one: such a program is statically linked.
  private(set) var loader: String?
  /// Whether Go's linker left its note. Go programs make their system calls without libc, even where they have one.
  private(set) var isGo = false

  private static let magic: [UInt8] = [0x7f, 0x45, 0x4c, 0x46]
  private static let native = Architecture(elfClass: 2, byteOrder: 1, machine: 0)
  private static let headerBytes = 64
  private static let segmentBytes = 56
  private static let interpreterSegment: UInt32 = 3
  private static let noteSegment: UInt32 = 4

  /// Reads the headers; nil if the file is not ELF.
  init?(_ file: borrowing OpenFile) {
    let header = file.bytes(at: 0, count: ElfFile.headerBytes)
    guard header.count >= 20, header.starts(with: ElfFile.magic), let machine = header.number(UInt16.self, at: 18)
    else { return nil }
    architecture = Architecture(elfClass: header[4], byteOrder: header[5], machine: machine)
    // Only the form that the library itself has is read further; any other is foreign anyway.
    guard header[4] == ElfFile.native.elfClass, header[5] == ElfFile.native.byteOrder,
      let table = header.number(UInt64.self, at: 32), let size = header.number(UInt16.self, at: 54),
      let count = header.number(UInt16.self, at: 56), size >= ElfFile.segmentBytes, table < UInt64(Int32.max)
    else { return }
    for index in 0..<Int(count) {
      let segment = file.bytes(at: Int(table) + index * Int(size), count: ElfFile.segmentBytes)
      guard let type = segment.number(UInt32.self, at: 0), let offset = segment.number(UInt64.self, at: 8),
        let length = segment.number(UInt64.self, at: 32), offset < UInt64(Int32.max)
      else { return }
      // No loader's path and no notes are longer than this.
      let content = { [length] (file: borrowing OpenFile) in
        file.bytes(at: Int(offset), count: Int(min(length, 4096)))
      }
      if type == ElfFile.interpreterSegment {
        loader = String(decoding: content(file).prefix { $0 != 0 }, as: UTF8.self)
      } else if type == ElfFile.noteSegment {
        isGo = isGo || ElfFile.hasGoNote(content(file))
      }
    }
  }

  /// Whether one of the notes has the owner "Go".
  private static func hasGoNote(_ notes: [UInt8]) -> Bool {
    var offset = 0
    while let nameSize = notes.number(UInt32.self, at: offset), let size = notes.number(UInt32.self, at: offset + 4) {
      let name = offset + 12
      if nameSize == 4, name + 4 <= notes.count, notes[name..<name + 4].elementsEqual([0x47, 0x6f, 0, 0]) {
        return true
      }
      let aligned = (Int(nameSize) + 3) & ~3 + (Int(size) + 3) & ~3
      offset = name + aligned
    }
    return false
  }
}
