"""memcached, with threads and after it dropped its privileges: values compared, and libmemcached's own tools."""

import pathlib
import re

from registry import expect_lanes, scenario
from session import PYTHON, check, free_port, random_bytes

CLIENT = pathlib.Path(__file__).parent.parent / "peers" / "memcache.py"


@scenario("memcached", one_sided=True)
def memcached(session):
    port = free_port()
    server = session.start("memcached", ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", port, "-t", "2", "-m",
                                         "256"], port=port)
    session.call("memcache", [PYTHON, CLIENT, port, "1"])
    name = f"--servers=127.0.0.1:{port}"
    content = random_bytes(500_000, 2)
    session.write("copied.bin", content)
    session.call("memccp", ["memccp", name, session.path("copied.bin")])
    got = session.call("memccat", ["memccat", name, f"--file={session.path('fetched.bin')}", "copied.bin"])
    check(session.path("fetched.bin").read_bytes() == content, f"memccat fetched another file than memccp stored: {got}")
    out = session.call("memcslap", ["memcslap", name, "--concurrency=8", "--execute-number=1000", "--test=get"])
    check(re.search(rb"Time to get +8000 keys by +8 threads", out), f"memcslap did not get all its keys: {out}")
    expect_lanes(session, server, at_least=8)
