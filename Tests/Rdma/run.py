#!/usr/bin/python3
"""Boots the RDMA machine, or two of them on one wire, runs the tests of Tests/Rdma inside, and says how they ended.

Usage: run.py [--list] [--repeat N] [--icount] [--kernel SERIES] [--set VARIABLE=VALUE] [--keep] [NAME...]
A test is an executable file in alone/ (one machine) or pair/ (two machines; started in each, with its name, a or b).
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Support")]

import kernel  # noqa: E402
import machine  # noqa: E402
from closing import closing  # noqa: E402

DEFAULT_LIMIT = 60
BOOT_LIMIT = 120
LIMIT = re.compile(r"^# rdma:.*\blimit=(\d+)", re.MULTILINE)
# Only by name: what takes long, or is known to fail (README.md).
BY_NAME = re.compile(r"^# rdma:.*\bby-name\b", re.MULTILINE)
FOLDERS = {"alone": 1, "pair": 2}


def tests(names):
    """Every test whose name contains one of the words, as guest.py wants to be told of it."""
    for folder, machines in FOLDERS.items():
        for path in sorted((HERE / folder).iterdir()):
            name = f"{folder}/{path.stem}"
            if path.is_file() and path.stat().st_mode & 0o100 and (not names or any(word in name for word in names)):
                if not names and BY_NAME.search(path.read_text()):
                    continue
                limit = LIMIT.search(path.read_text())
                yield {"name": name, "path": f"{folder}/{path.name}", "machines": machines,
                       "limit": int(limit.group(1)) if limit else DEFAULT_LIMIT}


class Reader:
    """The events that one machine has told, read as they come."""

    def __init__(self, path):
        self.path = path
        self.position = 0

    def new(self):
        if not self.path.exists():
            return
        with open(self.path, encoding="utf-8") as file:
            file.seek(self.position)
            for line in file:
                if not line.endswith("\n"):
                    break
                self.position += len(line.encode())
                yield json.loads(line)


class Boot:
    """One boot of one machine or of a pair, and what the tests in it came to."""

    def __init__(self, chosen, out, options):
        self.chosen = chosen
        self.out = out
        self.size = chosen[0]["machines"]
        self.statuses = {test["name"]: {} for test in chosen}
        self.passed, self.failures = 0, []
        self.done = set()
        words = [f"{name}={value}" for name, value in (setting.split("=", 1) for setting in options.set)]
        (out / "plan.json").write_text(json.dumps({"tests": chosen}))
        arguments = {"series": options.kernel, "icount": options.icount, "words": words}
        self.machines = machine.pair(out, **arguments) if self.size == 2 else [machine.Machine(out, **arguments).start()]

    def follow(self, deadline):
        """Until every machine is off, or it has taken too long."""
        readers = [(each, Reader(self.out / f"events.{each.name}")) for each in self.machines]
        while True:
            # Looked at before the events are read: whoever is off by then has told all that it had to tell.
            ended = [each.name for each in self.machines if each.ended()]
            for each, reader in readers:
                for event in reader.new():
                    self.heard(each, event)
            if len(ended) == self.size:
                return
            lost = [name for name in ended if name not in self.done]
            if lost:
                print(f"  machine {' and '.join(lost)} went off in the middle", flush=True)
                return
            if time.monotonic() > deadline:
                print("  the machine was switched off: it took too long", flush=True)
                return
            time.sleep(0.05)

    def heard(self, each, event):
        if event["event"] == "done":
            self.done.add(each.name)
        elif event["event"] == "up" and each.name == "a":
            print(f"== {'two machines' if self.size == 2 else 'one machine'}, kernel {event['kernel']}, "
                  f"up after {event['seconds']:.0f} s ({machine.accelerator()})", flush=True)
        elif event["event"] == "end":
            statuses = self.statuses[event["name"]]
            statuses[each.name] = event["status"]
            if len(statuses) == self.size:
                self.report(event["name"], statuses, event["seconds"])

    def report(self, name, statuses, seconds):
        good = all(status == 0 for status in statuses.values())
        print(f"{name}: {'passed' if good else 'FAILED'}, {seconds:.1f} s", flush=True)
        if good:
            self.passed += 1
            return
        self.failures.append((name, "logs above"))
        for letter, status in statuses.items():
            path = self.out / f"{name.replace('/', '-')}.{letter}.log"
            text = path.read_text(errors="replace") if path.exists() else ""
            print(f"  machine {letter}: {status if isinstance(status, str) else f'exit status {status}'}\n"
                  f"  | " + "\n  | ".join(text.splitlines()[-60:]), flush=True)

    def close(self):
        """Counts what has no end as failed, with the machines' last words."""
        for each in self.machines:
            each.kill()
        missing = [name for name, statuses in self.statuses.items() if len(statuses) < self.size]
        self.failures += [(name, "it has not ended") for name in missing]
        for name in missing:
            print(f"{name}: FAILED, it has not ended", flush=True)
        for each in self.machines:
            if missing or each.name not in self.done:
                print(f"  machine {each.name} said last:\n  | " + each.last_words().replace("\n", "\n  | "), flush=True)


def run_boot(chosen, options):
    out = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=kernel.CACHE))
    boot = Boot(chosen, out, options)
    slower = 20 if options.icount else 1
    try:
        boot.follow(time.monotonic() + slower * (BOOT_LIMIT + sum(test["limit"] for test in chosen)))
    finally:
        boot.close()
    if boot.failures or options.keep:
        print(f"  logs: {out.relative_to(kernel.ROOT)}", flush=True)
    else:
        shutil.rmtree(out)
    return boot.passed, boot.failures


def compile_tools():
    """The programs in C that tests use, outside, where that is quick."""
    for source in sorted(HERE.glob("*.c")):
        subprocess.run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", source,
                        "-o", kernel.CACHE / source.stem], check=True)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="list the tests and stop")
    parser.add_argument("--repeat", type=int, default=1, help="run everything so many times, in the same boot")
    parser.add_argument("--icount", action="store_true", help="one instruction is one nanosecond of the machine's clock")
    parser.add_argument("--kernel", default=kernel.DEFAULT, metavar="SERIES", help="another kernel, for example 6.12")
    parser.add_argument("--set", action="append", default=[], metavar="VARIABLE=VALUE", help="in every test's environment")
    parser.add_argument("--keep", action="store_true", help="keep the logs of tests that passed")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only tests whose name contains this")
    return parser.parse_args()


def main():
    options = arguments()
    chosen = list(tests(options.names))
    if options.list:
        print("\n".join(test["name"] for test in chosen))
        return 0
    kernel.fetch(options.kernel)
    compile_tools()
    passed, failures = 0, []
    for machines in FOLDERS.values():
        group = [test for test in chosen if test["machines"] == machines]
        repeated = [{**test, "name": test["name"] + (f"#{number}" if number else "")} for number in range(options.repeat) for test in group]
        if repeated:
            good, bad = run_boot(repeated, options)
            passed, failures = passed + good, failures + bad
    return closing(passed, failures)


if __name__ == "__main__":
    sys.exit(main())
