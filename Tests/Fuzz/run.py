#!/usr/bin/python3
"""Fuzzes what a peer can say to the core: a million inputs and more, and how much of the core they have reached.

The core is compiled with coverage, apart from the rest of the build. The closing lines are the coverage of each file that
takes a peer's words, with the least that it may be, and "N inputs, N passed, N failed".
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build/fuzz"
CORE = ROOT / "Sources/MillraceCore"
# Cases of each target in `make test`. Together they are more than a million.
USUAL = {"wireup": 400_000, "ring": 200_000, "leader": 300_000, "follower": 300_000}
# Least part of the lines that the fuzzer alone must reach, in percent.
FLOORS = {"WireupMessage.swift": 98, "Record.swift": 65, "Ring.swift": 85, "Cutover.swift": 85, "CutoverEffects.swift": 90,
          "LaneLayout.swift": 85}


def tool(name):
    """A tool of the Swift toolchain, which knows the format of its own compiler's profiles."""
    swift = shutil.which("swift")
    found = subprocess.run(["swiftc", "-print-target-info"], capture_output=True, text=True, check=True).stdout
    resources = pathlib.Path(json.loads(found)["paths"]["runtimeResourcePath"])
    for folder in (resources.parent.parent / "bin", pathlib.Path(swift).resolve().parent):
        if (folder / name).exists():
            return folder / name
    sys.exit(f"fuzz: there is no {name} beside {swift}")


def build():
    BUILD.mkdir(parents=True, exist_ok=True)
    profile = ["-profile-generate", "-profile-coverage-mapping"]
    common = ["swiftc", "-O", "-wmo", "-module-cache-path", BUILD / "cache"]
    subprocess.run([*common, *profile, "-parse-as-library", "-module-name", "MillraceCore", "-emit-module",
                    "-emit-module-path", BUILD / "MillraceCore.swiftmodule", "-c", *sorted(CORE.glob("*.swift")),
                    "-o", BUILD / "core.o"], check=True)
    subprocess.run([*common, "-profile-generate", "-parse-as-library", "-module-name", "Fuzz", "-I", BUILD,
                    *sorted(HERE.glob("*.swift")), BUILD / "core.o", "-o", BUILD / "fuzz"], check=True)


def fuzz(target, first, count):
    """Runs the cases; what went wrong, or None."""
    result = subprocess.run([BUILD / "fuzz", target, str(first), str(count)], text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, env={"LLVM_PROFILE_FILE": str(BUILD / f"{target}.profraw")},
                            timeout=500)
    print(result.stdout, end="", flush=True)
    return result.returncode


def coverage(targets):
    """Percent of the lines of each file of the core that were reached."""
    merged = BUILD / "merged.profdata"
    subprocess.run([tool("llvm-profdata"), "merge", *[BUILD / f"{target}.profraw" for target in targets], "-o", merged],
                   check=True)
    report = subprocess.run([tool("llvm-cov"), "export", "-summary-only", BUILD / "fuzz", "-instr-profile", merged],
                            check=True, capture_output=True, text=True).stdout
    return {pathlib.Path(file["filename"]).name: file["summary"]["lines"]["percent"]
            for file in json.loads(report)["data"][0]["files"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=float, default=1, help="so many times the usual number of inputs")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--case", metavar="TARGET:NUMBER", help="one case again")
    options = parser.parse_args()
    build()
    if options.case:
        target, number = re.fullmatch(r"(\w+):(\d+)", options.case).groups()
        return fuzz(target, int(number), 1)
    passed = failed = inputs = 0
    for target, usual in USUAL.items():
        count = int(usual * options.times)
        if fuzz(target, options.first, count) == 0:
            passed, inputs = passed + 1, inputs + count
        else:
            failed += 1
    if not failed:
        reached = coverage(USUAL)
        for name, floor in FLOORS.items():
            fine = reached.get(name, 0) >= floor
            passed, failed = passed + fine, failed + (not fine)
            print(f"{name}: {reached.get(name, 0):.1f} % of its lines, at least {floor} %{'' if fine else ': TOO FEW'}")
    if not failed and options.times >= 1 and inputs < 1_000_000:
        print("less than a million inputs")
        failed += 1
    print(f"{inputs} inputs, {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
