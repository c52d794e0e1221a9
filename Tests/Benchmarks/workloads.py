"""The work that is measured. Every function does it once, with processes that it starts and ends."""

import contextlib
import json
import re
import time

from measuring import (MILLRACE, OFF, PLAIN, PROGRAMS, RAW, UNIX, Dialogue, Measurement, Workload, ask_micro, check,
                       free_port, lanes_of, pinned, processor_seconds, resident_kib, start_micro)
from session import LOOPBACK, random_bytes

NO_IDLE, WITH_IDLE = "no idle lanes", "1,000 idle lanes"
IDLE, IDLE_FOR_CPU = 1000, 100
SLICE_SECONDS = 0.1
SECONDS_TO_IDLE = 5


def raw_line(context):
    """The limit, measured in each round beside what is judged by it: it is the host's to move our processors apart."""
    with context.session(RAW) as session:
        return Measurement(float(session.call("raw", [PROGRAMS / "raw_line", context.seconds(1)])))


def sockperf(context, variant):
    if variant == RAW:
        return raw_line(context)
    with context.session(variant) as session:
        port = free_port()
        server = session.start("sockperf", ["sockperf", "server", "--tcp", "-i", LOOPBACK, "-p", port], port=port)
        # Far above what is reached: by itself the tool sets aside room for 600,000 messages a second, and then fails.
        out = session.call("ask", ["sockperf", "ping-pong", "--tcp", "-i", LOOPBACK, "-p", port, "-m", "64",
                                   "--full-rtt", "--mps=5000000", "-t", max(1, int(context.seconds(1)))]).decode()
        match = re.search(r"Round trip is ([0-9.]+) usec", out)
        check(match, f"sockperf said: {out}")
        return Measurement(float(match.group(1)), lanes_of(session, variant, server))


def micro(name, *sizes):
    """A C program of two ends, over TCP, Millrace or a Unix socket."""
    def measure(context, variant):
        with context.session(variant) as session:
            family = "unix" if variant == UNIX else "tcp"
            number = free_port()
            start_micro(session, name, family, number, *sizes)
            value, lane = ask_micro(session, name, family, number, *sizes, context.seconds(1))
            return Measurement(value, int(lane) if variant == MILLRACE else None)
    return measure


def iperf3(context, variant):
    with context.session(variant) as session:
        port = free_port()
        server = session.start("iperf3", ["iperf3", "-s", "-B", LOOPBACK, "-p", port], port=port)
        out = session.call("ask", ["iperf3", "-c", LOOPBACK, "-p", port, "-J", "-t",
                                   max(1, int(context.seconds(2)))])
        rate = json.loads(out)["end"]["sum_received"]["bits_per_second"] / 8e9
        return Measurement(rate, lanes_of(session, variant, server))


def redis_get(requests, *options):
    def measure(context, variant):
        with context.session(variant) as session:
            port = free_port()
            server = session.start("redis", ["redis-server", "--port", port, "--bind", LOOPBACK, "--save", "", "--dir",
                                             session.directory], port=port)
            # The key exists, so that each answer carries data.
            session.call("set", ["redis-cli", "-p", port, "SET", "key:__rand_int__", "abc"], side="none")
            out = session.call("ask", ["redis-benchmark", "-p", port, "-t", "get", "--csv", "-n",
                                       context.count(requests), *options]).decode()
            match = re.search(r'"GET","([0-9.]+)"', out)
            check(match, f"redis-benchmark said: {out}")
            return Measurement(float(match.group(1)), lanes_of(session, variant, server))
    return measure


def memcached(context, variant):
    with context.session(variant) as session:
        port, each = free_port(), context.count(10_000)
        server = session.start("memcached", ["memcached", "-u", "nobody", "-l", LOOPBACK, "-p", port, "-t", "1"],
                               port=port)
        out = session.call("ask", ["memcslap", f"--servers={LOOPBACK}:{port}", "--concurrency=16", "--test=get",
                                   f"--execute-number={each}"]).decode()
        match = re.search(r"Time to get +(\d+) keys by +16 threads: +([0-9.]+) seconds", out)
        check(match and int(match.group(1)) == 16 * each, f"memcslap said: {out}")
        return Measurement(16 * each / float(match.group(2)), lanes_of(session, variant, server))


NGINX = """
daemon off; worker_processes 1; pid {0}/nginx.pid; error_log stderr error;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 100000000; sendfile on;
  client_body_temp_path {0}/1; proxy_temp_path {0}/2; fastcgi_temp_path {0}/3; uwsgi_temp_path {0}/4;
  scgi_temp_path {0}/5;
  server {{ listen 127.0.0.1:{1}; root {0}; }}
}}
"""


def nginx(context, variant):
    with context.session(variant) as session:
        port = free_port()
        session.write("page", random_bytes(1024, 1))
        session.write("nginx.conf", NGINX.format(session.directory, port))
        server = session.start("nginx", ["nginx", "-e", "stderr", "-p", session.directory, "-c",
                                         session.path("nginx.conf")], port=port)
        out = session.call("ask", ["wrk", "-t", "1", "-c", "16", "-d", f"{max(1, int(context.seconds(2)))}s",
                                   f"http://{LOOPBACK}:{port}/page"]).decode()
        match = re.search(r"Requests/sec: +([0-9.]+)", out)
        check(match and "Non-2xx" not in out and "Socket errors" not in out, f"wrk said: {out}")
        return Measurement(float(match.group(1)), lanes_of(session, variant, server))


