"""iperf3 and sockperf: both directions and several streams, and the data itself compared where the tool allows it."""

import json

from registry import expect_lanes, scenario
from session import LOOPBACK, check, free_port, random_bytes


@scenario("iperf3")
def iperf3(session):
    port = free_port()
    server = session.start("iperf3", ["iperf3", "-s", "-B", LOOPBACK, "-p", port, "--forceflush"])
    for number, extra in enumerate(([], ["-R"], ["-P", "2"], ["-P", "2", "-R"], ["--bidir"], ["-l", "1000"]), 1):
        # It is busy with one client for a moment after that has ended, and a probe of its port is one too.
        server.wait_for_text(f"(test #{number})")
        out = session.call("iperf3-client", ["iperf3", "-c", LOOPBACK, "-p", port, "-t", "1", "-J", *extra])
        end = json.loads(out)["end"]
        sent, received = end["sum_sent"]["bytes"], end["sum_received"]["bytes"]
        check(0 < received <= sent, f"iperf3 {extra}: {received} bytes received of {sent}")
        # What is in flight when the time is over is all that may be missing.
        check(sent - received < 64 << 20, f"iperf3 {extra}: {sent - received} bytes are missing")
    expect_lanes(session, server, at_least=6)


@scenario("iperf3 file")
def iperf3_file(session):
    """iperf3 sends a file and the server writes what arrives: the arrived bytes are compared.

    The writes are small, since iperf3 itself spoils the file when one is taken only in part: on the bare kernel too, as
    soon as it is given a small window (-w 256K).
    """
    port = free_port()
    content = random_bytes(40_000_000, 1)
    session.write("sent.bin", content)
    server = session.start("iperf3", ["iperf3", "-s", "-1", "-B", LOOPBACK, "-p", port, "-F",
                                      session.path("received.bin")])
    session.wait_for_listener(server, port)
    session.call("iperf3-client", ["iperf3", "-c", LOOPBACK, "-p", port, "-F", session.path("sent.bin"), "-t", "20",
                                   "-l", "4K"])
    check(server.wait() == 0, "the server ended with an error")
    received = session.path("received.bin").read_bytes()
    check(received == content[:len(received)], "the received file differs")
    check(len(received) > 0, "nothing arrived")
    expect_lanes(session, server)


@scenario("sockperf")
def sockperf(session):
    port = free_port()
    server = session.start("sockperf", ["sockperf", "server", "--tcp", "-i", LOOPBACK, "-p", port], port=port)
    for size in (64, 20000):
        # By itself the tool sets aside room for 600,000 messages a second, which is too few here.
        out = session.call("sockperf-client", ["sockperf", "ping-pong", "--tcp", "-i", LOOPBACK, "-p", port, "-m", size,
                                               "-t", "1", "--data-integrity", "--mps=5000000"]).decode()
        check("# dropped messages = 0" in out and "# duplicated messages = 0" in out and
              "# out-of-order messages = 0" in out, f"sockperf of {size} bytes: {out}")
    out = session.call("sockperf-client", ["sockperf", "throughput", "--tcp", "-i", LOOPBACK, "-p", port, "-m", "1000",
                                           "-t", "1"]).decode()
    check("Summary: Message Rate" in out, f"sockperf throughput: {out}")
    expect_lanes(session, server, at_least=3)
