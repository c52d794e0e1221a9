#!/usr/bin/python3
"""Boots the RDMA machine with a prompt on this terminal. Usage: shell.py [a|b] [--kernel SERIES].

Machine a waits on a wire for machine b, which a second terminal may boot at any time, and which may be left out.
"""

import argparse
import os
import sys
import tempfile

import kernel
import machine


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=("a", "b"), default="a")
    parser.add_argument("--kernel", default=kernel.DEFAULT, metavar="SERIES")
    options = parser.parse_args()
    kernel.fetch(options.kernel)
    wire = kernel.CACHE / "wire"
    if options.name == "a":
        wire.unlink(missing_ok=True)
    elif not wire.exists():
        raise SystemExit("machine b needs machine a: `make rdma-shell` in another terminal first")
    server = "on" if options.name == "a" else "off"
    out = tempfile.mkdtemp(prefix="shell-", dir=kernel.CACHE)
    each = machine.Machine(out, options.name, start="Tests/Rdma/shell", series=options.kernel, console="terminal",
                           wire=f"server={server},addr.type=unix,addr.path={wire}", words=(f"TERM={os.environ.get('TERM', 'vt100')}",))
    print(f"Booting machine {options.name}. What it writes to /run/out is in {out}.", flush=True)
    os.execvp(each.command[0], each.command)


if __name__ == "__main__":
    sys.exit(main())
