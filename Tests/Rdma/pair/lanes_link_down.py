#!/usr/bin/python3
# rdma: limit=250 by-name
"""The link between two machines is down for 5 s (or DOWN seconds) under traffic: every lane is left, TCP goes on at the exact byte, and
the lanes come back. Every byte is checked."""

import os
import time

import fabric
from lanes_failing import again, both


def link_down(name, streams):
    seconds = int(os.environ.get("DOWN", "5"))
    if fabric.MACHINE == "b":
        fabric.link_down("eth0")
        # What is to last so long is the failure.
        time.sleep(seconds)
        fabric.link_up("eth0")
    fabric.meet(f"{name}-up", seconds + 60)
    again(name, streams)


both("link", 4100, link_down)
