// swift-tools-version: 6.1
import PackageDescription

/// Settings of the preloaded library: Embedded Swift, so that it needs nothing but libc at load.
let embedded: [SwiftSetting] = [
  .enableExperimentalFeature("Embedded"),
  .enableExperimentalFeature("Extern"),
  .unsafeFlags([
    // A failed precondition prints where it happened and aborts, instead of a bare SIGILL.
    "-Xfrontend", "-trap-function", "-Xfrontend", "shim_trap",
    // Embedded Swift has no dynamic check of exclusive access, and still calls an empty function at each. The tests, in
    // ordinary Swift, do check.
    "-enforce-exclusivity=unchecked",
  ]),
]

/// The version script keeps everything but the interposed names local. Without it the library would export its own
/// swift_retain and crash every ordinary Swift program that it is preloaded into.
let preloadLinking: [LinkerSetting] = [
  .unsafeFlags([
    "-Xlinker", "--version-script=shim/exports.map",
    "-Xlinker", "-z", "-Xlinker", "nodelete",
    "-Xlinker", "-z", "-Xlinker", "now",
    "-Xlinker", "-z", "-Xlinker", "relro",
  ])
]

/// The interposer: hidden but for what it marks, and without the fortified twins of the calls that it defines.
let shimSettings: [CSetting] = [
  .define("_GNU_SOURCE"),
  .unsafeFlags([
    "-fvisibility=hidden", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-ftls-model=initial-exec",
    // Debian 12's valgrind gives up on DWARF 5.
    "-gdwarf-4",
    // An entry for a descriptor that is left alone is a look at the table and a jump.
    "-momit-leaf-frame-pointer",
  ]),
]

let package = Package(
  name: "Millrace",
  products: [
    .library(name: "Millrace", type: .dynamic, targets: ["Millrace", "MillraceShim"]),
    .executable(name: "millrace", targets: ["MillraceCLI"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0")
  ],
  targets: [
    // System headers, and small inline helpers for what Swift cannot import (variadics, errno, CMSG macros).
    .target(name: "CLinux"),
    // The interposer. C only, no policy; never linked by tests or the CLI, or it would interpose inside them.
    .target(name: "MillraceShim", path: "shim", cSettings: shimSettings),
    // Everything that is a decision and not I/O, in ordinary Swift for the tests and the CLI. The preloaded library
    // compiles the same files through the symbolic link Sources/Millrace/Core.
    .target(name: "MillraceCore"),
    .target(
      name: "Millrace", dependencies: ["CLinux", "MillraceShim"],
      swiftSettings: embedded, linkerSettings: preloadLinking),
    .executableTarget(
      name: "MillraceCLI",
      dependencies: [
        "MillraceCore", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      // The command is installed where there may be no Swift. Foundation's own parts have to be named.
      linkerSettings: [.unsafeFlags(["-static-stdlib", "-l_FoundationCShims", "-l_FoundationCollections"])]),
    .testTarget(name: "CoreTests", dependencies: ["MillraceCore"]),
    .testTarget(
      name: "SimulationTests", dependencies: ["MillraceCore"], path: "Tests/Simulation", exclude: ["README.md"],
      // A hundred thousand schedules in a debug build's test run.
      swiftSettings: [.unsafeFlags(["-O"])]),
  ]
)
