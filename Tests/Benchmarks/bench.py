#!/usr/bin/python3
"""Measures Millrace against the bare kernel: medians of alternating rounds, in one run, on this machine.

Prints a table with each figure's target, and writes build/bench.json, build/bench.md and build/bench.svg.
Without a built library, everything runs on the bare kernel only, to try the benchmarks themselves.
"""

import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import statistics
import sys
import time

from measuring import MILLRACE, OFF, PLAIN, Context, compile_programs
from report import markdown, number, table, write_chart, write_json
from session import BUILD, LIBRARY, Failure
from targets import medians_of, rows
from workloads import NO_IDLE, WITH_IDLE, WORKLOADS


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*:\s*(.*)", file.read())
    name = model.group(1) if model else platform.machine()
    return f"{name}, {os.cpu_count()} processors, Linux {platform.release()}"


def variants(workload):
    if LIBRARY.exists():
        return workload.variants
    return [each for each in workload.variants if each not in (MILLRACE, OFF, NO_IDLE, WITH_IDLE)]


def note(measurement, workload, variant, complaints):
    if variant != PLAIN and measurement.lanes is not None and measurement.lanes < measurement.wanted:
        complaints.append(f"{workload.key}, {variant}: {measurement.lanes} lanes of {measurement.wanted}")
    return measurement.value


def run_round(workload, context, samples, complaints):
    """Each variant once, freshly started, one after the other. Returns what was measured."""
    shown = []
    for variant in samples:
        try:
            value = note(workload.measure(context, variant), workload, variant, complaints)
        except Failure as failure:
            complaints.append(f"{workload.key}, {variant}: {failure}")
            continue
        samples[variant].append(value)
        shown.append((variant, value))
    return shown


def run_slices(workload, context, samples, complaints):
    """Short slices of all variants in turn, each time in the other order. A slice that fails ends the round."""
    pairs = []
    try:
        with contextlib.ExitStack() as stack:
            measures = {variant: stack.enter_context(workload.measure(context, variant)) for variant in samples}
            for index in range(context.slices(workload.sliced)):
                order = list(measures)[::-1 if index % 2 else 1]
                values = {variant: note(measures[variant](), workload, variant, complaints) for variant in order}
                pairs.append([values[variant] for variant in samples])
    except Failure as failure:
        complaints.append(f"{workload.key}, all: {failure}")
    columns = list(zip(*pairs)) or [() for _ in samples]
    for variant, column in zip(samples, columns):
        samples[variant] += column
    return [(variant, statistics.median(column)) for variant, column in zip(samples, columns) if column]


def run(workload, context, rounds, label):
    """All rounds of one workload. Returns {variant: [value]} and complaints."""
    samples, complaints = {variant: [] for variant in variants(workload)}, []
    for turn in range(rounds):
        do = run_slices if workload.sliced else run_round
        shown = [f"{variant} {number(value)}" for variant, value in do(workload, context, samples, complaints)]
        print(f"{label} {workload.title}, round {turn + 1}/{rounds}: {', '.join(shown)} {workload.unit}", flush=True)
    return {variant: values for variant, values in samples.items() if values}, complaints


def earlier_parts(about):
    """Samples and complaints of the runs that this one adds to: on the same machine, with as many rounds."""
    try:
        earlier = json.loads((BUILD / "bench.json").read_text())
    except FileNotFoundError:
        return {}, []
    for what in ("machine", "rounds"):
        if earlier[what] != about[what]:
            sys.exit(f"{BUILD.name}/bench.json is of another run: {what} {earlier[what]}, and now {about[what]}")
    return earlier["samples"], earlier["complaints"]


def report(samples, about, seconds):
    """Prints and writes the table of all that there is."""
    complete = [each for each in WORKLOADS if set(samples.get(each.key, ())) >= set(each.variants)]
    made = rows(complete, {each.key: medians_of(each, samples[each.key]) for each in complete})
    write_json(BUILD / "bench.json", made, samples, about)
    write_chart(BUILD / "bench.svg", made, about)
    (BUILD / "bench.md").write_text(markdown(made, about))
    print(f"\n{about['machine']}; medians of {about['rounds']} rounds; {seconds:.0f} s\n")
    print(table(made))
    for complaint in about["complaints"]:
        print(f"! {complaint}")
    judged = [row for row in made if row.reached is not None]
    print(f"\n{sum(row.reached for row in judged)} of {len(judged)} figures reached; "
          f"details in {BUILD.name}/bench.json, chart in {BUILD.name}/bench.svg, table in {BUILD.name}/bench.md")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="only workloads whose key contains this (repeatable)")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds of each workload")
    parser.add_argument("--quick", action="store_true", help="one short round of each: shows that everything works")
    parser.add_argument("--merge", action="store_true", help="add to the figures of earlier runs with --only")
    parser.add_argument("--list", action="store_true", help="list the keys and stop")
    options = parser.parse_args()
    wanted = [each for each in WORKLOADS if not options.only or any(word in each.key for word in options.only)]
    if options.list:
        print("\n".join(f"{each.key:14} {each.title}" for each in wanted))
        return 0
    rounds = 1 if options.quick else options.rounds
    BUILD.mkdir(exist_ok=True)
    compile_programs()
    about = {"machine": machine(), "rounds": rounds, "date": datetime.date.today().isoformat()}
    samples, complaints = earlier_parts(about) if options.merge else ({}, [])
    complaints = [each for each in complaints if not each.startswith(tuple(f"{work.key}, " for work in wanted))]
    context = Context(0.3 if options.quick else 1.0)
    started = time.monotonic()
    for index, workload in enumerate(wanted, 1):
        samples[workload.key], more = run(workload, context, rounds, f"[{index}/{len(wanted)}]")
        complaints += more
    report(samples, about | {"complaints": list(dict.fromkeys(complaints))}, time.monotonic() - started)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
