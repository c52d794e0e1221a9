"""Connections that change hands in mid-stream: exec, spawn, fork in every order of death, and descriptors that travel."""

import pathlib

import lanes
from registry import scenario
from session import PYTHON, check, free_port

HAND_OVER = pathlib.Path(__file__).parent.parent / "peers" / "hand_over.py"
ROLES = (("accept", "connect"), ("connect", "accept"))


def hand_over(session, *ways):
    for number, way in enumerate(ways):
        for held, asked in ROLES:
            port = free_port()
            name = f"{way}-{held}"
            if held == "accept":
                holder = session.start(name, [PYTHON, HAND_OVER, "hold", way, held, port])
                session.wait_for_listener(holder, port)
                asker = session.start(f"{name}-asks", [PYTHON, HAND_OVER, "ask", asked, port, number], side="client")
            else:
                asker = session.start(f"{name}-asks", [PYTHON, HAND_OVER, "ask", asked, port, number], side="client")
                session.wait_for_listener(asker, port)
                holder = session.start(name, [PYTHON, HAND_OVER, "hold", way, held, port])
            status = asker.wait()
            check(status == 0 and "compared 1000000 bytes" in asker.text(),
                  f"{name}: the asker ended with {status}: {asker.text()}\nthe holder says {holder.text()}")
            check(holder.wait() == 0, f"{name}: the holder failed: {holder.text()}")
            wanted = "handed over on path 2" if session.both else "handed over on path None"
            check(wanted in holder.text(), f"{name}: not handed over as wanted: {holder.text()}")
            session.lanes += lanes.attaches(session, asker)


@scenario("a connection becomes another program's", small_rings=True)
def programs(session):
    hand_over(session, "inetd", "inetd-bare", "inetd-stdio", "inetd-stdio-bare", "exec", "subprocess", "subprocess-bare",
              "spawn", "system", "popen")


@scenario("programs are started beside a lane")
def beside(session):
    hand_over(session, "beside")


@scenario("a connection is shared by a fork", small_rings=True)
def forks(session):
    hand_over(session, "child", "child-parent-keeps", "child-subprocess", "parent-child-keeps", "turns", "grandchild",
              "grandchild-kill", "daemon")


@scenario("a connection is passed on", small_rings=True)
def passes(session):
    hand_over(session, "pass", "pass-bare", "multiprocessing-fork", "multiprocessing-spawn", "multiprocessing-forkserver")
