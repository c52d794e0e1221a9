#!/usr/bin/python3
"""Runs real programs from Debian packages, bare and under Millrace, and checks the data that they exchanged.

Usage: run.py [--list] [--mode MODE] [--repeat N] [--set VARIABLE=VALUE] [NAME...]
Without a built library only the bare runs take place.
"""

import argparse
import importlib
import pathlib
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Support")]

import registry  # noqa: E402
from closing import closing  # noqa: E402
from session import LIBRARY, Failure, Session  # noqa: E402

# A low threshold, so that lanes attach within the few calls that many scenarios make.
SETTINGS = {"MILLRACE_ATTACH": "2"}
SMALL_RINGS = {"MILLRACE_ATTACH": "0", "MILLRACE_RING": "4K"}


def run_once(scenario, mode, chosen):
    """Returns what went wrong, or None, and a note on the lanes."""
    server = mode in (registry.BOTH, registry.SERVER_ONLY, registry.SMALL_RINGS)
    client = mode in (registry.BOTH, registry.CLIENT_ONLY, registry.SMALL_RINGS)
    settings = SMALL_RINGS if mode == registry.SMALL_RINGS else SETTINGS
    session = Session(server, client, settings | chosen)
    session.lanes = 0
    try:
        with session:
            scenario.body(session)
            note = f", {session.lanes} lanes" if session.both else ""
        return None, note
    except Failure as failure:
        return f"{failure}\n  files: {session.directory}", ""
    except Exception:  # A scenario that breaks is a failed scenario; the others still run.
        return f"{traceback.format_exc()}\n  files: {session.directory}", ""


def selected(names, mode):
    for module in sorted((HERE / "scenarios").glob("*.py")):
        importlib.import_module(f"scenarios.{module.stem}")
    for scenario in registry.SCENARIOS:
        if names and not any(name in scenario.name for name in names):
            continue
        for each in scenario.modes:
            if (mode is None or mode == each) and (each == registry.BARE or LIBRARY.exists()):
                yield scenario, each


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="list the runs and stop")
    parser.add_argument("--mode", choices=registry.MODES)
    parser.add_argument("--set", action="append", default=[], metavar="VARIABLE=VALUE",
                        help="a setting of the preloaded processes (repeatable)")
    parser.add_argument("--repeat", type=int, default=1, help="run everything so many times")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only scenarios whose name contains this")
    options = parser.parse_args()
    chosen = dict(setting.split("=", 1) for setting in options.set)
    passed, failures = 0, []
    runs = list(selected(options.names, options.mode)) * options.repeat
    for number, (scenario, mode) in enumerate(runs, 1):
        label = f"[{number}/{len(runs)}] {scenario.name} ({mode})"
        if options.list:
            print(label)
            continue
        started = time.monotonic()
        problem, note = run_once(scenario, mode, chosen)
        seconds = time.monotonic() - started
        print(f"{label}: {'FAILED' if problem else 'passed'}, {seconds:.1f} s{note}", flush=True)
        if problem:
            print("  " + problem.replace("\n", "\n  "), flush=True)
            failures.append((f"{scenario.name} ({mode})", problem))
        else:
            passed += 1
    if options.list:
        return 0
    if not LIBRARY.exists():
        print("no library is built: only the bare runs took place")
    return closing(passed, failures)


if __name__ == "__main__":
    sys.exit(main())
