#!/usr/bin/python3
"""Fetches the kernel that the RDMA machine boots: a Debian package that is downloaded and unpacked, never installed.

Usage: kernel.py [SERIES]. Without a series it is the one that linux-image-amd64 depends on; 6.12 is the backported one,
which SMC-R needs. What is kept lies in build/rdma/kernel-SERIES: vmlinuz, and the modules that the machine loads, in
the order in which they have to be loaded. Once it is there, nothing is asked of the network again.
"""

import lzma
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / "build" / "rdma"
DEFAULT = "stable"

# crc32_generic is for rxe, which does not say that it depends on it.
MODULES = ("virtio_pci 9pnet_virtio 9p overlay virtio_net virtio-rng crc32_generic crc32_pclmul rdma_rxe rdma_ucm ib_uverbs "
           "smc smc_diag veth sch_netem tcp_diag inet_diag unix_diag tls af_packet").split()


def folder(series=DEFAULT):
    return CACHE / f"kernel-{series}"


def available(series=DEFAULT):
    return (folder(series) / "complete").exists()


def run(*command, **options):
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def package_of(series):
    """The name of the newest image package of that series, or None if apt knows none."""
    if series == DEFAULT:
        depends = re.search(r"Depends: (linux-image-\S+)", run("apt-cache", "depends", "linux-image-amd64"))
        return depends and depends.group(1)
    # The signed one has the plain name; the security archive has some series only unsigned.
    pattern = re.compile(rf"linux-image-({re.escape(series)}[.\d]*[+\w.]*)-amd64(-unsigned)?$")
    found = [name for name in run("apt-cache", "pkgnames", f"linux-image-{series}").split() if pattern.match(name)]
    return max(found, key=lambda name: [int(part) for part in re.findall(r"\d+", name)], default=None)


def update_lists():
    as_root = [] if os.geteuid() == 0 else ["sudo"]
    run(*as_root, "apt-get", "update", "-qq")


def download(series, into):
    """The .deb file. The lists of packages are renewed only if they do not know it, or what they know is gone."""
    for attempt in ("as the lists are", "after an update"):
        if attempt == "after an update":
            update_lists()
        package = package_of(series)
        if package is None:
            continue
        # As root, apt would hand the download to a user who may not write here, and say so.
        sandbox = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
        result = subprocess.run(["apt-get", *sandbox, "-o", "Acquire::Retries=3", "-qq", "download", package], cwd=into,
                                stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        if result.returncode == 0:
            return next(into.glob("*.deb"))
        print(result.stderr, file=sys.stderr)
    raise SystemExit(f"no kernel package of the series {series} can be downloaded")


def module_order(tree, release):
    """The files of all modules that are wanted, each after those that it needs."""
    run("/usr/sbin/depmod", "-b", tree, release)
    order = []
    for module in MODULES:
        shown = subprocess.run(["/usr/sbin/modprobe", "-d", tree, "-S", release, "--show-depends", module], text=True,
                               capture_output=True, check=False).stdout
        for line in shown.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "insmod" and rest.split()[0] not in order:
                order.append(rest.split()[0])
    return order


def keep(tree, into):
    """Of the unpacked package, what the machine needs."""
    image = next((tree / "boot").glob("vmlinuz-*"))
    release = image.name.removeprefix("vmlinuz-")
    shutil.copy(image, into / "vmlinuz")
    modules = into / "modules"
    modules.mkdir()
    names = []
    for path in map(pathlib.Path, module_order(tree, release)):
        content = path.read_bytes()
        # Newer packages compress them, which busybox does not undo.
        (modules / path.name.removesuffix(".xz")).write_bytes(lzma.decompress(content) if path.suffix == ".xz" else content)
        names.append(path.name.removesuffix(".xz"))
    (modules / "order").write_text("\n".join(names) + "\n")
    (into / "release").write_text(release + "\n")
    (into / "complete").touch()


def fetch(series=DEFAULT):
    if available(series):
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    print(f"== deps: fetching the kernel of the RDMA machine ({series})", flush=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        scratch = pathlib.Path(scratch)
        package = download(series, scratch)
        tree, kept = scratch / "tree", scratch / "kept"
        run("dpkg-deb", "-x", package, tree)
        kept.mkdir()
        keep(tree, kept)
        shutil.rmtree(folder(series), ignore_errors=True)
        kept.rename(folder(series))


if __name__ == "__main__":
    fetch(*sys.argv[1:])
