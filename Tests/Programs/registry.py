"""The list of scenarios. A scenario is a function that takes a Session, starts programs and checks what they did.

Each runs bare first, then with both ends preloaded. Those that ask for it also run with one end preloaded, which must
work the same and stay on TCP, and with the smallest rings and a lane from the first call on, which makes every wait for
room and every cutover in the middle of a stream likely.
"""

import dataclasses
import typing

import lanes
from session import Failure

BARE, BOTH, SERVER_ONLY, CLIENT_ONLY, SMALL_RINGS = "bare", "both", "server only", "client only", "small rings"
MODES = (BARE, BOTH, SERVER_ONLY, CLIENT_ONLY, SMALL_RINGS)


@dataclasses.dataclass
class Scenario:
    name: str
    body: typing.Callable
    modes: tuple


SCENARIOS = []


def scenario(name, one_sided=False, small_rings=False, bare=True):
    modes = ((BARE,) if bare else ()) + (BOTH,) + ((SERVER_ONLY, CLIENT_ONLY) if one_sided else ()) + ((SMALL_RINGS,) if small_rings else ())

    def register(body):
        SCENARIOS.append(Scenario(name, body, modes))
        return body

    return register


def expect_lanes(session, *processes, at_least=1):
    """With both ends preloaded, each of the processes has had lanes. With fewer, none has."""
    for process in processes:
        count = lanes.attaches(session, process)
        session.lanes += count
        if session.both and count < at_least:
            reasons = {pid: lanes.declines(pid) for pid in process.pids()}
            raise Failure(f"{process.name}: {count} lanes, expected at least {at_least}; declines by reason {reasons}")
        if not session.both and count:
            raise Failure(f"{process.name}: {count} lanes, though only one end is preloaded")
