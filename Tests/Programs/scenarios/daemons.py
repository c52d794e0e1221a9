"""Daemons that hand connections or listeners to other processes: sshd, apache's prefork, inetd, socket activation."""

import os
import pathlib
import pwd

import web
from registry import expect_lanes, scenario
from session import PYTHON, check, free_port, random_bytes

PEERS = pathlib.Path(__file__).parent.parent / "peers"
USER = pwd.getpwuid(os.geteuid()).pw_name

SSHD = """
ListenAddress 127.0.0.1:{port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
"""

SSH = """
Host *
  HostName 127.0.0.1
  Port {port}
  IdentityFile {directory}/user_key
  IdentitiesOnly yes
  UserKnownHostsFile {directory}/known_hosts
  StrictHostKeyChecking no
  BatchMode yes
  LogLevel ERROR
  ExitOnForwardFailure yes
"""


def start_sshd(session, *options):
    """sshd with keys of its own; `ssh -F ssh_config peer` reaches it."""
    if os.geteuid() == 0:
        # Where root's sshd puts what has lost its privileges. Debian's service makes it when it starts.
        pathlib.Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    for key in ("host_key", "user_key"):
        session.call("ssh-keygen", ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", session.path(key)], side="none")
    port = free_port()
    values = {"port": port, "directory": session.directory}
    session.write("sshd_config", SSHD.format(**values))
    session.write("ssh_config", SSH.format(**values))
    server = session.start("sshd", ["/usr/sbin/sshd", "-D", "-e", *options, "-f", session.path("sshd_config")], port=port)
    return server


def ssh(session, *arguments):
    return ["ssh", "-F", session.path("ssh_config"), "-l", USER, *arguments]


def exchange_over_ssh(session):
    """A few megabytes through a remote program, and back."""
    data = random_bytes(4_000_000, 1)
    got = session.call("ssh", ssh(session, "peer", "cat"), data=data)
    check(got == data, f"ssh brought back something else: {len(got)} bytes")


@scenario("sshd", one_sided=True)
def sshd(session):
    """sshd becomes another image for each connection, which inherits it as standard input: it stays TCP's."""
    start_sshd(session)
    exchange_over_ssh(session)


@scenario("sshd in one image", one_sided=True)
def sshd_in_one_image(session):
    """With -r it only forks: the connection is shared by a monitor and a child that a seccomp filter confines."""
    start_sshd(session, "-r")
    exchange_over_ssh(session)


@scenario("ssh forwards connections")
def ssh_forwards(session):
    """curl to ssh, ssh to sshd, sshd to an HTTP server: what is forwarded is on lanes at both ends."""
    session.write("data", random_bytes(3_000_000, 1))
    back, front = free_port(), free_port()
    http = session.start("http", [PYTHON, PEERS / "http_files.py", back, session.directory], port=back)
    start_sshd(session)
    client = session.start("ssh", ssh(session, "-N", "-L", f"127.0.0.1:{front}:127.0.0.1:{back}", "peer"), side="client")
    session.wait_for_listener(client, front)
    url = f"http://127.0.0.1:{front}/data"
    got = session.call("curl", ["curl", "--silent", "--show-error", "--fail", url, url, url])
    check(got == session.path("data").read_bytes() * 3, "what was forwarded differs")
    expect_lanes(session, client)
    expect_lanes(session, http)


APACHE = """
ServerRoot {directory}
ServerName localhost
Listen 127.0.0.1:{port}
PidFile {directory}/apache.pid
ErrorLog /dev/stderr
DefaultRuntimeDir {directory}
Mutex file:{directory}
LoadModule mpm_prefork_module /usr/lib/apache2/modules/mod_mpm_prefork.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
{user}
DocumentRoot {directory}/www
EnableSendfile On
KeepAlive On
MaxKeepAliveRequests 0
StartServers 16
MinSpareServers 4
MaxRequestWorkers 32
"""


@scenario("apache prefork", small_rings=True)
def apache_prefork(session):
    """Every connection is accepted and served by one of many processes, forked before they had any."""
    web.write_files(session)
    port = free_port()
    user = "User www-data\nGroup www-data" if os.geteuid() == 0 else ""
    session.write("apache.conf", APACHE.format(directory=session.directory, port=port, user=user))
    apache = session.start("apache", ["/usr/sbin/apache2", "-D", "FOREGROUND", "-f", session.path("apache.conf")], port=port)
    web.fetch_and_compare(session, port)
    for name in web.SIZES:
        web.load_and_compare(session, port, name, connections=4 if name == "large" else 12)
    expect_lanes(session, apache, at_least=12)


@scenario("inetd", one_sided=True, small_rings=True)
def inetd(session):
    """inetd accepts, forks, and becomes a program that has the connection as its standard input and output."""
    port = free_port()
    session.write("inetd.conf", f"127.0.0.1:{port} stream tcp nowait {USER} /bin/cat cat\n")
    server = session.start("inetd", ["/usr/sbin/inetd", "-i", session.path("inetd.conf")])
    session.wait_for_listener(server, port)
    for seed in range(3):
        out = session.call("ask", [PYTHON, PEERS / "hand_over.py", "echoed", port, seed])
        check(b"compared" in out, f"the client said {out}")


def activate(session, *arguments):
    port = free_port()
    server = session.start("activate", ["systemd-socket-activate", "-l", f"127.0.0.1:{port}", *session_variables(session),
                                        *arguments])
    session.wait_for_listener(server, port)
    return server, port


def session_variables(session):
    """systemd-socket-activate starts its programs with an environment of their own, but for what it is told to pass on."""
    names = [name for name in session.environment("server") if name == "LD_PRELOAD" or name.startswith("MILLRACE")]
    return [argument for name in names for argument in ("-E", name)]


@scenario("systemd socket activation", small_rings=True)
def activation(session):
    """The listening socket is made by one program and used by another, which has got it across an exec."""
    server, port = activate(session, PYTHON, PEERS / "streams_blocking.py", "serve-activated", "3")
    out = session.call("ask", [PYTHON, PEERS / "streams_blocking.py", "ask-threads", port, "1"])
    check(b"compared" in out, f"the client said {out}")
    expect_lanes(session, server, at_least=4)


@scenario("systemd socket activation, per connection", small_rings=True)
def activation_per_connection(session):
    _, port = activate(session, "--accept", "--inetd", "cat")
    for seed in range(3):
        out = session.call("ask", [PYTHON, PEERS / "hand_over.py", "echoed", port, seed])
        check(b"compared" in out, f"the client said {out}")


@scenario("haproxy hands its listeners over")
def haproxy_reload(session):
    """Under load, a new haproxy takes the listeners from the old one over a Unix socket; no request fails."""
    nginx, back = web.start_nginx(session)
    front = free_port()
    admin = session.path("admin")
    arguments = web.haproxy_command(session, front, back, more_global=f"stats socket {admin} level admin expose-fd listeners")
    generations = [session.start("haproxy-0", arguments, port=front)]
    file = session.path("www/middle")
    client = session.start("fetch", [PYTHON, PEERS / "fetch_many.py", front, "middle", file, 5, 8], side="client")
    for number in range(1, 4):
        old = generations[-1]
        if session.both:
            session.wait_for_lanes(old)
        new = session.start(f"haproxy-{number}", [*arguments, "-x", admin, "-sf", old.pid])
        generations.append(new)
        check(old.wait() == 0, f"generation {number - 1} ended badly: {old.text()}")
    web.fetch_and_compare(session, front)
    check(client.wait() == 0, f"under reloads: {client.text()}")
    for process in generations:
        expect_lanes(session, process)
