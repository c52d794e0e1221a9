"""bash and socat: sockets that a shell redirects, duplicates and hands to its children, and bytes moved by relays."""

import pathlib

from registry import scenario
from session import PYTHON, check, free_port, random_bytes

PEERS = pathlib.Path(__file__).parent.parent / "peers"

TALK = """
set -e
exec 3<>/dev/tcp/127.0.0.1/$1
for i in $(seq 1 200); do
  printf 'line %d\\n' "$i" >&3
  read -r answer <&3
  [[ $answer == "line $i" ]] || { echo "line $i: got '$answer'"; exit 1; }
done
# A duplicate, and children that write and read the socket.
exec 4>&3
echo from-duplicate >&4
read -r answer <&3
[[ $answer == from-duplicate ]] || { echo "got '$answer'"; exit 1; }
/bin/echo from-child >&3
/usr/bin/head -n 1 <&3 >answer
[[ $(<answer) == from-child ]] || { echo "the child got '$(<answer)'"; exit 1; }
"""


def start_echo(session, *options):
    port = free_port()
    server = session.start("socat", ["socat", *options, f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", "EXEC:cat"])
    session.wait_for_listener(server, port)
    return port


@scenario("bash /dev/tcp with socat EXEC", one_sided=True)
def bash(session):
    """Descriptors that go through fork, dup and exec at both ends: they may stay on TCP, and must stay right."""
    port = start_echo(session)
    session.write("talk.sh", TALK)
    session.call("bash", ["bash", session.path("talk.sh"), port])


@scenario("socat as a relay")
def relay(session):
    """curl, through a relay that forks for each connection, from an HTTP server: three preloaded programs."""
    session.write("data", random_bytes(3_000_000, 1))
    back, front = free_port(), free_port()
    session.start("http", [PYTHON, PEERS / "http_files.py", back, session.directory], port=back)
    socat = session.start("socat", ["socat", f"TCP-LISTEN:{front},bind=127.0.0.1,reuseaddr,fork",
                                    f"TCP:127.0.0.1:{back}"])
    session.wait_for_listener(socat, front)
    url = f"http://127.0.0.1:{front}/data"
    got = session.call("curl", ["curl", "--silent", "--show-error", "--fail", url, url, url])
    check(got == session.path("data").read_bytes() * 3, "the relay changed the data")


@scenario("pipes into socat")
def pipes(session):
    """A file through a pipe, a socket, and a file again, half-closed in the middle."""
    content = random_bytes(5_000_000, 2)
    session.write("in", content)
    port = free_port()
    sink = session.start("sink", ["bash", "-c", f"socat -u TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr - > out"])
    session.wait_for_listener(sink, port)
    session.call("source", ["bash", "-c", f"cat in | socat -u - TCP:127.0.0.1:{port}"])
    check(sink.wait() == 0, "the sink ended with an error")
    check(session.path("out").read_bytes() == content, "the file that arrived differs")
