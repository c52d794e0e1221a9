"""Writes the initial RAM disk of the machine: busybox, init and the modules, as a cpio archive."""

import gzip
import os
import pathlib
import stat

HERE = pathlib.Path(__file__).resolve().parent


def entry(number, name, mode, content=b"", device=(0, 0)):
    """One file in the "newc" format: a header of hexadecimal numbers, the name, the content, each padded to four."""
    name = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return padded(header + name) + padded(content)


def padded(data):
    return data + b"\0" * (-len(data) % 4)


def contents(kernel):
    """(name, mode, content, device) of everything in it."""
    for folder in ("bin", "dev", "proc", "sys", "modules"):
        yield folder, stat.S_IFDIR | 0o755, b"", (0, 0)
    yield "dev/console", stat.S_IFCHR | 0o600, b"", (5, 1)
    yield "init", stat.S_IFREG | 0o755, (HERE / "init").read_bytes(), (0, 0)
    yield "bin/busybox", stat.S_IFREG | 0o755, pathlib.Path("/bin/busybox").read_bytes(), (0, 0)
    for path in sorted((kernel / "modules").iterdir()):
        yield f"modules/{path.name}", stat.S_IFREG | 0o644, path.read_bytes(), (0, 0)


def write(kernel, path):
    archive = b"".join(entry(number, *each) for number, each in enumerate(contents(kernel), 1))
    archive += entry(0, "TRAILER!!!", 0)
    # Written beside and renamed: several runs may share it.
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_bytes(gzip.compress(archive, compresslevel=1))
    beside.rename(path)
