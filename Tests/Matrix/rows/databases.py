"""Redis with what hangs on it, memcached, PostgreSQL and MariaDB: values compared, replicas compared with their masters."""

import os

import lanes
from matrix import PEERS, count_inner, known, row, until
from redis_parts import RESP
from registry import expect_lanes
from scenarios import postgres as pg
from session import LOOPBACK, PYTHON, check, free_port

IO_URING = 19
TALK = PEERS / "redis_talk.py"

known("redis", "redis-server", "values up to 3 MB, pipelines, redis-cli", "redis values", quick=True)
known("redis, benchmark", "redis-server", "1 to 50 connections, threads", "redis benchmark")
known("redis, BGSAVE", "redis-server", "a snapshot by fork under load, and a restart from it", "redis snapshot under load")
known("memcached", "memcached", "threads, libmemcached's tools", "memcached", quick=True)
known("postgresql", "postgresql-15", "COPY both ways, pgbench with its books balanced", "postgres")


def redis(session, name, side="server", *more, most=65535):
    port = free_port()
    while port > most:
        port = free_port()
    process = session.start(name, ["redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", session.directory,
                                   "--dbfilename", f"{name}.rdb", *more], side=side, port=port)
    return process, port


def cli(session, port, *words, side="client"):
    return session.call("redis-cli", ["redis-cli", "-p", port, *words], side=side)


@row("redis, replication", "redis-server", "full and partial synchronisation, WAIT; the replica is compared")
def replication(session):
    master, port = redis(session, "master")
    session.call("resp", [PYTHON, RESP, port, "write", "1"])
    replica, copy = redis(session, "replica", "client", "--replicaof", "127.0.0.1", port)
    until(lambda: b"master_link_status:up" in cli(session, copy, "INFO", "replication"), "the replica's first synchronisation")
    session.call("resp", [PYTHON, RESP, copy, "verify", "1"])
    session.call("resp", [PYTHON, RESP, port, "write", "2"])
    # Its link is cut: it comes back, and gets what it has missed.
    cli(session, port, "CLIENT", "KILL", "TYPE", "replica")
    session.call("resp", [PYTHON, RESP, port, "write", "3"])
    until(lambda: cli(session, port, "WAIT", "1", "1000").strip() == b"1", "the replica's acknowledgement")
    session.call("resp", [PYTHON, RESP, copy, "verify", "3"])
    check(b"sync_partial_ok:1" in cli(session, port, "INFO", "stats"), "the second synchronisation was not partial")
    expect_lanes(session, master, at_least=3)
    count_inner(session, replica)


@row("redis, pub/sub and MULTI", "redis-server", "40 subscribers, patterns, transactions with WATCH, BLPOP")
def talk(session):
    server, port = redis(session, "redis")
    out = session.call("talk", [PYTHON, TALK, port])
    check(b"compared" in out, f"the client said {out}")
    expect_lanes(session, server, at_least=20)


@row("redis, io-threads", "redis-server", "reads and writes by several threads")
def io_threads(session):
    server, port = redis(session, "redis", "server", "--io-threads", "2", "--io-threads-do-reads", "yes")
    session.call("resp", [PYTHON, RESP, port, "write", "1"])
    out = session.call("redis-benchmark", ["redis-benchmark", "-p", port, "-t", "set,get", "-q", "-c", "30", "-n", "5000", "-d", "3000"])
    check(out.count(b"requests per second") == 2, f"redis-benchmark said {out}")
    session.call("resp", [PYTHON, RESP, port, "verify", "1"])
    expect_lanes(session, server, at_least=20)


@row("redis, cluster", "redis-server", "three nodes and their bus; slots moved under keys")
def cluster(session):
    more = ("--cluster-enabled", "yes", "--cluster-node-timeout", "5000")
    nodes = [redis(session, f"node{number}", "server" if number == 0 else "client", *more, "--cluster-config-file",
                   session.path(f"nodes-{number}.conf"), most=55535) for number in range(3)]
    ports = [port for _, port in nodes]
    session.call("create", ["redis-cli", "--cluster", "create", *(f"127.0.0.1:{port}" for port in ports), "--cluster-yes"])
    until(lambda: all(b"cluster_state:ok" in cli(session, port, "CLUSTER", "INFO") for port in ports), "the cluster")
    for number in range(60):
        session.call("redis-cli", ["redis-cli", "-c", "-p", ports[number % 3], "SET", f"key:{number}", f"value {number}"])
    own = cli(session, ports[0], "CLUSTER", "MYID").strip().decode()
    other = cli(session, ports[1], "CLUSTER", "MYID").strip().decode()
    session.call("reshard", ["redis-cli", "--cluster", "reshard", f"127.0.0.1:{ports[0]}", "--cluster-from", own, "--cluster-to", other,
                             "--cluster-slots", "2000", "--cluster-yes"], timeout=80)
    for number in range(60):
        got = session.call("redis-cli", ["redis-cli", "-c", "-p", ports[(number + 1) % 3], "GET", f"key:{number}"]).strip()
        check(got == f"value {number}".encode(), f"key {number} is {got}")
    for process, _ in nodes:
        count_inner(session, process, at_least=2)


