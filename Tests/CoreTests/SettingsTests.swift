import Foundation
import Testing

@testable import MillraceCore

/// The settings after one variable, or the place and text of its error.
private func apply(_ variable: Variable, _ value: String) -> (Settings, String?) {
  var settings = Settings.defaults
  let error = withBytes(value) { settings.apply(variable, value: $0) }
  return (settings, error.map { "\($0.variable.name):\($0.column): \($0.message)" })
}

@Suite struct SettingsTests {
  @Test func defaults() {
    let settings = Settings.defaults
    #expect(settings.enabled && settings.stats && settings.spinAuto)
    #expect(settings.firstFabric == .shm && settings.secondFabric == .none)
    #expect(settings.ringBytes == 262_144)
  }

  @Test func valuesAreTaken() {
    #expect(!apply(.enabled, "off").0.enabled)
    #expect(apply(.enabled, "on").0.enabled)
    #expect(!apply(.stats, "off").0.stats)
    #expect(apply(.attach, "0").0.attachCalls == 0)
    #expect(apply(.attach, "7").0.attachBytes == Settings.defaults.attachBytes)
    #expect(apply(.attach, "7,1M").0.attachCalls == 7)
    #expect(apply(.attach, "7,1M").0.attachBytes == 1 << 20)
    #expect(apply(.attach, "4294967295,18446744073709551615").0.attachBytes == .max)
    #expect(apply(.ring, "4096").0.ringBytes == 4096)
    #expect(apply(.ring, "1m").0.ringBytes == 1 << 20)
    #expect(apply(.ring, "64M").0.ringBytes == 64 << 20)
    #expect(!apply(.spin, "0").0.spinAuto)
    #expect(apply(.spin, "200").0.spinMicroseconds == 200)
    #expect(apply(.spin, "auto").0.spinAuto)
    #expect(apply(.log, "off").0.logLevel == .off)
    #expect(apply(.log, "error").0.logLevel == .error)
    #expect(apply(.log, "info").0.logLevel == .info)
    #expect(apply(.log, "debug").0.logLevel == .debug)
    #expect(apply(.fabrics, "verbs,shm").0.firstFabric == .verbs)
    #expect(apply(.fabrics, "verbs,shm").0.secondFabric == .shm)
    #expect(apply(.fabrics, "shm").0.secondFabric == .none)
  }

  @Test func emptyIsUnset() {
    for variable in Variable.allCases {
      #expect(apply(variable, "").1 == nil)
    }
  }

  @Test(arguments: [
    (Variable.enabled, "yes", "MILLRACE:1: expected on or off"),
    (.enabled, "offf", "MILLRACE:1: expected on or off"),
    (.stats, "of", "MILLRACE_STATS:1: expected on or off"),
    (.fabrics, "shm,", "MILLRACE_FABRICS:5: expected shm or verbs"),
    (.fabrics, "shm,shm", "MILLRACE_FABRICS:5: this fabric is named twice"),
    (.fabrics, "shmem", "MILLRACE_FABRICS:4: expected a comma or the end"),
    (.fabrics, "tcp", "MILLRACE_FABRICS:1: expected shm or verbs"),
    (.attach, "x", "MILLRACE_ATTACH:1: expected a number of calls"),
    (.attach, "-1", "MILLRACE_ATTACH:1: expected a number of calls"),
    (.attach, "4294967296", "MILLRACE_ATTACH:1: more calls than can be counted"),
    (.attach, "3,", "MILLRACE_ATTACH:3: expected a number of bytes"),
    (.attach, "3,18446744073709551615K", "MILLRACE_ATTACH:3: expected a number of bytes"),
    (.attach, "3 ", "MILLRACE_ATTACH:2: expected CALLS or CALLS,BYTES"),
    (.ring, "2K", "MILLRACE_RING:1: expected 4K to 64M"),
    (.ring, "128M", "MILLRACE_RING:1: expected 4K to 64M"),
    (.ring, "5000", "MILLRACE_RING:1: expected a power of two"),
    (.ring, "64G", "MILLRACE_RING:3: expected the end, K or M"),
    (.spin, "10001", "MILLRACE_SPIN:1: expected at most 10000 microseconds"),
    (.spin, "5us", "MILLRACE_SPIN:2: expected the end"),
    (.spin, "automatic", "MILLRACE_SPIN:1: expected microseconds or auto"),
    (.log, "warn", "MILLRACE_LOG:1: expected off, error, info or debug"),
    (.log, "infos", "MILLRACE_LOG:1: expected off, error, info or debug"),
  ])
  func errorsNameVariableAndColumn(variable: Variable, value: String, expected: String) {
    let (settings, error) = apply(variable, value)
    #expect(error == expected)
    // A value with an error changes nothing.
    let defaults = Settings.defaults
    #expect(settings.enabled == defaults.enabled && settings.stats == defaults.stats)
    #expect(settings.firstFabric == defaults.firstFabric && settings.secondFabric == defaults.secondFabric)
    #expect(settings.attachCalls == defaults.attachCalls && settings.attachBytes == defaults.attachBytes)
    #expect(settings.ringBytes == defaults.ringBytes && settings.spinAuto == defaults.spinAuto)
    #expect(settings.spinMicroseconds == defaults.spinMicroseconds && settings.logLevel == defaults.logLevel)
  }

  @Test func randomValuesNeverTrap() {
    let words = [
      "on", "off", "shm", "verbs", ",", "0", "16", "4096", "18446744073709551615", "K", "M", "auto", "error", "info",
      "debug", "-", " ",
    ]
    var generator = SeededGenerator(seed: 2)
    var accepted = 0
    for _ in 0..<20_000 {
      let value = generator.text(of: words, pieces: 4)
      var settings = Settings.defaults
      for variable in Variable.allCases {
        let error = value.withUnsafeBufferPointer { settings.apply(variable, value: $0) }
        if let error {
          #expect(error.variable == variable)
          #expect(error.column >= 1 && error.column <= value.count + 1, "\(value)")
        } else {
          accepted += 1
        }
      }
      let ring = UInt64(settings.ringBytes)
      #expect(Settings.ringRange.contains(ring) && ring.nonzeroBitCount == 1)
      #expect(UInt64(settings.spinMicroseconds) <= Settings.longestSpin)
    }
    #expect(accepted > 1000)
  }

  @Test(arguments: ["docs/millrace.1"]) func everyVariableIsDocumented(name: String) throws {
    let root = URL(fileURLWithPath: #filePath).appendingPathComponent("../../..").standardized
    let words = try String(contentsOf: root.appendingPathComponent(name), encoding: .utf8).split {
      !$0.isLetter && $0 != "_"
    }
    for variable in Variable.allCases {
      #expect(words.contains { $0 == variable.name.description }, "\(variable.name) is not in \(name)")
    }
  }

  @Test func namesAreTerminated() {
    // getenv reads them as C strings.
    for variable in Variable.allCases {
      #expect(variable.name.utf8Start[variable.name.utf8CodeUnitCount] == 0)
    }
    #expect(Variable.count == Variable.allCases.count)
  }
}
