#!/usr/bin/python3
"""Guards what the preloaded library shows to the program that it is loaded into.

A Swift library exports its runtime (swift_retain and friends) unless a version script keeps it local, and would then
crash every ordinary Swift program under it. It must also need nothing but libc and libm at load.

Usage: tidy_library.py LIBRARY EXPORTS_MAP
"""

import re
import subprocess
import sys

ALLOWED_NEEDS = {"libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def names_in_map(path):
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/|#[^\n]*", "", file.read(), flags=re.DOTALL)
    match = re.search(r"global:(.*?)local:\s*\*\s*;", text, flags=re.DOTALL)
    if not match:
        raise SystemExit(f"{path}: no 'global: ...; local: *;'")
    return {name.strip() for name in match.group(1).split(";") if name.strip()}


def exported_names(library):
    """The defined dynamic symbols. A name with a version keeps only the part before the '@'."""
    lines = output_of("nm", "-D", "--defined-only", library).splitlines()
    rows = [line.split() for line in lines if line.strip()]
    # The version node itself is an absolute symbol ('A'). A small letter is local: what a relocation of a thread's own
    # data refers to.
    return {row[-1].split("@")[0] for row in rows if row[-2] != "A" and row[-2].isupper()}


def needed_libraries(library):
    return set(re.findall(r"\(NEEDED\).*\[(.*?)\]", output_of("readelf", "-d", library)))


def main(library, exports_map):
    problems = []
    wanted, exported = names_in_map(exports_map), exported_names(library)
    for name in sorted(exported - wanted):
        problems.append(f"{library} exports {name}, which {exports_map} does not list")
    for name in sorted(wanted - exported):
        problems.append(f"{exports_map} lists {name}, which {library} does not export")
    for name in sorted(wanted):
        if name.startswith(("swift_", "$s", "_swift")):
            problems.append(f"{exports_map} lists {name}, which belongs to the Swift runtime")
    for name in sorted(needed_libraries(library) - ALLOWED_NEEDS):
        problems.append(f"{library} needs {name} at load")
    for problem in problems:
        print(problem)
    print(f"library: {len(exported)} exported names, needs {' '.join(sorted(needed_libraries(library)))}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
