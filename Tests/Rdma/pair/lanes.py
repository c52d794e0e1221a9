#!/usr/bin/python3
# rdma: limit=120
"""Random streams both ways through many lanes between two machines, blocking and with epoll; then connections that come and go."""

import fabric
from streams import Streams, tell_totals

PORT = 4000
RUNS = {
    "blocking": (4, [], []),
    "epoll": (12, ["-e"], ["-e"]),
}
# The peer is another host: shared memory is not even tried.
EITHER = {"MILLRACE_FABRICS": "shm,verbs"}

for number, (name, (count, server_words, client_words)) in enumerate(RUNS.items()):
    port = PORT + number
    if fabric.MACHINE == "a":
        streams = Streams("serve", port, *server_words, **EITHER)
        streams.says("ready")
        fabric.tell(f"{name}-listening")
        streams.rides(count, 50)
        fabric.meet(f"{name}-riding")
        streams.hurry()
        streams.flows()
        fabric.hear(f"{name}-over")
        streams.finish()
    else:
        fabric.hear(f"{name}-listening")
        streams = Streams("run", fabric.PEER, port, "-c", count, *client_words, **EITHER)
        streams.rides(count, 50)
        fabric.meet(f"{name}-riding")
        streams.hurry()
        streams.flows()
        streams.finish()
        fabric.tell(f"{name}-over")
    tell_totals(name, streams)

# Connections that come and go: some end in the middle of an attempt, and some on a lane.
if fabric.MACHINE == "a":
    streams = Streams("serve", PORT + 9, "-b", 600000)
    streams.says("ready")
    fabric.tell("churn-listening")
    fabric.hear("churn-over", 100)
    streams.until(lambda now: now["ended"] == 24, "all ended")
    seen = streams.counters()
    streams.finish()
else:
    fabric.hear("churn-listening")
    streams = Streams("run", fabric.PEER, PORT + 9, "-b", 600000, "-c", 8, "-r", 3)
    assert streams.totals(90)["ended"] == 24
    fabric.tell("churn-over")
tell_totals("churn", streams)
if fabric.MACHINE == "a":
    print(seen)
    assert seen["attaches"] >= 4, seen
