"""Why an address cannot be listened on, and who listens there already."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Iterator


def reason(error: OSError, port: int) -> str:
    """Returns why listening on a port failed; of a port that is taken, by which process.

    :param error: what binding to an address of this machine raised.
    """
    if error.errno == errno.EADDRINUSE:
        return f"{_holder(port) or 'another process'} listens there"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    return error.strerror or str(error)


def _holder(port: int) -> str | None:
    """Returns the process that listens on a TCP port, such as `haproxy (process 812)`.

    None when it cannot be told: only root may look into the processes of others.
    """
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            files = os.scandir(f"/proc/{pid}/fd")
            if any(os.readlink(each.path) in sockets for each in files):
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    return f"{file.read().strip()} (process {pid})"
    return None


def _listening(port: int) -> Iterator[str]:
    """Yields the inodes of the sockets that listen on a port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table, encoding="ascii") as lines:
            next(lines)
            for _, local, _, state, *fields in (line.split() for line in lines):
                if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                    yield fields[5]
