/// Which fabric an attempt is for. Service thread only.
enum FabricChoice {
  /// MILLRACE_FABRICS gives the order. Shared memory is for a peer on this host and in this network namespace, which the kernel
  /// knows; both ends come to the same answer.
  static func first(for c: ConnectionRef) -> FabricKind {
    let settings = Configuration.settings
    if settings.secondFabric == .none { return settings.firstFabric }
    if settings.firstFabric == .shm { return Identity.isLocal(c) ? .shm : settings.secondFabric }
    return Verbs.open() == nil ? .verbs : Identity.isLocal(c) ? .shm : .none
  }
}
