"""How one figure is measured: a session per measurement, the small C programs, and what a process has used."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import typing

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "Support"))

import lanes as lane_counts  # noqa: E402
from session import BUILD, Failure, Session, check, free_port  # noqa: E402

PROGRAMS = BUILD / "bench"
RAW, PLAIN, MILLRACE, UNIX = "raw", "plain", "millrace", "unix"
# Loaded, and told to do nothing (MILLRACE=off).
OFF = "off"


@dataclasses.dataclass
class Measurement:
    value: float
    # Lanes that took part, and how many there should have been; None where there should be none.
    lanes: typing.Optional[int] = None
    wanted: int = 1


@dataclasses.dataclass
class Workload:
    """One kind of work. `measure(context, variant)` does it once, freshly started, and returns a Measurement.

    A figure that must show a difference of a few percent is `sliced`: of so many slices in each round. Then `measure`
    gives a context manager instead, which yields a function that measures one short slice. Both variants are set up at the
    same time, their slices alternate, and what is judged is the median over pairs of neighbours, so that a machine whose
    speed drifts, or is taken away for a while, drifts under both.
    """

    key: str
    title: str
    unit: str
    measure: typing.Callable
    variants: tuple = (PLAIN, MILLRACE)
    lower_is_better: bool = False
    sliced: int = 0


class Context:
    """What every measurement gets: how long to work, and sessions of the wanted variant."""

    def __init__(self, scale):
        self.scale = scale

    def seconds(self, wanted):
        return max(0.3, wanted * self.scale)

    def count(self, wanted):
        return max(1000, int(wanted * self.scale))

    def slices(self, wanted):
        return max(4, int(wanted * self.scale))

    def session(self, variant):
        preloaded = variant in (MILLRACE, OFF)
        switch = {"MILLRACE": "off"} if variant == OFF else {}
        return Session(preloaded, preloaded, {"MILLRACE_LOG": "error", **switch})


def lanes_of(session, variant, *processes):
    return sum(lane_counts.attaches(session, process) for process in processes) if variant == MILLRACE else None


def compile_programs():
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    for source in sorted((HERE / "micro").glob("*.c")):
        target = PROGRAMS / source.stem
        if not target.exists() or target.stat().st_mtime < max(
                source.stat().st_mtime, (HERE / "micro" / "micro.h").stat().st_mtime):
            subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", target, source], check=True)


def pinned(end, command):
    """The command on the first or the last processor (0, -1), so that where the scheduler puts the two ends of a
    connection, which it decides anew each time, is not what is measured."""
    return ["taskset", "-c", sorted(os.sched_getaffinity(0))[end], *command]


def start_micro(session, name, *arguments, on=lambda command: command):
    """Starts the serving end of a C program; returns when it says that it listens."""
    process = session.start(name, on([PROGRAMS / name, "serve", *arguments]))
    while "listening" not in process.text():
        check(process.child.poll() is None, f"{name} ended early: {process.text()}")
    return process


def ask_micro(session, name, *arguments, on=lambda command: command):
    """Runs the asking end and returns the numbers that it printed."""
    return [float(word) for word in session.call(f"{name}-ask", on([PROGRAMS / name, "ask", *arguments])).split()]


class Dialogue:
    """The asking end of many_lanes, which does one step for each line that it is sent."""

    def __init__(self, session, port, idle):
        self.child = subprocess.Popen(
            [PROGRAMS / "many_lanes", "ask", str(port), str(idle)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env=session.environment("client"))
        self.expect("started")

    def expect(self, word):
        line = self.child.stdout.readline()
        if not line.startswith(word):
            raise Failure(f"many_lanes said '{line.strip()}' instead of '{word}'")
        return line[len(word):].strip()

    def say(self, line):
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()

    def attach(self):
        """Opens the connections and lets them earn their lanes; returns how many have one."""
        self.say("attach")
        return int(self.expect("attached"))

    def exchange_on_all(self, count):
        """On every connection that is on a lane; returns how many these are."""
        self.say(f"all {count}")
        return int(self.expect(""))

    def rate(self, seconds):
        self.say(f"go {seconds}")
        return float(self.expect(""))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.child.stdin.close()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def processor_seconds(pid):
    """What all threads of a process have used so far."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident_kib(pid):
    """Memory of a process in KiB, each shared page divided among those that share it (a page of a ring that both ends have
    touched counts once over both, although each has it mapped), and the page tables. Not what the kernel needs for
    its sockets."""
    found = {}
    for name in ("smaps_rollup", "status"):
        for line in pathlib.Path(f"/proc/{pid}/{name}").read_text().splitlines():
            if line.startswith(("Pss:", "VmPTE:")):
                found[line.split(":")[0]] = int(line.split()[1])
    if len(found) < 2:
        raise Failure(f"process {pid} tells nothing of its memory")
    return sum(found.values())


__all__ = ["Context", "Dialogue", "MILLRACE", "Measurement", "PLAIN", "PROGRAMS", "RAW", "UNIX", "Workload",
           "ask_micro", "check", "compile_programs", "free_port", "lanes_of", "pinned", "processor_seconds",
           "resident_kib", "start_micro"]
