"""The work that is measured, each once, with its two ends on the two addresses of the pair."""

import json
import re

import fabric
from transports import PROGRAMS

SERVER = fabric.PAIR_ADDRESS["v1"]
WORK = PROGRAMS / "work"
END_LIMIT = 40


class Ends:
    """The programs of one measurement, ended when it ends."""

    def __init__(self, environment, prefix=()):
        self.environment = environment
        self.prefix = prefix
        self.programs = []

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for program in self.programs:
            program.kill()

    def start(self, *command, **extra):
        program = fabric.Program(*self.prefix, *command, **{**self.environment, **extra})
        self.programs.append(program)
        return program

    def call(self, *command, seconds=END_LIMIT, **extra):
        program = self.start(*command, **extra)
        status = program.end(seconds)
        if status != 0:
            raise AssertionError(f"exit status {status}: {last_line(program.text())}")
        return program.text()


def last_line(text):
    return (text.strip().splitlines() or ["nothing said"])[-1]


def until_it_serves(server, what, *probe, seconds=20):
    """Asks with a program of the same transport until the server answers: only that way knows where it listens."""
    def answers():
        if server.child.poll() is not None:
            raise AssertionError(f"the server ended with {server.child.returncode}: {last_line(server.text())}")
        return what(*probe)
    fabric.wait_until(answers, "the server answers", seconds)


def work(kind, size, waiting, amount):
    def measure(ends):
        server = ends.start(WORK, "serve", SERVER, 7000, kind, size, waiting, 0)
        server.says("listening", 20)
        answer = json.loads(last_line(ends.call(WORK, "ask", SERVER, 7000, kind, size, waiting, amount)))
        if kind == "pingpong":
            server.child.wait(20)
            own = json.loads(last_line(server.text()))
            answer.update({name: answer[name] + own[name] for name in ("user", "kernel")}, lane=answer["lane"] & own["lane"])
        return answer
    return measure


def stepped(size, waiting, amount):
    """How many instructions in user space the two ends take for so many round trips, and a few for counting."""
    def measure(ends):
        step = PROGRAMS / "step"
        server = ends.start(step, WORK, "serve", SERVER, 7000, "pingpong", size, waiting, 0, WORK_STOP="1")
        server.says("listening", 20)
        asked = ends.call(step, WORK, "ask", SERVER, 7000, "pingpong", size, waiting, amount, WORK_STOP="1")
        server.child.wait(20)
        # The program's own line comes before the count.
        lines = [[json.loads(line) for line in text.splitlines() if line.startswith("{")] for text in (asked, server.text())]
        return sum(own[-1]["steps"] for own in lines), min(own[0].get("lane", 0) for own in lines)
    return measure


def steps(size, waiting):
    """Instructions per round trip: what further rounds add, so that what comes once does not count."""
    few, many = 2, 10
    def measure(ends):
        counts = [stepped(size, waiting, amount)(ends) for amount in (few, many)]
        return {"value": (counts[1][0] - counts[0][0]) / (many - few), "lane": counts[0][1] & counts[1][1]}
    return measure


def redis_server(ends):
    server = ends.start("redis-server", "--port", 7100, "--bind", SERVER, "--save", "", "--protected-mode", "no", "--dir", "/tmp")
    server.says("Ready to accept connections", 20)
    return server


def redis(clients, requests):
    def measure(ends):
        redis_server(ends)
        out = ends.call("redis-benchmark", "-h", SERVER, "-p", 7100, "-t", "get", "--csv", "-n", requests, "-c", clients)
        return {"value": float(re.search(r'"GET","([0-9.]+)"', out).group(1))}
    return measure


def memcached(ends):
    server = ends.start("memcached", "-u", "root", "-l", SERVER, "-p", 7200, "-t", 1, "-v")
    fabric.wait_until(lambda: server.child.poll() is not None or answers_memcached(ends), "memcached answers", 20)
    out = ends.call("memcslap", f"--servers={SERVER}:7200", "--concurrency=4", "--test=get", "--execute-number=500", "--initial-load=200")
    match = re.search(r"Time to get +(\d+) keys by +4 threads: +([0-9.]+) seconds", out)
    assert match and int(match.group(1)) == 2000, last_line(out)
    return {"value": 2000 / float(match.group(2))}


def answers_memcached(ends):
    probe = ends.start("memcping", f"--servers={SERVER}:7200")
    return probe.child.wait(10) == 0


WORKS = {
    **{f"ping-pong {size} B, {waiting}": ("round trips/s", work("pingpong", size, waiting, 2000))
       for size in (64, 4096) for waiting in ("block", "poll", "epoll")},
    "64 B messages one way": ("messages/s", work("oneway", 64, "block", 1500)),
    "one stream of 64 KiB writes": ("writes/s", work("oneway", 65536, "block", 1500)),
    "redis GET, 1 connection": ("requests/s", redis(1, 2000)),
    "redis GET, 50 connections": ("requests/s", redis(50, 5000)),
    "memcached get": ("requests/s", memcached),
    "connect, 4 round trips, close": ("connections/s", work("connect", 64, "block", 1500)),
}
STEPPED = {f"ping-pong 64 B, {waiting}": ("instructions in user space", steps(64, waiting)) for waiting in ("block", "poll", "epoll")}
# With one instruction as one nanosecond.
COUNTED = {"ping-pong 64 B, block": ("round trips/s", work("pingpong", 64, "block", 1000))}
