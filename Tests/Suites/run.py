#!/usr/bin/python3
"""Runs test suites that this project did not write, bare and preloaded with a lane from the first call on, and compares them.

Usage: run.py [--list] [--quick] [--repeat N] [--set VARIABLE=VALUE] [NAME...]
A test that passes bare must pass preloaded. Tests that fail bare are named and count for nothing; known-differences.txt admits
what differs, with a reason.
"""

import argparse
import dataclasses
import fnmatch
import json
import pathlib
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "Support"))

from session import BUILD, PYTHON, Session  # noqa: E402

VENV = BUILD / "suites"
KNOWN = HERE / "known-differences.txt"


@dataclasses.dataclass
class Suite:
    """Modules of one project's tests, each of which is run in a process of its own."""

    name: str
    modules: tuple
    quick: tuple = ()
    # What pip installs for it into the environment of its own, where Debian's package has no tests.
    pip: tuple = ()
    seconds: int = 150


def cpython(*names):
    return tuple(f"test.test_{name}" for name in names)


SUITES = [
    Suite("cpython sockets", cpython("socket", "socketserver", "select", "selectors", "poll", "epoll", "signal"),
          quick=cpython("socketserver", "select", "epoll")),
    Suite("cpython protocols", cpython("httplib", "httpservers", "ftplib", "smtplib", "poplib", "imaplib", "telnetlib", "nntplib", "xmlrpc",
                                       "urllib2_localnet", "logging", "asynchat", "asyncore", "smtpd", "ssl", "docxmlrpc", "wsgiref"),
          quick=cpython("httplib", "asyncore", "urllib2_localnet")),
    Suite("cpython asyncio", tuple(f"test.test_asyncio.test_{name}" for name in (
        "events", "streams", "server", "sendfile", "sock_lowlevel", "selector_events", "ssl", "sslproto", "buffered_proto", "unix_events",
        "base_events", "subprocess")), quick=tuple(f"test.test_asyncio.test_{name}" for name in ("streams", "server"))),
    Suite("cpython processes", cpython("multiprocessing_fork", "multiprocessing_spawn", "concurrent_futures"), seconds=400),
    Suite("tornado", tuple(f"tornado.test.{name}_test" for name in (
        "iostream", "tcpserver", "tcpclient", "httpserver", "simple_httpclient", "websocket", "netutil", "web", "ioloop", "http1connection",
        "process")), quick=tuple(f"tornado.test.{name}_test" for name in ("websocket",))),
    Suite("twisted", tuple(f"twisted.internet.test.test_{name}" for name in (
        "tcp", "endpoints", "tls", "fdset", "socket", "unix", "core", "epollreactor", "pollingfile", "protocol", "main", "process"))
          + tuple(f"twisted.test.test_{name}" for name in ("tcp", "internet", "factories", "protocols", "amp", "ftp", "pb", "ssl"))
          + ("twisted.web.test.test_webclient", "twisted.web.test.test_http"),
          quick=("twisted.test.test_tcp", "twisted.internet.test.test_fdset")),
    Suite("gevent", tuple(f"gevent.tests.test__{name}" for name in (
        "socket", "socketpair", "server", "pywsgi", "select", "socket_close", "socket_errors", "makefile_ref", "backdoor", "ssl", "greenio",
        "issue6", "example_echoserver", "socket_send_memoryview", "socket_timeout", "hub_join")), pip=("gevent==24.2.1",), seconds=240),
]


def interpreter(suite):
    """The Python that has the suite; pip is asked once."""
    if not suite.pip:
        return PYTHON
    stamp = VENV / ("-".join(suite.pip) + ".done")
    if not stamp.exists():
        subprocess.run([PYTHON, "-m", "venv", VENV], check=True)
        subprocess.run([VENV / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *suite.pip, "zope.event", "dnspython"],
                       check=True)
        stamp.write_text("")
    return VENV / "bin/python"


