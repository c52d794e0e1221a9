"""What the scenarios with a Redis server share."""

import pathlib
import time

from session import check

RESP = pathlib.Path(__file__).parent / "peers" / "resp.py"


def start_server(session, port, name="redis", addresses=("127.0.0.1",)):
    server = session.start(name, ["redis-server", "--port", port, "--bind", *addresses, "--save", "", "--dir",
                                session.directory, "--dbfilename", "dump.rdb", "--daemonize", "no"], port=port)
    # It listens before it has loaded what it kept.
    deadline = time.monotonic() + 30
    while "Ready to accept connections" not in server.text():
        check(time.monotonic() < deadline and server.child.poll() is None, f"redis is not ready: {server.text()[-500:]}")
        time.sleep(0.01)
    return server
