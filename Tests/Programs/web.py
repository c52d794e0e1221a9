"""What the web scenarios share: an nginx with files of three sizes, and clients that compare what they fetch."""

import pathlib
import re

from session import PATIENCE, check, free_port, random_bytes

COMPARE = pathlib.Path(__file__).parent / "peers" / "compare.lua"
SIZES = {"small": 1024, "middle": 100 * 1024, "large": 10 * 1024 * 1024}

CONFIGURATION = """
daemon off;
worker_processes 2;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
  access_log off;
  keepalive_requests 1000000;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  server {{
    listen 127.0.0.1:{port};
    sendfile {sendfile};
    tcp_nopush {sendfile};
    root {directory}/www;
  }}
}}
"""

HAPROXY = """
global
  maxconn 200
  nbthread 2
  {more_global}
defaults
  mode {mode}
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  {more_defaults}
frontend front
  bind 127.0.0.1:{front}
  default_backend back
backend back
  {more_backend}
  server nginx 127.0.0.1:{back} {more_server}
"""


def write_files(session):
    folder = session.path("www")
    folder.mkdir(mode=0o755, exist_ok=True)
    for seed, (name, size) in enumerate(SIZES.items()):
        session.write(f"www/{name}", random_bytes(size, seed))


def start_nginx(session, sendfile="on", workers=2):
    """A master and its workers, which run as another user when the master is root. Returns (process, port)."""
    write_files(session)
    port = free_port()
    text = CONFIGURATION.format(directory=session.directory, port=port, sendfile=sendfile)
    text = text.replace("worker_processes 2", f"worker_processes {workers}")
    name = f"nginx-{port}"
    session.write(f"{name}.conf", text)
    process = session.start(name, ["nginx", "-p", session.directory, "-c", session.path(f"{name}.conf"), "-e",
                                   "stderr"], port=port)
    return process, port


def haproxy_command(session, front, back, mode="http", more_global="", more_defaults="", more_backend="", more_server=""):
    """Writes a configuration, with further lines in its sections, and returns the command that stays in the foreground."""
    path = session.write("haproxy.cfg", HAPROXY.format(
        front=front, back=back, mode=mode, more_global=more_global, more_defaults=more_defaults,
        more_backend=more_backend, more_server=more_server))
    return ["haproxy", "-db", "-f", path]


def fetch_and_compare(session, port):
    """All files over one connection, in several orders, so that later ones go over a lane."""
    names = list(SIZES) * 3 + ["small"] * 30 + list(reversed(SIZES))
    arguments = []
    for number, name in enumerate(names):
        arguments += ["-o", session.path(f"got-{number}"), f"http://127.0.0.1:{port}/{name}"]
    session.call("curl", ["curl", "--silent", "--show-error", "--fail", *arguments])
    for number, name in enumerate(names):
        got = session.path(f"got-{number}").read_bytes()
        check(got == session.path(f"www/{name}").read_bytes(), f"fetch {number} of {name} differs ({len(got)} bytes)")


def load_and_compare(session, port, name, connections=16, threads=2, seconds=1):
    """wrk on one file, each body compared inside wrk, for so long, and until there are more bodies than connections."""
    environment = session.environment("client", EXPECT_FILE=str(session.path(f"www/{name}")),
                                      AT_LEAST_BODIES=str(connections), AT_LEAST_SECONDS=str(seconds))
    out = session.call("wrk", ["wrk", "-t", threads, "-c", connections, "-d", f"{30 * PATIENCE}s",
                               "--timeout", f"{20 * PATIENCE}s", "-s", COMPARE,
                               f"http://127.0.0.1:{port}/{name}"], environment=environment).decode()
    match = re.search(r"compared good=(\d+) bad=(\d+)", out)
    check(match, f"wrk did not end as it should: {out}")
    good, bad = map(int, match.groups())
    check(bad == 0 and "Socket errors" not in out, f"wrk saw {bad} wrong bodies of {good + bad}:\n{out}")
    check(good >= connections, f"wrk compared only {good} bodies:\n{out}")
    return good
