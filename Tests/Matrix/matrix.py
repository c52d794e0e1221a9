"""What a row of the matrix is, and how the short ones are written.

A row is a real program, or a library inside a small one, with data that is compared. It runs in every setting; with both ends
preloaded its connections must have ridden lanes, if the row says no other number, and in no other setting may they.
"""

import dataclasses
import pathlib
import subprocess
import sys
import time
import typing

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "Programs"), str(HERE.parent / "Support")]

import lanes  # noqa: E402
import registry  # noqa: E402
from session import BUILD, PYTHON, Failure, check, free_port  # noqa: E402

PEERS = HERE / "peers"
OUTPUT = BUILD / "matrix"
ECHO = [PYTHON, PEERS / "echo.py"]
OFF, SERVER, CLIENT, BOTH = "off", "server end", "client end", "both ends"
SETTINGS = (OFF, SERVER, CLIENT, BOTH)


@dataclasses.dataclass
class Row:
    name: str
    what: str
    package: str
    quick: bool
    body: typing.Callable


ROWS = []


def row(name, package, what, quick=False):
    """Registers a function of a Session. `package` is the Debian package whose version the table shows."""
    def register(body):
        ROWS.append(Row(name, what, package, quick, body))
        return body

    return register


def known(name, package, what, scenario, quick=False):
    """A row that is a scenario of Tests/Programs."""
    def body(session):
        next(each for each in registry.SCENARIOS if each.name == scenario).body(session)

    row(name, package, what, quick)(body)


COMPILERS = {".c": ["gcc", "-O1", "-Wall", "-Wextra"], ".cpp": ["g++", "-O1", "-std=c++17"], ".rs": ["/usr/bin/rustc", "-O"]}


def compiled(source, *libraries):
    """The program that a source in peers/ makes, with the libraries' flags behind it. Made again when the source is newer."""
    source = PEERS / source
    program = OUTPUT / source.name.replace(".", "-")
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        OUTPUT.mkdir(parents=True, exist_ok=True)
        subprocess.run([*COMPILERS[source.suffix], source, "-o", program, *libraries], check=True)
    return program


def compiled_go(name, other, cgo):
    program = OUTPUT / name
    if not program.exists() or any(program.stat().st_mtime < (PEERS / each).stat().st_mtime for each in ("echo.go", other)):
        OUTPUT.mkdir(parents=True, exist_ok=True)
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(OUTPUT), "GOCACHE": str(OUTPUT / "go"), "CGO_ENABLED": str(int(cgo)),
                       "GO111MODULE": "off"}
        subprocess.run(["/usr/bin/go", "build", "-o", program, PEERS / "echo.go", PEERS / other], check=True, env=environment)
    return program


def resolved(command):
    """A command's words; what is a function is called now, so that nothing is compiled for a row that does not run."""
    return [word() if callable(word) else word for word in command]


def converse(session, server, client=ECHO, side="server"):
    """Starts the server with its port behind it, lets the client talk to it, and returns the server's process."""
    port = free_port()
    process = session.start("server", [*resolved(server), port], side=side, port=port)
    out = session.call("client", [*resolved(client), port], timeout=90)
    check(b"compared" in out, f"the client said {out}")
    return process


def echo(name, package, what, server, client=(*ECHO, "ask"), at_least=4, quick=False):
    """A row in which a server returns what it gets, and a client compares. Four connections, which last long enough."""
    def body(session):
        registry.expect_lanes(session, converse(session, server, client), at_least=at_least)

    row(name, package, what, quick)(body)


def until(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < deadline, f"{what}: it did not come within {seconds} s")
        time.sleep(0.05)


def count_inner(session, *processes, at_least=1):
    """Like `expect_lanes` for what is server and client at once: with one end preloaded it may have lanes inside."""
    for process in processes:
        count = lanes.attaches(session, process)
        session.lanes += count
        off = not any(session.preloaded.values()) or session.settings.get("MILLRACE") == "off"
        if session.both and count < at_least:
            raise Failure(f"{process.name}: {count} lanes, expected at least {at_least}")
        if off and count:
            raise Failure(f"{process.name}: {count} lanes, though Millrace is off")
