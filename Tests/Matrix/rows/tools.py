"""Messaging, transfer, measuring and debugging tools."""

import functools
import os
import shutil

import lanes
from matrix import ECHO, PEERS, compiled, converse, count_inner, known, row, until
from registry import expect_lanes
from session import LOOPBACK, PYTHON, check, free_port, random_bytes

LIBEVENT = functools.partial(compiled, "echo_libevent.c", "-levent")

known("iperf3", "iperf3", "both directions, several streams, small writes", "iperf3")
known("iperf3, a file", "iperf3", "40 MB compared", "iperf3 file")
known("sockperf", "sockperf", "ping-pong with data integrity, and a stream", "sockperf", quick=True)
known("bash", "bash", "/dev/tcp, duplicates, children; socat EXEC", "bash /dev/tcp with socat EXEC")
known("socat, pipes", "socat", "a file through pipes and a socket", "pipes into socat")


@row("socat, relay", "socat", "between two echoing ends, a child for each connection")
def relay(session):
    back, front = free_port(), free_port()
    session.start("echo", [*ECHO, "serve", back], port=back)
    socat = session.start("socat", ["socat", f"TCP-LISTEN:{front},bind=127.0.0.1,reuseaddr,fork", f"TCP:127.0.0.1:{back}"], side="client")
    session.wait_for_listener(socat, front)
    out = session.call("client", [*ECHO, "ask", front])
    check(b"compared" in out, f"the client said {out}")
    count_inner(session, socat, at_least=4)


@row("netcat", "netcat-openbsd", "a file there, another back, each half-closed behind its end")
def netcat(session):
    """One direction at a time: what comes when both ends have shut down netcat itself may lose, on the bare kernel too."""
    for number, direction in enumerate(("there", "back")):
        content = random_bytes(30_000_000, number)
        session.write(direction, content)
        port = free_port()
        server = session.start(f"server-{direction}", ["sh", "-c", f"nc -l 127.0.0.1 {port} " + ("-d > got" if number == 0 else f"-N < {direction}")])
        session.wait_for_listener(server, port)
        session.call("client", ["sh", "-c", f"nc 127.0.0.1 {port} " + (f"-N < {direction}" if number == 0 else "-d > got")])
        check(server.wait() == 0, "the server failed")
        check(session.path("got").read_bytes() == content, f"the file that went {direction} differs")
        expect_lanes(session, server)


