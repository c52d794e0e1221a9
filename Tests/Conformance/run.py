#!/usr/bin/env python3
"""Runs every conformance scenario on the bare kernel and under Millrace, and compares what the scenario observed.

A scenario prints what it sees (return values, errno, bytes, readiness); its output in every mode has to be the
output of the bare kernel.  The closing line is "N passed, N failed"; the exit status is 1 when anything failed.
"""

import argparse
import concurrent.futures
import difflib
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "Support"))

from closing import closing  # noqa: E402

# What each mode adds to the environment.  "kernel" is the reference and has no library at all.
MODES = {
    "kernel": {},
    # Preloaded, and the threshold is never met: every connection is tracked and stays on the kernel path.
    "idle": {"MILLRACE_ATTACH": "4000000000,1000000000000"},
    # Preloaded, and the scenario asserts that its connections ride lanes before it starts to observe.
    "lane": {"MILLRACE_ATTACH": "0", "OBSERVE_LANE": "1"},
    # Preloaded, and the scenario does not wait: the attach falls anywhere into what it observes.
    "race": {"MILLRACE_ATTACH": "0"},
    # Preloaded with nothing set: connections earn their lanes as they do for everybody.
    "default": {},
    # Preloaded and told to keep out.
    "off": {"MILLRACE": "off"},
    # Lanes are left and taken again at random moments.
    "chaos": {"MILLRACE_ATTACH": "0", "MILLRACE_CHAOS": "7,30"},
    # As "lane", with the smallest ring: everything of any size wraps, fills and waits.
    "small": {"MILLRACE_ATTACH": "0", "OBSERVE_LANE": "1", "MILLRACE_RING": "4K"},
    # Lanes over RDMA, for the machine that has it: hosts' own addresses stand for the one that its device has.
    "verbs": {"MILLRACE_ATTACH": "0", "OBSERVE_LANE": "1", "MILLRACE_FABRICS": "verbs",
              "MILLRACE_MAP": "127.0.0.1=10.76.0.1,::1/128=::ffff:10.76.0.1"},
    "verbs-asleep": {"MILLRACE_ATTACH": "0", "OBSERVE_LANE": "1", "MILLRACE_FABRICS": "verbs", "MILLRACE_SPIN": "0",
                     "MILLRACE_KEY_FILE": str(HERE / "run.py"),
                     "MILLRACE_MAP": "127.0.0.1=10.76.0.1,::1/128=::ffff:10.76.0.1"},
    # As "lane", and no end ever spins: every wait goes through arming and the bell.
    "asleep": {"MILLRACE_ATTACH": "0", "OBSERVE_LANE": "1", "MILLRACE_SPIN": "0"},
}
DEFAULT_MODES = "kernel,idle,default,lane"
TIMEOUT_SECONDS = 30


def known_differences():
    """What known-differences.txt admits: a pair of scenario and mode to the reason."""
    known = {}
    for line in (HERE / "known-differences.txt").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, modes, reason = line.split(None, 2)
            known.update({(name, mode): reason for mode in modes.split(",")})
    return known


class Outcome:
    """What one run of one scenario left behind."""

    def __init__(self, lines, errors, seconds, timed_out):
        self.lines = lines
        self.errors = errors
        self.seconds = seconds
        self.timed_out = timed_out


def environment_of(mode, library):
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("MILLRACE", "LD_PRELOAD", "OBSERVE_LANE"))}
    keep.update(MODES[mode])
    if mode != "kernel":
        keep["LD_PRELOAD"] = str(library)
    return keep


