#!/usr/bin/python3
"""Runs the tests of a plan inside the machine, one after the other, and tells the host about each.

The plan is a file on the shared folder. Every test finds the machine as new: the network laid out, no process of an
earlier test, nothing of its in the way.
"""

import json
import os
import pathlib
import subprocess
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import fabric  # noqa: E402


def say(event, **fields):
    """One line for the host."""
    with open(fabric.OUT / f"events.{fabric.MACHINE}", "a", encoding="utf-8") as file:
        file.write(json.dumps({"event": event, **fields}) + "\n")


def command_of(test):
    path = str(HERE / test["path"])
    # In a process namespace of its own: when its first process ends, or is killed, all others of the test do.
    arguments = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", path]
    return arguments + ([fabric.MACHINE] if test["machines"] == 2 else [])


def pids_below(pid):
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
        except OSError:
            continue
        children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found, queue = [], [pid]
    while queue:
        found.append(queue.pop())
        queue += children.get(found[-1], [])
    return found


def where_they_are(pid, log):
    """Writes where every thread of a test that hangs waits in the kernel, and, if gdb is there, in the program."""
    for each in pids_below(pid):
        task = pathlib.Path(f"/proc/{each}")
        try:
            log.write(f"\n== {each} {(task / 'cmdline').read_bytes().replace(bytes(1), b' ').decode(errors='replace')}\n")
            for thread in (task / "task").iterdir():
                log.write(f"-- thread {thread.name}\n{(thread / 'stack').read_text()}")
        except OSError:
            continue
        log.flush()
        # Never longer: a process that is stuck in the kernel cannot be looked at.
        subprocess.run(["timeout", "-s", "KILL", "10", "gdb", "-p", str(each), "-batch", "-ex", "thread apply all backtrace 12"], stdout=log,
                       stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False)


def kernel_log_from(mark):
    return subprocess.run(["dmesg"], stdout=subprocess.PIPE, text=True, errors="replace", check=False).stdout.splitlines()[mark:]


def prepare(test):
    fabric.clear()
    if test["machines"] == 2:
        fabric.lay_wire()
        fabric.meet("prepared", 60)
    else:
        fabric.lay_pair()


def run_test(test):
    """Returns the exit status, or a sentence that says why there is none."""
    os.environ["TEST_NAME"] = test["name"].replace("/", "-")
    mark = len(kernel_log_from(0))
    path = fabric.OUT / f"{os.environ['TEST_NAME']}.{fabric.MACHINE}.log"
    with open(path, "w", encoding="utf-8") as log:
        try:
            prepare(test)
        except Exception:  # Whatever it is, the other tests are still to run.
            log.write(traceback.format_exc())
            return "the network could not be laid out"
        environment = {**os.environ, "PATH": f"{HERE / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(HERE),
                       "PYTHONDONTWRITEBYTECODE": "1"}
        child = subprocess.Popen(["bash", "-c", 'ulimit -l unlimited; exec "$@"', "test", *command_of(test)], stdout=log, stderr=log,
                                 stdin=subprocess.DEVNULL, env=environment, cwd="/tmp")
        try:
            status = child.wait(test["limit"])
        except subprocess.TimeoutExpired:
            status = f"no end within {test['limit']} s"
            # What the kernel itself is stuck in, for its log.
            pathlib.Path("/proc/sysrq-trigger").write_text("w")
            where_they_are(child.pid, log)
            child.kill()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                status = f"no end within {test['limit']} s, and it cannot be killed"
        if status != 0:
            log.write("\n== kernel\n" + "\n".join(kernel_log_from(mark)) + "\n")
        return status


def main():
    plan = json.loads((fabric.OUT / "plan.json").read_text())
    say("up", kernel=os.uname().release, seconds=float(pathlib.Path("/proc/uptime").read_text().split()[0]))
    for test in plan["tests"]:
        say("start", name=test["name"])
        started = time.monotonic()
        status = run_test(test)
        say("end", name=test["name"], status=status, seconds=round(time.monotonic() - started, 2))
        if "cannot be killed" in str(status):
            return  # The kernel holds what the other tests need.
    say("done")


if __name__ == "__main__":
    main()
