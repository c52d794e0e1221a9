"""Starts real programs, bare or under Millrace, and cleans up after them.

Everything that the program tests, the demo and the benchmarks have in common: where the build is, the environment of a
preloaded process, free ports, waiting until a server answers, and ending what was started (by process group, and only
what this session started).
"""

import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import lanes

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / "build"
LIBRARY = BUILD / "libmillrace.so"
VERBS = BUILD / "libmillrace-verbs.so"
COMMAND = BUILD / "millrace"
PYTHON = "/usr/bin/python3"
LOOPBACK = "127.0.0.1"

EXIT_LINE = re.compile(r"millrace: exit pid=(\d+) attaches=(\d+)")


class Failure(Exception):
    """A check of a scenario that did not hold."""


# How many times slower than a usual machine this one is: an emulated processor needs longer for the same.
PATIENCE = int(os.environ.get("PATIENCE", "1"))


def check(condition, message):
    if not condition:
        raise Failure(message)


def free_port():
    """A port that was free a moment ago. The kernel hands out another one each time."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


def random_bytes(size, seed):
    return random.Random(seed).randbytes(size)


class Process:
    """A program in the background, in a process group of its own, with its output in a file."""

    def __init__(self, name, arguments, environment, log, directory):
        self.name = name
        self.log = log
        self.output = open(log, "ab")
        self.child = subprocess.Popen(
            [str(argument) for argument in arguments], env=environment, cwd=directory, stdin=subprocess.DEVNULL,
            stdout=self.output, stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def pid(self):
        return self.child.pid

    def text(self):
        return pathlib.Path(self.log).read_text(errors="replace")

    def pids(self):
        """This process and its descendants, as they are now."""
        children = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
                except OSError:
                    continue
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
        found, queue = [], [self.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            queue += children.get(pid, [])
        return found

    def wait(self, timeout=30):
        try:
            return self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within {timeout} s") from None

    def wait_for_text(self, text, timeout=30):
        """Until it has written that."""
        deadline = time.monotonic() + timeout
        while text not in self.text():
            check(self.child.poll() is None, f"{self.name} has ended: {self.text()[-1000:]}")
            check(time.monotonic() < deadline, f"{self.name} has not said {text!r} within {timeout} s: {self.text()[-1000:]}")
            time.sleep(0.01)

    def stop(self, first=signal.SIGTERM):
        """Ends the group: asks, waits, then kills."""
        if self.child.poll() is None:
            self.signal_group(first)
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                pass
        self.signal_group(signal.SIGKILL)
        self.child.wait()
        self.output.close()

    def signal_group(self, number):
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            pass


class Session:
    """One run of one scenario. `server` and `client` say which ends are preloaded."""

    def __init__(self, server=False, client=False, settings=None):
        self.preloaded = {"server": server, "client": client, "none": False}
        self.settings = settings or {}
        # Readable by every user: servers that drop their privileges load the library and read their files from here.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="millrace-test-"))
        self.directory.chmod(0o755)
        self.library = self.directory / "libmillrace.so"
        if server or client:
            # A copy, so that a build during the run changes nothing, and every user can reach it.
            shutil.copy(LIBRARY, self.library)
            if VERBS.exists():
                shutil.copy(VERBS, self.directory)
            self.library.chmod(0o755)
        self.processes = []
        self.logs = []

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for process in reversed(self.processes):
            process.stop()
        if exception[0] is None:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def both(self):
        """Whether both ends may have lanes."""
        return self.preloaded["server"] and self.preloaded["client"] and self.settings.get("MILLRACE") != "off"

    def environment(self, side, before="", after="", **extra):
        """The environment of a process of that side. `before` and `after` are further preloaded libraries."""
        environment = {
            name: value for name, value in os.environ.items()
            if not name.startswith("MILLRACE") and name != "LD_PRELOAD" and not name.startswith("PYTHON")
        }
        libraries = [before, str(self.library) if self.preloaded[side] else "", after]
        preload = " ".join(library for library in libraries if library)
        if preload:
            environment["LD_PRELOAD"] = preload
        if self.preloaded[side]:
            environment.update({"MILLRACE_LOG": "info"} | self.settings)
        environment.update(extra)
        return environment

    def path(self, name):
        return self.directory / name

    def write(self, name, content):
        path = self.path(name)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(0o644)
        return path

    def start(self, name, arguments, side="server", port=None, environment=None):
        """Starts a program in the background; with a port, returns when it accepts connections there."""
        log = self.path(f"{name}.log")
        self.logs.append(log)
        process = Process(name, arguments, environment or self.environment(side), log, self.directory)
        self.processes.append(process)
        if port is not None:
            self.wait_for_port(process, port)
        return process

    def wait_for_port(self, process, port, timeout=30):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if process.child.poll() is not None:
                raise Failure(f"{process.name} ended with {process.child.returncode} before it listened:\n"
                              f"{process.text()[-2000:]}")
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex((LOOPBACK, port)) == 0:
                    return
            time.sleep(0.02)
        raise Failure(f"{process.name} did not listen within {timeout} s:\n{process.text()[-2000:]}")

    def wait_for_listener(self, process, port, timeout=30):
        """Like `wait_for_port`, for a server that serves one connection only: looks at the kernel's list."""
        wanted = f"{port:04X}"
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and process.child.poll() is None:
            rows = pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]
            if any(row.split()[1].endswith(":" + wanted) and row.split()[3] == "0A" for row in rows):
                return
            time.sleep(0.02)
        raise Failure(f"{process.name} does not listen:\n{process.text()[-2000:]}")

    def wait_for_lanes(self, process, at_least=1, timeout=30):
        """Until the process has had lanes."""
        deadline = time.monotonic() + timeout
        while lanes.attaches(self, process) < at_least:
            check(time.monotonic() < deadline, f"{process.name} got no lane within {timeout} s:\n{process.text()[-2000:]}")
            time.sleep(0.02)

    def call(self, name, arguments, side="client", timeout=40, data=None, environment=None):
        """Runs a program to its end and returns its standard output as bytes. It must succeed."""
        timeout *= PATIENCE
        log = self.path(f"{name}.err")
        self.logs.append(log)
        with open(log, "ab") as errors:
            child = subprocess.Popen(
                [str(argument) for argument in arguments], stdout=subprocess.PIPE, stderr=errors,
                stdin=subprocess.DEVNULL if data is None else subprocess.PIPE, cwd=self.directory,
                env=environment or self.environment(side), start_new_session=True)
            try:
                out, _ = child.communicate(data, timeout)
            except subprocess.TimeoutExpired:
                stacks = self.write_stacks(child.pid)
                os.killpg(child.pid, signal.SIGKILL)
                child.communicate()
                raise Failure(f"{name} did not end within {timeout} s; stacks of all threads: {stacks}") from None
        if child.returncode != 0:
            tail = log.read_text(errors="replace")[-2000:]
            raise Failure(f"{name} ended with {child.returncode}:\n{out.decode(errors='replace')[-1000:]}\n{tail}")
        return out

    def write_stacks(self, *more):
        """Where every thread of every process of this session is, and every connection, for whoever looks at a test that hung."""
        path = self.path("stacks.txt")
        pids = [pid for process in self.processes if process.child.poll() is None for pid in process.pids()]
        with open(path, "wb") as file:
            for what in (["ss", "-a"], ["ss", "--counters"]) if COMMAND.exists() else ():
                subprocess.run([COMMAND, *what], stdout=file, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60)
            for pid in [*more, *pids]:
                try:
                    command = pathlib.Path(f"/proc/{pid}/cmdline").read_text()[:200]
                except OSError:
                    # It has ended meanwhile.
                    continue
                file.write(f"== {pid} {command}\n".encode())
                file.flush()
                subprocess.run(["gdb", "-p", str(pid), "-batch", "-ex", "thread apply all backtrace 16"], stdout=file,
                               stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60)
        return path

    def exit_lines(self, log=None):
        """(pid, attaches) of every preloaded process that has ended, from its last words."""
        lines = []
        for path in [log] if log else dict.fromkeys(self.logs):
            if path.exists():
                lines += [tuple(map(int, match)) for match in EXIT_LINE.findall(path.read_text(errors="replace"))]
        return lines
