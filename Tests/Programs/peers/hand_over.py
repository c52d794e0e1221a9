"""A connection that changes hands in the middle of a stream, in every way that Linux knows; the stream is compared.

Usage: hand_over.py hold WAY accept|connect PORT     the end that hands its connection over
       hand_over.py ask accept|connect PORT SEED     the other end
       hand_over.py echoed PORT SEED                 connects to whoever echoes, and compares
       hand_over.py take SOCKET                      takes a connection over from a Unix socket, and echoes

Both first exchange frames until the connection is on a lane, if there is to be one. Then the asker says so, and goes on
sending while the connection changes hands. Whoever has it now echoes what comes, to the end.
"""

import ctypes
import fcntl
import multiprocessing
import os
import random
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time

LANE = 2
LIBRARY_EXPECTED = "libmillrace" in os.environ.get("LD_PRELOAD", "")
BYTES = 1_000_000
IN_FLIGHT = 3_000


def path(connection):
    """Where the connection is: 0 TCP, 1 moving, 2 a lane. None without the library."""
    try:
        return connection.getsockopt(0x4d4c, 1)
    except OSError:
        return None


def meet(role, port):
    if role == "connect":
        return socket.create_connection(("127.0.0.1", port))
    listener = socket.create_server(("127.0.0.1", port))
    connection, _ = listener.accept()
    listener.close()
    return connection


def read_exactly(connection, size):
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise SystemExit(f"the stream ended early: {len(data)} of {size}")
        data += part
    return data


# -- The end that asks ------------------------------------------------------------------------------------------


def ask(role, port, seed):
    source = random.Random(seed)
    connection = meet(role, port)
    deadline = time.monotonic() + 20
    rounds = 0
    while rounds < 5 or LIBRARY_EXPECTED and path(connection) != LANE:
        data = source.randbytes(source.choice([1, 10, 100, 1000]))
        connection.sendall(len(data).to_bytes(4, "big") + data)
        if read_exactly(connection, len(data)) != data:
            raise SystemExit("an answer differs")
        rounds += 1
        if time.monotonic() > deadline:
            raise SystemExit("there is no lane")
    connection.sendall(bytes(4))
    compare(connection, source)


def compare(connection, source):
    """Sends a stream in pieces of any size, and compares what comes back, now blocking and now not."""
    stream = source.randbytes(BYTES)
    sent = got = 0
    finished = False
    while True:
        writing = [] if finished else [connection]
        readable, writable, _ = select.select([connection], writing, [], 30)
        if not readable and not writable:
            raise SystemExit(f"nothing moves: {sent} sent, {got} came back, of {BYTES}; path {path(connection)}")
        size = source.choice([1, 7, 100, 4096, 100_000])
        if readable:
            connection.setblocking(source.random() < 0.5)
            part = connection.recv(size)
            if part != stream[got:got + len(part)]:
                raise SystemExit(f"the stream differs within {len(part)} bytes at {got}")
            got += len(part)
            if not part:
                break
        if writable and sent < BYTES:
            connection.setblocking(False)
            sent += connection.send(stream[sent:sent + size])
        if sent == BYTES and not finished:
            finished = True
            connection.shutdown(socket.SHUT_WR)
    if got != BYTES:
        raise SystemExit(f"the stream ended at {got} of {BYTES}, {sent} were sent")
    print(f"compared {got} bytes")


# -- The end that hands over --------------------------------------------------------------------------------------


def echo(connection, seed=1, most=None):
    """Echoes to the end, or about `most` bytes. False at the end."""
    source = random.Random(seed)
    connection.setblocking(True)
    done = 0
    while most is None or done < most:
        data = connection.recv(source.choice([1, 50, 3000, 70_000]))
        if not data:
            return False
        connection.sendall(data)
        done += len(data)
    return True


def await_bytes(connection, count):
    """Waits until so much lies unread: it is to be handed over too."""
    while True:
        unread = struct.unpack("i", fcntl.ioctl(connection, termios.FIONREAD, bytes(4)))[0]
        if unread >= count:
            return
        time.sleep(0.001)


def without_library():
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}


