"""Programs that must run correctly, whatever carries their bytes. Each returns if what came was what was sent."""

import hashlib
import pathlib

import works
from works import SERVER, fabric

PEERS = pathlib.Path(__file__).resolve().parent / "peers"
PYTHON = "/usr/bin/python3"
FILE = pathlib.Path("/tmp/served")


def served_file():
    FILE.mkdir(exist_ok=True)
    FILE.chmod(0o755)
    content = bytes(range(256)) * 800
    (FILE / "data").write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def edge(ends):
    return works.work("pingpong", 64, "edge", 500)(ends)


def sockperf(ends):
    server = ends.start("stdbuf", "-oL", "sockperf", "server", "--tcp", "-i", SERVER, "-p", 7300)
    server.says("using recv", 20)
    out = ends.call("sockperf", "ping-pong", "--tcp", "-i", SERVER, "-p", 7300, "-m", 64, "-t", 1, "--mps=200000")
    assert "Round trip is" in out or "Latency is" in out, works.last_line(out)


def nginx(ends):
    digest = served_file()
    (FILE / "nginx.conf").write_text(
        f"worker_processes 2; daemon off; user root; pid /tmp/nginx.pid; error_log stderr notice; events {{}}\n"
        f"http {{ access_log off; server {{ listen {SERVER}:7400; root {FILE}; }} }}\n")
    server = ends.start("nginx", "-c", FILE / "nginx.conf")
    server.says("start worker process", 20)
    for _ in range(4):
        assert curl(ends, 7400) == digest, "the file differs"


def curl(ends, port):
    """curl connects without blocking."""
    target = f"/tmp/got.{port}"
    ends.call("curl", "-sS", "--retry", 3, "--retry-connrefused", "--max-time", 20, "-o", target, f"http://{SERVER}:{port}/data")
    return hashlib.sha256(pathlib.Path(target).read_bytes()).hexdigest()


def curl_http_server(ends):
    digest = served_file()
    server = ends.start(PYTHON, "-u", "-m", "http.server", 7500, "--bind", SERVER, "--directory", FILE)
    server.says("Serving HTTP", 20)
    assert curl(ends, 7500) == digest, "the file differs"


def asked(kind):
    def run(ends):
        server = ends.start(PYTHON, PEERS / "servers.py", kind, SERVER, 7600)
        server.says("listening", 20)
        ends.call(PYTHON, PEERS / "ask.py", SERVER, 7600, 4, "async" if kind == "asyncio" else "threads")
    return run


def socat(ends):
    server = ends.start("socat", "-d", "-d", f"TCP-LISTEN:7700,bind={SERVER},reuseaddr,fork", "EXEC:cat")
    server.says("listening on", 20)
    ends.call(PYTHON, PEERS / "ask.py", SERVER, 7700, 2, "threads")


def inetd(ends):
    pathlib.Path("/tmp/inetd.conf").write_text(f"{SERVER}:7800 stream tcp nowait root /bin/cat cat\n")
    server = ends.start("inetd", "-d", "/tmp/inetd.conf")
    works.until_it_serves(server, lambda: "7800" in server.text() or fabric.run("ss", "-Hltn").find(":7800 ") >= 0)
    ends.call(PYTHON, PEERS / "ask.py", SERVER, 7800, 2, "threads")


def bash(ends):
    server = ends.start(PYTHON, PEERS / "servers.py", "fork", SERVER, 7900)
    server.says("listening", 20)
    out = ends.call("bash", "-c", f"exec 3<>/dev/tcp/{SERVER}/7900; for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i >&3; read -r back <&3; "
                                  'echo "$back"; done')
    assert out.split("\n") == [f"line {number}" for number in range(1, 11)] + [""], works.last_line(out)


def redis(ends):
    works.redis_server(ends)
    for number in range(3):
        ends.call("redis-cli", "-h", SERVER, "-p", 7100, "set", f"key{number}", f"value{number}")
    assert "value2" in ends.call("redis-cli", "-h", SERVER, "-p", 7100, "get", "key2")
    ends.call("redis-benchmark", "-h", SERVER, "-p", 7100, "-t", "get,set", "-q", "-n", 2000, "-c", 50)


PROGRAMS = {
    "EPOLLET ping-pong": edge,
    "sockperf": sockperf,
    "redis, 50 connections": redis,
    "nginx, master and workers": nginx,
    "asyncio": asked("asyncio"),
    "fork for each connection": asked("fork"),
    "prefork": asked("prefork"),
    "socat with EXEC": socat,
    "inetd": inetd,
    "bash /dev/tcp": bash,
    "curl, non-blocking connect": curl_http_server,
}
