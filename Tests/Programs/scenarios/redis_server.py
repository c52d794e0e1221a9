"""Redis: values compared, large values, pipelines, a snapshot (fork) under load, and a restart from that snapshot."""

import time

from redis_parts import RESP, start_server
from registry import expect_lanes, scenario
from session import PYTHON, check, free_port, random_bytes


def cli(session, port, *words, data=None):
    return session.call("redis-cli", ["redis-cli", "-p", port, *words], data=data)


@scenario("redis values", one_sided=True, small_rings=True)
def values(session):
    port = free_port()
    server = start_server(session, port)
    session.call("resp", [PYTHON, RESP, port, "write", "1"])
    value = random_bytes(1_000_000, 2)
    cli(session, port, "-x", "SET", "from-stdin", data=value)
    got = cli(session, port, "--raw", "GET", "from-stdin")
    check(got == value + b"\n", "redis-cli read another value than it wrote")
    mass = b"".join(b"SET mass:%d %d\r\n" % (number, number * number) for number in range(5000))
    cli(session, port, "--pipe", data=mass)
    for number in (0, 1, 4999):
        check(cli(session, port, "GET", f"mass:{number}").strip() == b"%d" % (number * number), "a mass value differs")
    expect_lanes(session, server)


@scenario("redis benchmark")
def benchmark(session):
    port = free_port()
    server = start_server(session, port)
    for extra in (["-c", "1", "-n", "2000"], ["-c", "50", "-n", "20000"], ["-c", "50", "-P", "16", "-n", "60000"],
                  ["-c", "4", "-d", "100000", "-n", "2000"], ["-c", "8", "--threads", "2", "-n", "20000"]):
        out = session.call("redis-benchmark", ["redis-benchmark", "-p", port, "-t", "set,get,lpush", "-q",
                                               "-r", "1000", *extra])
        check(out.count(b"requests per second") >= 3, f"redis-benchmark {extra} did not report its results")
    expect_lanes(session, server, at_least=20)


@scenario("redis snapshot under load")
def snapshot(session):
    port = free_port()
    server = start_server(session, port)
    session.call("resp", [PYTHON, RESP, port, "write", "3"])
    load = session.start("load", ["redis-benchmark", "-p", port, "-t", "set", "-c", "10", "-n", "60000", "-q"],
                         side="client")
    cli(session, port, "BGSAVE")
    deadline = time.monotonic() + 20
    while b"rdb_bgsave_in_progress:1" in cli(session, port, "INFO", "persistence"):
        check(time.monotonic() < deadline, "BGSAVE did not end")
    check(b"rdb_last_bgsave_status:ok" in cli(session, port, "INFO", "persistence"), "BGSAVE failed")
    check(load.wait() == 0, "the load ended with an error")
    session.call("resp", [PYTHON, RESP, port, "verify", "3"])
    expect_lanes(session, server, at_least=2)
    server.stop()
    port = free_port()
    start_server(session, port, "redis-again")
    session.call("resp", [PYTHON, RESP, port, "verify", "3"])


@scenario("redis over IPv6")
def over_ipv6(session):
    port = free_port()
    server = start_server(session, port, addresses=("::1", "127.0.0.1"))
    for size in (10, 100_000):
        value = random_bytes(size, size).hex().encode()
        for _ in range(5):
            session.call("cli", ["redis-cli", "-h", "::1", "-p", port, "-x", "SET", "key"], data=value)
            got = session.call("cli", ["redis-cli", "-h", "::1", "-p", port, "--raw", "GET", "key"])
            check(got == value + b"\n", "redis-cli read another value than it wrote")
    out = session.call("redis-benchmark", ["redis-benchmark", "-h", "::1", "-p", port, "-t", "get", "-q", "-n", "5000"])
    check(b"requests per second" in out, f"redis-benchmark said {out}")
    expect_lanes(session, server, at_least=5)
