"""streams.c as a program of a test: what it has exchanged, and its lanes, which are asserted to be verbs lanes."""

import json
import pathlib
import re
import signal

import fabric

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = ROOT / "build" / "rdma" / "streams"
LIBRARY = ROOT / "build" / "libmillrace.so"
COMMAND = ROOT / "build" / "millrace"
VERBS = {"LD_PRELOAD": str(LIBRARY), "MILLRACE_FABRICS": "verbs", "MILLRACE_ATTACH": "0"}
WORDS = re.compile(r"(connected|ended|broken|sent|received|lanes|cpu) ([\d.]+)")


NOTHING = "connected 0 ended 0 broken 0 sent 0 received 0 lanes 0 cpu 0"


class Streams(fabric.Program):
    """One end: Streams("serve", port, ...) or Streams("run", address, port, ...). Leisurely at first, so that lanes are soon attached."""

    def __init__(self, *words, program=PROGRAM, prefix=(), **settings):
        super().__init__(*prefix, program, *words, "-p", 3000, **{**VERBS, **settings})

    def hurry(self):
        """From now on as fast as it can."""
        self.child.send_signal(signal.SIGUSR1)

    def now(self):
        """What it has said last."""
        lines = [line for line in self.text().splitlines(keepends=True) if line.endswith("\n") and " connected " in line]
        return {name: float(value) for name, value in WORDS.findall(lines[-1] if lines else NOTHING)}

    def check(self):
        assert self.child.poll() is None, f"streams has ended with {self.child.returncode}:\n{self.text()[-2000:]}"

    def until(self, condition, what, seconds=30):
        def holds():
            self.check()
            return condition(self.now())
        try:
            fabric.wait_until(holds, what, seconds)
        except TimeoutError as error:
            raise AssertionError(f"{error}; it said last: {self.text()[-300:]}\n{self.rows()}") from None

    def rides(self, lanes, seconds=30):
        """That many connections are on lanes, and `millrace ss` says that those are of verbs."""
        self.until(lambda now: now["lanes"] >= lanes, f"{lanes} lanes", seconds)
        fabrics = [row["fabric"] for row in self.rows() if row["path"] == "lane"]
        assert len(fabrics) >= lanes and set(fabrics) == {"verbs"}, self.rows()

    def rows(self):
        return [row for process in self.processes() for row in process["connections"]]

    def counters(self):
        return {name: value for process in self.processes() for name, value in {**process["counters"], **process["declines"]}.items() if value}

    def processes(self):
        listing = json.loads(fabric.run(COMMAND, "ss", "--json"))
        return [process for process in listing["processes"] if process["pid"] == self.child.pid]

    def flows(self, megabytes=0.2, seconds=60):
        """So much more comes."""
        start = self.now()["received"]
        self.until(lambda now: now["received"] >= start + megabytes * 1e6, f"{megabytes} MB more", seconds)

    def finish(self, seconds=60):
        """Ends its streams and itself, and returns what it has exchanged in all."""
        self.child.send_signal(signal.SIGTERM)
        return self.totals(seconds)

    def totals(self, seconds=60):
        """What it has exchanged, when it ends by itself."""
        assert self.end(seconds) == 0
        return self.now()


def tell_totals(name, streams):
    """Every byte that one machine has sent has come to the other, and none besides."""
    now = streams.now()
    fabric.tell(f"{name}-totals", f"{now['sent']:.0f} {now['received']:.0f}")
    sent, received = fabric.hear(f"{name}-totals").split()
    assert (float(sent), float(received)) == (now["received"], now["sent"]), (sent, received, now)
