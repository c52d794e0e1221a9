"""Opens connections to a Redis server, talks on each for a while, says "ready", and holds them until it is ended.

Usage: hold.py PORT CONNECTIONS EXCHANGES
"""

import signal
import sys

import resp


def main(port, count, exchanges):
    connections = [resp.Connection(port) for _ in range(count)]
    for _ in range(exchanges):
        for connection in connections:
            assert connection.ask(b"PING") == b"PONG"
    print("ready", flush=True)
    signal.pause()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
