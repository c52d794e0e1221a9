#!/usr/bin/python3
"""Peers that a seed makes (fuzz.c), one after the other against the same victims: each speaks the wireup, and then changes words,
rings, records and the bell as its seed says. The victim lives, its honest connection goes on, exact and without a stop, and
nothing is left behind. What fails is tried again seed by seed, alone, and told by its seed."""

import argparse
import concurrent.futures
import os
import subprocess
import sys
import threading
import time

import run
from run import BUILD, Failure, Node, Program, Test, until

# Seeds after which the victim is looked at, and peers at a time.
BLOCK = 50
PEERS = 4


class Fuzz(Test):
    def __init__(self, mode):
        super().__init__("fuzz", "f", "", "any", mode)
        self.asking = threading.Lock()

    def begin(self):
        self.victim, self.partner = self.start(Node(self.mode)), self.start(Node("epoll"))
        self.victim.report(f"drive {self.partner.port}")
        until("the honest connection's lane", lambda: self.victim.lanes() == 1)
        self.check_honest()
        self.before = self.victim.holds()
        self.peers = [self.start(Program(BUILD / "fuzz")) for _ in range(PEERS)]

    def one(self, peer, seed):
        leads = seed % 2 == 0
        peer.tell(f"{seed} l" if leads else f"{seed} f {self.victim.port}")
        if leads:
            port = peer.line().split()[1]
            with self.asking:
                self.victim.report(f"connect {port}")
        if peer.line() != "end":
            raise Failure(f"the peer of seed {seed} says something else")

    def some(self, seeds):
        def every(first):
            for seed in seeds[first::PEERS]:
                self.one(self.peers[first], seed)

        with concurrent.futures.ThreadPoolExecutor(PEERS) as pool:
            for result in [pool.submit(every, first) for first in range(PEERS)]:
                result.result()
        self.check_honest()
        self.check_end()

    def attempt(self, blocks):
        """None, or the seeds at which it failed and what went wrong."""
        seeds = None
        try:
            self.begin()
            for seeds in blocks:
                self.some(seeds)
            attached = self.victim.counted("attaches")
            self.check_new_connection()
            self.victim.tell("quit")
            if (result := self.victim.result().strip()) != "0":
                raise Failure(f"the victim: {result}")
            self.attached = attached
            return None
        except (Failure, subprocess.SubprocessError) as failure:
            return seeds, f"{failure}{self.stacks() if run.OPTIONS.stacks else ''}"
        finally:
            for program in self.programs:
                program.end()


def told(seeds, problem, mode):
    """The seeds of a block that fail alone."""
    print(f"FAIL seeds {seeds[0]}..{seeds[-1]} ({mode}): {problem}", flush=True)
    again = 0
    for seed in seeds:
        if failed := Fuzz(mode).attempt([[seed]]):
            again += 1
            print(f"FAIL --seeds {seed}..{seed} --modes {mode}: {failed[1]}", flush=True)
    if not again:
        print("     none of them fails alone", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0..999", help="FIRST..LAST")
    parser.add_argument("--modes", default="epoll,threads", help="how the victims wait; the seeds are shared out among them")
    parser.add_argument("--stacks", action="store_true", help="show what the victim of a failed test is doing (gdb)")
    options = parser.parse_args(namespace=run.OPTIONS)
    if os.geteuid() != 0:
        sys.exit("fuzz: must be root, as Tests/Hostile/run.py")
    run.build()
    first, last = map(int, options.seeds.split(".."))
    modes = options.modes.split(",")
    began, failures, attached = time.monotonic(), 0, 0
    for number, mode in enumerate(modes):
        seeds = list(range(first, last + 1))[number * (last + 1 - first) // len(modes):(number + 1) * (last + 1 - first) // len(modes)]
        fuzz = Fuzz(mode)
        failed = fuzz.attempt([seeds[at:at + BLOCK] for at in range(0, len(seeds), BLOCK)])
        if failed:
            failures += 1
            told(*failed, mode)
        else:
            attached += fuzz.attached
    # Peers that never come onto a lane show little.
    if not failures and attached < (last + 1 - first) // 4:
        failures += 1
        print(f"FAIL only {attached} lanes", flush=True)
    print(f"{last + 1 - first} seeds, {attached} of them on a lane, {failures} failed, {time.monotonic() - began:.0f} s", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
