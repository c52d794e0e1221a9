"""node and Java, each with itself and with Python: event loops and threads that are not Python's."""

import pathlib

from registry import expect_lanes, scenario
from session import PYTHON, check, free_port

PEERS = pathlib.Path(__file__).parent.parent / "peers"
NODE = ["node", PEERS / "streams.js"]
JAVA = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", PEERS / "Streams.java"]
ASYNCIO = [PYTHON, PEERS / "streams_asyncio.py"]


def exchange(session, server_command, serve, client_command, at_least):
    port = free_port()
    server = session.start("server", [*server_command, serve, port], port=port)
    out = session.call("client", [*client_command, "ask", port, "1"])
    check(b"compared" in out, f"the client said {out}")
    expect_lanes(session, server, at_least=at_least)


@scenario("node with node", one_sided=True, small_rings=True)
def node(session):
    exchange(session, NODE, "serve", NODE, 5)


@scenario("java threads with java")
def java(session):
    exchange(session, JAVA, "serve-threads", JAVA, 4)


@scenario("java selector with node", small_rings=True)
def java_selector(session):
    exchange(session, JAVA, "serve-selector", NODE, 5)


@scenario("node with python")
def node_with_python(session):
    exchange(session, NODE, "serve", ASYNCIO, 5)
