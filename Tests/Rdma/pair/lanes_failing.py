#!/usr/bin/python3
# rdma: limit=400 by-name
"""Lanes between two machines are lost in mid-stream: the device goes under traffic, a peer stands still, one is killed. Not one byte
is lost, both ends live, TCP goes on at the exact byte, and the lanes come back."""

import signal
import time

import fabric
from streams import Streams, tell_totals

COUNT = 6


def both(name, port, body, server=(), client=(), finishes=True):
    """Streams between the machines, on lanes; what happens to them, seen from each; and every byte counted."""
    if fabric.MACHINE == "a":
        streams = Streams("serve", port, *server)
        streams.says("ready")
        fabric.tell(f"{name}-listening")
    else:
        fabric.hear(f"{name}-listening")
        streams = Streams("run", fabric.PEER, port, "-c", COUNT, "-e", *client)
    streams.rides(COUNT)
    fabric.meet(f"{name}-riding")
    streams.hurry()
    body(name, streams)
    if not finishes:
        return
    fabric.meet(f"{name}-enough")
    if fabric.MACHINE == "b":
        streams.finish()
    else:
        streams.until(lambda now: now["ended"] == now["connected"], f"all ended; {streams.now()}")
    fabric.meet(f"{name}-ended")
    if fabric.MACHINE == "a":
        streams.finish()
    tell_totals(name, streams)


def again(name, streams):
    """Bytes flow, on lanes."""
    streams.flows(seconds=90)
    streams.rides(COUNT, seconds=60)
    fabric.meet(f"{name}-again", 120)
    streams.flows()
    print(name, streams.counters(), flush=True)


def device_gone(name, streams):
    if fabric.MACHINE == "b":
        deletion = fabric.delete_device("rxe0")
        deletion.succeeds()
        streams.flows()
        assert streams.now()["lanes"] == 0
        fabric.add_device("rxe0", "eth0")
    fabric.meet(f"{name}-there")
    again(name, streams)


def standing_still(name, streams):
    if fabric.MACHINE == "a":
        streams.child.send_signal(signal.SIGSTOP)
        fabric.tell(f"{name}-stopped")
        fabric.hear(f"{name}-go")
        streams.child.send_signal(signal.SIGCONT)
    else:
        fabric.hear(f"{name}-stopped")
        # What is under way arrives, and fills what there is to fill.
        time.sleep(1)
        before = streams.now()
        time.sleep(3)
        after = streams.now()
        fabric.tell(f"{name}-go")
        print(f"processor time beside a peer that stands still: {after['cpu'] - before['cpu']:.3f} s", flush=True)
        assert after["received"] == before["received"] and after["cpu"] - before["cpu"] < 0.3, (before, after)
    again(name, streams)


def killed(victim):
    def body(name, streams):
        if fabric.MACHINE == victim:
            streams.flows()
            streams.stop()
            fabric.tell(f"{name}-killed")
        else:
            fabric.hear(f"{name}-killed")
            if victim == "b":
                streams.until(lambda now: now["ended"] == COUNT, "the server notices")
            streams.finish()
        fabric.meet(f"{name}-over")
    return body


if __name__ == "__main__":
    both("device", 4101, device_gone)
    both("still", 4102, standing_still)
    for number, victim in enumerate("ab"):
        both(f"killed-{victim}", 4103 + number, killed(victim), ["-k"], ["-k"], finishes=False)