def end_session(process):
    """Ends whatever the scenario left running: it has a session, and so a process group, of its own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def run_once(program, mode, library, seconds):
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        process = subprocess.Popen(
            [str(program)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=environment_of(mode, library),
            cwd=program.parent,
            start_new_session=True,
        )
        timed_out = False
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            timed_out = True
        end_session(process)
        process.wait()
        out.seek(0)
        err.seek(0)
        lines = out.read().decode("utf-8", "replace").splitlines()
        errors = err.read().decode("utf-8", "replace").splitlines()
    if timed_out:
        lines.append(f"(no end after {seconds} s)")
    elif status < 0:
        lines.append(f"(killed by {signal.Signals(-status).name})")
    else:
        lines.append(f"(exit status {status})")
    return Outcome(lines, errors, time.monotonic() - started, timed_out)


def indent(lines, limit=30):
    shown = [f"    {line}" for line in lines[:limit]]
    if len(lines) > limit:
        shown.append(f"    ... {len(lines) - limit} more lines")
    return shown


def compare(expected, outcome, mode):
    """The report of a difference, or nothing when there is none."""
    if outcome.lines == expected and not outcome.timed_out:
        return []
    report = [f"  mode {mode} ({outcome.seconds:.1f} s):"]
    difference = list(difflib.unified_diff(expected, outcome.lines, "kernel", mode, lineterm="", n=2))
    report += indent(difference or outcome.lines)
    if outcome.errors:
        report += ["  standard error:"] + indent(outcome.errors, 15)
    return report


def judge(program, modes, library, repeat, seconds):
    """The report and the modes that failed.  Every mode gets its say even when an earlier one failed."""
    reference = run_once(program, "kernel", library, seconds)
    problems, failed = [], set()
    if reference.timed_out or reference.lines[-1] != "(exit status 0)":
        problems += ["  mode kernel, the reference, did not end well:"]
        return problems + indent(reference.lines) + indent(reference.errors, 15), ["kernel"]
    for turn in range(repeat):
        for mode in modes:
            if (mode == "kernel" and turn == 0) or mode in failed:
                continue
            report = compare(reference.lines, run_once(program, mode, library, seconds), mode)
            if report:
                failed.add(mode)
                problems += report
    return problems, sorted(failed)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--filter", default="", help="run only scenarios whose name contains this (comma separated)")
    parser.add_argument("--library", type=pathlib.Path, default=ROOT / "build/libmillrace.so")
    parser.add_argument("--programs", type=pathlib.Path, default=ROOT / "build/conformance")
    parser.add_argument("--modes", default=DEFAULT_MODES, help=f"of {','.join(MODES)} (default {DEFAULT_MODES})")
    parser.add_argument("--repeat", type=int, default=1, help="run each mode this often")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_SECONDS, help="seconds that one run may take")
    parser.add_argument("-j", "--jobs", type=int, default=2)
    options = parser.parse_args()
    options.modes = options.modes.split(",")
    unknown = [mode for mode in options.modes if mode not in MODES]
    if unknown:
        parser.error(f"unknown mode {unknown[0]}; there are {', '.join(MODES)}")
    if options.modes != ["kernel"] and not options.library.exists():
        parser.error(f"there is no library {options.library}; build it, or use --modes kernel")
    options.library = options.library.resolve()
    return options


def selected(options):
    sources = {path.stem for path in (HERE / "scenarios").glob("*.c")}
    wanted = [part for part in options.filter.split(",") if part] or [""]
    found = []
    for name in sorted(sources):
        for program in (options.programs / name, options.programs / f"{name}.fortified"):
            if any(part in program.name for part in wanted) and (program.exists() or program.name == name):
                found.append(program)
    return found


def main():
    options = arguments()
    programs = selected(options)
    known = known_differences()
    passed, failures, admitted = 0, [], 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:

        def work(program):
            if not program.exists():
                return ["  it has not been built"], ["kernel"]
            return judge(program, options.modes, options.library, options.repeat, options.timeout)

        for program, (problems, modes) in zip(programs, pool.map(work, programs)):
            if problems and all((program.name, mode) in known for mode in modes):
                admitted += 1
                print(f"KNOWN {program.name} ({', '.join(modes)}): {known[(program.name, modes[0])]}", flush=True)
            elif problems:
                failures.append((f"{program.name} ({', '.join(modes)})", "\n".join(problems)))
                print(f"FAIL {program.name} ({', '.join(modes)})")
                print("\n".join(problems), flush=True)
            else:
                passed += 1
                print(f"PASS {program.name}", flush=True)
    if admitted:
        print(f"{admitted} differ as known-differences.txt admits")
    return closing(passed, failures)


if __name__ == "__main__":
    sys.exit(main())
