"""What the scenarios with a Redis server share."""

import pathlib

RESP = pathlib.Path(__file__).parent / "peers" / "resp.py"


def start_server(session, port, name="redis", addresses=("127.0.0.1",)):
    server = session.start(name, ["redis-server", "--port", port, "--bind", *addresses, "--save", "", "--dir",
                                session.directory, "--dbfilename", "dump.rdb", "--daemonize", "no"], port=port)
    # It listens before it has loaded what it kept.
    server.wait_for_text("Ready to accept connections")
    return server
