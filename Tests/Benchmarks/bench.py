#!/usr/bin/python3
"""Measures Millrace against the bare kernel: medians of alternating rounds, in one run, on this machine.

Prints a table with each figure's target, and writes build/bench.json and build/bench.svg.
Without a built library, everything runs on the bare kernel only, to try the benchmarks themselves.
"""

import argparse
import datetime
import os
import platform
import re
import statistics
import sys
import time

from measuring import MILLRACE, PLAIN, Context, compile_programs
from report import number, table, write_chart, write_json
from session import BUILD, LIBRARY, Failure
from targets import rows
from workloads import NO_IDLE, WITH_IDLE, WORKLOADS


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*:\s*(.*)", file.read())
    name = model.group(1) if model else platform.machine()
    return f"{name}, {os.cpu_count()} processors, Linux {platform.release()}"


def variants(workload):
    if LIBRARY.exists():
        return workload.variants
    return [each for each in workload.variants if each not in (MILLRACE, NO_IDLE, WITH_IDLE)]


def run(workload, context, rounds, label):
    """All rounds of one workload. Returns {variant: [value]} and complaints."""
    samples, complaints = {variant: [] for variant in variants(workload)}, []
    for turn in range(rounds):
        shown = []
        for variant in samples:
            try:
                measurement = workload.measure(context, variant)
            except Failure as failure:
                complaints.append(f"{workload.key}, {variant}: {failure}")
                continue
            samples[variant].append(measurement.value)
            shown.append(f"{variant} {number(measurement.value)}")
            if variant != PLAIN and measurement.lanes is not None and measurement.lanes < measurement.wanted:
                complaints.append(f"{workload.key}, {variant}: {measurement.lanes} lanes of {measurement.wanted}")
        print(f"{label} {workload.title}, round {turn + 1}/{rounds}: {', '.join(shown)} {workload.unit}", flush=True)
    return {variant: values for variant, values in samples.items() if values}, complaints


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="only workloads whose key contains this (repeatable)")
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds of each workload")
    parser.add_argument("--quick", action="store_true", help="one short round of each: shows that everything works")
    parser.add_argument("--list", action="store_true", help="list the keys and stop")
    options = parser.parse_args()
    wanted = [each for each in WORKLOADS if not options.only or any(word in each.key for word in options.only)]
    if options.list:
        print("\n".join(f"{each.key:14} {each.title}" for each in wanted))
        return 0
    rounds = 1 if options.quick else options.rounds
    compile_programs()
    context = Context(0.3 if options.quick else 1.0)
    started, samples, complaints = time.monotonic(), {}, []
    for index, workload in enumerate(wanted, 1):
        turns = rounds if options.quick else rounds * workload.more_rounds
        samples[workload.key], more = run(workload, context, turns, f"[{index}/{len(wanted)}]")
        complaints += more
    medians = {key: {variant: statistics.median(values) for variant, values in each.items()}
               for key, each in samples.items()}
    complete = [each for each in wanted if set(medians[each.key]) >= set(each.variants)]
    made = rows(complete, medians)
    about = {"machine": machine(), "rounds": rounds, "date": datetime.date.today().isoformat(),
             "complaints": complaints}
    BUILD.mkdir(exist_ok=True)
    write_json(BUILD / "bench.json", made, samples, about)
    write_chart(BUILD / "bench.svg", made, about)
    print(f"\n{about['machine']}; medians of {rounds} rounds; {time.monotonic() - started:.0f} s\n")
    print(table(made))
    for complaint in dict.fromkeys(complaints):
        print(f"! {complaint}")
    judged = [row for row in made if row.reached is not None]
    print(f"\n{sum(row.reached for row in judged)} of {len(judged)} figures reached; "
          f"details in {BUILD.name}/bench.json, chart in {BUILD.name}/bench.svg")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
