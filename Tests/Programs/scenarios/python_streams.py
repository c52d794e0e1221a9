"""Python at both ends, in every style of waiting: asyncio, threads, select, poll, timeouts, a fork per connection."""

import pathlib

from registry import expect_lanes, scenario
from session import PYTHON, check, free_port

PEERS = pathlib.Path(__file__).parent.parent / "peers"
ASYNCIO = PEERS / "streams_asyncio.py"
BLOCKING = PEERS / "streams_blocking.py"


def exchange(session, server_peer, serve, client_peer, ask, at_least):
    port = free_port()
    server = session.start(f"{serve}-{server_peer.stem}", [PYTHON, server_peer, serve, port], port=port)
    out = session.call(f"{ask}-{client_peer.stem}", [PYTHON, client_peer, ask, port, "1"])
    check(b"compared" in out, f"the client said {out}")
    # Of 8 or 6 connections. They live for less than a second each, so on a busy machine one may end before its lane.
    expect_lanes(session, server, at_least=at_least)


@scenario("python asyncio", one_sided=True, small_rings=True)
def python_asyncio(session):
    exchange(session, ASYNCIO, "serve", ASYNCIO, "ask", 5)


@scenario("python threads", small_rings=True)
def python_threads(session):
    exchange(session, BLOCKING, "serve-threads", BLOCKING, "ask-threads", 4)


@scenario("python select and timeouts", small_rings=True)
def python_select(session):
    exchange(session, BLOCKING, "serve-select", BLOCKING, "ask-timeouts", 4)


@scenario("python poll and asyncio")
def python_poll(session):
    exchange(session, BLOCKING, "serve-poll", ASYNCIO, "ask", 5)


@scenario("python fork per connection", small_rings=True)
def python_forks(session):
    """Each connection is accepted by the parent, and served by a child, which has the lane."""
    exchange(session, BLOCKING, "serve-forks", BLOCKING, "ask-threads", 4)
