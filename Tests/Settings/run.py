#!/usr/bin/python3
"""The library as it is loaded: every environment variable by what a program shows of it, settings with an error, rules,
what `MILLRACE=off` leaves behind, and the ways in which a process may come to have the library."""

import argparse
import json
import os
import pathlib
import resource
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import confined  # noqa: E402

OPTIONS = argparse.Namespace(library=ROOT / "build/libmillrace.so")
NOBODY = 65534
# Of Sources/MillraceCore/DeclineReason.swift.
NONE, RULE_DENIED, BELOW_THRESHOLD, NO_PEER, NO_VERBS, NO_DEVICE = 0, 2, 3, 4, 34, 35
BAD_WIREUP, DESCRIPTORS, MEMORY, THREADS, NOT_PERMITTED = 9, 20, 21, 22, 40
KERNEL, LANE, UNTRACKED = 0, 2, -1
# One end of a connection that exchanges seven bytes each way, and then waits for the other end and for nothing else. Whether it
# has a lane by then, or gets one while nothing more is sent, is what it prints.
SEVEN_BYTES = """
import socket, sys, time
if sys.argv[1] == "serve":
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    end = listener.accept()[0]
else:
    end = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
for byte in range(7):
    if sys.argv[1] != "serve": end.sendall(b"x")
    assert end.recv(1) == b"x"
    if sys.argv[1] == "serve": end.sendall(b"x")
deadline = time.monotonic() + 0.5
while end.getsockopt(0x4d4c, 1) != 2 and time.monotonic() < deadline: time.sleep(0.005)
print(end.getsockopt(0x4d4c, 1), flush=True)
sys.stdin.read()
"""