@contextlib.contextmanager
def connects(context, variant):
    with context.session(variant) as session:
        number = free_port()
        start_micro(session, "connect_loop", number, on=lambda command: pinned(-1, command))
        yield lambda: Measurement(
            ask_micro(session, "connect_loop", number, SLICE_SECONDS, on=lambda command: pinned(0, command))[0])


@contextlib.contextmanager
def files_pipes(context, variant):
    with context.session(variant) as session:
        command = [PROGRAMS / "files_pipes", session.path("file"), SLICE_SECONDS]
        yield lambda: Measurement(float(session.call("files", command)))


@contextlib.contextmanager
def spawn(context, variant):
    with context.session(variant) as session:
        library = [session.library] if variant == MILLRACE else []
        command = [PROGRAMS / "spawn_loop", "/bin/true", 50, *library]
        yield lambda: Measurement(float(session.call("spawn", command, side="none")))


@contextlib.contextmanager
def busy_beside(context, label):
    """The rate on one lane; beside it, connected and on lanes too, the others of the same processes."""
    idle = IDLE if label == WITH_IDLE else 0
    with context.session(MILLRACE) as session:
        port = free_port()
        start_micro(session, "many_lanes", port)
        with Dialogue(session, port, idle) as client:
            lanes = client.attach()
            yield lambda: Measurement(client.rate(SLICE_SECONDS), lanes, wanted=idle + 1)


def many_lanes(idle, look):
    """Runs many_lanes with so many idle connections beside one, and returns what `look(context, server, client, before)`
    returns, where `before` is the memory of both without any connection."""
    def measure(context, variant):
        with context.session(variant) as session:
            port = free_port()
            server = start_micro(session, "many_lanes", port)
            with Dialogue(session, port, idle) as client:
                before = resident(server, client)
                lanes = client.attach()
                value = look(context, server, client, before)
                return Measurement(value, lanes, wanted=idle + 1)
    return measure


def resident(server, client):
    return resident_kib(server.pid) + resident_kib(client.child.pid)


def idle_percent(context, server, client, before):
    pids, seconds = (server.pid, client.child.pid), context.seconds(5)
    start = sum(map(processor_seconds, pids))
    time.sleep(seconds)  # This is the measurement: how much an idle pair of processes uses in that time.
    return (sum(map(processor_seconds, pids)) - start) / seconds * 100


def memory_each(context, server, client, before):
    return (resident(server, client) - before) / (IDLE + 1)


def memory_each_after_traffic(context, server, client, before):
    """More than fits into a ring at once has gone over every lane, both ways. An idle lane is one on which nothing has
    moved for a while: the pages of its rings are given back within two looks, which are two seconds apart."""
    client.exchange_on_all(5000)
    time.sleep(SECONDS_TO_IDLE)
    return memory_each(context, server, client, before)


BOTH_WITH_UNIX = (PLAIN, MILLRACE, UNIX)

WORKLOADS = [
    Workload("sockperf", "Ping-pong 64 B (sockperf), round trip", "us", sockperf, (RAW, PLAIN, MILLRACE),
             lower_is_better=True),
    Workload("pingpong", "Ping-pong 64 B (C), round trip", "us", micro("pingpong", 64), BOTH_WITH_UNIX,
             lower_is_better=True),
    Workload("oneway", "One-way 64 B messages", "messages/s", micro("oneway"), BOTH_WITH_UNIX),
    Workload("iperf3", "iperf3, one stream", "GB/s", iperf3),
    Workload("redis-1", "redis GET, 1 connection", "requests/s", redis_get(40_000, "-c", "1")),
    Workload("redis-50", "redis GET, 50 connections", "requests/s", redis_get(150_000, "-c", "50")),
    Workload("redis-50-16", "redis GET, 50 connections, pipeline 16", "requests/s",
             redis_get(1_000_000, "-c", "50", "-P", "16")),
    Workload("memcached", "memcached get (memcslap), 16 connections", "requests/s", memcached),
    Workload("nginx", "nginx keep-alive (wrk), 16 connections", "requests/s", nginx),
    Workload("connect", "Connect, one request, close", "connections/s", connects, sliced=20),
    Workload("connect-off", "The same under MILLRACE=off", "connections/s", connects, (PLAIN, OFF), sliced=20),
    Workload("idle-lanes", "Busy lane beside idle ones", "round trips/s", busy_beside, (NO_IDLE, WITH_IDLE), sliced=10),
    Workload("files", "A program of files and pipes", "rounds/s", files_pipes, sliced=20),
    Workload("exec", "exec of /bin/true", "ms", spawn, lower_is_better=True, sliced=20),
    Workload("idle-cpu", "Processor use of 100 idle lanes, both ends", "% of a core",
             many_lanes(IDLE_FOR_CPU - 1, idle_percent), lower_is_better=True),
    Workload("memory", "Memory of an idle connection, both ends", "KiB", many_lanes(IDLE, memory_each),
             lower_is_better=True),
    Workload("memory-used", f"The same {SECONDS_TO_IDLE} s after 320 KB of traffic each", "KiB",
             many_lanes(IDLE, memory_each_after_traffic), lower_is_better=True),
]
