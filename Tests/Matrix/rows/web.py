"""Web servers and what fetches from them: nginx in several lives, Apache, lighttpd, PHP, haproxy, curl, wget."""

import hashlib
import os
import pathlib
import shutil
import signal
import time

import lanes
import web
from matrix import count_inner, known, row
from registry import expect_lanes
from session import PYTHON, Failure, check, free_port, random_bytes

HTTP_FILES = pathlib.Path(web.__file__).parent / "peers" / "http_files.py"

known("nginx, sendfile", "nginx", "a master and two workers, curl and wrk", "nginx with sendfile", quick=True)
known("curl", "curl", "one connection, many, uploads; http.server", "curl with http.server")


def children(pid):
    """The pids of a process' children, by the kernel's list."""
    return [int(word) for word in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Daemon:
    """A server that put itself into the background: known by its pid file, told apart by its log."""

    name = "daemon"

    def __init__(self, session, pid_file, log):
        self.session, self.pid_file, self.log = session, pid_file, log
        session.logs.append(log)

    @property
    def pid(self):
        return int(self.pid_file.read_text())

    def pids(self):
        return [self.pid, *children(self.pid)]

    def wait_for(self, condition, what):
        deadline = time.monotonic() + 20
        while not condition():
            if time.monotonic() > deadline:
                raise Failure(f"{what}: it did not come within 20 s")
            time.sleep(0.02)

    def stop(self, number=signal.SIGTERM):
        pid = self.pid
        os.kill(pid, number)
        # It is nobody's child here, so it is gone when its number is.
        self.wait_for(lambda: not pathlib.Path(f"/proc/{pid}/exe").exists(), "the end of the daemon")


def nginx_daemon(session, threads):
    """`daemon on`, with a thread pool for files if wanted. Returns (daemon, port, the command)."""
    web.write_files(session)
    port, log = free_port(), session.path("error.log")
    text = web.CONFIGURATION.format(directory=session.directory, port=port, sendfile="on")
    text = text.replace("daemon off", "daemon on").replace("error_log stderr warn", f"error_log {log} notice")
    if threads:
        text = text.replace("access_log off;", "access_log off; aio threads; output_buffers 2 64k;")
    session.write("nginx.conf", text)
    # An upgrade executes the name that it was started by.
    command = [shutil.which("nginx"), "-p", session.directory, "-c", session.path("nginx.conf"), "-e", log]
    session.call("nginx", command, side="server")
    daemon = Daemon(session, session.path("nginx.pid"), log)
    daemon.wait_for(lambda: session.path("nginx.pid").exists() and session.path("nginx.pid").read_text().strip(), "the pid file")
    return daemon, port, command


@row("nginx, daemon on", "nginx", "aio threads, several workers")
def nginx_threads(session):
    daemon, port, _ = nginx_daemon(session, threads=True)
    try:
        web.fetch_and_compare(session, port)
        for name in ("small", "middle"):
            web.load_and_compare(session, port, name)
        expect_lanes(session, daemon, at_least=16)
    finally:
        daemon.stop()


@row("nginx, reload under load", "nginx", "workers leave with kept connections, new ones come")
def nginx_reload(session):
    daemon, port, command = nginx_daemon(session, threads=False)
    try:
        workers = set(children(daemon.pid))
        for _ in range(3):
            session.start("slow-reader", ["curl", "--silent", "--limit-rate", "8M", "-o", session.path("slow"),
                                          f"http://127.0.0.1:{port}/large"], side="client")
            session.call("nginx-reload", [*command, "-s", "reload"], side="server")
            web.fetch_and_compare(session, port)
            check(session.processes[-1].wait() == 0, "a download during a reload failed")
            check(session.path("slow").read_bytes() == session.path("www/large").read_bytes(), "a download during a reload differs")
        daemon.wait_for(lambda: not workers & set(children(daemon.pid)), "the end of the old workers")
        expect_lanes(session, daemon, at_least=3)
    finally:
        daemon.stop()


@row("nginx, upgrade", "nginx", "USR2: another master inherits the listening sockets by exec; WINCH, QUIT")
def nginx_upgrade(session):
    daemon, port, _ = nginx_daemon(session, threads=False)
    old = daemon.pid
    try:
        web.fetch_and_compare(session, port)
        os.kill(old, signal.SIGUSR2)
        daemon.wait_for(lambda: session.path("nginx.pid").exists() and session.path("nginx.pid.oldbin").exists() and
                        session.path("nginx.pid").read_text().strip() not in ("", str(old)) and len(children(daemon.pid)) == 2,
                        "the new master")
        web.load_and_compare(session, port, "middle")
        os.kill(old, signal.SIGQUIT)
        daemon.wait_for(lambda: not pathlib.Path(f"/proc/{old}/exe").exists(), "the end of the old master")
        web.fetch_and_compare(session, port)
        expect_lanes(session, daemon, at_least=3)
    finally:
        daemon.stop()


APACHE = """
ServerRoot {directory}
ServerName localhost
PidFile {directory}/apache.pid
ErrorLog /dev/stderr
Listen 127.0.0.1:{port}
LoadModule mpm_{mpm}_module /usr/lib/apache2/modules/mod_mpm_{mpm}.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
User www-data
Group www-data
StartServers 2
ServerLimit 4
ThreadsPerChild 16
MaxRequestWorkers 64
KeepAlive On
MaxKeepAliveRequests 0
EnableSendfile {sendfile}
DocumentRoot {directory}/www
"""


def apache(session, mpm, sendfile):
    web.write_files(session)
    port = free_port()
    session.write("apache.conf", APACHE.format(directory=session.directory, port=port, mpm=mpm, sendfile=sendfile))
    process = session.start("apache", ["apache2", "-d", session.directory, "-f", session.path("apache.conf"), "-DFOREGROUND"], port=port)
    web.fetch_and_compare(session, port)
    for name in web.SIZES:
        web.load_and_compare(session, port, name, connections=4 if name == "large" else 12)
    os.kill(process.pid, signal.SIGUSR1)
    web.fetch_and_compare(session, port)
    expect_lanes(session, process, at_least=12)


@row("apache, event", "apache2-bin", "threads and an epoll listener, sendfile; a graceful restart")
def apache_event(session):
    apache(session, "event", "On")


@row("apache, worker", "apache2-bin", "threads, files mapped; a graceful restart")
def apache_worker(session):
    apache(session, "worker", "Off")


LIGHTTPD = """
server.document-root = "{directory}/www"
server.port = {port}
server.bind = "127.0.0.1"
server.event-handler = "{handler}"
server.network-backend = "{backend}"
server.max-keep-alive-requests = 100000
server.errorlog = "/dev/stderr"
"""


def lighttpd(session, handler, backend):
    web.write_files(session)
    port = free_port()
    session.write("lighttpd.conf", LIGHTTPD.format(directory=session.directory, port=port, handler=handler, backend=backend))
    process = session.start("lighttpd", ["lighttpd", "-D", "-f", session.path("lighttpd.conf")], port=port)
    web.fetch_and_compare(session, port)
    for name in web.SIZES:
        web.load_and_compare(session, port, name, connections=4 if name == "large" else 16)
    expect_lanes(session, process, at_least=12)


@row("lighttpd, epoll", "lighttpd", "sendfile", quick=True)
def lighttpd_epoll(session):
    lighttpd(session, "linux-sysepoll", "sendfile")


@row("lighttpd, poll", "lighttpd", "writev")
def lighttpd_poll(session):
    lighttpd(session, "poll", "writev")


@row("wget", "wget", "recursive, with links converted by nobody, from lighttpd")
def wget(session):
    web.write_files(session)
    links = "".join(f'<a href="{name}">x</a>' for name in web.SIZES)
    session.write("www/index.html", f"<html><body>{links * 3}</body></html>")
    port = free_port()
    text = LIGHTTPD.format(directory=session.directory, port=port, handler="linux-sysepoll", backend="sendfile")
    session.write("lighttpd.conf", text + 'index-file.names = ("index.html")\nmimetype.assign = (".html" => "text/html")\n')
    process = session.start("lighttpd", ["lighttpd", "-D", "-f", session.path("lighttpd.conf")], port=port)
    for number in range(3):
        session.call("wget", ["wget", "-q", "-r", "-nH", "-P", session.path(f"got-{number}"), f"http://127.0.0.1:{port}/"])
        for name in web.SIZES:
            got = session.path(f"got-{number}/{name}").read_bytes()
            check(got == session.path(f"www/{name}").read_bytes(), f"wget got another {name}")
    expect_lanes(session, process, at_least=3)


FPM = """
[global]
error_log = /dev/stderr
daemonize = no
[www]
listen = 127.0.0.1:{port}
user = www-data
group = www-data
pm = static
pm.max_children = 3
"""
FASTCGI = """
  upstream php {{ server 127.0.0.1:{php}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{front};
    client_max_body_size 64m;
    location / {{
      include /etc/nginx/fastcgi_params;
      fastcgi_param SCRIPT_FILENAME {directory}/www/index.php;
      fastcgi_keep_conn on;
      fastcgi_pass php;
    }}
  }}
}}
"""
PHP = """<?php
$body = file_get_contents('php://input');
if (isset($_GET['port'])) {
  // A connection of PHP's own, to the same kind of server.
  $stream = stream_socket_client('tcp://127.0.0.1:' . (int)$_GET['port']);
  fwrite($stream, "GET /middle HTTP/1.0\\r\\n\\r\\n");
  $body = explode("\\r\\n\\r\\n", stream_get_contents($stream), 2)[1];
}
header('Content-Type: application/octet-stream');
header('X-Sum: ' . hash('sha256', $body));
echo strrev($body);
"""


@row("php-fpm", "php8.2-fpm", "behind nginx with kept FastCGI connections; streams of PHP's own")
def php(session):
    web.write_files(session)
    session.write("www/index.php", PHP)
    back, front, files = free_port(), free_port(), free_port()
    session.write("fpm.conf", FPM.format(port=back))
    fpm = session.start("php-fpm", ["php-fpm8.2", "-F", "-y", session.path("fpm.conf")], port=back)
    text = web.CONFIGURATION.format(directory=session.directory, port=files, sendfile="on").rstrip().rstrip("}")
    session.write("nginx.conf", text + FASTCGI.format(php=back, front=front, directory=session.directory))
    nginx = session.start("nginx", ["nginx", "-p", session.directory, "-c", session.path("nginx.conf"), "-e", "stderr"],
                          side="client", port=front)
    for number, size in enumerate([0, 1, 1000, 100_000, 3_000_000] + [2000] * 20):
        body = random_bytes(size, number)
        got = session.call("curl", ["curl", "--silent", "--show-error", "--fail", "-D", session.path("headers"), "-H", "Expect:",
                                    "--data-binary", "@-", f"http://127.0.0.1:{front}/"], data=body)
        check(got == body[::-1], f"PHP answered with other bytes ({len(got)} of {size})")
        check(hashlib.sha256(body).hexdigest() in session.path("headers").read_text(), "PHP got another body")
    for _ in range(5):
        got = session.call("curl", ["curl", "--silent", "--fail", f"http://127.0.0.1:{front}/?port={files}"])
        check(got == session.path("www/middle").read_bytes()[::-1], "PHP's own stream brought other bytes")
    expect_lanes(session, fpm, at_least=1)
    count_inner(session, nginx)


@row("haproxy", "haproxy", "two threads in front of nginx, health checks")
def haproxy(session):
    nginx, back = web.start_nginx(session)
    front = free_port()
    command = web.haproxy_command(session, front, back, more_defaults="http-reuse always", more_backend="option httpchk GET /small",
                                  more_server="check inter 100ms")
    process = session.start("haproxy", command, side="client", port=front)
    web.fetch_and_compare(session, front)
    for name in web.SIZES:
        web.load_and_compare(session, front, name, connections=4 if name == "large" else 16)
    expect_lanes(session, nginx, at_least=2)
    count_inner(session, process, at_least=20)


@row("python http.server", "python3", "wrk, one thread for each connection")
def http_server(session):
    web.write_files(session)
    port = free_port()
    process = session.start("http", [PYTHON, HTTP_FILES, port, session.path("www")], port=port)
    web.load_and_compare(session, port, "middle", connections=4)
    check(lanes.page_header(process.pid) is None or session.preloaded["server"], "a statistics page without the library")
    expect_lanes(session, process, at_least=2)