# Two connections within one process: one has a lane when the process confines itself, the other comes later.
CONFINED = """
import ctypes, os, socket, sys, time
import confined
def pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        return one, listener.accept()[0]
def exchange(ends, rounds):
    for number in range(rounds):
        out = os.urandom(1 + number * 37 % 5000)
        for sender, receiver in (ends, ends[::-1]):
            sender.sendall(out)
            assert receiver.recv(len(out), socket.MSG_WAITALL) == out
def state(ends): return [(end.getsockopt(0x4d4c, 1), end.getsockopt(0x4d4c, 2)) for end in ends]
first = pair()
deadline = time.monotonic() + 10
while [path for path, _ in state(first)] != [2, 2] and time.monotonic() < deadline: exchange(first, 5)
confined.refuse(confined.MEMFD_CREATE, (confined.SOCKET, confined.AF_UNIX), confined.PIDFD_OPEN, confined.PIDFD_GETFD)
exchange(first, 500)
second = pair()
while any(reason in (0, 3) for _, reason in state(second)) and time.monotonic() < deadline: exchange(second, 5)
exchange(second, 100)
print(state(first), state(second), flush=True)
sys.stdin.read()
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def compiled(name, *options):
    program = OPTIONS.scratch / name
    source = HERE / ("loading.c" if name.endswith(".so") else "probe.c")
    subprocess.run(["gcc", "-O1", source, "-o", program, *options], check=True)
    return program


class Seen:
    """What one run of the probe printed."""

    def __init__(self, result):
        self.status, self.errors = result.returncode, result.stderr
        lines = result.stdout.splitlines()
        numbers = [[int(number) for number in re.findall(r"-?\d+", line)] for line in lines]
        if len(numbers) == 4:
            (self.connected, self.accepted, self.process, (self.room,)) = [tuple(line) for line in numbers]
            self.threads, self.descriptors, self.page = self.process
        self.text = result.stdout


class Tests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.probe = compiled("probe")

    def run_probe(self, *, family="4", port=None, rounds=40, size=64, expect_traffic=True, program=None, preload=None,
                  confine=None, user=None, **variables):
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith(("MILLRACE", "LD_PRELOAD"))}
        preload = str(OPTIONS.library) if preload is None else preload
        environment.update(variables, **({"LD_PRELOAD": preload} if preload else {}))
        arguments = [program or self.probe, family, str(port or free_port()), str(rounds), str(size)]
        return Seen(subprocess.run(
            [*arguments, *(["traffic"] if expect_traffic else [])], env=environment, text=True, capture_output=True,
            timeout=60, preexec_fn=confine, user=user))

    def assert_lane(self, seen):
        self.assertEqual((seen.status, seen.connected, seen.accepted), (0, (LANE, NONE), (LANE, NONE)), seen.text)

    def assert_off(self, seen):
        """No record, no thread, no page, and no descriptor that the program without the library has not."""
        self.assertEqual((seen.status, seen.connected, seen.accepted), (0, (UNTRACKED, -1), (UNTRACKED, -1)), seen.text)
        self.assertEqual((seen.threads, seen.page), (1, 0))
        self.assertEqual(seen.descriptors, self.run_probe(preload="").descriptors)

    # Rendezvous

    def seven_bytes(self, role, threshold):
        return subprocess.Popen(
            [sys.executable, "-c", SEVEN_BYTES, role], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "LD_PRELOAD": str(OPTIONS.library), "MILLRACE_ATTACH": str(threshold)})

    def meets_late(self):
        """The accepting end calls at its second, fourth and eighth call, the connected one listens from its thirteenth on."""
        server = self.seven_bytes("serve", 2)
        client = self.seven_bytes(server.stdout.readline().strip(), 13)
        paths = [int(end.stdout.readline()) for end in (client, server)]
        for end in (client, server):
            end.communicate()
        return paths == [LANE, LANE]

    def test_a_peer_that_comes_a_little_late(self):
        """They meet. How long the one who called waits is bounded, and a busy machine may need more."""
        self.assertTrue(any(self.meets_late() for _ in range(20)))

    def test_a_local_peer_is_called_several_times(self):
        """Each attempt calls six times, without more traffic; this peer never listens."""
        server = self.seven_bytes("serve", 2)
        client = self.seven_bytes(server.stdout.readline().strip(), 1000)
        try:
            [end.stdout.readline() for end in (client, server)]
            shown = subprocess.run([ROOT / "build/millrace", "ss", "--json", "--pid", str(server.pid)], check=True,
                                   capture_output=True, text=True).stdout
            counters = json.loads(shown)["processes"][0]["counters"]
            self.assertGreater(counters["candidates"], 0)
            self.assertEqual(counters["rendezvous-calls"], 6 * counters["candidates"], counters)
        finally:
            for end in (client, server):
                end.communicate()

    # Settings

    def test_nothing_set(self):
        seen = self.run_probe()
        self.assert_lane(seen)
        self.assertEqual(seen.errors, "")
        self.assertEqual((seen.threads, seen.page, seen.room), (2, 1, 256))

    def test_off(self):
        self.assert_off(self.run_probe(MILLRACE="off"))
        self.assert_lane(self.run_probe(MILLRACE="on"))
        self.assert_lane(self.run_probe(MILLRACE=""))

    def test_off_asks_the_kernel_nothing(self):
        def calls(**variables):
            environment = {**os.environ, **variables}
            result = subprocess.run(["strace", "-f", "-E", f"LD_PRELOAD={OPTIONS.library}", "/bin/true"],
                                    env=environment, text=True, capture_output=True, check=True)
            _, _, behind = result.stderr.rpartition("munmap(")
            return re.findall(r"^(\w+)\(", behind, re.MULTILINE)

        # To know itself in a vfork child the library asks for its process, at the start and at the end.
        self.assertEqual(calls(MILLRACE="off"), ["getpid", "getpid", "exit_group"])
        self.assertEqual(calls(), ["getpid", "getpid", "exit_group"])

    def test_fabrics(self):
        self.assert_lane(self.run_probe(MILLRACE_FABRICS="shm"))
        self.assert_lane(self.run_probe(MILLRACE_FABRICS="verbs,shm"))
        # No device serves loopback addresses, and not every machine has the libraries.
        alone = self.run_probe(MILLRACE_FABRICS="verbs")
        self.assertEqual((alone.connected[0], alone.accepted[0], alone.room > 256), (KERNEL, KERNEL, True), alone.text)
        self.assertLessEqual({alone.connected[1], alone.accepted[1]}, {NO_VERBS, NO_DEVICE}, alone.text)

    def test_attach(self):
        self.assert_lane(self.run_probe(rounds=1, MILLRACE_ATTACH="0"))
        # Calls: those that moved data, at each end.
        below = self.run_probe(rounds=10, expect_traffic=False, MILLRACE_ATTACH="20")
        self.assertEqual((below.connected, below.accepted), ((KERNEL, BELOW_THRESHOLD),) * 2)
        self.assert_lane(self.run_probe(rounds=30, MILLRACE_ATTACH="20"))
        # Bytes.
        below = self.run_probe(rounds=3, size=1000, expect_traffic=False, MILLRACE_ATTACH="1000000,8K")
        self.assertEqual((below.connected, below.accepted), ((KERNEL, BELOW_THRESHOLD),) * 2)
        self.assert_lane(self.run_probe(rounds=10, size=1000, MILLRACE_ATTACH="1000000,8K"))

    def test_the_default_threshold_is_what_the_readme_says(self):
        below = self.run_probe(rounds=15, expect_traffic=False)
        self.assertEqual((below.connected, below.accepted), ((KERNEL, BELOW_THRESHOLD),) * 2)
        self.assert_lane(self.run_probe(rounds=16))
        self.assert_lane(self.run_probe(rounds=16, size=4096, MILLRACE_ATTACH="1000000"))

    def test_ring(self):
        for size, kilobytes in [("4K", 4), ("65536", 64), ("1M", 1024)]:
            self.assertEqual(self.run_probe(MILLRACE_RING=size).room, kilobytes)

    def test_spin(self):
        for spin in ["0", "20", "10000", "auto"]:
            self.assert_lane(self.run_probe(MILLRACE_SPIN=spin))

    def test_stats(self):
        seen = self.run_probe(MILLRACE_STATS="off")
        self.assert_lane(seen)
        self.assertEqual(seen.page, 0)

    def test_log(self):
        self.assertEqual(self.run_probe(MILLRACE_LOG="off", MILLRACE_RING="x").errors, "")
        self.assertEqual(self.run_probe(MILLRACE_LOG="error").errors, "")
        self.assertRegex(self.run_probe(MILLRACE_LOG="info").errors, r"^millrace: exit pid=\d+ attaches=2 candidates=2\n$")
        self.assertEqual(self.run_probe(MILLRACE_LOG="debug").errors.count("attached to a shared-memory lane\n"), 2)

    def test_chaos(self):
        self.assertEqual(self.run_probe(rounds=2000, MILLRACE_CHAOS="1,50").status, 0)

    def test_a_wrong_value_is_named_once_and_turns_off(self):
        for name, value, message in [
            ("MILLRACE", "maybe", "column 1: expected on or off"),
            ("MILLRACE_FABRICS", "shm,ib", "column 5: expected shm or verbs"),
            ("MILLRACE_ATTACH", "16,x", "column 4: expected a number of bytes"),
            ("MILLRACE_RING", "3K", "column 1: expected 4K to 64M"),
            ("MILLRACE_SPIN", "99999", "column 1: expected at most 10000 microseconds"),
            ("MILLRACE_LOG", "loud", "column 1: expected off, error, info or debug"),
            ("MILLRACE_STATS", "1", "column 1: expected on or off"),
            ("MILLRACE_CHAOS", "1", "column 2: expected a comma and a rate"),
        ]:
            with self.subTest(name=name):
                seen = self.run_probe(**{name: value})
                self.assertEqual(seen.errors, f"millrace: {name}: {message}; Millrace is off for this process\n")
                self.assert_off(seen)

    # Rules

    def assert_denied(self, seen, connected=RULE_DENIED, accepted=RULE_DENIED):
        self.assertEqual((seen.connected, seen.accepted), ((KERNEL, connected), (KERNEL, accepted)), seen.text)

    def test_rules_by_port(self):
        port = free_port()
        self.assert_denied(self.run_probe(port=port, MILLRACE_RULES=f"deny port={port}"))
        self.assert_denied(self.run_probe(port=port, MILLRACE_RULES=f"deny port={port - 1}-{port + 1}"))
        self.assert_lane(self.run_probe(port=port, MILLRACE_RULES=f"deny port={port + 1}"))
        self.assert_denied(self.run_probe(port=port, MILLRACE_RULES=f"deny peer-port={port}"), accepted=NO_PEER)

    def test_rules_by_program_and_role(self):
        self.assert_denied(self.run_probe(MILLRACE_RULES="deny program=probe"))
        self.assert_denied(self.run_probe(MILLRACE_RULES="deny program=pro*"))
        self.assert_lane(self.run_probe(MILLRACE_RULES="deny program=pro"))
        self.assert_denied(self.run_probe(MILLRACE_RULES="deny role=connect"), accepted=NO_PEER)

    def test_rules_by_address(self):
        self.assert_denied(self.run_probe(MILLRACE_RULES="deny address=127.0.0.1"))
        self.assert_denied(self.run_probe(MILLRACE_RULES="deny address=127.0.0.0/8"))
        self.assert_lane(self.run_probe(MILLRACE_RULES="deny address=10.0.0.0/8"))
        self.assert_denied(self.run_probe(family="6", MILLRACE_RULES="deny address=::1"))
        self.assert_denied(self.run_probe(family="mapped", MILLRACE_RULES="deny local-address=127.0.0.0/24"))
        self.assert_lane(self.run_probe(family="6", MILLRACE_RULES="deny address=127.0.0.0/8"))
        self.assert_lane(self.run_probe(family="mapped", MILLRACE_RULES="deny address=::1/128"))

    def test_the_first_rule_that_matches_decides(self):
        port = free_port()
        self.assert_lane(self.run_probe(port=port, MILLRACE_RULES=f"allow port={port}; deny *"))
        self.assert_denied(self.run_probe(port=port, MILLRACE_RULES=f"deny *; allow port={port}"))
        self.assert_denied(self.run_probe(port=port, MILLRACE_RULES=f"allow port={port + 1} role=accept; deny *"))

    def file_of(self, text):
        path = OPTIONS.scratch / "rules"
        path.write_text(text)
        return str(path)

    def test_a_file_of_rules(self):
        rules = self.file_of("# comment\n\nallow program=other\ndeny *  # the rest\n")
        self.assert_denied(self.run_probe(MILLRACE_RULES_FILE=rules))
        # Those of the variable come first.
        self.assert_lane(self.run_probe(MILLRACE_RULES="allow program=probe", MILLRACE_RULES_FILE=rules))

    def test_an_error_in_rules(self):
        for variables, message in [
            ({"MILLRACE_RULES": "allow *; den *"}, "MILLRACE_RULES: line 1, column 10: expected allow or deny"),
            ({"MILLRACE_RULES": "allow *\ndeny port=70000"}, "MILLRACE_RULES: line 2, column 11: expected a port (0 to 65535)"),
            ({"MILLRACE_RULES_FILE": self.file_of("# one\nallow *\n  deny port=x\n")},
             "MILLRACE_RULES_FILE: line 3, column 13: expected a port (0 to 65535)"),
            ({"MILLRACE_RULES_FILE": "/nonesuch"}, "MILLRACE_RULES_FILE cannot be read"),
            ({"MILLRACE_RULES_FILE": "/etc"}, "MILLRACE_RULES_FILE cannot be read"),
        ]:
            with self.subTest(variables=variables):
                seen = self.run_probe(**variables)
                self.assertEqual(seen.errors, f"millrace: {message}; Millrace is off for this process\n")
                self.assert_off(seen)

    def test_a_file_that_is_too_large_is_not_cut(self):
        seen = self.run_probe(MILLRACE_RULES_FILE=self.file_of("# padding\n" * 8000 + "deny *\n"))
        self.assertIn("MILLRACE_RULES_FILE is 64 KiB or larger", seen.errors)
        self.assert_off(seen)

    def test_a_log_that_nobody_takes_ends_nobody(self):
        """Standard error is a pipe without a reader, or a file that may not grow: the program ends as it would."""
        reader, writer = os.pipe()
        os.close(reader)
        full = open(OPTIONS.scratch / "full", "wb")
        no_size = (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        for errors, limit in ((writer, None), (full, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, no_size))):
            result = subprocess.run([self.probe, "4", str(free_port()), "40", "64", "traffic"], stdout=subprocess.PIPE,
                                    stderr=errors, preexec_fn=limit, text=True, timeout=60,
                                    env={"LD_PRELOAD": str(OPTIONS.library), "MILLRACE_LOG": "debug"})
            self.assertEqual(result.returncode, 0, result)
        os.close(writer)
        full.close()

    # What a process may not do, or has no more of

    def refused(self, *calls):
        seen = self.run_probe(confine=lambda: confined.refuse(*calls))
        self.assertEqual((seen.status, seen.connected[0], seen.accepted[0]), (0, KERNEL, KERNEL), (seen.text, seen.errors))
        return seen

    def test_a_filter_of_system_calls_is_named(self):
        seen = self.refused((confined.SOCKET, confined.AF_UNIX))
        self.assertEqual((seen.connected[1], seen.accepted[1]), (NOT_PERMITTED, NOT_PERMITTED))
        seen = self.refused((confined.SOCKET, confined.AF_NETLINK))
        self.assertIn(NOT_PERMITTED, (seen.connected[1], seen.accepted[1]))
        # The statistics page would be such a file too.
        seen = self.refused(confined.MEMFD_CREATE)
        self.assertEqual((seen.accepted[1], seen.page), (NOT_PERMITTED, 0))
        seen = self.refused(confined.CLONE, confined.CLONE3)
        self.assertEqual((seen.connected[1], seen.accepted[1], seen.threads), (NOT_PERMITTED, NOT_PERMITTED, 1))
        self.assertIn("no service thread", seen.errors)

    def test_a_filter_that_comes_when_there_are_lanes(self):
        """They go on; a new connection stays on TCP, and the reason is counted."""
        process = subprocess.Popen(
            ["/usr/bin/python3", "-c", CONFINED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={"LD_PRELOAD": str(OPTIONS.library), "PYTHONPATH": str(HERE), "MILLRACE_ATTACH": "4"})
        first = process.stdout.readline().strip()
        shown = subprocess.run([ROOT / "build/millrace", "ss", "--json", "--pid", str(process.pid)], check=True,
                               capture_output=True, text=True).stdout
        process.communicate()
        self.assertEqual((process.returncode, first), (0, f"{[(LANE, NONE)] * 2} {[(KERNEL, NOT_PERMITTED)] * 2}"))
        self.assertEqual(json.loads(shown)["processes"][0]["declines"].get("not-permitted"), 2, shown)

    def test_what_has_run_out_is_named(self):
        def limit(kind, most):
            return lambda: resource.setrlimit(kind, (most, most))

        # Standard input, output and errors, both ends, and one more, which was the listener.
        seen = self.run_probe(confine=limit(resource.RLIMIT_NOFILE, 6))
        self.assertEqual((seen.status, seen.connected, seen.accepted), (0, (KERNEL, DESCRIPTORS), (KERNEL, DESCRIPTORS)),
                         seen.text)
        # The rings of one lane, each mapped twice, are 256 MiB at each end: for the end that offers there is room, or for
        # neither.
        seen = self.run_probe(confine=limit(resource.RLIMIT_AS, 512 << 20), MILLRACE_RING="64M")
        self.assertEqual((seen.status, seen.connected, seen.accepted[0]), (0, (KERNEL, MEMORY), KERNEL), seen.text)
        seen = self.run_probe(confine=limit(resource.RLIMIT_AS, 256 << 20), MILLRACE_RING="64M")
        self.assertEqual((seen.status, seen.connected[0], seen.accepted), (0, KERNEL, (KERNEL, MEMORY)), seen.text)

    @unittest.skipUnless(os.getuid() == 0, "root may become another user, whose threads are counted")
    def test_threads_that_have_run_out_are_named(self):
        OPTIONS.scratch.chmod(0o755)
        library = shutil.copy(OPTIONS.library, OPTIONS.scratch)
        seen = self.run_probe(confine=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)), user=NOBODY,
                              preload=str(library))
        self.assertEqual((seen.status, seen.connected, seen.accepted), (0, (KERNEL, THREADS), (KERNEL, THREADS)),
                         (seen.text, seen.errors))

    # Ways to load it

    def test_calls_before_the_constructor(self):
        early = compiled("early.so", "-shared", "-fPIC")
        # The loader runs the constructors of the last library first.
        for preload in [f"{OPTIONS.library}:{early}", f"{early}:{OPTIONS.library}"]:
            seen = self.run_probe(preload=preload)
            self.assertEqual(seen.errors, "early: done\n")
            self.assert_lane(seen)

    def test_opened_by_the_program(self):
        """Calls are bound before it comes, so nothing happens; and nothing breaks."""
        seen = self.run_probe(preload="", PROBE_LOADS=str(OPTIONS.library))
        self.assertEqual((seen.status, seen.connected, seen.errors), (0, (UNTRACKED, -1), ""))

    def test_opened_by_a_program_that_has_it(self):
        self.assert_lane(self.run_probe(PROBE_LOADS=str(OPTIONS.library)))

    def test_linked_into_the_program(self):
        linked = compiled("linked", OPTIONS.library, f"-Wl,-rpath,{OPTIONS.library.parent}")
        self.assert_lane(self.run_probe(program=linked, preload=""))

    @unittest.skipUnless(os.getuid() == 0, "only root can give files away")
    def test_set_user_id(self):
        """The loader leaves the library out, and the program runs."""
        OPTIONS.scratch.chmod(0o755)
        owned = pathlib.Path(shutil.copy(self.probe, OPTIONS.scratch / "owned"))
        library = shutil.copy(OPTIONS.library, OPTIONS.scratch)
        owned.chmod(0o4755)
        result = subprocess.run([owned, "4", str(free_port()), "40", "64", "traffic"], user=NOBODY, group=NOBODY,
                                extra_groups=[], env={"LD_PRELOAD": str(library), "MILLRACE_LOG": "debug"}, text=True,
                                capture_output=True, timeout=60)
        seen = Seen(result)
        self.assertEqual((seen.status, seen.connected), (0, (UNTRACKED, -1)), result)
        # To the same user's ordinary copy it is preloaded.
        owned.chmod(0o755)
        result = subprocess.run([owned, "4", str(free_port()), "40", "64", "traffic"], user=NOBODY, group=NOBODY,
                                extra_groups=[], env={"LD_PRELOAD": str(library)}, text=True, capture_output=True, timeout=60)
        self.assert_lane(Seen(result))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", type=pathlib.Path, default=OPTIONS.library)
    parser.add_argument("tests", nargs="*")
    parser.parse_args(namespace=OPTIONS)
    OPTIONS.library = OPTIONS.library.resolve()
    with tempfile.TemporaryDirectory(prefix="millrace-settings-") as scratch:
        OPTIONS.scratch = pathlib.Path(scratch)
        unittest.main(argv=[sys.argv[0], *OPTIONS.tests])


if __name__ == "__main__":
    main()
