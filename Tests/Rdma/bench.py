#!/usr/bin/python3
"""Measures TCP, rsocket, SMC-R and Millrace beside each other in one boot of the RDMA machine, and prints a table.

Usage: bench.py [--only WORDS] [--parts works,programs,stepped,counted] [--transports LIST] [--rounds N] [--kernel SERIES]
RSPRELOAD names another build of rsocket's preload library than Debian's. Absolute figures are those of an emulated
processor and mean nothing elsewhere; ratios and counts do. Writes build/bench-rdma.json.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import kernel
import run

HERE = pathlib.Path(__file__).resolve().parent
PROGRAMS = kernel.ROOT / "build" / "rdma" / "bench"
TRANSPORTS = ("tcp", "rsocket", "smc", "millrace")
# The one in which SMC-R works.
KERNEL = "6.12"
LIMIT = 1800


def compile_programs():
    PROGRAMS.mkdir(parents=True, exist_ok=True)
    strict = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror"]
    for name in ("work", "step"):
        subprocess.run([*strict, "-o", PROGRAMS / name, HERE / "bench" / f"{name}.c"], check=True)
    subprocess.run([*strict, "-shared", "-fPIC", "-o", PROGRAMS / "smc_preload.so", HERE / "bench" / "smc_preload.c"], check=True)


class Bench(run.Boot):
    """A boot whose one test is the measuring, which tells of each result."""

    def __init__(self, *arguments):
        self.results = []
        super().__init__(*arguments)

    def heard(self, each, event):
        if event.pop("event") == "result":
            self.results.append(event)
            value = f" {event['value']:.6g} {event['unit']}" if "value" in event else ""
            why = f" ({event['why'].strip().splitlines()[-1][:100]})" if event.get("why") else ""
            print(f"  {event['title']}, {event['transport']}: {event['how']}{value}{why}, {event['seconds']:.1f} s", flush=True)
            return
        super().heard(each, event | {"event": self.kind(event)})

    @staticmethod
    def kind(event):
        """The word that was taken off."""
        if "kernel" in event:
            return "up"
        return "end" if "status" in event else "start" if "name" in event else "done"


def measured(options, parts, icount):
    """Boots a machine that does these parts, and returns its results."""
    words = [f"bench_parts={parts}", f"bench_rounds={options.rounds}", f"bench_transports={options.transports}"]
    if options.only:
        words.append(f"bench_only={options.only.replace(' ', '_')}")
    if os.environ.get("RSPRELOAD"):
        words.append(f"RSPRELOAD={os.path.abspath(os.environ['RSPRELOAD'])}")
    options.set, options.icount = words + options.settings, icount
    out = pathlib.Path(tempfile.mkdtemp(prefix="bench-", dir=kernel.CACHE))
    test = {"name": "bench", "path": "bench/measure.py", "machines": 1, "limit": LIMIT}
    boot = Bench([test], out, options)
    try:
        boot.follow(time.monotonic() + LIMIT + 120)
    finally:
        boot.close()
    print(f"  logs: {out.relative_to(kernel.ROOT)}", flush=True)
    return boot.results


def cell(results, reference):
    """What one transport came to: how it went, or its median and its ratio to TCP."""
    hows = {result["how"] for result in results}
    if not results:
        return "-"
    if "value" not in results[0] or hows - {"works", "over TCP"}:
        return "/".join(sorted(hows))
    value = statistics.median(result["value"] for result in results)
    ratio = f" ({value / reference:.2f})" if reference else ""
    return f"{value:.5g}{ratio}{' over TCP' if 'over TCP' in hows else ''}"


def table(results, part, head):
    rows = [[head, *TRANSPORTS]]
    mine = [result for result in results if result["part"] == part]
    for title in dict.fromkeys(result["title"] for result in mine):
        by = {name: [each for each in mine if each["title"] == title and each["transport"] == name] for name in TRANSPORTS}
        plain = [each["value"] for each in by["tcp"] if "value" in each]
        reference = statistics.median(plain) if plain else None
        unit = by["tcp"][0]["unit"] if by["tcp"] else ""
        rows.append([f"{title}, {unit}" if unit else title] + [
            cell([{k: v for k, v in each.items() if k != "value"} for each in by[name]] if part == "programs" else by[name],
                 reference) for name in TRANSPORTS])
    return rows if len(rows) > 1 else []


def counts(results):
    """Per round trip of 64 B with blocking calls: what hardware, too, would charge for."""
    rows = [["per round trip of 64 B, blocking", *TRANSPORTS]]
    for name, part, count in (
            ("RDMA packets, acknowledgements included", "works", lambda each: each["packets"]),
            ("instructions in user space, both ends", "stepped", lambda each: each["value"]),
            ("instructions altogether, the kernel's included", "counted", lambda each: 1e9 / each["value"])):
        row = [name]
        for transport in TRANSPORTS:
            found = [count(each) for each in results if each["part"] == part and each["transport"] == transport
                     and each["title"] == "ping-pong 64 B, block" and each["how"] == "works"]
            row.append(f"{statistics.median(found):.5g}" if found else "-")
        rows.append(row)
    return rows


def show(rows):
    if not rows:
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print()
    for row in rows:
        print("  ".join(each.ljust(width) for each, width in zip(row, widths)).rstrip())
        if row is rows[0]:
            print("  ".join("-" * width for width in widths))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORDS", help="titles that contain one of these, with semicolons between")
    parser.add_argument("--parts", default="works,programs,stepped,counted")
    parser.add_argument("--transports", default=",".join(TRANSPORTS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kernel", default=KERNEL, metavar="SERIES")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="VARIABLE=VALUE")
    return parser.parse_args()


def main():
    options = arguments()
    kernel.fetch(options.kernel)
    compile_programs()
    parts = options.parts.split(",")
    results = []
    timed = ",".join(part for part in parts if part != "counted")
    if timed:
        results += measured(options, timed, icount=False)
    if "counted" in parts:
        results += measured(options, "counted", icount=True)
    show(table(results, "works", "in each second (ratio to TCP)"))
    show(table(results, "programs", "program"))
    show(counts(results))
    (kernel.ROOT / "build" / "bench-rdma.json").write_text(json.dumps(results, indent=1) + "\n")
    return 0 if {each["part"] for each in results} == set(parts) else 1


if __name__ == "__main__":
    sys.exit(main())