@row("mosquitto", "mosquitto", "QoS 0 to 2, retained messages, its own clients")
def mosquitto(session):
    port = free_port()
    session.write("mosquitto.conf", f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\nlog_type all\n")
    server = session.start("mosquitto", ["mosquitto", "-c", session.path("mosquitto.conf")], port=port)
    lines = [f"{number} {os.urandom(number % 200 + 1).hex()}" for number in range(2000)]
    for quality in (0, 1, 2):
        name = f"sub-{quality}"
        subscriber = session.start(name, ["mosquitto_sub", "-h", LOOPBACK, "-p", port, "-t", f"topic/{quality}", "-q", quality, "-C", len(lines)],
                                   side="client")
        until(lambda: server.text().count("Sending SUBACK") > quality, "the broker's answer to the subscriber")
        session.call("pub", ["mosquitto_pub", "-h", LOOPBACK, "-p", port, "-t", f"topic/{quality}", "-q", quality, "-l"],
                     data="".join(line + "\n" for line in lines).encode())
        check(subscriber.wait() == 0, f"the subscriber failed: {subscriber.text()[-500:]}")
        got = [line for line in subscriber.text().splitlines() if line[:1].isdigit()]
        check(got == lines, f"QoS {quality}: other messages came ({len(got)} of {len(lines)})")
    # A large retained message, which a later subscriber gets.
    large = os.urandom(300_000).hex()
    session.call("pub", ["mosquitto_pub", "-h", LOOPBACK, "-p", port, "-t", "kept", "-r", "-s"], data=large.encode())
    got = session.call("sub", ["mosquitto_sub", "-h", LOOPBACK, "-p", port, "-t", "kept", "-C", "1"])
    check(got.strip() == large.encode(), "the retained message differs")
    expect_lanes(session, server, at_least=4)


@row("zeromq", "python3-zmq", "ROUTER and DEALER, PUB and SUB, many parts; an I/O thread at each end", quick=True)
def zeromq(session):
    port = free_port()
    server = session.start("zeromq", [PYTHON, PEERS / "zeromq.py", "serve", port], port=port)
    out = session.call("client", [PYTHON, PEERS / "zeromq.py", "ask", port])
    check(b"compared" in out, f"the client said {out}")
    expect_lanes(session, server, at_least=4)


@row("nng", "libnng1", "nngcat: push and pull, requests and replies")
def nng(session):
    port = free_port()
    content = random_bytes(900_000, 3)
    session.write("data", content)
    puller = session.start("pull", ["sh", "-c", f"exec nngcat --pull0 --listen tcp://127.0.0.1:{port} --raw > got"])
    session.wait_for_listener(puller, port)
    # Twenty messages over one connection.
    session.call("push", ["nngcat", "--push0", "--dial", f"tcp://127.0.0.1:{port}", "--file", session.path("data"), "--count", "20",
                          "--interval", "0"])
    wanted = content * 20

    until(lambda: session.path("got").stat().st_size >= len(wanted), "the last message")
    check(session.path("got").read_bytes() == wanted, f"other bytes came ({session.path('got').stat().st_size} of {len(wanted)})")
    expect_lanes(session, puller)


@row("openssl s_server", "openssl", "TLS: s_client with 30,000 lines, curl with files")
def openssl(session):
    session.call("certificate", ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", session.path("key"), "-out",
                                 session.path("certificate"), "-days", "2", "-subj", "/CN=localhost"], side="none")
    pair = ["-cert", session.path("certificate"), "-key", session.path("key"), "-quiet"]
    port = free_port()
    server = session.start("reversing", ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-rev", *pair])
    session.wait_for_listener(server, port)
    lines = [os.urandom(number % 100 + 10).hex() for number in range(30_000)]
    got = session.call("s_client", ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-quiet"],
                       data="".join(f"{line}\n" for line in lines).encode() + b"CLOSE\n")
    check(got.decode().split() == [line[::-1] for line in lines], f"other lines came back ({len(got)} bytes)")
    expect_lanes(session, server)
    session.write("file", random_bytes(5_000_000, 4))
    port = free_port()
    server = session.start("serving", ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-WWW", *pair])
    session.wait_for_listener(server, port)
    for _ in range(2):
        got = session.call("curl", ["curl", "--silent", "--show-error", "--insecure", "--http0.9", f"https://127.0.0.1:{port}/file"])
        check(got == session.path("file").read_bytes(), f"another file came ({len(got)} bytes)")
    expect_lanes(session, server)


RSYNCD = """
use chroot = no
pid file = {directory}/rsyncd.pid
log file = /dev/stderr
[module]
path = {directory}/there
read only = no
uid = {user}
gid = {group}
"""


@row("rsync", "rsync", "a daemon that forks; a tree there, a change, and back")
def rsync(session):
    port = free_port()
    for number in range(40):
        session.path("tree").mkdir(exist_ok=True)
        session.write(f"tree/{number}", random_bytes(number * number * 700, number))
    session.path("there").mkdir()
    session.write("rsyncd.conf", RSYNCD.format(directory=session.directory, user=os.getuid(), group=os.getgid()))
    server = session.start("rsyncd", ["rsync", "--daemon", "--no-detach", f"--address={LOOPBACK}", f"--port={port}", "--config",
                                      session.path("rsyncd.conf")], port=port)
    url = f"rsync://{LOOPBACK}:{port}/module/"
    session.call("there", ["rsync", "-a", f"{session.path('tree')}/", url])
    changed = session.path("tree/39").read_bytes()
    session.write("tree/39", changed[:1000] + b"in the middle" + changed[1000:])
    session.call("again", ["rsync", "-a", "--checksum", "--no-whole-file", f"{session.path('tree')}/", url])
    session.call("back", ["rsync", "-a", url, f"{session.path('home')}/"])
    for folder in ("there", "home"):
        for number in range(40):
            check(session.path(f"{folder}/{number}").read_bytes() == session.path(f"tree/{number}").read_bytes(), f"{folder}/{number} differs")
    expect_lanes(session, server)


@row("strace", "strace", "around the server and its threads")
def strace(session):
    process = converse(session, ["strace", "-f", "-o", "trace", *ECHO, "serve"], [*ECHO, "ask"])
    check("socket(" in session.path("trace").read_text(errors="replace"), "strace saw nothing")
    expect_lanes(session, process, at_least=4)


@row("gdb", "gdb", "around the client and its threads, with a breakpoint in send")
def gdb(session):
    port = free_port()
    server = session.start("server", [*ECHO, "serve", port], port=port)
    out = session.call("gdb", ["gdb", "-q", "-batch", "-ex", "set breakpoint pending on", "-ex", "break send if 0", "-ex", "run", "--args", *ECHO,
                               "ask", port], timeout=90).decode(errors="replace")
    check("compared" in out and "exited normally" in out, f"gdb said {out[-2000:]}")
    expect_lanes(session, server, at_least=4)


@row("valgrind", "valgrind", "memcheck around libevent's client, which must be clean", quick=True)
def valgrind(session):
    server_command = [LIBEVENT, "serve"]
    command = ["valgrind", "-q", "--error-exitcode=9", LIBEVENT, "ask"]
    expect_lanes(session, converse(session, server_command, command), at_least=4)


@row("openbsd inetd", "openbsd-inetd", "a program for each connection, which finds it as its input and output")
def inetd(session):
    port = free_port()
    program = shutil.which("inetd") or "/usr/sbin/inetd"
    session.write("inetd.conf", f"127.0.0.1:{port} stream tcp nowait root /bin/cat cat\n")
    process = session.start("inetd", [program, "-d", session.path("inetd.conf")])
    session.wait_for_listener(process, port)
    out = session.call("client", [*ECHO, "ask", port])
    check(b"compared" in out, f"the client said {out}")
    session.lanes += lanes.attaches(session, process)
