"""A memcached client with several connections that compares every value, and counts with incr.

Usage: memcache.py PORT SEED
"""

import random
import socket
import sys


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.stream = self.socket.makefile("rb")

    def store(self, key, value):
        self.socket.sendall(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
        line = self.stream.readline()
        assert line == b"STORED\r\n", line

    def fetch(self, *keys):
        self.socket.sendall(b"get %s\r\n" % b" ".join(keys))
        found = {}
        while (line := self.stream.readline()) != b"END\r\n":
            word, key, _, size = line.split()
            assert word == b"VALUE", line
            found[key] = self.stream.read(int(size))
            assert self.stream.read(2) == b"\r\n"
        return found

    def count(self, key):
        self.socket.sendall(b"incr %s 1\r\n" % key)
        return int(self.stream.readline())


def main(port, seed):
    source = random.Random(seed)
    connections = [Connection(port) for _ in range(8)]
    pairs = {b"key:%d" % n: source.randbytes(source.choice([0, 1, 100, 1000, 10_000, 1_000_000])) for n in range(200)}
    for number, (key, value) in enumerate(pairs.items()):
        connections[number % 8].store(key, value)
    for number, (key, value) in enumerate(pairs.items()):
        # Another connection than the one that wrote it.
        assert connections[(number + 3) % 8].fetch(key) == {key: value}, f"{key} differs"
    for connection in connections:
        keys = source.sample(sorted(pairs), 20)
        assert connection.fetch(*keys) == {key: pairs[key] for key in keys}, "a multiple get differs"
    connections[0].store(b"counter", b"0")
    counts = [connections[n % 8].count(b"counter") for n in range(800)]
    assert counts == list(range(1, 801)), "the counter jumped"
    print(f"{len(pairs)} values compared")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
