#!/usr/bin/python3
"""Runs the matrix: every row in every setting, and makes a table of it.

Usage: run.py [--list] [--quick] [--setting SETTING] [--set VARIABLE=VALUE] [--repeat N] [--keep] [--table FILE] [NAME...]
Results are kept in build/matrix.json. With --keep they are added to those of earlier runs, so that a matrix may be run in
parts; --table writes the table of what is there.
"""

import argparse
import importlib
import json
import os
import pathlib
import subprocess
import sys
import time
import traceback

import matrix
from session import BUILD, Failure, Session

RESULTS = BUILD / "matrix.json"
# A low threshold, so that lanes attach within the few calls that some rows make.
LOW = {"MILLRACE_ATTACH": "2"}


def run_once(row, setting, chosen):
    """Returns what went wrong, or None; how many lanes there were; the seconds."""
    server, client = setting != matrix.CLIENT, setting != matrix.SERVER
    settings = {"MILLRACE": "off"} if setting == matrix.OFF else LOW
    session = Session(server, client, settings | chosen)
    session.lanes = 0
    started = time.monotonic()
    problem = None
    try:
        with session:
            row.body(session)
    except Failure as failure:
        problem = f"{failure}\n  files: {session.directory}"
    except Exception:  # A row that breaks is a failed row; the others still run.
        problem = f"{traceback.format_exc()}\n  files: {session.directory}"
    return problem, session.lanes, time.monotonic() - started


def version(package):
    """The installed version, or that of the package it depends on where it only names another."""
    out = subprocess.run(["dpkg-query", "-W", "-f=${Version}", package], capture_output=True, text=True, check=False)
    return out.stdout.rpartition("-")[0].rpartition(":")[2].partition("+dfsg")[0].partition("+ds")[0] or out.stdout.rpartition(":")[2]


def table(results):
    """The page of the documentation."""
    lines = [
        "# The matrix of programs", "",
        "`make matrix` runs real programs of Debian packages, compares their data, and writes this page. Each row runs with Millrace switched",
        "off (`MILLRACE=off`), with the library at the server's end only, at the client's end only, and at both. *Lanes* is how many connections",
        "rode one with both ends preloaded, by the statistics pages of the processes that the row counts (normally the server's).", "",
        "| program | version | what | " + " | ".join(matrix.SETTINGS) + " | lanes |", "|---|---|---|---|---|---|---|---|",
    ]
    for row in matrix.ROWS:
        of = results.get(row.name, {})
        cells = [of.get(setting, {}).get("result", "not run") for setting in matrix.SETTINGS]
        lines.append(f"| {row.name} | {version(row.package)} | {row.what} | {' | '.join(cells)} | {of.get(matrix.BOTH, {}).get('lanes', '')} |")
    passed = sum(cell.get("result") == "passed" for of in results.values() for cell in of.values())
    lines += ["", f"{len(matrix.ROWS)} rows, {passed} of {len(matrix.ROWS) * len(matrix.SETTINGS)} runs passed. Linux {os.uname().release.split('-')[0]}."]
    return "\n".join(lines) + "\n"


def load():
    for module in sorted((matrix.HERE.parent / "Programs/scenarios").glob("*.py")):
        importlib.import_module(f"scenarios.{module.stem}")
    for module in sorted((matrix.HERE / "rows").glob("*.py")):
        importlib.import_module(f"rows.{module.stem}")


def selected(options):
    for row in matrix.ROWS:
        if (options.names and not any(name in row.name for name in options.names)) or (options.quick and not row.quick):
            continue
        for setting in matrix.SETTINGS:
            if options.setting in (None, setting):
                yield row, setting


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="list the runs and stop")
    parser.add_argument("--quick", action="store_true", help="only the rows that are part of make test")
    parser.add_argument("--setting", choices=matrix.SETTINGS)
    parser.add_argument("--set", action="append", default=[], metavar="VARIABLE=VALUE", help="a setting of the preloaded processes")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--keep", action="store_true", help="add to the results of earlier runs")
    parser.add_argument("--table", type=pathlib.Path, help="write the table of all results to this file")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only rows whose name contains this")
    return parser.parse_args()


def main():
    options = arguments()
    load()
    chosen = dict(setting.split("=", 1) for setting in options.set)
    results = json.loads(RESULTS.read_text()) if options.keep and RESULTS.exists() else {}
    runs = list(selected(options)) * options.repeat
    failed = 0
    for number, (row, setting) in enumerate(runs, 1):
        label = f"[{number}/{len(runs)}] {row.name} ({setting})"
        if options.list:
            print(label)
            continue
        problem, lanes, seconds = run_once(row, setting, chosen)
        failed += problem is not None
        results.setdefault(row.name, {})[setting] = {"result": "FAILED" if problem else "passed", "lanes": lanes}
        print(f"{label}: {'FAILED' if problem else 'passed'}, {seconds:.1f} s, {lanes} lanes", flush=True)
        if problem:
            print("  " + problem.replace("\n", "\n  "), flush=True)
        if not options.quick:
            RESULTS.write_text(json.dumps(results, indent=1))
    if options.table:
        options.table.write_text(table(results))
    if not options.list:
        print(f"{len(runs) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
