"""An ordinary Swift program under a preloaded library that is written in Swift itself."""

import pathlib
import shutil

import lanes
from registry import expect_lanes, scenario
from session import check, free_port

SOURCE = pathlib.Path(__file__).parent.parent / "peers" / "Echo.swift"


@scenario("ordinary Swift program", small_rings=True)
def swift_program(session):
    check(shutil.which("swiftc"), "swiftc is not in PATH")
    program = session.path("echo")
    session.call("swiftc", ["swiftc", "-O", SOURCE, "-o", program], side="none", timeout=120)
    process = session.start("echo", [program, free_port()])
    check(process.wait(60) == 0, f"the program failed: {process.text()[-2000:]}")
    check("400 answers compared" in process.text(), f"the program said {process.text()}")
    # Both ends of one connection, in one process.
    expect_lanes(session, process, at_least=2)
    check(session.both or lanes.attaches(session, process) == 0, "lanes without Millrace")
