"""What a test in the machine does to its network: lay it out, break it, mend it, and wait for the other machine.

Everything here runs inside the machine, as root. `bin/fabric` is the same for the shell.
"""

import contextlib
import os
import pathlib
import signal
import subprocess
import tempfile
import time

OUT = pathlib.Path("/run/out")
MACHINE = os.environ.get("machine", "a")
OTHER = {"a": "b", "b": "a"}[MACHINE]

# One machine: the two ends of a veth pair, and an address of v0 that a process reaches without leaving it.
PAIR_ADDRESS = {"v0": "10.77.0.1", "v1": "10.77.0.2"}
PAIR_ADDRESS_6 = {"v0": "fd77::1", "v1": "fd77::2"}
LOOP_ADDRESS = "10.76.0.1"
# Two machines: eth0 of each.
WIRE_ADDRESS = {"a": "10.78.0.1", "b": "10.78.0.2"}
WIRE_ADDRESS_6 = {"a": "fd78::1", "b": "fd78::2"}
OWN, PEER = WIRE_ADDRESS[MACHINE], WIRE_ADDRESS[OTHER]
OWN_6, PEER_6 = WIRE_ADDRESS_6[MACHINE], WIRE_ADDRESS_6[OTHER]


def run(*command, check=True):
    """Runs a command and returns what it printed."""
    result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if check and result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {result.returncode} {result.stderr.strip()}")
    return result.stdout


def wait_until(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.01)


# Layouts


def route_over_the_pair():
    """Sends what goes to v0's or v1's address over the pair. The kernel would keep it, since both addresses are its own:
    so its table of own addresses is asked later, and only what arrives finds them there."""
    if "lookup 101" in run("ip", "rule", "show"):
        return
    for name in ("all", "default"):
        settings = pathlib.Path(f"/proc/sys/net/ipv4/conf/{name}")
        (settings / "rp_filter").write_text("0")
        (settings / "accept_local").write_text("1")
    for version, addresses in (("-4", PAIR_ADDRESS), ("-6", PAIR_ADDRESS_6)):
        run("ip", version, "rule", "add", "pref", "100", "lookup", "local")
        run("ip", version, "rule", "add", "pref", "10", "iif", "lo", "to", addresses["v0"], "lookup", "101")
        run("ip", version, "rule", "add", "pref", "11", "iif", "lo", "to", addresses["v1"], "lookup", "102")
        run("ip", version, "rule", "delete", "pref", "0")


def lay_pair(device=True):
    """v0 and v1, wired to each other, both in this namespace, with an RDMA device rxe0 on v0 and rxe1 on v1.

    A connection to either address comes from the other one, and goes over the wire, TCP and RDMA alike. One to the loop
    address stays within the kernel: TCP on lo, RDMA within rxe0."""
    route_over_the_pair()
    run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    for name, address in PAIR_ADDRESS.items():
        run("ip", "address", "add", f"{address}/24", "dev", name)
        # Without a search for others who have it, which would take a second.
        run("ip", "address", "add", f"{PAIR_ADDRESS_6[name]}/64", "dev", name, "nodad")
        run("ip", "link", "set", name, "up")
    run("ip", "address", "add", f"{LOOP_ADDRESS}/24", "dev", "v0")
    lay_routes()
    link_up("v0")
    if device:
        add_device("rxe0", "v0")
        add_device("rxe1", "v1")


def lay_routes():
    """The kernel drops them, and addresses of IPv6, when a device goes down."""
    for name, address in PAIR_ADDRESS_6.items():
        run("ip", "address", "replace", f"{address}/64", "dev", name, "nodad")
    for addresses in (PAIR_ADDRESS, PAIR_ADDRESS_6):
        run("ip", "route", "replace", addresses["v0"], "dev", "v1", "src", addresses["v1"], "table", "101")
        run("ip", "route", "replace", addresses["v1"], "dev", "v0", "src", addresses["v0"], "table", "102")


def lay_wire(device="rxe0"):
    """eth0, the end of the wire to the other machine, with an RDMA device on it."""
    run("ip", "address", "replace", f"{OWN}/24", "dev", "eth0")
    run("ip", "address", "replace", f"{OWN_6}/64", "dev", "eth0", "nodad")
    link_up("eth0")
    if device:
        add_device(device, "eth0")


def clear():
    """Takes away whatever the layouts, or a test, have made."""
    for line in run("rdma", "link", "show", check=False).splitlines():
        name = line.split()[1].split("/")[0] if line.startswith("link") else None
        if name:
            run("rdma", "link", "delete", name, check=False)
    for name in os.listdir("/sys/class/net"):
        if name in ("v0",) or name.startswith("test"):
            run("ip", "link", "delete", name, check=False)
    for name in run("ip", "netns", "list", check=False).split("\n"):
        if name:
            run("ip", "netns", "delete", name.split()[0], check=False)
    if os.path.exists("/sys/class/net/eth0"):
        run("tc", "qdisc", "delete", "dev", "eth0", "root", check=False)
        run("ip", "-4", "address", "flush", "dev", "eth0", check=False)
        # Its link-local address stays: neighbours are asked for from there.
        run("ip", "-6", "address", "flush", "dev", "eth0", "scope", "global", check=False)


