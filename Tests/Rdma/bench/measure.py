#!/usr/bin/python3
"""Inside the machine: does every work over every transport, and tells the host each result as it comes.

What is to be done is in the environment: bench_parts (works, programs, stepped, counted), bench_only, bench_transports, bench_rounds.
"""

import os
import pathlib
import subprocess
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import correct  # noqa: E402
import fabric  # noqa: E402
import guest  # noqa: E402
import transports  # noqa: E402
import works  # noqa: E402


# Both ends on one processor: then the time that passes is the instructions of both, and of the kernel for them.
PINNED = ("taskset", "-c", "1")


def once(measure, transport, part):
    """One result: how it went, and what was measured."""
    environment = transports.environment(transport, spin=part not in ("counted", "stepped"))
    before = transports.packets()
    try:
        with works.Ends(environment, PINNED if part == "counted" else ()) as ends:
            answer = measure(ends) or {}
        how = "works" if transports.used(transport, transports.packets() - before, answer) else "over TCP"
        return {"how": how, **answer}
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        return {"how": "hangs", "why": str(error)}
    except AssertionError as error:
        return {"how": "fails", "why": str(error)}
    except Exception:  # One measurement that breaks is one result; the others are still to come.
        return {"how": "fails", "why": traceback.format_exc()}


def chosen(table):
    only = os.environ.get("bench_only", "").replace("_", " ").split(";")
    return {title: work for title, work in table.items() if any(word in title for word in only)}


def repeat(part, title, unit, measure):
    for number in range(int(os.environ.get("bench_rounds", "1")) if part == "works" else 1):
        for transport in os.environ.get("bench_transports", ",".join(transports.ALL)).split(","):
            started = time.monotonic()
            result = once(measure, transport, part)
            guest.say("result", part=part, title=title, unit=unit, transport=transport, round=number,
                      seconds=round(time.monotonic() - started, 1), **result)


def main():
    parts = os.environ.get("bench_parts", "works,programs,stepped").split(",")
    if "works" in parts:
        for title, (unit, measure) in chosen(works.WORKS).items():
            repeat("works", title, unit, measure)
    if "programs" in parts:
        for title, measure in chosen(correct.PROGRAMS).items():
            repeat("programs", title, "", measure)
    if "stepped" in parts:
        for title, (unit, measure) in chosen(works.STEPPED).items():
            repeat("stepped", title, unit, measure)
    if "counted" in parts:
        for title, (unit, measure) in works.COUNTED.items():
            repeat("counted", title, unit, measure)


if __name__ == "__main__":
    main()
