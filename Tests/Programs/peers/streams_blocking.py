"""The streams of streams_asyncio.py with blocking sockets: a thread, a forked process or one loop per connection.

Usage: streams_blocking.py serve-threads|serve-forks|serve-select|serve-poll PORT
       streams_blocking.py serve-activated NUMBER      a listening socket that it has inherited
       streams_blocking.py ask-threads|ask-timeouts PORT SEED
"""

import hashlib
import random
import selectors
import socket
import socketserver
import sys
import threading


def frame(data):
    return len(data).to_bytes(4, "big") + data + hashlib.sha256(data).digest()


def read_exactly(connection, size):
    parts = []
    while size:
        part = connection.recv(min(size, 1 << 16))
        if not part:
            raise EOFError("the stream ended early")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_frame(connection):
    size = int.from_bytes(read_exactly(connection, 4), "big")
    if size == 0:
        return None
    data = read_exactly(connection, size)
    if read_exactly(connection, 32) != hashlib.sha256(data).digest():
        raise SystemExit("a checksum is wrong")
    return data


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        while (data := read_frame(self.request)) is not None:
            self.request.sendall(frame(data[::-1]))


class ThreadServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class ForkServer(socketserver.ForkingTCPServer):
    allow_reuse_address = True


class Conversation:
    """One connection of the single-threaded server: bytes in, answers out, whatever is ready."""

    def __init__(self, connection):
        self.connection, self.incoming, self.outgoing, self.ended = connection, bytearray(), bytearray(), False

    def read(self):
        part = self.connection.recv(1 << 16)
        self.ended = self.ended or not part
        self.incoming += part
        while len(self.incoming) >= 4:
            size = int.from_bytes(self.incoming[:4], "big")
            if size == 0:
                self.ended = True
                return
            if len(self.incoming) < size + 36:
                return
            data = bytes(self.incoming[4:size + 4])
            if bytes(self.incoming[size + 4:size + 36]) != hashlib.sha256(data).digest():
                raise SystemExit("a checksum is wrong")
            del self.incoming[:size + 36]
            self.outgoing += frame(data[::-1])

    def write(self):
        if self.outgoing:
            sent = self.connection.send(self.outgoing[:1 << 18])
            del self.outgoing[:sent]

    def wanted(self):
        return (0 if self.ended else selectors.EVENT_READ) | (selectors.EVENT_WRITE if self.outgoing else 0)


def serve_loop(port, selector):
    listener = socket.create_server(("127.0.0.1", port))
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, events in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setblocking(False)
                selector.register(connection, selectors.EVENT_READ, Conversation(connection))
                continue
            conversation = key.data
            if events & selectors.EVENT_READ:
                conversation.read()
            if events & selectors.EVENT_WRITE:
                conversation.write()
            if conversation.wanted():
                selector.modify(key.fileobj, conversation.wanted(), conversation)
            else:
                selector.unregister(key.fileobj)
                key.fileobj.close()


def ask_one(port, seed, rounds, timeout, failures):
    try:
        source = random.Random(seed)
        connection = socket.create_connection(("127.0.0.1", port))
        connection.settimeout(timeout)
        for _ in range(rounds):
            data = source.randbytes(source.choice([1, 10, 100, 1000, 10_000, 100_000, 1_000_000]))
            sender = threading.Thread(target=connection.sendall, args=(frame(data),))
            sender.start()
            if read_frame(connection) != data[::-1]:
                raise SystemExit("an answer differs")
            sender.join()
        connection.sendall(bytes(4))
        connection.shutdown(socket.SHUT_WR)
        if connection.recv(1) != b"":
            raise SystemExit("bytes after the end")
        connection.close()
    except BaseException as problem:  # Any end of a thread but the normal one is a failure of the program.
        failures.append(problem)


def ask(port, seed, timeout):
    failures = []
    threads = [threading.Thread(target=ask_one, args=(port, seed + n, 30, timeout, failures)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"{len(failures)} of 6 failed, the first with {failures[0]!r}")
    print("all answers compared")


def main(what, port, *seed):
    if what == "serve-threads":
        ThreadServer(("127.0.0.1", port), Handler).serve_forever()
    elif what == "serve-forks":
        ForkServer(("127.0.0.1", port), Handler).serve_forever()
    elif what == "serve-activated":
        server = ThreadServer(None, Handler, bind_and_activate=False)
        server.socket = socket.socket(fileno=port)
        server.serve_forever()
    elif what == "serve-select":
        serve_loop(port, selectors.SelectSelector())
    elif what == "serve-poll":
        serve_loop(port, selectors.PollSelector())
    else:
        # A timeout makes Python's socket non-blocking, with a poll before each call.
        ask(port, *seed, 30 if what == "ask-timeouts" else None)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
