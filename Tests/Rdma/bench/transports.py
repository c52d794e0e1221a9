"""The ways that bytes can go between two programs of the benchmark, each an environment that both ends get."""

import os
import pathlib
import shutil
import tempfile

import fabric
import smc

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent.parent
PROGRAMS = ROOT / "build" / "rdma" / "bench"
DEBIAN_RSOCKET = "/usr/lib/x86_64-linux-gnu/rsocket/librspreload.so"
TCP, RSOCKET, SMC, MILLRACE = "tcp", "rsocket", "smc", "millrace"
ALL = (TCP, RSOCKET, SMC, MILLRACE)


def local_copy(library):
    """In the machine's memory, so that no program waits for the host's file."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="preload-"))
    folder.chmod(0o755)
    return shutil.copy(library, folder)


def rsocket(spin):
    if not spin:
        pathlib.Path("/etc/rdma/rsocket").mkdir(parents=True, exist_ok=True)
        pathlib.Path("/etc/rdma/rsocket/polling_time").write_text("0\n")
    return {"LD_PRELOAD": local_copy(os.environ.get("RSPRELOAD") or DEBIAN_RSOCKET)}


def smc_r():
    smc.set_up([("v0", "rxe0"), ("v1", "rxe1")])
    return {"LD_PRELOAD": local_copy(PROGRAMS / "smc_preload.so")}


def millrace(spin):
    chosen = {name: value for name, value in os.environ.items() if name.startswith("MILLRACE")}
    ours = {"LD_PRELOAD": local_copy(ROOT / "build" / "libmillrace.so"), "MILLRACE_FABRICS": "verbs"}
    # The fabric module is loaded from beside the library.
    for module in (ROOT / "build").glob("libmillrace-*.so"):
        shutil.copy(module, pathlib.Path(ours["LD_PRELOAD"]).parent)
    return ours | ({} if spin else {"MILLRACE_SPIN": "0"}) | chosen


def environment(transport, spin=True):
    return {TCP: dict, RSOCKET: lambda: rsocket(spin), SMC: smc_r, MILLRACE: lambda: millrace(spin)}[transport]()


def used(transport, sent, answer):
    """Whether what was to carry the bytes did: RDMA packets, for all but TCP. Where they were counted per message, SMC-R and
    others that exchange some when they connect and then fall back do not pass."""
    if transport == MILLRACE and not answer.get("lane", 1):
        return False
    return transport == TCP or (answer["packets"] > 0.01 if "packets" in answer else sent > 20)


def packets():
    return fabric.packets("rxe0")[0] + fabric.packets("rxe1")[0]
