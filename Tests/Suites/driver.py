"""Runs the tests of one module, and writes what became of each: {"results": {name: outcome}, "lanes": count}.

Usage: driver.py OUTPUT MODULE. Runs inside the process that is preloaded, so it uses the library of Tests/Support only to count.
"""

import json
import os
import pathlib
import sys
import unittest

sys.path.insert(1, str(pathlib.Path(__file__).resolve().parent.parent / "Support"))
import lanes  # noqa: E402


class Record(unittest.TestResult):
    """The worst that was said of a test counts: its subtests and its cleaning up may fail by themselves."""

    def __init__(self):
        super().__init__()
        self.outcomes, self.problems = {}, {}

    def note(self, test, outcome, problem=None):
        name = test.id() if hasattr(test, "id") else str(test)
        if self.outcomes.get(name) != "failed":
            self.outcomes[name] = outcome
        if problem is not None:
            # Frameworks of their own hand over objects that only know how to print themselves.
            known = isinstance(problem, tuple)
            self.problems[name] = (self._exc_info_to_string(problem, test) if known else str(problem))[-1500:]

    def addSuccess(self, test):
        self.note(test, "passed")

    def addError(self, test, problem):
        self.note(test, "failed", problem)

    addFailure = addError

    def addSkip(self, test, reason):
        self.note(test, "skipped")

    def addExpectedFailure(self, test, *problem):
        self.note(test, "passed")

    def addUnexpectedSuccess(self, test, *reason):
        self.note(test, "failed", "an unexpected success")

    def addSubTest(self, test, subtest, problem):
        if problem is not None:
            self.note(test, "failed", problem)


def main(output, module):
    if module.startswith("test."):
        from test import support
        # None of those that need a network, a display, or much time; this one says so of loopback.
        support.use_resources = ["network"] if module == "test.test_socketserver" else []
    record = Record()
    try:
        unittest.defaultTestLoader.loadTestsFromName(module).run(record)
    finally:
        text = json.dumps({"results": record.outcomes, "problems": record.problems, "lanes": lanes.counter(os.getpid(), lanes.ATTACHES)})
        pathlib.Path(output).write_text(text)
    # Threads that a test has left behind keep nobody.
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
