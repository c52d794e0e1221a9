#!/usr/bin/python3
"""rping and ibv_rc_pingpong exchange data over the pair in both directions, and within one device."""

import fabric

v0, v1 = fabric.PAIR_ADDRESS["v0"], fabric.PAIR_ADDRESS["v1"]
for address in (v0, v1, fabric.LOOP_ADDRESS):
    before = fabric.packets("rxe1")
    server = fabric.Program("rping", "-s", "-a", address, "-C", 10)
    fabric.wait_for_listener(7174)
    seen = fabric.call("rping", "-c", "-a", address, "-C", 10, "-V", "-v")
    assert "rdma-ping-9" in seen
    server.end()
    crossed = fabric.packets("rxe1") != before
    assert crossed == (address != fabric.LOOP_ADDRESS), "the way was not the one that was meant"

GID = "1"  # The address. The one before it is link-local.
server = fabric.Program("ibv_rc_pingpong", "-d", "rxe1", "-g", GID, "-e", "-n", 200)
fabric.wait_until(lambda: ":18515 " in fabric.run("ss", "-Hltn"), "ibv_rc_pingpong listens")
assert "200 iters" in fabric.call("ibv_rc_pingpong", "-d", "rxe0", "-g", GID, "-e", "-n", 200, v1)
server.succeeds()
