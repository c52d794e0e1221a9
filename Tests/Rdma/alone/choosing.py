#!/usr/bin/python3
# rdma: limit=90
"""Which fabric a connection gets: shared memory on one host; and where there can be no verbs lane, TCP, by the name of what is missing,
with every byte as ever."""

import pathlib
import shutil

import fabric
from streams import LIBRARY, PROGRAM, Streams

MAP = {"MILLRACE_MAP": f"127.0.0.1={fabric.LOOP_ADDRESS}"}
# Where every user may read it; the module is beside it, or not.
COPY = pathlib.Path("/tmp/copy")
COPY.mkdir()
for path in (LIBRARY, PROGRAM):
    shutil.copy(path, COPY)
    (COPY / path.name).chmod(0o755)
MODULE = LIBRARY.with_name("libmillrace-verbs.so")
UNPRIVILEGED = ["prlimit", "--memlock=65536:65536", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def exchange(port, until, prefix=(), **settings):
    """Streams between two processes until something holds for the one that connects; then every byte has arrived."""
    settings = {"LD_PRELOAD": str(COPY / LIBRARY.name), **MAP, **settings}
    server = Streams("serve", port, program=COPY / PROGRAM.name, prefix=prefix, **settings)
    server.says("ready")
    client = Streams("run", "127.0.0.1", port, program=COPY / PROGRAM.name, prefix=prefix, **settings)
    client.flows(0.01)
    fabric.wait_until(lambda: until(client) or until(server), f"what is expected of {settings}; there is {client.processes()} {server.processes()}")
    client.flows(0.01)
    there, here = client.finish(), server.finish()
    assert (there["sent"], there["received"]) == (here["received"], here["sent"]), (there, here)


def declines(reason):
    return lambda streams: streams.counters().get(reason, 0) > 0


def rides(kind):
    return lambda streams: any(row["path"] == "lane" and row["fabric"] == kind for row in streams.rows())


exchange(4200, declines("no-verbs"))
exchange(4201, rides("shm"), MILLRACE_FABRICS="shm,verbs")
shutil.copy(MODULE, COPY)
exchange(4202, rides("verbs"))
exchange(4203, rides("shm"), MILLRACE_FABRICS="shm,verbs")
exchange(4204, rides("verbs"), MILLRACE_FABRICS="verbs,shm")
exchange(4205, declines("locked-memory"), UNPRIVILEGED)
for device in ("rxe0", "rxe1"):
    fabric.delete_device(device).succeeds()
exchange(4206, declines("no-device"))
exchange(4207, rides("shm"), MILLRACE_FABRICS="verbs,shm")
