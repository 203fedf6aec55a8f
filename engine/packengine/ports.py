"""Who listens on a TCP port of this machine."""

from __future__ import annotations

import contextlib
import os

_LISTENING = "0A"  # the kernel's number for the state


def holder(port: int) -> str | None:
    """Returns the process that listens on a port, such as ``haproxy (process 812)``.

    :returns: None when nobody listens there, or when it cannot be told: only root may look into
        the processes of others.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not sockets:
        return None
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            folder = f"/proc/{pid}/fd"
            if any(
                os.readlink(os.path.join(folder, each)) in sockets for each in os.listdir(folder)
            ):
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as stream:
                    return f"{stream.read().strip()} (process {pid})"
    return None


def _listening_inodes(port: int) -> set[str]:
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table, encoding="ascii") as stream:
            for fields in (line.split() for line in stream):
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(fields[9])
    return found
