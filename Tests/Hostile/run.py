#!/usr/bin/python3
"""Hostile peers against honest programs under Millrace.

Each test starts a victim and a partner (node.c), both preloaded, with an honest connection between them that is on a
lane, and a hostile peer (peer.c), which is not preloaded and speaks Millrace's protocol by itself, wrongly. Afterwards
the victim must live, its honest connection must have gone on, exact and without a stop, the hostile one must have come to
the end that the test names, what the test names must have been counted, nothing must have been left behind, and
new connections must get their lanes.
"""

import argparse
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "Support"))

from closing import closing  # noqa: E402

BUILD = ROOT / "build/hostile"
LIBRARY = ROOT / "build/libmillrace.so"
COMMAND = ROOT / "build/millrace"
CFLAGS = "-std=gnu11 -O1 -g -pthread -Wall -Wextra -Werror -D_GNU_SOURCE".split()
PROGRAMS = {"node": ["node"], "fuzz": ["fuzz", "wire", "lane"], "peer": ["peer", "wire", "lane", "wireup", "cutover", "riding"]}

# How long anything may take that takes microseconds on an idle machine; how long the honest connection may take for 20
# rounds, which are 2 ms apart, and for the longest of them.
PATIENCE = float(os.environ.get("HOSTILE_PATIENCE", 15))
ROUNDS_TIME = 4.0
WORST_ROUND = 1.0


OPTIONS = argparse.Namespace(stacks=False)


class Failure(Exception):
    pass


def build():
    BUILD.mkdir(parents=True, exist_ok=True)
    for program, sources in PROGRAMS.items():
        files = [HERE / f"{name}.c" for name in sources]
        newest = max(path.stat().st_mtime for path in HERE.iterdir())
        target = BUILD / program
        if not target.exists() or target.stat().st_mtime < newest:
            subprocess.run(["gcc", *CFLAGS, *files, "-o", target], check=True)


def until(what, condition, patience=PATIENCE):
    """Waits for something that another process does."""
    end, nap = time.monotonic() + patience, 0.001
    while not (result := condition()):
        if time.monotonic() > end:
            raise Failure(f"waited in vain: {what}")
        # Between two looks, so as not to be in the way; nothing is taken to have happened because of it.
        time.sleep(nap)
        nap = min(2 * nap, 0.05)
    return result


class Program:
    """A program that is told what to do line by line, and answers so."""

    def __init__(self, *arguments, environment=None):
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            list(map(str, arguments)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, bufsize=0,
            env={**os.environ, **(environment or {})})
        self.pid = self.process.pid

    def line(self, patience=PATIENCE + 10):
        end, text = time.monotonic() + patience, b""
        while not text.endswith(b"\n"):
            if not select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise Failure(f"{self.name()} says nothing")
            byte = self.process.stdout.read(1)
            if byte == b"":
                raise Failure(f"{self.name()} ended: {self.result()}")
            text += byte
        return text.decode().strip()

    def tell(self, text):
        try:
            self.process.stdin.write(text.encode() + b"\n")
        except BrokenPipeError:
            raise Failure(f"{self.name()} ended: {self.result()}") from None

    def ask(self, text):
        self.tell(text)
        return self.line()

    def name(self):
        return pathlib.Path(self.process.args[0]).name

    def result(self):
        status = self.process.wait(PATIENCE)
        self.errors.seek(0)
        return f"{signal.Signals(-status).name if status < 0 else status} {self.errors.read().strip()}"

    def end(self):
        if self.process.stdin.closed:
            return
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            stream.close()


class Node(Program):
    """An honest program under Millrace."""

    def __init__(self, mode, **settings):
        environment = {"LD_PRELOAD": str(LIBRARY), "MILLRACE_ATTACH": "0", **settings}
        super().__init__(BUILD / "node", mode, environment=environment)
        self.port = int(self.line().split()[1])

    def report(self, command="report"):
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", self.ask(command))}

    def statistics(self):
        text = subprocess.run([COMMAND, "ss", "--json", "--pid", str(self.pid)], capture_output=True, check=True).stdout
        processes = json.loads(text)["processes"]
        return processes[0] if processes else {"counters": {}, "declines": {}, "connections": []}

    def lanes(self):
        return sum(row["path"] == "lane" for row in self.statistics()["connections"])

    def counted(self, name):
        statistics = self.statistics()
        return statistics["declines"].get(name, 0) + statistics["counters"].get(name, 0)

    def holds(self):
        """What a connection costs: descriptors, and mappings of lanes."""
        maps = pathlib.Path(f"/proc/{self.pid}/maps").read_text()
        return len(os.listdir(f"/proc/{self.pid}/fd")), len(re.findall("memfd:(?:millrace-lane|hostile)", maps))


