#!/usr/bin/python3
"""Real programs for as long as you like, under MILLRACE_CHAOS, with kills and forks; every stream is compared, and memory and
descriptors stay what they were.

A round is ten seconds of load: streams that are compared at both ends (stream.c), Redis with values that are compared and
snapshots (a fork) under load, nginx with a load generator; clients are killed now and then. Then everything that came has
gone, and what the servers hold is counted. The first round is for warming up.
"""

import argparse
import contextlib
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "Support"), str(HERE.parent / "Programs")]

import lanes  # noqa: E402
import web  # noqa: E402
from redis_parts import RESP, start_server  # noqa: E402
from session import BUILD, EXIT_LINE, PYTHON, Failure, Session, check, free_port  # noqa: E402

ROUND = 10
STREAMS = 4
# What may come and go by itself: arenas and caches of allocators, pages of the page cache that are mapped.
MEMORY_SLACK = 6 << 20
MAPPINGS_SLACK = 24
# What a process makes with its first connection and the first sleepers, and keeps: a statistics page, an epoll set and its
# wake-up, an eventfd for each thread that has slept in poll at the same time as others.
KEPT = {"anon_inode:[eventfd]", "anon_inode:[eventpoll]", "/memfd:millrace-stats (deleted)"}
MOST_KEPT = 70


def build():
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-g", "-pthread", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE",
                    HERE / "stream.c", "-o", BUILD / "stream"], check=True)


def is_service(pid, thread):
    try:
        return pathlib.Path(f"/proc/{pid}/task/{thread}/comm").read_text() == "millrace\n"
    except OSError:
        return False


class Held:
    """What a process and its descendants hold. A process gets Millrace's thread with its first connection, which may come to
    a worker of nginx's in any round: what belongs to the thread is counted apart, and there is one at most."""

    def __init__(self, process):
        self.descriptors = self.mappings = self.memory = self.threads = 0
        self.processes = self.services = 0
        self.names = []
        for pid in process.pids():
            try:
                names = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
                services = sum(is_service(pid, thread) for thread in os.listdir(f"/proc/{pid}/task"))
                kept = [name for name in names if name in KEPT]
                self.names += names
                self.descriptors += len(names) - len(kept)
                self.mappings += len(pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines())
                status = pathlib.Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            self.processes += 1
            check(services <= 1 and len(kept) <= MOST_KEPT, f"{pid} has {services} service threads, and {kept}")
            self.services += services
            self.threads += int(re.search(r"Threads:\s+(\d+)", status)[1]) - services
            self.memory += 1024 * sum(int(n) for n in re.findall(r"Rss(?:Anon|Shmem):\s+(\d+)", status))

    def __str__(self):
        return (f"{self.processes} processes, {self.threads} threads, {self.services} services, {self.descriptors} descriptors, "
                f"{self.mappings} mappings, {self.memory >> 10} KiB")

    def exceeds(self, first):
        return (self.descriptors > first.descriptors or self.processes > first.processes or self.threads > first.threads
                or self.mappings > first.mappings + MAPPINGS_SLACK or self.memory > first.memory + MEMORY_SLACK)


