#!/usr/bin/python3
"""Says in which functions the instructions are that bench/step.c has counted with STEP_WHERE. Usage: where.py ROUNDS FILE..."""

import bisect
import collections
import pathlib
import re
import subprocess
import sys

BUILD = pathlib.Path(__file__).resolve().parent.parent.parent / "build"
MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ \d+ +(\S+)")


def symbols(path):
    """Start addresses and names, of the file here that the program had mapped there."""
    for here in (BUILD / pathlib.Path(path).name, BUILD / "rdma" / "bench" / pathlib.Path(path).name, pathlib.Path(path)):
        if here.is_file():
            break
    else:
        return [0], [path]
    found = []
    for dynamic in ([], ["-D"]):
        text = subprocess.run(["nm", "-C", "--defined-only", *dynamic, here], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                              check=False).stdout
        found += [(int(words[0], 16), words[2]) for words in (line.split(maxsplit=2) for line in text.splitlines())
                  if len(words) == 3 and words[1] in "tTwWi"]
    found = sorted(set(found)) or [(0, "?")]
    return [address for address, _ in found], [name for _, name in found]


def main():
    rounds, totals, tables = float(sys.argv[1]), collections.Counter(), {}
    for file in sys.argv[2:]:
        lines = pathlib.Path(file).read_text().splitlines()
        maps = [(int(m[1], 16), int(m[2], 16), int(m[3], 16), m[4]) for m in map(MAPPING.match, lines) if m]
        for line in lines:
            words = line.split()
            if len(words) != 2:
                continue
            address = int(words[0], 16)
            start, offset, path = next(((s, o, p) for s, e, o, p in maps if s <= address < e), (0, 0, "[none]"))
            addresses, names = tables.setdefault(path, symbols(path))
            base = min((s for s, _, _, p in maps if p == path), default=0)
            at = bisect.bisect_right(addresses, address - base) - 1
            totals[f"{pathlib.Path(path).name}: {names[max(at, 0)]}"] += int(words[1])
    print(f"{sum(totals.values()) / rounds:10.1f}  altogether")
    for name, count in totals.most_common(60):
        print(f"{count / rounds:10.1f}  {name[:150]}")


if __name__ == "__main__":
    main()
