"""The echo of the matrix: a server that returns what it gets, and a client that compares it.

Usage: echo.py serve PORT | echo.py ask PORT
The peers in other languages do the same. Each of four connections sends 1000 short messages, waits for each to come back, then
streams 1 MB while it reads, says that it has ended, and reads to the end. The bytes repeat a random block of 65521 bytes
(a prime, so that a shift by any size of a buffer shows).
"""

import os
import random
import socket
import socketserver
import sys
import threading

BLOCK, CONNECTIONS, ROUNDS, BULK = 65521, 4, 1000, 1_000_000


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def expect(connection, wanted):
    parts, left = [], len(wanted)
    while left:
        part = connection.recv(min(left, 65536))
        if not part:
            raise EOFError(f"the stream ended {left} bytes early")
        parts.append(part)
        left -= len(part)
    if b"".join(parts) != wanted:
        raise ValueError("other bytes came back than were sent")


def converse(port, number, failures):
    try:
        block, source = os.urandom(BLOCK), random.Random(number)
        connection = socket.create_connection(("127.0.0.1", port))
        for _ in range(ROUNDS):
            message = block[:source.choice([1, 10, 100, 1000, 9000])]
            connection.sendall(message)
            expect(connection, message)
        stream = (block * (BULK // BLOCK + 1))[:BULK]
        sender = threading.Thread(target=lambda: (connection.sendall(stream), connection.shutdown(socket.SHUT_WR)))
        sender.start()
        expect(connection, stream)
        sender.join()
        if connection.recv(1) != b"":
            raise ValueError("bytes after the end")
        connection.close()
    except BaseException as problem:  # Any end of a thread but the normal one is a failure of the program.
        failures.append(problem)


def ask(port):
    failures = []
    threads = [threading.Thread(target=converse, args=(port, number, failures)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"{len(failures)} of {CONNECTIONS} failed, the first with {failures[0]!r}")
    print(f"compared {CONNECTIONS} connections")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        Server(("127.0.0.1", int(sys.argv[2])), Echo).serve_forever()
    else:
        ask(int(sys.argv[2]))