class Soak:
    def __init__(self, session, seed):
        self.session, self.random = session, random.Random(seed)
        self.bytes = self.connections = self.bodies = self.killed = self.snapshots = 0
        self.rounds = 0
        self.first = None
        self.streams = session.start("streams", [BUILD / "stream", "serve"])
        self.stream_port = self.await_port()
        self.redis_port = free_port()
        self.redis = start_server(session, self.redis_port)
        self.nginx, self.web_port = web.start_nginx(session)
        self.servers = {"streams": self.streams, "redis": self.redis, "nginx": self.nginx}

    def await_port(self):
        deadline = time.monotonic() + 10
        while not (found := re.search(r"port (\d+)", self.streams.text())):
            check(time.monotonic() < deadline, "the streams' server does not begin")
            time.sleep(0.01)
        return int(found[1])

    def start_stream(self):
        number = self.random.randrange(1 << 30)
        return self.session.start(f"ask-{number}", [BUILD / "stream", "ask", self.stream_port, number], side="client")

    def start_load(self, number):
        pipeline = self.random.choice([1, 1, 8])
        return self.session.start(f"load-{number}", ["redis-benchmark", "-p", self.redis_port, "-t", "set,get", "-c", "8",
                                                     "-P", pipeline, "-n", "100000000", "-q"], side="client")

    def round(self):
        end = time.monotonic() + ROUND
        asking = [self.start_stream() for _ in range(STREAMS)]
        load = self.start_load(self.rounds)
        environment = self.session.environment("client", EXPECT_FILE=str(self.session.path("www/middle")))
        wrk = self.session.start(f"wrk-{self.rounds}", ["wrk", "-t1", "-c8", f"-d{ROUND - 2}", "-s", web.COMPARE,
                                                        f"http://127.0.0.1:{self.web_port}/middle"],
                                 environment=environment)
        turn = 0
        while time.monotonic() < end:
            seed = self.random.randrange(1000)
            for what in ("write", "verify"):
                self.session.call("resp", [PYTHON, RESP, self.redis_port, what, seed])
            self.session.call("cli", ["redis-cli", "-p", self.redis_port, "BGSAVE"])
            self.snapshots += 1
            victim = self.random.choice([load, *asking])
            victim.child.kill()
            victim.child.wait()
            self.killed += 1
            if victim is load:
                load = self.start_load(f"{self.rounds}-{turn}")
            else:
                self.collect(victim)
                asking[asking.index(victim)] = self.start_stream()
            turn += 1
            self.check_servers()
        for process in asking:
            deadline = time.monotonic() + 30
            while "begun" not in process.text():
                check(time.monotonic() < deadline, "a stream does not begin")
                time.sleep(0.01)
            process.child.send_signal(signal.SIGTERM)
        for process in asking:
            check(process.wait(90) == 0, f"a stream failed: {process.text()}")
            self.collect(process)
        load.stop()
        # wrk takes a read that finds nothing for an error, and connects again.
        compared = wrk.wait(30) == 0 and re.search(r"compared good=(\d+) bad=0", wrk.text())
        check(compared, f"wrk: {wrk.text()}")
        self.bodies += int(compared[1])
        self.rounds += 1
        self.quiesce()

    def collect(self, process):
        text = process.text()
        check("wrong" not in text, f"a stream differs: {text}\nThe server: {self.server_text()}")
        sizes = [int(size) for size in re.findall(r"ok (\d+)", text)]
        self.bytes += sum(sizes)
        self.connections += len(sizes)
        process.output.close()
        pathlib.Path(process.log).unlink()
        self.session.processes.remove(process)
        self.session.logs.remove(process.log)

    def server_text(self):
        """What the streams' server has said, but for the last words of its children."""
        return "\n".join(line for line in self.streams.text().splitlines() if not EXIT_LINE.match(line))

    def check_servers(self):
        check("wrong" not in self.streams.text(), self.server_text())
        for name, server in self.servers.items():
            check(server.child.poll() is None, f"{name} has ended: {server.text()[-2000:]}")

    def quiesce(self):
        """All clients are gone: what they brought goes too, within a while."""
        deadline = time.monotonic() + 20
        while True:
            held = {name: Held(server) for name, server in self.servers.items()}
            if self.first is None and time.monotonic() > deadline - 15:
                self.first = held
            if self.first and not any(held[name].exceeds(self.first[name]) for name in held):
                return
            if time.monotonic() > deadline:
                raise Failure("; ".join(f"{name} holds {held[name]}, at first {self.first[name]}: {held[name].names}"
                                        for name in held if held[name].exceeds(self.first[name])))
            time.sleep(0.2)

    def line(self, started):
        attached = sum(lanes.counter(pid, lanes.ATTACHES) for server in self.servers.values() for pid in server.pids())
        holds = "; ".join(f"{name} {Held(server)}" for name, server in self.servers.items())
        print(f"{(time.monotonic() - started) / 60:.1f} min: {self.connections} streams, {self.bytes >> 20} MiB compared, {self.bodies} bodies, "
              f"{self.killed} killed, {self.snapshots} snapshots, {attached} lanes of the servers alone; {holds}", flush=True)
        return attached


@contextlib.contextmanager
def noted(session):
    """Before everything is ended, what was going on is written down."""
    try:
        yield
    except Failure as failure:
        raise Failure(f"{failure}\nstacks and connections: {session.write_stacks()}") from None


def soak(options):
    session = Session(True, True, {"MILLRACE_ATTACH": "2", "MILLRACE_CHAOS": f"{options.seed},{options.rate}"})
    started = last = time.monotonic()
    attached = 0
    with session, noted(session):
        work = Soak(session, options.seed)
        while time.monotonic() - started < 60 * options.minutes or work.rounds < 2:
            work.round()
            if time.monotonic() - last >= 60 or time.monotonic() - started >= 60 * options.minutes:
                attached, last = work.line(started), time.monotonic()
        check(attached >= 20 * work.rounds, f"only {attached} lanes in {work.rounds} rounds")
        check(work.connections >= 10 * work.rounds, f"only {work.connections} streams in {work.rounds} rounds")
    print(f"soak: {options.minutes} minutes, {work.rounds} rounds, all streams exact, nothing left behind")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=20, help="detaches per thousand looks; 0: no chaos")
    options = parser.parse_args()
    build()
    try:
        soak(options)
    except Failure as failure:
        print(f"soak failed: {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
