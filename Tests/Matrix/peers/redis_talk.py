"""A Redis client for what holds connections: subscribers, transactions with WATCH, blocking pops.

Usage: redis_talk.py PORT
"""

import pathlib
import random
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "Programs/peers"))
from resp import Connection, command  # noqa: E402

SUBSCRIBERS, MESSAGES = 40, 100


class Talker(Connection):
    def reply(self):
        line = self.stream.readline()
        if line[:1] == b"*":
            return None if line[1:-2] == b"-1" else [self.reply() for _ in range(int(line[1:-2]))]
        if line[:1] == b"$" and line[1:-2] != b"-1":
            return self.stream.read(int(line[1:-2]) + 2)[:-2]
        if line[:1] in (b"+", b":", b"$"):
            return None if line[:1] == b"$" else line[1:-2]
        raise SystemExit(f"unexpected reply {line!r}")


def messages():
    source = random.Random(1)
    return [source.randbytes(source.choice([1, 100, 5000])) for _ in range(MESSAGES)]


def subscribe(port):
    talkers = [Talker(port) for _ in range(SUBSCRIBERS)]
    for number, talker in enumerate(talkers):
        word, name = (b"SUBSCRIBE", b"channel") if number % 2 else (b"PSUBSCRIBE", b"chan*")
        assert talker.ask(word, name)[0] == word.lower()
    publisher = Talker(port)
    for message in messages():
        assert publisher.ask(b"PUBLISH", b"channel", message) == b"%d" % SUBSCRIBERS
    for talker in talkers:
        for message in messages():
            assert talker.reply()[-1] == message, "a subscriber got another message"


def transactions(port):
    """Four clients count one value up, each with WATCH and until nobody came in between."""
    def count():
        talker = Talker(port)
        for _ in range(100):
            while True:
                assert talker.ask(b"WATCH", b"counter") == b"OK"
                value = int(talker.ask(b"GET", b"counter") or 0)
                assert talker.ask(b"MULTI") == b"OK"
                assert talker.ask(b"SET", b"counter", b"%d" % (value + 1)) == b"QUEUED"
                if talker.ask(b"EXEC") == [b"OK"]:
                    break

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Talker(port).ask(b"GET", b"counter") == b"400", "a transaction was lost"


def pops(port):
    taker, giver = Talker(port), Talker(port)
    for number in range(300):
        taker.socket.sendall(command(b"BLPOP", b"list", b"0"))
        giver.ask(b"RPUSH", b"list", b"%d" % number)
        assert taker.reply() == [b"list", b"%d" % number]


if __name__ == "__main__":
    for part in (subscribe, transactions, pops):
        part(int(sys.argv[1]))
    print("compared subscriptions, transactions and pops")
