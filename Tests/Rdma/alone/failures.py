#!/usr/bin/python3
"""The failures that lanes must survive can be had here: a link goes down and up again, a device goes under traffic."""

import fabric

v1 = fabric.PAIR_ADDRESS["v1"]

watch = fabric.watch("rxe0")
programs = fabric.pinging(v1)
fabric.link_down("v0")
watch.says("IBV_EVENT_PORT_ERR")
# The other end of the pair has lost its carrier.
assert fabric.state_of("rxe0") == fabric.state_of("rxe1") == "DOWN"
sent = fabric.packets()[0]
fabric.link_up("v0")
watch.says("IBV_EVENT_PORT_ACTIVE")
fabric.wait_until(lambda: fabric.state_of("rxe0") == fabric.state_of("rxe1") == "ACTIVE", "devices active")
for program in programs:
    program.stop()
watch.stop()

server, client = fabric.pinging(v1)
assert fabric.packets()[0] > sent
deletion = fabric.delete_device("rxe0")
client.says("device removal")
server.stop()
client.stop()
deletion.succeeds()
fabric.add_device("rxe0", "v0")
for program in fabric.pinging(v1):
    program.stop()
