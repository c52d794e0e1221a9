#!/usr/bin/python3
"""Tests of the `millrace` command as it was built: what `run` does and warns of, and what `ss` makes of the pages of
other processes, good and bad. The pages are made here, so that no part of the library is needed for them."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

import programs

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OPTIONS = argparse.Namespace(command=ROOT / "build/millrace", library=ROOT / "build/libmillrace.so")

# The layout of Sources/MillraceCore/StatsPage.swift and ConnectionRow.swift.
HEADER_BYTES, ROW_BYTES, ROWS = 4096, 128, 4096
PAGE_BYTES = HEADER_BYTES + ROWS * ROW_BYTES
V4 = 0xFFFF_0000_0000


def millrace(*arguments, environment=None, **more):
    return subprocess.run(
        [OPTIONS.command, *map(str, arguments)], env={**os.environ, **(environment or {})}, text=True,
        capture_output=True, timeout=60, cwd=OPTIONS.scratch, **more)


class RunTests(unittest.TestCase):
    """`millrace run`."""

    @classmethod
    def setUpClass(cls):
        cls.holder = tempfile.TemporaryDirectory(prefix="millrace-cli-")
        cls.directory = pathlib.Path(cls.holder.name)
        cls.directory.chmod(0o755)
        cls.plain = programs.compiled(cls.directory, "plain")

    @classmethod
    def tearDownClass(cls):
        cls.holder.cleanup()

    def run_program(self, *arguments, **more):
        return millrace("run", "--library", OPTIONS.library, *arguments, **more)

    def environment(self, *options, **variables):
        result = self.run_program(*options, "--", "/usr/bin/env", "-0", environment=variables)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return dict(entry.split("=", 1) for entry in result.stdout.split("\0") if entry)

    def assert_warning(self, program, text, status=7):
        result = self.run_program(program)
        self.assertRegex(result.stderr.split("\n")[0], f"^millrace: warning: .*{text}.*: its connections stay on TCP$")
        self.assertEqual(result.returncode, status)

    def assert_silent(self, program):
        result = self.run_program(program)
        self.assertEqual((result.returncode, result.stderr), (7, ""))

    def test_an_ordinary_program_just_runs(self):
        self.assert_silent(self.plain)
        self.assertEqual(self.run_program(self.plain).stdout, "plain\n")
        self.assert_silent(programs.script(self.directory, "ordinary-script", "/bin/sh -e"))

    def test_static_programs(self):
        static = programs.compiled(self.directory, "static", ["-static"])
        self.assert_warning(static, "static is statically linked")
        self.assert_warning(programs.compiled(self.directory, "pie", ["-static-pie"]), "statically linked")
        relay = programs.script(self.directory, "relay", static)
        self.assert_warning(relay, "static is statically linked")
        self.assert_warning(programs.script(self.directory, "relay2", relay), "static is statically linked")

    def test_go_programs(self):
        self.assert_warning(
            programs.compiled(self.directory, "go", text=programs.GO_NOTE), "is a Go program, which makes its system")
        self.assert_warning(
            programs.compiled(self.directory, "static-go", ["-static"], programs.GO_NOTE), "statically linked Go program")

    def test_other_architectures(self):
        self.assert_warning(programs.foreign(self.directory, self.plain), "another architecture", 126)
        self.assertIn("another architecture", self.run_program(programs.narrow(self.directory, self.plain)).stderr)
        musl = programs.compiled(self.directory, "musl", ["-Wl,--dynamic-linker=/nonesuch/ld-musl-x86_64.so.1"])
        self.assert_warning(musl, "runs on musl", 127)

    @unittest.skipUnless(os.getuid() == 0, "only root can give files away")
    def test_privileged_programs(self):
        self.assert_warning(programs.set_user_id(self.directory, self.plain), "is set-user-ID")
        self.assert_warning(programs.set_group_id(self.directory, self.plain), "is set-group-ID")
        # Root gains nothing from these.
        own = pathlib.Path(shutil.copy(self.plain, self.directory / "own"))
        own.chmod(0o6755)
        self.assert_silent(own)
        capable = programs.capable(self.directory, self.plain)
        self.assert_silent(capable)
        self.check_capabilities_as_nobody(capable)

    def check_capabilities_as_nobody(self, capable):
        command = shutil.copy(OPTIONS.command, self.directory)
        library = shutil.copy(OPTIONS.library, self.directory)
        try:
            result = subprocess.run(
                [command, "run", "--library", library, capable], user=programs.NOBODY, group=programs.NOBODY,
                extra_groups=[], capture_output=True, text=True)
        except PermissionError:
            self.skipTest("nobody cannot reach the temporary directory")
        self.assertIn("has file capabilities", result.stderr)

    def test_headers_that_lie(self):
        for offset, data in [(32, b"\xff" * 8), (32, b"\x7f\xff\xff\x7f"), (56, b"\xff\xff"), (54, b"\1\0")]:
            with self.subTest(offset=offset, data=data):
                liar = programs.patched(self.directory, "liar", self.plain, offset, data)
                # The program may well crash; a trap of the command is SIGILL or SIGTRAP.
                self.assertNotIn(-self.run_program(liar).returncode, (signal.SIGILL, signal.SIGTRAP))
        for length in [0, 1, 2, 3, 19, 20, 63, 64, 100]:
            stump = self.directory / "stump"
            stump.write_bytes(self.plain.read_bytes()[:length])
            stump.chmod(0o755)
            result = self.run_program(stump)
            self.assertNotIn("Fatal error", result.stderr)
            self.assertGreaterEqual(result.returncode, 0)

    def test_the_library_comes_first(self):
        library = str(OPTIONS.library.resolve())
        self.assertEqual(self.environment()["LD_PRELOAD"], library)
        # The dynamic loader takes colons and spaces between libraries.
        other = "libm.so.6:libdl.so.2"
        self.assertEqual(self.environment(LD_PRELOAD=other)["LD_PRELOAD"], f"{library}:{other}")
        result = millrace("run", "/usr/bin/env", environment={"MILLRACE_LIBRARY": library})
        self.assertIn(f"LD_PRELOAD={library}\n", result.stdout)

    def test_options_become_variables(self):
        rules = self.directory / "rules"
        rules.write_text("# none\ndeny port=22\n")
        variables = self.environment(
            "--attach", "3,1M", "--ring=1M", "--spin", "20", "--fabrics", "shm", "--log", "info", "--off", "--no-stats",
            "--rules", "allow *", "--rules-file", os.path.relpath(rules, OPTIONS.scratch))
        self.assertEqual(
            {name: value for name, value in variables.items() if name.startswith("MILLRACE")},
            {
                "MILLRACE": "off", "MILLRACE_ATTACH": "3,1M", "MILLRACE_FABRICS": "shm", "MILLRACE_LOG": "info",
                "MILLRACE_RING": "1M", "MILLRACE_RULES": "allow *", "MILLRACE_RULES_FILE": str(rules.resolve()),
                "MILLRACE_SPIN": "20", "MILLRACE_STATS": "off",
            })
        self.assertEqual(self.environment(MILLRACE_RING="64K")["MILLRACE_RING"], "64K")

    def test_wrong_values_are_named(self):
        rules = self.directory / "wrong-rules"
        rules.write_text("allow *\ndeny port=x\n")
        for options, message in [
            (["--ring", "3K"], "--ring 3K: column 1: expected 4K to 64M"),
            (["--rules", "allow *; den"], "--rules: line 1, column 10: expected allow or deny"),
            (["--rules-file", rules], f"{rules.resolve()}: line 2, column 11: expected a port (0 to 65535)"),
            (["--rules-file", "/nonesuch"], "/nonesuch: No such file or directory"),
            (["--log", ""], "--log: expected a value"),
        ]:
            with self.subTest(options=options):
                result = self.run_program(*options, "--", self.plain)
                self.assertEqual((result.returncode, result.stdout), (125, ""))
                self.assertEqual(result.stderr, f"millrace: {message}\n")

    def test_exit_statuses(self):
        self.assertEqual(self.run_program("nonesuch-program").returncode, 127)
        self.assertEqual(self.run_program("/").returncode, 126)
        self.assertEqual(self.run_program().returncode, 64)
        self.assertEqual(self.run_program("--nonesuch", "true").returncode, 64)
        self.assertEqual(millrace("run", "--library", "/nonesuch", "true").returncode, 125)
        self.assertEqual(millrace("run", "--library", "/etc/passwd", "true").returncode, 125)
        self.assertEqual(self.run_program("--help").returncode, 0)

    def test_what_the_kernel_refuses(self):
        script = self.directory / "no-interpreter"
        script.write_text("echo $1; exit 7\n")
        script.chmod(0o755)
        result = self.run_program(script, "x y")
        self.assertEqual((result.returncode, result.stdout), (7, "x y\n"))
        result = self.run_program(programs.foreign(self.directory, self.plain))
        self.assertIn("Exec format error", result.stderr, "a shell must not read it")

    def test_arguments_pass_unchanged(self):
        arguments = ["--off", "--", "-x", "", "a b", "--help"]
        for separator in [[], ["--"]]:
            result = self.run_program(*separator, "/usr/bin/printf", "%s,", *arguments)
            self.assertEqual(result.stdout, "".join(f"{argument}," for argument in arguments))


def page(pid, connections=(), **changes):
    """A statistics page; `changes` names header fields to spoil."""
    fields = {
        "magic": 0x45434152_4C4C494D, "version": 1, "pid": pid, "start": 0, "bytes": PAGE_BYTES, "rows": ROWS,
        "high": len(connections), **changes,
    }
    data = bytearray(PAGE_BYTES)
    struct.pack_into("<QIiQQII", data, 0, *fields.values())
    struct.pack_into("<Q", data, 64 + 8 * 6, 42)  # attaches
    struct.pack_into("<Q", data, 576 + 8 * 4, 43)  # no-peer
    for index, connection in enumerate(connections):
        offset = HEADER_BYTES + index * ROW_BYTES
        data[offset:offset + ROW_BYTES] = connection
    return bytes(data)


def row(**changes):
    """A row on an shm lane; `changes` names fields to set otherwise."""
    fields = {
        "sequence": 4, "state": 1, "fd": 9, "role": 1, "path": 2, "fabric": 1, "reason": 0, "local_high": 0,
        "local_low": V4 | 0x7F000001, "peer_high": 0x20010DB8 << 32, "peer_low": 1, "local_port": 6379,
        "peer_port": 40000, "local_family": 4, "peer_family": 6, "reserved": 0, "ring": 262144, "attaches": 1,
        "kernel_sent": 1, "kernel_received": 2, "lane_sent": 3, "lane_received": 2**64 - 1, "since": 5, **changes,
    }
    return struct.pack("<IIiBBBBQQQQHHBBHII5Q24x", *fields.values())


class Holder:
    """A process that holds pages open, as a process under Millrace does."""

    def __init__(self, *make_pages):
        self.pid_read, child_write = os.pipe()
        child_read, self.release = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.release)
                for make_page in make_pages:
                    descriptor = os.memfd_create("millrace-stats")
                    os.write(descriptor, make_page(os.getpid()))
                os.write(child_write, b".")
                os.read(child_read, 1)
            finally:
                os._exit(0)
        os.close(child_write)
        os.close(child_read)
        os.read(self.pid_read, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.release)
        os.waitpid(self.pid, 0)
        os.close(self.pid_read)


class ListTests(unittest.TestCase):
    """`millrace ss`."""

    def listing(self, holder, *options):
        result = millrace("ss", "--json", "--pid", holder.pid, *options)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        return json.loads(result.stdout)["processes"]

    def test_connections(self):
        rows = [row(), row(state=0), row(path=0, reason=3, fd=10), row(path=0, reason=4, fd=11, role=0)]
        with Holder(lambda pid: page(pid, rows)) as holder:
            process, = self.listing(holder)
            self.assertEqual([connection["fd"] for connection in process["connections"]], [9, 10, 11])
            self.assertEqual(process["connections"][0], {
                "fd": 9, "role": "accept", "local": "127.0.0.1:6379", "peer": "[2001:db8::1]:40000", "path": "lane",
                "fabric": "shm", "reason": "none", "kernelSent": 1, "kernelReceived": 2, "laneSent": 3,
                "laneReceived": 2**64 - 1, "ringBytes": 262144, "attaches": 1, "since": 5,
            })
            self.assertEqual(process["counters"]["attaches"], 42)
            self.assertEqual(process["declines"]["no-peer"], 43)
            self.check_table(holder)

    def check_table(self, holder):
        result = millrace("ss", "--pid", holder.pid)
        lines = result.stdout.splitlines()
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[1], r"^lane shm +accept +127.0.0.1:6379 +\[2001:db8::1\]:40000 +\S+ +9 +1 +2 +3 +\d+ +-$")
        self.assertRegex(lines[2], rf"^kernel +connect .*\({holder.pid}\) +11 .* no-peer$")
        self.assertIn("1 connections below the threshold", result.stderr)
        self.assertEqual(len(millrace("ss", "--all", "--pid", holder.pid).stdout.splitlines()), 4)
        counters = millrace("ss", "--counters", "--pid", holder.pid).stdout.splitlines()
        self.assertEqual([line.split() for line in counters[1:]], [["attaches", "42"], ["decline", "no-peer", "43"]])

    def test_the_page_of_a_parent_is_not_the_childs(self):
        with Holder(lambda pid: page(pid + 1, [row()])) as holder:
            self.assertEqual(self.listing(holder), [])
        with Holder(lambda pid: page(os.getppid(), [row()]), lambda pid: page(pid, [row(fd=12)])) as holder:
            process, = self.listing(holder)
            self.assertEqual([connection["fd"] for connection in process["connections"]], [12])
        with Holder(lambda pid: page(pid, [row()], start=1)) as holder:
            self.assertEqual(self.listing(holder), [], "another process had this pid")

    def test_the_start_time_is_that_of_stat(self):
        def own_start(pid):
            text = pathlib.Path(f"/proc/{pid}/stat").read_text()
            return page(pid, [row()], start=int(text[text.rindex(")") + 1:].split()[19]))

        with Holder(own_start) as holder:
            self.assertEqual(len(self.listing(holder)), 1)

    def test_hostile_pages(self):
        spoiled = [
            {"magic": 1}, {"version": 2}, {"bytes": 2**64 - 1}, {"rows": 2**32 - 1},
        ]
        for changes in spoiled:
            with self.subTest(changes=changes), Holder(lambda pid: page(pid, [row()], **changes)) as holder:
                self.assertEqual(self.listing(holder), [])
        for make in [
            lambda pid: b"", lambda pid: b"x", lambda pid: page(pid)[:100], lambda pid: os.urandom(PAGE_BYTES),
        ]:
            with Holder(make) as holder:
                self.assertEqual(self.listing(holder), [])
        # A high-water mark beyond the rows, and a page that ends in the middle of a row.
        with Holder(lambda pid: page(pid, [row()], high=2**32 - 1)) as holder:
            self.assertEqual(len(self.listing(holder)[0]["connections"]), 1)
        with Holder(lambda pid: page(pid, [row(), row()])[:HEADER_BYTES + ROW_BYTES + 5]) as holder:
            self.assertEqual(len(self.listing(holder)[0]["connections"]), 1)

    def test_hostile_rows(self):
        rows = [
            row(sequence=5), row(state=2), row(fd=-1), row(role=2), row(path=4), row(fabric=9), row(reason=255),
            row(local_family=5), row(peer_family=1), os.urandom(8) + bytes(ROW_BYTES - 8), row(fd=33),
        ]
        with Holder(lambda pid: page(pid, rows)) as holder:
            self.assertEqual([connection["fd"] for connection in self.listing(holder)[0]["connections"]], [33])

    def test_names_cannot_command_the_terminal(self):
        def named(pid):
            pathlib.Path("/proc/self/comm").write_text("\x1b[31m\x07x")
            return page(pid, [row()])

        with Holder(named) as holder:
            self.assertIn(f"?[31m?x({holder.pid})", millrace("ss", "--pid", holder.pid).stdout)
            self.assertNotIn("\x1b", millrace("ss", "--counters", "--pid", holder.pid).stdout)

    def test_nothing_to_show(self):
        result = millrace("ss", "--pid", os.getpid())
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertEqual(millrace("ss", "--pid", "-1").returncode, 64)


class InstallTests(unittest.TestCase):
    """`make install`: what is put in place works there, and where there is no Swift."""

    @classmethod
    def setUpClass(cls):
        cls.stage = pathlib.Path(OPTIONS.scratch) / "stage"
        subprocess.run(["make", "-s", "-C", ROOT, "install", "PREFIX=/opt/mill", f"DESTDIR={cls.stage}"], check=True,
                       capture_output=True)
        cls.prefix = cls.stage / "opt/mill"

    def test_what_is_installed(self):
        found = sorted(str(path.relative_to(self.prefix)) for path in self.prefix.rglob("*") if path.is_file())
        self.assertEqual(found, [
            "bin/millrace", "lib/libmillrace-verbs.so", "lib/libmillrace.so", "share/doc/millrace/LICENSE", "share/doc/millrace/README.md",
            "share/man/man1/millrace.1",
        ])
        self.assertEqual([entry.name for entry in self.stage.iterdir()], ["opt"])

    def test_the_command_finds_its_library(self):
        environment = {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "MILLRACE_LIBRARY")}
        result = subprocess.run([self.prefix / "bin/millrace", "run", "/usr/bin/env"], env=environment, text=True,
                                capture_output=True, cwd="/", check=True)
        self.assertIn(f"LD_PRELOAD={self.prefix}/lib/libmillrace.so\n", result.stdout)

    def test_neither_needs_swift(self):
        for name in ["bin/millrace", "lib/libmillrace.so"]:
            result = subprocess.run(["readelf", "-d", self.prefix / name], text=True, capture_output=True, check=True)
            self.assertNotRegex(result.stdout, r"NEEDED.*(swift|Foundation|dispatch)")
            self.assertNotRegex(result.stdout, r"(RPATH|RUNPATH).*\[.*/usr")


class OtherTests(unittest.TestCase):
    def test_version(self):
        self.assertRegex(millrace("--version").stdout, r"^millrace \d+\.\d+\.\d+\n$")

    def test_reasons(self):
        lines = millrace("reasons").stdout.splitlines()
        self.assertIn("unaccounted-io", [line.split()[0] for line in lines])
        self.assertTrue(all(line.endswith(".") for line in lines))

    def test_the_man_page_knows_every_option(self):
        text = (ROOT / "docs/millrace.1").read_text().replace("\\-", "-")
        for command in ["run", "ss"]:
            for word in millrace(command, "--help").stdout.split():
                if word.startswith("--") and len(word) > 2 and word not in ("--help", "--version"):
                    self.assertIn(word.rstrip(","), text)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command", type=pathlib.Path, default=OPTIONS.command)
    parser.add_argument("--library", type=pathlib.Path, default=OPTIONS.library)
    parser.add_argument("tests", nargs="*")
    parser.parse_args(namespace=OPTIONS)
    OPTIONS.command, OPTIONS.library = OPTIONS.command.resolve(), OPTIONS.library.resolve()
    with tempfile.TemporaryDirectory(prefix="millrace-cli-") as OPTIONS.scratch:
        unittest.main(argv=[sys.argv[0], *OPTIONS.tests])


if __name__ == "__main__":
    main()