@row("postgresql, replication", "postgresql-15", "pg_basebackup, a streaming standby compared, synchronous commits")
def postgres_replication(session):
    master, port = pg.start_server(session)
    pg.wait_until_ready(session, port)
    pg.psql(session, port, "-c", "CREATE TABLE data (id int PRIMARY KEY, value text)")
    standby, copy = session.path("standby"), free_port()
    session.call("basebackup", pg.as_server_user(session, [pg.programs() / "pg_basebackup", "-h", LOOPBACK, "-p", str(port), "-U", "postgres",
                                                           "-D", standby, "-R", "-X", "stream", "-c", "fast"]))
    replica = session.start("standby", pg.as_server_user(session, [pg.programs() / "postgres", "-D", standby, "-p", str(copy), "-k", "",
                                                                   "-c", "listen_addresses=127.0.0.1"]), side="client", port=copy)
    pg.wait_until_ready(session, copy)
    rows = b"".join(b"%d\t%s\n" % (number, os.urandom(100).hex().encode()) for number in range(20000))
    pg.psql(session, port, "-c", "ALTER SYSTEM SET synchronous_standby_names = '*'", "-c", "ALTER SYSTEM SET synchronous_commit = remote_apply",
            "-c", "SELECT pg_reload_conf()")
    until(lambda: pg.psql(session, port, "-c", "SELECT sync_state FROM pg_stat_replication").strip() == b"sync", "the synchronous standby")
    pg.psql(session, port, "-c", "COPY data FROM STDIN", data=rows)
    got = pg.psql(session, copy, "-c", "COPY (SELECT * FROM data ORDER BY id) TO STDOUT")
    check(got == rows, f"the standby has other rows ({len(got)} bytes of {len(rows)})")
    expect_lanes(session, master, at_least=2)
    count_inner(session, replica)


def as_mysql(arguments):
    return ["runuser", "-u", "mysql", "--", *arguments] if os.geteuid() == 0 else arguments


@row("mariadb", "mariadb-server", "a pool of threads, INSERTs and LOAD DATA LOCAL compared, large values")
def mariadb(session):
    expect_lanes(session, load_mariadb(session, "--innodb-use-native-aio=0"), at_least=3)


@row("mariadb, io_uring", "mariadb-server", "as it comes: it owns an io_uring, so it is left alone and counts io-uring")
def mariadb_uring(session):
    server = load_mariadb(session, "--innodb-use-native-aio=1")
    check(lanes.attaches(session, server) == 0, "a process with an io_uring has had a lane")
    if session.both:
        check(any(IO_URING in lanes.declines(pid) for pid in server.pids()), "no connection was declined for io_uring")


def load_mariadb(session, *more):
    """The server, and clients that compare what they get back."""
    session.directory.chmod(0o777)
    data, port = session.path("mariadb"), free_port()
    session.call("install-db", as_mysql(["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal",
                                         "--skip-test-db"]), side="none", timeout=90)
    server = session.start("mariadbd", as_mysql(["mariadbd", "--no-defaults", f"--datadir={data}", f"--port={port}", "--bind-address=127.0.0.1",
                                                 f"--socket={data}/socket", "--thread-handling=pool-of-threads", "--innodb-flush-log-at-trx-commit=0",
                                                 "--local-infile=1", "--max-allowed-packet=64M", *more]), port=port)
    client = ["mariadb", "--no-defaults", "--protocol=TCP", "-h", LOOPBACK, "-P", port, "-u", "root", "--local-infile=1", "-N", "-B",
              "--max-allowed-packet=64M"]
    session.write("rows", b"".join(b"%d\t%s\n" % (number, os.urandom(60).hex().encode()) for number in range(20000)))
    session.call("sql", client, data=b"CREATE DATABASE data; CREATE TABLE data.rows (id INT PRIMARY KEY, value LONGTEXT);")
    session.call("load", client, data=f"LOAD DATA LOCAL INFILE '{session.path('rows')}' INTO TABLE data.rows;".encode())
    got = session.call("dump", [*client, "--quick", "-e", "SELECT * FROM data.rows ORDER BY id"])
    check(got == session.path("rows").read_bytes(), f"the table has other rows ({len(got)} bytes)")
    large = os.urandom(4_000_000).hex()
    session.call("large", client, data=f"INSERT INTO data.rows VALUES (-1, '{large}');".encode())
    got = session.call("large", [*client, "-e", "SELECT value FROM data.rows WHERE id = -1"])
    check(got.strip() == large.encode(), "a large value differs")
    statements = "".join(f"SELECT {number} * {number};\n" for number in range(2000))
    got = session.call("many", client, data=statements.encode()).split()
    check(got == [b"%d" % (number * number) for number in range(2000)], "an answer differs")
    return server
