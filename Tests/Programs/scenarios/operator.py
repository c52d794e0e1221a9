"""An operator moves running connections to TCP and back (`millrace off`, `millrace on`) under a load that is compared."""

import json
import pathlib
import re
import time

import lanes

from redis_parts import start_server
from registry import expect_lanes, scenario
from session import COMMAND, PYTHON, check, free_port

RESP = pathlib.Path(__file__).parent.parent / "peers" / "resp.py"
ROUNDS = 8


def tell(session, *words):
    return session.call("millrace", [COMMAND, *words], side="none").decode()


def paths(session, process):
    report = json.loads(tell(session, "ss", "--json", "--pid", process.pid))
    return [(row["fd"], row["path"], row["reason"]) for row in report["processes"][0]["connections"]]


def await_lanes(session, process, at_least):
    deadline = time.monotonic() + 20
    while lanes.attaches(session, process) < at_least and time.monotonic() < deadline:
        time.sleep(0.01)
    expect_lanes(session, process, at_least=at_least)


@scenario("millrace off and on", bare=False)
def off_and_on(session):
    port = free_port()
    server = start_server(session, port)
    load = session.start("load", ["redis-benchmark", "-p", port, "-c", "4", "-n", "100000000", "-q"], side="client")
    await_lanes(session, server, at_least=4)
    for turn in range(ROUNDS):
        said = tell(session, "off", server.pid)
        counts = re.search(r"lanes off, (\d+) of (\d+)", said)
        check(counts, f"turn {turn}: {said}")
        moved, of = map(int, counts.groups())
        check(moved == of and of >= 1, f"turn {turn}: {said}")
        check(all(path != "lane" and reason == "operator" for _, path, reason in paths(session, server)),
              f"turn {turn}: after off: {paths(session, server)}")
        # New connections stay on TCP too, and everything is as exact as ever.
        session.call("resp", [PYTHON, RESP, port, "write", turn])
        tell(session, "on", server.pid, load.pid)
        session.call("resp", [PYTHON, RESP, port, "verify", turn])
        await_lanes(session, server, at_least=4 * (turn + 2))
    descriptor = next(fd for fd, path, _ in paths(session, server) if path == "lane")
    tell(session, "off", f"{server.pid}:{descriptor}")
    left = [fd for fd, path, reason in paths(session, server) if reason == "operator"]
    check(left == [descriptor], f"off for descriptor {descriptor}: {paths(session, server)}")
    check(load.child.poll() is None, f"the load ended: {load.text()}")
    load.stop()
