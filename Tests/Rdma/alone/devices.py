#!/usr/bin/python3
"""Each address resolves to the device that it lies on, and the devices are active."""

import fabric
from resolving import resolve

assert fabric.call("ibv_devinfo").count("PORT_ACTIVE") == 2
v0, v1 = fabric.PAIR_ADDRESS["v0"], fabric.PAIR_ADDRESS["v1"]
v0_6, v1_6 = fabric.PAIR_ADDRESS_6["v0"], fabric.PAIR_ADDRESS_6["v1"]
for source, destination, expected in [
    (v0, v1, ("rxe0", f"::ffff:{v0}", f"::ffff:{v1}")),
    (v1, v0, ("rxe1", f"::ffff:{v1}", f"::ffff:{v0}")),
    (None, v1, ("rxe0", f"::ffff:{v0}", f"::ffff:{v1}")),
    (v1_6, v0_6, ("rxe1", v1_6, v0_6)),
    (None, v1_6, ("rxe0", v0_6, v1_6)),
    (fabric.LOOP_ADDRESS, fabric.LOOP_ADDRESS, ("rxe0", f"::ffff:{fabric.LOOP_ADDRESS}", f"::ffff:{fabric.LOOP_ADDRESS}")),
]:
    found = resolve(source, destination)
    print(f"{source} to {destination}: {found}")
    assert found == expected, expected
