#!/usr/bin/python3
"""The wire goes down at one end under traffic and comes back; then a device does. The other end sees nothing but silence."""

import fabric


def link(server):
    watch = fabric.watch("rxe0")
    fabric.link_down("eth0")
    watch.says("IBV_EVENT_PORT_ERR")
    fabric.meet("down")
    fabric.link_up("eth0")
    watch.says("IBV_EVENT_PORT_ACTIVE")
    watch.stop()
    server.stop()


def device(server):
    deletion = fabric.delete_device("rxe0")
    server.says("device removal")
    server.stop()
    deletion.succeeds()
    fabric.meet("deleted")
    fabric.add_device("rxe0", "eth0")


if fabric.MACHINE == "a":
    for failure in (link, device):
        server = fabric.Program("rping", "-s", "-a", fabric.OWN)
        fabric.wait_for_listener(7174)
        fabric.tell(f"{failure.__name__}-listening")
        fabric.hear(f"{failure.__name__}-traffic")
        failure(server)
        fabric.meet(f"{failure.__name__}-again")
else:
    for name, broken in (("link", "down"), ("device", "deleted")):
        fabric.hear(f"{name}-listening")
        client = fabric.ping_from(fabric.PEER)
        fabric.tell(f"{name}-traffic")
        fabric.meet(broken)
        assert fabric.state_of("rxe0") == "ACTIVE"
        client.stop()
        fabric.meet(f"{name}-again")
