"""A Redis client that compares every value: small and large ones, one at a time and pipelined.

Usage: resp.py PORT write|verify SEED. `verify` only reads, so that it can check a server that was restarted.
"""

import random
import socket
import sys

LARGE = 3 * 1024 * 1024 + 17


def command(*words):
    parts = [b"*%d\r\n" % len(words)]
    for word in words:
        parts.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(parts)


class Connection:
    def __init__(self, port):
        # Longer than who started this waits, and writes down where everybody stands.
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.stream = self.socket.makefile("rb")

    def reply(self):
        line = self.stream.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            size = int(rest)
            if size < 0:
                return None
            value = self.stream.read(size + 2)
            assert len(value) == size + 2, "the stream ended inside a value"
            return value[:-2]
        if kind in (b"+", b":"):
            return rest
        raise SystemExit(f"unexpected reply {line!r}")

    def ask(self, *words):
        self.socket.sendall(command(*words))
        return self.reply()


def values(seed):
    source = random.Random(seed)
    sizes = [0, 1, 63, 64, 4095, 4096, 65536, LARGE] + [source.randrange(1, 20000) for _ in range(200)]
    return [(b"key:%d" % number, source.randbytes(size)) for number, size in enumerate(sizes)]


def main(port, what, seed):
    connection = Connection(port)
    pairs = values(seed)
    for key, value in pairs:
        if what == "write":
            assert connection.ask(b"SET", key, value) == b"OK", key
        assert connection.ask(b"GET", key) == value, f"{key} differs"
    # Pipelined: all questions before the first answer, in pieces that stay below what the kernel buffers.
    for start in range(8, len(pairs), 50):
        piece = pairs[start:start + 50]
        connection.socket.sendall(b"".join(command(b"GET", key) for key, _ in piece))
        for key, value in piece:
            assert connection.reply() == value, f"{key} differs in the pipeline"
    print(f"{len(pairs)} values compared")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