class Test:
    # How the victim waits, and the order to fork that it is given on the lane.
    MODES = {"epoll": ("epoll", None), "threads": ("threads", None), "family": ("threads", "fork2"),
             "orphan": ("threads", "fork1")}

    def __init__(self, name, role, counts, after, mode):
        self.name, self.role, self.counts, self.after = name, role, counts, after
        self.mode, self.order = self.MODES[mode]
        if self.order:
            # It is the child's page, or the parent's, that counts.
            self.counts = ""
        self.title = f"{name} ({'leads' if role == 'l' else 'follows'}, {mode})"
        self.programs = []

    def start(self, program):
        self.programs.append(program)
        return program

    def run(self):
        try:
            self.victim, self.partner = self.start(Node(self.mode)), self.start(Node("epoll"))
            self.victim.report(f"drive {self.partner.port}")
            until("the honest connection's lane", lambda: self.victim.lanes() == 1)
            self.check_honest()
            self.before = self.victim.holds()
            self.attack()
            self.check_end()
            self.check_new_connection()
            self.victim.tell("quit")
            if (result := self.victim.result().strip()) != "0":
                raise Failure(f"the victim: {result}")
            return None
        except (Failure, subprocess.SubprocessError) as failure:
            return f"{failure}{self.stacks() if OPTIONS.stacks else ''}"
        finally:
            for program in self.programs:
                program.end()

    def stacks(self):
        """What the victim and its children are doing, and what they have counted."""
        if self.victim.process.poll() is not None:
            return ""
        children = pathlib.Path(f"/proc/{self.victim.pid}/task").glob("*/children")
        pids = [self.victim.pid, *(int(pid) for file in children for pid in file.read_text().split())]
        lines = ["", str(self.victim.report())]
        for pid in pids:
            command = ["gdb", "-p", str(pid), "-batch", "-ex", "set width 0", "-ex", "thread apply all backtrace"]
            trace = subprocess.run(command, capture_output=True, text=True).stdout
            lines += [f"process {pid}", *re.findall("^(?:Thread|#).*", trace, re.M)]
            for extra in ([], ["--counters"]):
                command = [COMMAND, "ss", "--all", "--pid", str(pid), *extra]
                text = subprocess.run(command, capture_output=True, text=True).stdout
                lines += [line for line in text.splitlines() if not line.endswith(" 0")]
        return "\n".join(lines)

    def attack(self):
        place = [] if self.role == "l" else [self.victim.port]
        order = {"HOSTILE_ORDER": self.order} if self.order else {}
        peer = self.start(Program(BUILD / "peer", self.name, self.role, *place, environment=order))
        if self.role == "l":
            self.victim.report(f"connect {peer.line().split()[1]}")
        if (answer := peer.line()) != "done":
            raise Failure(f"the peer {answer}")
        if self.counts:
            until(f"{self.counts} is counted", lambda: self.victim.counted(self.counts))
        self.check_honest()
        self.check_new_connection()
        if self.after in ("stopped", "killed"):
            peer.tell("")
            until("the peer's signal", lambda: self.state(peer) in "TZ")
            self.check_honest()
            return peer.process.kill()
        peer.tell("")
        if (answer := peer.line()) != "ok":
            raise Failure(f"the peer {answer}")

    @staticmethod
    def state(program):
        return pathlib.Path(f"/proc/{program.pid}/stat").read_text().rsplit(") ", 1)[1][0]

    def check_honest(self):
        """The honest connection goes on: as many rounds more, none of them wrong or held up."""
        first = self.victim.report()
        began, worst = first["rounds"], first["worst"] / 1e6

        def went_on():
            nonlocal worst
            report = self.victim.report()
            worst = max(worst, report["worst"] / 1e6)
            if report["wrong"]:
                raise Failure("the honest connection is not exact")
            return report["rounds"] >= began + 20

        until("the honest connection goes on", went_on, ROUNDS_TIME)
        if worst > WORST_ROUND:
            raise Failure(f"the honest connection was held up for {worst:.2f} s")

    def check_end(self):
        """The victim sees that the hostile peer is gone, and keeps nothing of it."""
        until("the victim sees the end", lambda: self.victim.report()["open"] == 1)
        until("nothing is left behind", lambda: self.victim.holds() == self.before)

    def check_new_connection(self):
        """The victim's service still does its work."""
        witness = self.start(Node("epoll"))
        witness.report(f"drive {self.victim.port}")
        until("a lane for a new connection", lambda: witness.lanes() == 1)
        until("rounds on the new connection", lambda: witness.report()["rounds"] >= 5)
        witness.end()
        self.check_honest()


def tests(filters, modes):
    listing = subprocess.run([BUILD / "peer", "--list"], check=True, capture_output=True, text=True).stdout
    for line in listing.splitlines():
        name, roles, counts, after, where = line.split()
        for role in roles:
            for mode in modes:
                if Test.MODES[mode][1] and where != "lane":
                    continue
                test = Test(name, role, "" if counts == "-" else counts, after, mode)
                if not filters or any(text in test.title for text in filters):
                    yield test


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("filters", nargs="*", help="parts of the titles of the tests to run")
    parser.add_argument("--modes", default=",".join(Test.MODES), help="what the victim does")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--stacks", action="store_true", help="show what the victim of a failed test is doing (gdb)")
    options = parser.parse_args(namespace=OPTIONS)
    if os.geteuid() != 0:
        sys.exit("hostile: must be root, to make peers of other users and in other namespaces")
    build()
    chosen = list(tests(options.filters, options.modes.split(","))) * options.repeat
    if options.list:
        return print("\n".join(test.title for test in chosen))
    failures = []
    for test in chosen:
        began = time.monotonic()
        problem = test.run()
        if problem:
            failures.append((test.title, problem))
        if problem or sys.stdout.isatty():
            print(f"{'FAIL' if problem else 'ok  '} {test.title}: {problem or ''} {time.monotonic() - began:.1f} s", flush=True)
    sys.exit(closing(len(chosen) - len(failures), failures))


if __name__ == "__main__":
    main()
