// An ordinary Swift program (classes, arrays, dictionaries, strings: everything that calls the Swift runtime) that
// serves and asks over TCP in one process. Under a library that exported its own Swift runtime it would crash.
// Usage: echo PORT

import Glibc

final class Peer {
  let descriptor: Int32
  init(_ descriptor: Int32) { self.descriptor = descriptor }
  deinit { close(descriptor) }

  func send(_ bytes: [UInt8]) {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress! + sent, bytes.count - sent) }
      guard count > 0 else { fatalError("write failed with errno \(errno)") }
      sent += count
    }
  }

  func receive(_ size: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: size)
    var got = 0
    while got < size {
      let count = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress! + got, size - got) }
      guard count > 0 else { fatalError("read returned \(count), errno \(errno)") }
      got += count
    }
    return bytes
  }
}

func address(_ port: UInt16) -> sockaddr_in {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
  return address
}

func withAddress(_ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
  var storage = address(port)
  return withUnsafePointer(to: &storage) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
  }
}

func serve(_ listener: Int32, rounds: Int) {
  let peer = Peer(accept(listener, nil, nil))
  for round in 0..<rounds {
    peer.send(peer.receive(size(of: round)).reversed())
  }
}

func size(of round: Int) -> Int { [1, 100, 4096, 50_000][round % 4] + round }

let rounds = 400
let port = UInt16(CommandLine.arguments[1])!
let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
guard withAddress(port, { bind(listener, $0, $1) }) == 0, listen(listener, 5) == 0 else { fatalError("cannot listen") }

var thread = pthread_t()
pthread_create(
  &thread, nil,
  { _ in
    serve(listener, rounds: rounds)
    return nil
  }, nil)

let peer = Peer(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
guard withAddress(port, { connect(peer.descriptor, $0, $1) }) == 0 else { fatalError("cannot connect") }
var seen: [Int: Int] = [:]
var generator = SystemRandomNumberGenerator()
for round in 0..<rounds {
  let sent = (0..<size(of: round)).map { _ in UInt8.random(in: 0...255, using: &generator) }
  peer.send(sent)
  guard peer.receive(sent.count) == sent.reversed() else { fatalError("round \(round) differs") }
  seen[sent.count, default: 0] += 1
}
pthread_join(thread, nil)
print("\(seen.values.reduce(0, +)) answers compared")
