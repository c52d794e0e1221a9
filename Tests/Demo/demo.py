#!/usr/bin/python3
"""Shows what Millrace does: unmodified Redis and nginx with their usual load generators, plain and under Millrace.

The same programs run one after the other on kernel TCP and with the library preloaded; nothing else differs. Ends in a
table of both, with the number of lanes, after the same data was checked on both.
"""

import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "Support"), str(HERE.parent / "Programs")]

import lanes  # noqa: E402
import web  # noqa: E402
from session import COMMAND, LIBRARY, LOOPBACK, PYTHON, Failure, Session, check, free_port  # noqa: E402

RESP = HERE.parent / "Programs" / "peers" / "resp.py"
PLAIN, MILLRACE = "kernel TCP", "Millrace"


def say(text):
    print(text, flush=True)


def show_connections(session, server, load, wanted):
    """A few lines of `millrace ss` about the server, as soon as the load's connections are on their lanes."""
    while lanes.attaches(session, server) < wanted and load.child.poll() is None:
        time.sleep(0.05)
    out = subprocess.run([COMMAND, "ss", "--pid", str(server.pid)], capture_output=True, text=True, timeout=20).stdout
    lines = [line for line in out.splitlines() if line.startswith(("PATH", "lane"))]
    for line in lines[:4]:
        say(f"      | {line}")
    if len(lines) > 4:
        say(f"      | ... and {len(lines) - 4} more")


def redis(label, figures):
    with Session(label == MILLRACE, label == MILLRACE, {"MILLRACE_LOG": "error"}) as session:
        port = free_port()
        server = session.start("redis", ["redis-server", "--port", port, "--bind", LOOPBACK, "--save", "", "--dir",
                                         session.directory], port=port)
        checked = session.call("values", [PYTHON, RESP, port, "write", "1"]).decode().strip()
        say(f"    redis-server: {checked}")
        for key, title, options in (("redis-1", "1 connection", ["-c", "1", "-n", "60000"]),
                                    ("redis-50", "50 connections", ["-c", "50", "-n", "200000"])):
            load = session.start(f"load-{key}", ["redis-benchmark", "-p", port, "-t", "get", "--csv", *options],
                                 side="client")
            if label == MILLRACE and key == "redis-50":
                show_connections(session, server, load, lanes.attaches(session, server) + 50)
            check(load.wait(60) == 0, f"redis-benchmark failed: {load.text()}")
            match = re.search(r'"GET","([0-9.]+)"', load.text())
            check(match, f"redis-benchmark said: {load.text()}")
            figures[f"redis GET, {title}"] = float(match.group(1))
            say(f"    redis-benchmark, {title}: {float(match.group(1)):,.0f} requests/s")
        say(f"    redis-server: {session.call('values', [PYTHON, RESP, port, 'verify', '1']).decode().strip()}")
        return lanes.attaches(session, server)


def nginx(label, figures):
    with Session(label == MILLRACE, label == MILLRACE, {"MILLRACE_LOG": "error"}) as session:
        server, port = web.start_nginx(session, workers=1)
        web.fetch_and_compare(session, port)
        say("    nginx: files of 1 KiB, 100 KiB and 10 MiB fetched with curl and compared")
        for name, title in (("small", "1 KiB"), ("middle", "100 KiB")):
            out = session.call("wrk", ["wrk", "-t", "1", "-c", "16", "-d", "3s",
                                       f"http://{LOOPBACK}:{port}/{name}"]).decode()
            match = re.search(r"Requests/sec: +([0-9.]+)", out)
            check(match and "Non-2xx" not in out and "Socket errors" not in out, f"wrk said: {out}")
            figures[f"nginx keep-alive, {title}"] = float(match.group(1))
            say(f"    wrk, 16 connections, {title}: {float(match.group(1)):,.0f} requests/s")
        compared = web.load_and_compare(session, port, "small")
        say(f"    wrk with every body compared: {compared} bodies, none wrong")
        return lanes.attaches(session, server)


def table(figures, counts):
    lines = [("", PLAIN, MILLRACE, "ratio")]
    for work, plain in figures[PLAIN].items():
        other = figures[MILLRACE][work]
        lines.append((work, f"{plain:,.0f}/s", f"{other:,.0f}/s", f"{other / plain:.1f} x"))
    lines.append(("lanes attached", str(counts[PLAIN]), str(counts[MILLRACE]), ""))
    lines.append(("data checked", "same", "same", ""))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    for line in lines:
        cells = [line[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(line[1:], widths[1:])]
        say("  " + "   ".join(cells).rstrip())


def main():
    if not LIBRARY.exists():
        say("build/libmillrace.so is missing: run make demo")
        return 1
    figures, counts = {PLAIN: {}, MILLRACE: {}}, {PLAIN: 0, MILLRACE: 0}
    try:
        for name, part in (("Redis", redis), ("nginx", nginx)):
            for label in (PLAIN, MILLRACE):
                how = "as installed" if label == PLAIN else "the same programs with LD_PRELOAD=libmillrace.so"
                say(f"== {name} on {label} ({how})")
                counts[label] += part(label, figures[label])
    except Failure as failure:
        say(f"the demo failed: {failure}")
        return 1
    say("")
    table(figures, counts)
    say("")
    return 0 if counts[MILLRACE] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
