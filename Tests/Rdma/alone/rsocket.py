#!/usr/bin/python3
"""rsocket streams between two processes: what the benchmarks compare with works here."""

import fabric

for options in (["-S", "64", "-I", "50", "-C", "4"], ["-S", "65536", "-I", "20", "-C", "2", "-T", "b"]):
    server = fabric.Program("rstream", "-b", fabric.PAIR_ADDRESS["v1"], *options)
    fabric.wait_for_listener(7471)
    fabric.call("rstream", "-s", fabric.PAIR_ADDRESS["v1"], *options)
    server.succeeds()
