"""Fetches one file again and again, over connections that are kept for a while, and compares every body.

Usage: fetch_many.py PORT NAME FILE SECONDS THREADS

A connection that was kept may be closed by its server before the answer begins; then the request is made again on a new
one (RFC 9112 9.3.1). On a new connection nothing may fail.
"""

import http.client
import pathlib
import sys
import threading
import time


def fetch(connection, name, expected):
    connection.request("GET", f"/{name}")
    response = connection.getresponse()
    if response.status != 200 or response.read() != expected:
        raise SystemExit(f"status {response.status}, or another body")


def client(port, name, expected, end, counts, failures):
    connection, uses = None, 0
    try:
        while time.monotonic() < end:
            if uses % 50 == 0:
                connection, uses = http.client.HTTPConnection("127.0.0.1", port, timeout=20), 0
            try:
                fetch(connection, name, expected)
            except (ConnectionError, http.client.RemoteDisconnected):
                if uses == 0:
                    raise
                uses = 0
                continue
            uses = uses + 1 if connection.sock else 0
            counts.append(1)
    except BaseException as problem:  # Any end of a thread but the normal one is a failure of the program.
        failures.append(problem)


def main(port, name, path, seconds, number):
    expected = pathlib.Path(path).read_bytes()
    end = time.monotonic() + float(seconds)
    counts, failures = [], []
    threads = [threading.Thread(target=client, args=(int(port), name, expected, end, counts, failures))
               for _ in range(int(number))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise SystemExit(f"{len(failures)} clients failed, the first with {failures[0]!r}")
    print(f"compared {len(counts)} bodies")


if __name__ == "__main__":
    main(*sys.argv[1:])
