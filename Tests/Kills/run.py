#!/usr/bin/python3
"""Sweeps kills over the system calls of one end of a connection (sweep.c): each end, on its way onto a lane and on it, and
while lanes are left and taken again; and of a process that leaves a lane for its relatives (relatives.c). The closing line
is "N passed, N failed"."""

import argparse
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Detaches per thousand looks, and the stride: one call after the other at the attach, where every step is another one.
SWEEPS = [("accept", 0, 1), ("connect", 0, 1), ("accept", 100, 3), ("connect", 100, 3)]


def build(name):
    program = ROOT / "build" / name
    subprocess.run(["gcc", "-std=gnu11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", HERE / f"{name}.c", "-o", program],
                   check=True)
    return program


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", type=pathlib.Path, default=ROOT / "build/libmillrace.so")
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    library = options.library.resolve()
    runs = [[build("sweep"), library, role, str(chaos), "1", str(stride)] for role, chaos, stride in SWEEPS]
    runs += [[build("relatives"), library, role, "1", "2"] for role in ("accept", "connect")]
    passed = failed = 0
    for run in runs * options.repeat:
        role = run[2]
        result = subprocess.run(run, text=True, stdout=subprocess.PIPE, timeout=600)
        print(result.stdout, end="", flush=True)
        counts = re.search(r"(\d+) of them .* lane: (\d+) passed, (\d+) failed", result.stdout)
        if not counts or int(counts[1]) == 0:
            print(f"the sweep over the end that does {role} proves nothing (exit status {result.returncode})")
            failed += 1
        if counts:
            passed += int(counts[2])
            failed += int(counts[3])
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