def fork_and(child):
    """Runs `child` in a forked process, and returns its number."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = child() or 0
        finally:
            os._exit(status)
    return pid


def expect_success(pid):
    _, status = os.waitpid(pid, 0)
    if status != 0:
        raise SystemExit(f"a child ended with {status}")


def as_stdio(connection):
    os.dup2(connection.fileno(), 0)
    os.dup2(connection.fileno(), 1)


def inetd(arguments, environment=None):
    """As inetd does: a child has the connection as its standard input and output, and becomes another program."""

    def way(connection):
        def child():
            as_stdio(connection)
            os.execvpe(arguments[0], arguments, environment or os.environ)

        pid = fork_and(child)
        connection.close()
        expect_success(pid)

    return way


def exec_in_place(connection):
    report("handed over", connection)
    as_stdio(connection)
    os.execvp("cat", ["cat"])


def popen_stdin(arguments, environment=None):
    def way(connection):
        child = subprocess.Popen(arguments, stdin=connection, stdout=connection, env=environment)
        connection.close()
        expect(child.wait() == 0, "the program failed")

    return way


def spawn(connection):
    number = connection.fileno()
    pid = os.posix_spawn("/bin/cat", ["cat"], os.environ,
                         file_actions=[(os.POSIX_SPAWN_DUP2, number, 0), (os.POSIX_SPAWN_DUP2, number, 1)])
    connection.close()
    expect_success(pid)


def libc_system(connection):
    """system(3) of a command that uses an inherited descriptor."""
    number = connection.fileno()
    os.set_inheritable(number, True)
    expect(ctypes.CDLL(None).system(b"cat <&%d >&%d" % (number, number)) == 0, "the command failed")


def libc_popen(connection):
    number = connection.fileno()
    os.set_inheritable(number, True)
    libc = ctypes.CDLL(None)
    libc.popen.restype = ctypes.c_void_p
    stream = libc.popen(b"cat <&%d >&%d" % (number, number), b"r")
    expect(libc.pclose(ctypes.c_void_p(stream)) == 0, "the command failed")


def child_serves(connection):
    pid = fork_and(lambda: echo(connection))
    connection.close()
    expect_success(pid)


def parent_keeps(connection):
    """The parent keeps its descriptor, and does not touch it."""
    expect_success(fork_and(lambda: echo(connection)))
    connection.close()


def child_starts(connection):
    """The child gives to a program at once what it has inherited and never used."""
    pid = fork_and(lambda: subprocess.call(["cat"], stdin=connection, stdout=connection))
    connection.close()
    expect_success(pid)


def parent_serves(connection):
    """The child holds the connection for a while and does not touch it."""
    gate = os.pipe()
    pid = fork_and(lambda: (os.close(gate[1]), len(os.read(gate[0], 1)))[1])
    echo(connection, most=BYTES // 2)
    os.close(gate[1])
    expect_success(pid)
    echo(connection)


def turns(connection):
    """Parent and child take turns at the connection."""
    ours, theirs = socket.socketpair()

    def child():
        more = True
        while theirs.recv(1) == b"t":
            more = echo(connection, 2, 20_000)
            theirs.sendall(b"t" if more else b"e")

    pid = fork_and(child)
    while echo(connection, 3, 20_000):
        ours.sendall(b"t")
        if ours.recv(1) != b"t":
            break
    ours.sendall(b"e")
    expect_success(pid)


def parent_dies(how):
    def way(connection):
        """Whoever started this process waits for the middle one only."""
        echoed = os.pipe()

        def middle():
            def child():
                os.close(echoed[0])
                os.write(echoed[1], b"x")
                os.setsid()
                echo(connection)
                return 0

            fork_and(child)
            os.read(echoed[0], 1)
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            return 0

        pid = fork_and(middle)
        os.close(echoed[1])
        connection.close()
        os.waitpid(pid, 0)
        # The pipe ends when the last one who holds it, the child, does.
        while os.read(echoed[0], 10):
            pass

    return way


def daemon(connection):
    """A daemon that closes every descriptor but the one that it serves, twice removed from who accepted it."""
    done = os.pipe()

    def first():
        def second():
            os.setsid()
            keep = sorted((connection.fileno(), done[1]))
            os.closerange(0, keep[0])
            os.closerange(keep[0] + 1, keep[1])
            os.closerange(keep[1] + 1, 65536)
            echo(connection)
            os.write(done[1], b"x")
            return 0

        fork_and(second)
        return 0

    pid = fork_and(first)
    connection.close()
    expect_success(pid)
    os.close(done[1])
    expect(os.read(done[0], 1) == b"x", "the daemon failed")


def pass_on(environment):
    """SCM_RIGHTS to a program of another kind."""

    def way(connection):
        ours, theirs = socket.socketpair()
        taker = subprocess.Popen([sys.executable, __file__, "take", str(theirs.fileno())], pass_fds=[theirs.fileno()],
                                 env=environment())
        socket.send_fds(ours, [b"x"], [connection.fileno()])
        connection.close()
        expect(taker.wait() == 0, "who took the connection failed")

    return way


def take(channel):
    with socket.socket(fileno=channel) as unix:
        _, descriptors, _, _ = socket.recv_fds(unix, 1, 1)
    with socket.socket(fileno=descriptors[0]) as connection:
        echo(connection)


def pool_worker(pipe):
    connection = pipe.recv()
    echo(connection)
    connection.close()


def multiprocess(method):
    """Python's multiprocessing: a worker gets the socket through a pipe of its own."""

    def way(connection):
        context = multiprocessing.get_context(method)
        ours, theirs = context.Pipe()
        worker = context.Process(target=pool_worker, args=(theirs,))
        worker.start()
        ours.send(connection)
        worker.join(30)
        connection.close()
        expect(worker.exitcode == 0, "the worker failed")

    return way


