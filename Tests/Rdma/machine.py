"""Boots the RDMA machine: QEMU with a Debian kernel that sees this host's files, alone or in a pair on one wire."""

import os
import pathlib
import socket
import subprocess

import initrd
import kernel

ROOT = kernel.ROOT
TREE = str(ROOT)
MEMORY_MIB = 3072


def accelerator():
    """Software emulation, which works everywhere. RDMA_ACCEL=kvm is for hosts whose virtualisation works too: that a
    device is there, and even that it makes machines, does not mean that they run."""
    return os.environ.get("RDMA_ACCEL", "tcg")


def acceleration(icount):
    if icount:
        # One instruction is one virtual nanosecond: exact and repeatable, and slow. Processors take turns.
        return ["-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off,align=off", "-smp", "2"]
    threads = ",thread=multi" if accelerator() == "tcg" else ""
    return ["-accel", accelerator() + threads, "-smp", "2"]


class Machine:
    """One machine. `out` is the folder that it shares with the host, `name` is "a" or "b"."""

    def __init__(self, out, name="a", start="Tests/Rdma/guest.py", series=kernel.DEFAULT, icount=False, wire=None, console="file",
                 words=()):
        self.out = pathlib.Path(out)
        self.name = name
        self.console = self.out / f"console.{name}"
        self.errors = self.out / f"qemu.{name}"
        self.wire = wire
        self.command = self.command_line(start, series, icount, console, words)
        self.child = None

    def command_line(self, start, series, icount, console, words):
        boot = kernel.folder(series)
        image = boot / "initrd.gz"
        initrd.write(boot, image)
        serial = ["-serial", f"file:{self.console}", "-monitor", "none"] if console == "file" else ["-serial", "mon:stdio"]
        # The kernel would test its timer against the processor's speed, and panic when the host gave QEMU no time just then.
        append = ["console=ttyS0", "no_timer_check", "panic=-1", "mitigations=off", "quiet", f"tree={TREE}", f"machine={self.name}", f"start={start}", *words]
        return ["qemu-system-x86_64", *acceleration(icount), "-cpu", "max", "-m", str(MEMORY_MIB), "-display", "none", "-no-reboot",
                "-nodefaults", *serial, "-kernel", str(boot / "vmlinuz"), "-initrd", str(image), "-append", " ".join(append),
                "-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
                "-virtfs", f"local,path={self.out},mount_tag=out,security_model=none",
                "-device", "virtio-rng-pci", *self.network()]

    def network(self):
        """`wire` is a connected socket, or the two words of a stream socket that QEMU itself makes."""
        if self.wire is None:
            return []
        how = f"socket,id=n0,fd={self.wire.fileno()}" if isinstance(self.wire, socket.socket) else f"stream,id=n0,{self.wire}"
        address = {"a": "52:54:00:4d:52:01", "b": "52:54:00:4d:52:02"}[self.name]
        # RDMA_PCAP=1 leaves what went over the wire beside the logs.
        dump = ["-object", f"filter-dump,id=dump,netdev=n0,file={self.out}/wire.{self.name}.pcap"] if os.environ.get("RDMA_PCAP") else []
        return ["-netdev", how, "-device", f"virtio-net-pci,netdev=n0,mac={address}", *dump]

    def start(self):
        pass_fds = (self.wire.fileno(),) if isinstance(self.wire, socket.socket) else ()
        with open(self.errors, "wb") as errors:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, pass_fds=pass_fds)
        return self

    def ended(self):
        return self.child.poll() is not None

    def kill(self):
        if self.child is not None and not self.ended():
            self.child.kill()
            self.child.wait()

    def last_words(self, lines=40):
        """The end of its console, and whatever QEMU itself said."""
        said = [path.read_text(errors="replace").splitlines()[-lines:] for path in (self.errors, self.console) if path.exists()]
        return "\n".join(line for part in said for line in part)


def pair(out, **options):
    """Two machines on one wire, which is a pair of connected sockets: no port, no name, gone with the machines."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    machines = [Machine(out, name, wire=end, **options).start() for name, end in zip("ab", ends)]
    for end in ends:
        end.close()
    return machines
