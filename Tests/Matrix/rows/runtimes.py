"""Event libraries and language runtimes: an echo server in each, and a client that compares."""

import functools

import lanes
from matrix import ECHO, PEERS, compiled, compiled_go, converse, echo, known, row
from session import COMMAND, PYTHON, check

LIBEVENT = functools.partial(compiled, "echo_libevent.c", "-levent")
LIBEV = functools.partial(compiled, "echo_libev.c", "-lev")
LIBUV = functools.partial(compiled, "echo_libuv.c", "-luv")
ASIO = functools.partial(compiled, "echo_asio.cpp", "-pthread")
RUST = functools.partial(compiled, "echo.rs")
GO = functools.partial(compiled_go, "echo-go", "echo_pure.go", False)
CGO = functools.partial(compiled_go, "echo-cgo", "echo_cgo.go", True)
RUBY = ["ruby", PEERS / "echo.rb"]
PERL = ["perl", PEERS / "echo.pl"]
TCL = ["tclsh", PEERS / "echo.tcl"]
LOOPS = [PYTHON, PEERS / "echo_loops.py"]
NO_PEER = 4

echo("libevent", "libevent-dev", "bufferevents at both ends, epoll", [LIBEVENT, "serve"], [LIBEVENT, "ask"], quick=True)
for backend in ("select", "poll", "epoll"):
    echo(f"libev, {backend}", "libev-dev", f"watchers over {backend}",
         ["sh", "-c", f'exec "$0" serve "$1" {backend}', LIBEV], quick=backend == "epoll")
echo("libuv", "libuv1-dev", "uv_tcp_t, epoll", [LIBUV, "serve"], quick=True)
echo("asio", "libasio-dev", "C++, two threads in one io_context at both ends", [ASIO, "serve"], [ASIO, "ask"], quick=True)
echo("rust std::net", "rustc", "threads, io::copy, try_clone", [RUST, "serve"], [RUST, "ask"], quick=True)
echo("glib", "python3-gi", "GSocketService, GSocketClient", [*LOOPS, "glib", "serve"], [*LOOPS, "glib", "ask"], quick=True)
echo("uvloop", "python3-uvloop", "asyncio on libuv", [*LOOPS, "uvloop", "serve"], [*LOOPS, "uvloop", "ask"], quick=True)
echo("gevent", "python3-gevent", "monkey-patched threads on libev", [*LOOPS, "gevent", "serve"], [*LOOPS, "gevent", "ask"], quick=True)
echo("twisted", "python3-twisted", "epoll reactor", [*LOOPS, "twisted", "serve"], [*LOOPS, "twisted", "ask"])
echo("tornado", "python3-tornado", "IOStream", [*LOOPS, "tornado", "serve"], [*LOOPS, "tornado", "ask"])
echo("aiohttp", "python3-aiohttp", "HTTP with bodies, and WebSockets", [*LOOPS, "aiohttp", "serve"], [*LOOPS, "aiohttp", "ask"])
echo("ruby, threads", "ruby", "readpartial, write", [*RUBY, "serve-threads"], [*RUBY, "ask"], quick=True)
echo("ruby, IO.select", "ruby", "read_nonblock, write_nonblock", [*RUBY, "serve-select"], [*RUBY, "ask"])
echo("perl, fork", "perl", "a child for each connection; the client forks too", [*PERL, "serve-fork"], [*PERL, "ask"], at_least=1)
echo("perl, IO::Select", "perl", "sysread, syswrite", [*PERL, "serve-select"], [*PERL, "ask"], quick=True)
echo("tcl", "tcl", "file events and fcopy", [*TCL, "serve"], [*TCL, "ask"])

known("node", "nodejs", "node's streams", "node with node")
known("asyncio", "python3", "Python's streams", "python asyncio")
known("python threads", "python3", "blocking sockets, socketserver", "python threads")
known("python select", "python3", "selectors, timeouts", "python select and timeouts")
known("python poll", "python3", "selectors with poll, and asyncio", "python poll and asyncio")
known("java, blocking", "default-jdk-headless", "a thread for each connection", "java threads with java")
known("java NIO", "default-jdk-headless", "Selector, with node", "java selector with node")


def through_run(session, program, words):
    """A Go program started with `millrace run`, which says that it cannot be served; nothing else changes."""
    server = [COMMAND, "run", "--library", session.library, "--", program, "serve"] if session.preloaded["server"] else [program, "serve"]
    process = converse(session, server, [*ECHO, "ask"])
    if session.preloaded["server"]:
        check(words in process.text() and "its connections stay on TCP" in process.text(), f"no warning: {process.text()}")
    check(lanes.attaches(session, process) == 0, "a Go program has had a lane")
    peer = converse(session, [*ECHO, "serve"], [program, "ask"])
    check(lanes.attaches(session, peer) == 0, "the peer of a Go program has had a lane")
    if session.both:
        check(NO_PEER in lanes.declines(peer.pid), f"the reason is not no-peer: {lanes.declines(peer.pid)}")


@row("go, static", "golang-go", "left alone; `millrace run` says so, the peer counts no-peer")
def go(session):
    through_run(session, GO(), "statically linked Go program")


@row("go, cgo", "golang-go", "linked with libc, and makes its own system calls: the same")
def cgo(session):
    through_run(session, CGO(), "is a Go program, which makes its system calls without libc")