def beside(connection):
    """Nothing is handed over: programs are started in every way while the connection goes on, and it stays where it is."""
    stop = threading.Event()

    def start_programs():
        while not stop.is_set():
            os.system("exit 0")
            with os.popen("echo") as stream:
                stream.read()
            subprocess.run(["true"], check=True)
            os.waitpid(os.posix_spawn("/bin/true", ["true"], os.environ), 0)

    thread = threading.Thread(target=start_programs)
    thread.start()
    echo(connection, most=BYTES - 1)
    where = path(connection)
    stop.set()
    thread.join()
    echo(connection)
    expect(where in (None, LANE), f"the connection has left its lane: {where}")


STDIO = ["sh", "-c", "base64 -w0 | base64 -d"]
BARE = without_library()
WAYS = {
    "inetd": inetd(["cat"]),
    "inetd-bare": inetd(["cat"], BARE),
    "inetd-stdio": inetd(STDIO),
    "inetd-stdio-bare": inetd(STDIO, BARE),
    "exec": exec_in_place,
    "subprocess": popen_stdin(["cat"]),
    "subprocess-bare": popen_stdin(["cat"], BARE),
    "spawn": spawn,
    "system": libc_system,
    "popen": libc_popen,
    "beside": beside,
    "child": child_serves,
    "child-parent-keeps": parent_keeps,
    "child-subprocess": child_starts,
    "parent-child-keeps": parent_serves,
    "turns": turns,
    "grandchild": parent_dies("exit"),
    "grandchild-kill": parent_dies("kill"),
    "daemon": daemon,
    "pass": pass_on(lambda: os.environ),
    "pass-bare": pass_on(without_library),
    "multiprocessing-fork": multiprocess("fork"),
    "multiprocessing-spawn": multiprocess("spawn"),
    "multiprocessing-forkserver": multiprocess("forkserver"),
}


def expect(condition, message):
    if not condition:
        raise SystemExit(message)


def report(what, connection):
    print(f"{what} on path {path(connection)}", flush=True)


def hold(way, role, port):
    connection = meet(role, port)
    while size := int.from_bytes(read_exactly(connection, 4), "big"):
        connection.sendall(read_exactly(connection, size))
    # The last byte came over whatever path the asker had; this end may be a moment behind.
    while LIBRARY_EXPECTED and path(connection) == 1:
        time.sleep(0.001)
    await_bytes(connection, IN_FLIGHT)
    if way != "exec":
        report("handed over", connection)
    WAYS[way](connection)


def main(what, *arguments):
    if what == "hold":
        hold(arguments[0], arguments[1], int(arguments[2]))
    elif what == "take":
        take(int(arguments[0]))
    elif what == "echoed":
        compare(meet("connect", int(arguments[0])), random.Random(int(arguments[1])))
    else:
        ask(arguments[0], int(arguments[1]), int(arguments[2]))


if __name__ == "__main__":
    main(*sys.argv[1:])
