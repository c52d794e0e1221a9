"""Programs without sockets are left alone; and allocators that are preloaded beside the library."""

import pathlib

from registry import expect_lanes, scenario
from session import PYTHON, check, free_port, random_bytes

PEERS = pathlib.Path(__file__).parent.parent / "peers"
JEMALLOC = "libjemalloc.so.2"


@scenario("programs without sockets")
def without_sockets(session):
    session.write("data", random_bytes(2_000_000, 1))
    commands = [
        "ls -l /usr/bin | sort -k 9 | head -n 50",
        "cat data | gzip -1 | gunzip | sha256sum",
        "tar -C . -cf - data | tar -tf -",
        "seq 1 100000 | sort -R --random-source=data | sort -n | md5sum",
        "find /usr/share/doc -maxdepth 1 -name 'b*' | xargs -n 20 echo | wc",
        "for i in 1 2 3 4 5 6 7 8 9 10; do /bin/true; done; (exit 3); echo $?",
        "awk 'BEGIN { while (\"seq 1 1000\" | getline line) sum += line; print sum }'",
        f"{PYTHON} -c 'import os, subprocess; print(subprocess.run([\"echo\", \"x\"], capture_output=True).stdout)'",
    ]
    for command in commands:
        with_library = session.call("command", ["bash", "-c", command], side="server")
        without = session.call("command", ["bash", "-c", command], side="none")
        check(with_library == without, f"'{command}' printed something else")
    # No thread, and no descriptor but the usual ones and the folder that ls itself reads.
    status = session.call("status", ["grep", "Threads", "/proc/self/status"], side="server")
    check(status.split() == [b"Threads:", b"1"], f"a program without sockets has {status}")
    descriptors = session.call("descriptors", ["ls", "/proc/self/fd"], side="server")
    check(descriptors.split() == [b"0", b"1", b"2", b"3"], f"a program without sockets has descriptors {descriptors}")


def beside_jemalloc(session, place):
    port = free_port()
    environments = {side: session.environment(side, **{place: JEMALLOC}) for side in ("server", "client")}
    server = session.start("asyncio", [PYTHON, PEERS / "streams_asyncio.py", "serve", port], port=port,
                           environment=environments["server"])
    out = session.call("ask", [PYTHON, PEERS / "streams_asyncio.py", "ask", port, "1"],
                       environment=environments["client"])
    check(b"compared" in out, f"the client said {out}")
    maps = pathlib.Path(f"/proc/{server.pid}/maps").read_text()
    check("jemalloc" in maps, "jemalloc was not loaded")
    expect_lanes(session, server, at_least=5)
    listing = session.call("ls", ["ls", "/"], environment=environments["server"])
    check(b"usr" in listing, f"ls printed {listing}")


@scenario("jemalloc before the library")
def jemalloc_before(session):
    beside_jemalloc(session, "before")


@scenario("jemalloc after the library")
def jemalloc_after(session):
    beside_jemalloc(session, "after")
