"""Opens many connections to a Redis server one after the other, talks on each for a while, and closes it in one of the
ways that a client can: orderly, half-closed first, with unread answers, or with a reset.

Usage: churn.py PORT CONNECTIONS SEED
"""

import random
import socket
import struct
import sys

import resp


def main(port, count, seed):
    source = random.Random(seed)
    for number in range(count):
        connection = resp.Connection(port)
        key = b"churn:%d" % number
        for exchange in range(source.randrange(1, 60)):
            value = source.randbytes(source.choice([10, 100, 5000]))
            assert connection.ask(b"SET", key, value) == b"OK"
            assert connection.ask(b"GET", key) == value, f"{key} differs"
        ending = number % 4
        if ending == 1:
            connection.socket.shutdown(socket.SHUT_WR)
            assert connection.stream.read() == b"", "bytes after the end"
        elif ending == 2:
            connection.socket.sendall(resp.command(b"GET", key) * 5)
        elif ending == 3:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.stream.close()
        connection.socket.close()
    print(f"{count} connections came and went")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