# Failures


def link_up(name):
    run("ip", "link", "set", name, "up")
    wait_until(lambda: "LOWER_UP" in run("ip", "link", "show", name), f"carrier of {name}")
    if name in PAIR_ADDRESS and len(PAIR_ADDRESS.keys() & set(os.listdir("/sys/class/net"))) == 2:
        lay_routes()
    if name == "eth0":
        run("ip", "address", "replace", f"{OWN_6}/64", "dev", name, "nodad")


def link_down(name):
    run("ip", "link", "set", name, "down")


def add_device(device, name):
    run("rdma", "link", "add", device, "type", "rxe", "netdev", name)
    wait_until(lambda: state_of(device) == "ACTIVE", f"{device} active")


def delete_device(device):
    """Takes an RDMA device away. The kernel tells rdma_cm's users, and then waits until every process has closed the
    device; so this returns the running program, which ends when they have."""
    return Program("rdma", "link", "delete", device)


def state_of(device):
    """ACTIVE, DOWN and so on; None if there is no such device."""
    try:
        return pathlib.Path(f"/sys/class/infiniband/{device}/ports/1/state").read_text().split()[-1]
    except OSError:
        return None


@contextlib.contextmanager
def netem(name, *what):
    """Delays, loses or reorders what leaves through a network device: netem("v0", "loss", "1%")."""
    run("tc", "qdisc", "add", "dev", name, "root", "netem", *what)
    try:
        yield
    finally:
        run("tc", "qdisc", "delete", "dev", name, "root")


# Counts


def packets(device="rxe0"):
    """RDMA packets that a device has sent and received."""
    counters = pathlib.Path(f"/sys/class/infiniband/{device}/ports/1/hw_counters")
    return tuple(int((counters / name).read_text()) for name in ("sent_pkts", "rcvd_pkts"))


# Two machines


def tell(name, value=""):
    """Leaves a word for the other machine."""
    path = OUT / f"{os.environ.get('TEST_NAME', 'shell')}.{MACHINE}.{name}"
    beside = path.with_suffix(path.suffix + ".new")
    beside.write_text(str(value))
    beside.rename(path)


def hear(name, seconds=60):
    """Waits for a word of the other machine. It goes through the host, so it arrives whatever happened to the wire."""
    path = OUT / f"{os.environ.get('TEST_NAME', 'shell')}.{OTHER}.{name}"
    wait_until(path.exists, f"machine {OTHER} at {name}", seconds)
    return path.read_text()


def meet(name, seconds=60):
    """Returns when both machines are here."""
    tell(name)
    hear(name, seconds)


# Programs


class Program:
    """A program in the background. Its output goes where the test's goes, and is kept to be looked at."""

    def __init__(self, *command, **environment):
        self.command = [str(word) for word in command]
        self.output = tempfile.TemporaryFile()
        self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT,
                                      env={**os.environ, **environment}, start_new_session=True)

    def text(self):
        return os.pread(self.output.fileno(), 1 << 20, 0).decode(errors="replace")

    def says(self, words, seconds=30):
        wait_until(lambda: words in self.text() or self.child.poll() is not None, f"{self.command[0]} says {words}", seconds)
        assert words in self.text(), f"{self.command[0]} ended with {self.child.returncode} without {words}:\n{self.text()}"

    def end(self, seconds=60):
        """Waits for its end and returns its exit status."""
        try:
            return self.child.wait(seconds)
        finally:
            print(f"$ {' '.join(self.command)}\n{self.text()}", flush=True)

    def kill(self):
        """Ends it and what it has started."""
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()

    def stop(self):
        self.kill()
        self.end()

    def succeeds(self, seconds=60):
        status = self.end(seconds)
        assert status == 0, f"{' '.join(self.command)} ended with {status}"
        return self.text()


def call(*command, seconds=60, **environment):
    """Runs a program that must succeed, and returns what it printed."""
    return Program(*command, **environment).succeeds(seconds)


def wait_for_listener(port, seconds=30):
    wait_until(lambda: any("state LISTEN" in line and f":{port} " in line + " " for line in
                           run("rdma", "resource", "show", "cm_id").splitlines()), f"a listener at {port}", seconds)


def watch(device):
    """A program that says what happens to a device, as it happens: PORT_ERR, PORT_ACTIVE."""
    program = Program("stdbuf", "-oL", "ibv_asyncwatch", "-d", device)
    program.says("async event FD")
    return program


def pinging(address):
    """A server and a client that ping without end, seen to do so."""
    server = Program("rping", "-s", "-a", address)
    wait_for_listener(7174)
    return server, ping_from(address)


def ping_from(address):
    client = Program("rping", "-c", "-a", address)
    start = packets()[0]
    wait_until(lambda: packets()[0] > start + 100, "traffic")
    return client
