"""Connections that come and go, processes that die: nothing is left behind, and the others do not notice."""

import os
import pathlib
import time

from redis_parts import RESP, start_server
from registry import expect_lanes, scenario
from session import PYTHON, check, free_port

CHURN = pathlib.Path(__file__).parent.parent / "peers" / "churn.py"


def descriptors(process):
    """How many are open, without eventfds: an epoll set gets one when it first waits for a lane, which may be at any time."""
    count = 0
    for each in pathlib.Path(f"/proc/{process.pid}/fd").iterdir():
        try:
            count += os.readlink(each) != "anon_inode:[eventfd]"
        except FileNotFoundError:
            pass  # Closed since.
    return count


def mappings(process):
    return len(pathlib.Path(f"/proc/{process.pid}/maps").read_text().splitlines())


def wait_until(condition, message, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < deadline, message())
        time.sleep(0.02)


def check_nothing_left(server, before):
    """The server ends a connection when it next looks at it, so this waits for a while."""
    wait_until(lambda: descriptors(server) <= before[0],
               lambda: f"{descriptors(server)} descriptors are open, {before[0]} were before")
    # The allocator may have taken a few more mappings, but not one per connection.
    wait_until(lambda: mappings(server) <= before[1] + 20,
               lambda: f"{mappings(server)} memory mappings are there, {before[1]} were before")


@scenario("connections come and go")
def churn(session):
    port = free_port()
    server = start_server(session, port)
    # Once, so that what is made only once (the service thread and its descriptors) is there.
    session.call("warm-up", [PYTHON, CHURN, port, "8", "1"])
    before = descriptors(server), mappings(server)
    session.call("churn", [PYTHON, CHURN, port, "200", "2"])
    session.call("short", ["redis-benchmark", "-p", port, "-t", "set,get", "-k", "0", "-c", "20", "-n", "3000", "-q"])
    check_nothing_left(server, before)
    session.call("resp", [PYTHON, RESP, port, "write", "4"])
    expect_lanes(session, server, at_least=50)


@scenario("clients die under load")
def clients_die(session):
    port = free_port()
    server = start_server(session, port)
    session.call("resp", [PYTHON, RESP, port, "write", "5"])
    before = descriptors(server), mappings(server)
    for turn in range(5):
        load = session.start(f"load-{turn}", ["redis-benchmark", "-p", port, "-t", "get", "-c", "20", "-n", "10000000",
                                              "-P", str(1 + 3 * turn), "-q"], side="client")
        wait_until(lambda: descriptors(server) >= before[0] + 20, lambda: "the load did not connect")
        # Other clients work while this one runs, and after it was killed.
        session.call("verify", [PYTHON, RESP, port, "verify", "5"])
        load.child.kill()
        load.child.wait()
        session.call("verify", [PYTHON, RESP, port, "verify", "5"])
    check_nothing_left(server, (before[0], before[1] + 20))
    expect_lanes(session, server, at_least=20)


@scenario("the server dies under load")
def server_dies(session):
    port = free_port()
    server = start_server(session, port)
    load = session.start("load", ["redis-benchmark", "-p", port, "-t", "get", "-c", "20", "-n", "100000000", "-q"],
                         side="client")
    before = descriptors(server)
    wait_until(lambda: descriptors(server) >= before + 20, lambda: "the load did not connect")
    session.call("cli", ["redis-cli", "-p", port, "PING"])
    expect_lanes(session, server)
    server.child.kill()
    server.child.wait()
    # Every connection of the load ends; redis-benchmark gives up with an error.
    check(load.wait(20) != 0, "redis-benchmark did not notice that the server is dead")
