"""How many connections of a process moved onto a lane, and what else it counted.

Two sources: the statistics page of a living process (a memfd that it keeps open; the layout is that of
Sources/MillraceCore/StatsPage.swift), and the line that the library prints when a process ends (MILLRACE_LOG=info).
The page is read here without the `millrace` command, so that these tests do not depend on what they also test.
"""

import os
import struct

MAGIC = 0x45434152_4C4C494D
VERSION = 1
LINK = "/memfd:millrace-stats (deleted)"
COUNTERS_OFFSET = 64
DECLINES_OFFSET = COUNTERS_OFFSET + 8 * 64
# Slots of Sources/MillraceCore/Counter.swift.
TRACKED, CANDIDATES, ATTACHES = 0, 1, 6


def page_header(pid):
    """The first 4 KiB of the process' statistics page, or None if it has none that can be read."""
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    for name in names:
        try:
            if os.readlink(f"{folder}/{name}") != LINK:
                continue
            with open(f"{folder}/{name}", "rb", buffering=0) as page:
                header = page.read(4096)
        except OSError:
            continue
        if len(header) < 4096:
            continue  # It is just being made.
        magic, version, owner = struct.unpack_from("<QIi", header)
        # A forked child inherits its parent's descriptor until it has a page of its own.
        if magic == MAGIC and version == VERSION and owner == pid:
            return header
    return None


def counter(pid, slot):
    header = page_header(pid)
    return struct.unpack_from("<Q", header, COUNTERS_OFFSET + 8 * slot)[0] if header else 0


def declines(pid):
    """Counts by the raw value of the decline reason, those that are not zero."""
    header = page_header(pid)
    if not header:
        return {}
    values = struct.unpack_from("<64Q", header, DECLINES_OFFSET)
    return {reason: value for reason, value in enumerate(values) if value}


def attaches(session, process):
    """Lanes that the process and its descendants have had: the living ones, and those that ended."""
    counted = {pid: lanes for pid, lanes in process_exits(session, process)}
    for pid in process.pids():
        counted[pid] = max(counted.get(pid, 0), counter(pid, ATTACHES))
    return sum(counted.values())


def process_exits(session, process):
    return session.exit_lines(process.log)


def all_exits(session):
    """Lanes of all preloaded processes of the session that ended."""
    return sum(lanes for _, lanes in session.exit_lines())
