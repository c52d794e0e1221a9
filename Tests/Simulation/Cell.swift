/// One byte on its way, with what the simulation knows about it and the ends do not: which kind of thing it belongs to,
/// and for an application's byte its position in the whole stream.
struct Cell {
  enum Kind: UInt8 {
    case application
    case mark
    case learned
    case detach
  }

  let byte: UInt8
  let kind: Kind
  let position: UInt32
}

/// What goes wrong in a schedule.
struct Failure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) {
    self.description = description
  }
}
