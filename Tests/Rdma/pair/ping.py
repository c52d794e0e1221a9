#!/usr/bin/python3
"""rping and rstream between two machines, either of which is the server; and each resolves the other's address."""

import fabric
from resolving import resolve

found = resolve(None, fabric.PEER)
assert found == ("rxe0", f"::ffff:{fabric.OWN}", f"::ffff:{fabric.PEER}"), found
assert resolve(None, fabric.PEER_6) == ("rxe0", fabric.OWN_6, fabric.PEER_6)

PROGRAMS = {
    "rping": (7174, ["rping", "-s", "-C", 10, "-a", fabric.OWN], ["rping", "-c", "-C", 10, "-v", "-a", fabric.PEER]),
    "rping over IPv6": (7174, ["rping", "-s", "-C", 10, "-a", fabric.OWN_6], ["rping", "-c", "-C", 10, "-v", "-a", fabric.PEER_6]),
    "rstream": (7471, ["rstream", "-S", 64, "-I", 50, "-C", 4, "-b", fabric.OWN], ["rstream", "-S", 64, "-I", 50, "-C", 4, "-s", fabric.PEER]),
}
for name, (port, server, client) in PROGRAMS.items():
    for side in "ab":
        if fabric.MACHINE == side:
            program = fabric.Program(*server)
            fabric.wait_for_listener(port)
            fabric.tell(f"{name}-{side}")
            program.end()
        else:
            fabric.hear(f"{name}-{side}")
            fabric.call(*client)
        fabric.meet(f"{name}-{side}-done")
