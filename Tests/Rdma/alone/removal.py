#!/usr/bin/python3
# rdma: limit=150
"""A device is taken away under traffic: the kernel's removal ends at once, TCP goes on at the exact byte, and the lanes come back with the
device. Also if the peer stands still meanwhile, so that the lane cannot be left."""

import signal
import time

import fabric
from streams import Streams

COUNT = 4
PORT = 4200
DEVICES = {"rxe0": "v0", "rxe1": "v1"}


def removed(device):
    """`rdma link delete`, which the kernel ends when every process has closed the device."""
    start = time.monotonic()
    fabric.delete_device(device).succeeds(15)
    print(f"{device} went within {time.monotonic() - start:.2f} s", flush=True)


def again():
    client.rides(COUNT, 60)
    server.rides(COUNT, 60)


server = Streams("serve", PORT)
server.says("ready")
client = Streams("run", fabric.PAIR_ADDRESS["v1"], PORT, "-c", COUNT, "-e")
again()
client.hurry()
server.hurry()
for device in ("rxe0", "rxe1", "rxe0"):
    client.flows()
    removed(device)
    client.flows()
    assert client.now()["lanes"] == 0, client.now()
    fabric.add_device(device, DEVICES[device])
    again()

server.child.send_signal(signal.SIGSTOP)
removed("rxe0")
fabric.add_device("rxe0", "v0")
server.child.send_signal(signal.SIGCONT)
client.flows()
again()

client.finish()
server.finish()
there, here = server.now(), client.now()
assert (there["sent"], there["received"]) == (here["received"], here["sent"]), (there, here)
