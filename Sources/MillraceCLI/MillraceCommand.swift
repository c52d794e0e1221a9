import ArgumentParser

/// The `millrace` command: everything that a person does with the library from outside.
@main
struct MillraceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "millrace",
    abstract: "Lets TCP connections of unmodified programs ride shared-memory lanes.",
    discussion: "The man page millrace(1) describes the commands, the rules and the environment variables.",
    version: "millrace 0.1.0",
    subcommands: [RunCommand.self, ListCommand.self, OffCommand.self, OnCommand.self, ReasonsCommand.self])
}
