"""PostgreSQL over TCP: COPY compared in both directions, and pgbench with its books balanced.

The server runs as another user than its clients when this runs as root, since PostgreSQL refuses to be root.
"""

import os
import pathlib
import subprocess
import time

from registry import expect_lanes, scenario
from session import LOOPBACK, check, free_port, random_bytes


def programs():
    """The newest installed version's folder of server programs."""
    folders = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    check(folders, "PostgreSQL is not installed")
    return folders[-1]


def as_server_user(session, arguments):
    """The command, as user postgres if this is root. runuser keeps the environment."""
    return ["runuser", "-u", "postgres", "--", *arguments] if os.geteuid() == 0 else arguments


def start_server(session):
    port = free_port()
    data = session.path("data")
    session.directory.chmod(0o777)
    session.call("initdb", as_server_user(session, [programs() / "initdb", "-D", data, "-A", "trust", "-U", "postgres",
                                                    "--no-sync"]), side="none")
    arguments = [programs() / "postgres", "-D", data, "-p", port, "-k", "", "-c", "listen_addresses=127.0.0.1", "-c",
                 "fsync=off", "-c", "shared_buffers=64MB"]
    return session.start("postgres", as_server_user(session, arguments), port=port), port


def psql(session, port, *arguments, data=None):
    return session.call("psql", ["psql", "-X", "-q", "-h", LOOPBACK, "-p", port, "-U", "postgres", "-v",
                                 "ON_ERROR_STOP=1", "-At", *arguments], data=data)


def wait_until_ready(session, port):
    """It accepts connections before it has started, and rejects them with a message."""
    command = [programs() / "pg_isready", "-q", "-h", LOOPBACK, "-p", str(port)]
    deadline = time.monotonic() + 20
    while subprocess.run(command, env=session.environment("none"), check=False).returncode != 0:
        check(time.monotonic() < deadline, "PostgreSQL does not get ready")
        time.sleep(0.05)


@scenario("postgres", one_sided=True)
def postgres(session):
    server, port = start_server(session)
    wait_until_ready(session, port)
    rows = b"".join(b"%d\t%s\n" % (number, random_bytes(60, number).hex().encode()) for number in range(20000))
    psql(session, port, "-c", "CREATE TABLE data (id int PRIMARY KEY, value text)")
    psql(session, port, "-c", "COPY data FROM STDIN", data=rows)
    got = psql(session, port, "-c", "COPY (SELECT * FROM data ORDER BY id) TO STDOUT")
    check(got == rows, f"COPY returned other rows than it was given ({len(got)} bytes of {len(rows)})")
    statements = "".join(f"SELECT {number} * {number};\n" for number in range(2000))
    answers = psql(session, port, data=statements.encode()).split()
    check(answers == [b"%d" % (number * number) for number in range(2000)], "an answer differs")

    bench = ["pgbench", "-h", LOOPBACK, "-p", port, "-U", "postgres"]
    session.call("pgbench", [*bench, "-i", "-s", "1", "-q", "postgres"])
    for extra in (["-n", "-c", "4", "-j", "2", "-t", "300"], ["-n", "-S", "-c", "4", "-t", "1000", "-M", "prepared"]):
        out = session.call("pgbench", [*bench, *extra, "postgres"]).decode()
        check("number of failed transactions: 0 " in out, f"pgbench failed: {out}")
    sums = psql(session, port, "-c", "SELECT (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM "
                "pgbench_branches), (SELECT sum(delta) FROM pgbench_history), (SELECT count(*) FROM pgbench_history)")
    accounts, branches, history, count = sums.decode().strip().split("|")
    check(accounts == branches == history and count == "1200", f"the books do not balance: {sums}")
    # A backend ends with its connection, so it is counted by its last words.
    expect_lanes(session, server, at_least=10)