def run_module(suite, module, preloaded, chosen):
    """{"results": ..., "problems": ..., "lanes": ...}; what has no end in time has no results."""
    session = Session(preloaded, preloaded, {"MILLRACE_ATTACH": "0", "MILLRACE_LOG": "error"} | chosen)
    with session, tempfile.TemporaryDirectory(prefix="millrace-suite-") as directory:
        output = pathlib.Path(directory) / "results.json"
        command = [interpreter(suite), "-W", "ignore", HERE / "driver.py", output, module]
        log = open(pathlib.Path(directory) / "log", "wb")
        child = subprocess.Popen(command, cwd=directory, env=session.environment("client"), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                 start_new_session=True)
        try:
            status = child.wait(suite.seconds)
            ended = f"ended with {status}"
        except subprocess.TimeoutExpired:
            ended = f"did not end within {suite.seconds} s; stacks: {session.write_stacks(child.pid).read_text(errors='replace')[-6000:]}"
            child.kill()
            child.wait()
        if output.exists():
            return json.loads(output.read_text())
        tail = pathlib.Path(directory, "log").read_text(errors="replace")[-1000:]
        return {"results": {}, "problems": {module: f"{module} {ended}\n{tail}"}, "lanes": 0}


def known_differences():
    """Patterns of names; a line that does not begin with # has a pattern and its reason."""
    lines = KNOWN.read_text().splitlines() if KNOWN.exists() else []
    return [line.split(None, 1)[0] for line in lines if line.strip() and not line.startswith("#")]


def compare(suite, module, chosen, known):
    started = time.monotonic()
    bare, ours = run_module(suite, module, False, {}), run_module(suite, module, True, chosen)
    good = {name for name, outcome in bare["results"].items() if outcome == "passed"}
    lost = sorted(name for name in good if ours["results"].get(name) != "passed")
    admitted = [name for name in lost if any(fnmatch.fnmatchcase(name, pattern) for pattern in known)]
    lost = [name for name in lost if name not in admitted]
    failing = sorted(name for name, outcome in bare["results"].items() if outcome == "failed")
    word = "passed" if good and not lost else "FAILED"
    print(f"{suite.name}, {module}: {word}, {len(good)} tests pass bare, {len(good) - len(lost) - len(admitted)} of them preloaded, "
          f"{len(admitted)} known, {ours['lanes']} lanes, {time.monotonic() - started:.0f} s", flush=True)
    if failing:
        print(f"  {len(failing)} fail bare: {' '.join(name.rpartition('.')[2] for name in failing[:8])}")
    if not good:
        print(f"  nothing passes bare: {list(bare['problems'].values())[:1]}")
    for name in lost:
        print(f"  {name}: {ours['results'].get(name, 'no result')}\n    " + ours["problems"].get(name, ours["problems"].get(module, "")).replace("\n", "\n    "))
    return word == "passed", len(good), ours["lanes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="list the modules and stop")
    parser.add_argument("--quick", action="store_true", help="only what is part of make test")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--set", action="append", default=[], metavar="VARIABLE=VALUE", help="a setting of the preloaded processes")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only modules whose suite and name contain this")
    options = parser.parse_args()
    chosen = dict(setting.split("=", 1) for setting in options.set)
    known = known_differences()
    passed = failed = tests = lanes = 0
    for suite in SUITES * options.repeat:
        for module in suite.quick if options.quick else suite.modules:
            if options.names and not any(name in f"{suite.name} {module}" for name in options.names):
                continue
            if options.list:
                print(f"{suite.name}: {module}")
                continue
            good, count, attached = compare(suite, module, chosen, known)
            passed, failed, tests, lanes = passed + good, failed + (not good), tests + count, lanes + attached
    if not options.list:
        print(f"{passed} passed, {failed} failed; {tests} tests that pass bare, {lanes} lanes")
    return 1 if failed or not (passed or options.list) else 0


if __name__ == "__main__":
    sys.exit(main())
