"""What `millrace ss` says of a live server and its client: every connection, where its bytes go, and why."""

import json
import pathlib

from redis_parts import start_server
from registry import expect_lanes, scenario
from session import COMMAND, PYTHON, check, free_port

HOLD = pathlib.Path(__file__).parent.parent / "peers" / "hold.py"
CONNECTIONS, EXCHANGES = 5, 500


def listing(session, process):
    report = json.loads(session.call("ss", [COMMAND, "ss", "--json", "--all"], side="none"))
    found = [entry for entry in report["processes"] if entry["pid"] == process.pid]
    return found[0] if found else None


def check_connections(entry, port, session):
    # The harness's own probes of the port have gone by now.
    rows = [row for row in entry["connections"] if row["local"].endswith(f":{port}") or
            row["peer"].endswith(f":{port}")]
    rows = [row for row in rows if row["kernelSent"] or row["kernelReceived"]]
    check(len(rows) == CONNECTIONS, f"{len(rows)} connections are listed, {CONNECTIONS} are there: {rows}")
    for row in rows:
        total = row["kernelSent"] + row["laneSent"]
        # At the least 7 bytes each; the page follows what goes over the kernel path from doubling to doubling.
        check(total > 7 * EXCHANGES // 2, f"a connection has sent only {total} bytes: {row}")
        if session.both:
            check(row["path"] == "lane" and row["fabric"] == "shm" and row["laneSent"] > 0, f"not on a lane: {row}")
        else:
            check(row["path"] == "kernel" and row["laneSent"] == 0, f"not on the kernel path: {row}")
            check(row["reason"] != "none", f"no reason is given: {row}")


@scenario("millrace ss of a live server", one_sided=True)
def live_server(session):
    port = free_port()
    server = start_server(session, port)
    client = session.start("hold", [PYTHON, HOLD, port, CONNECTIONS, EXCHANGES], side="client")
    client.wait_for_text("ready")
    for process, side in ((server, "server"), (client, "client")):
        if session.preloaded[side]:
            entry = listing(session, process)
            check(entry, f"{process.name} is not listed")
            check_connections(entry, port, session)
        expect_lanes(session, process, at_least=CONNECTIONS)
    client.stop()
    if session.both:
        check(listing(session, client) is None, "the page of a process that ended is still listed")
