"""A program run to its end, or to the end of our patience: its time and its output are bounded.

What answers may be a host that runs what anybody pushes, so it does not get our memory.
"""

from __future__ import annotations

import os
import select
import selectors
import subprocess
import time
from typing import IO, NamedTuple, Sequence


class Captured(NamedTuple):
    """What became of it; `problem` says why it was ended, empty when it ended by itself."""

    exit_status: int
    stdout: bytes
    stderr: bytes
    problem: str = ""


def run(command: Sequence[str], stdin: bytes | IO[bytes], timeout_s: float, limit: int) -> Captured:
    """Runs a program; it is killed when it takes too long or prints too much.

    :param stdin: what it reads, or where it reads from.
    :param limit: bytes of its output, and as many of its errors.
    :raises FileNotFoundError: when there is no such program.
    """
    end = time.monotonic() + timeout_s
    pipes = subprocess.PIPE
    left = memoryview(stdin if isinstance(stdin, bytes) else b"")
    read_from = pipes if isinstance(stdin, bytes) else stdin
    with subprocess.Popen(
        command, stdin=read_from, stdout=pipes, stderr=pipes, bufsize=0
    ) as process, selectors.DefaultSelector() as selector:
        assert process.stdout and process.stderr
        printed = {process.stdout.fileno(): bytearray(), process.stderr.fileno(): bytearray()}
        problem = ""
        if process.stdin:
            selector.register(process.stdin, selectors.EVENT_WRITE)
        for stream in (process.stdout, process.stderr):
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map() and not problem:
            ready = selector.select(max(0.0, end - time.monotonic()))
            if not ready:
                problem = f"no result within {timeout_s:g} s"
            for key, _ in ready:
                if key.fileobj is process.stdin:
                    left = _written(key.fd, left)
                    done = not left
                else:
                    read = os.read(key.fd, 65536)
                    printed[key.fd] += read
                    done = not read
                    if len(printed[key.fd]) > limit:
                        problem = f"printed more than {limit} bytes"
                if done:
                    selector.unregister(key.fileobj)
                    if process.stdin and key.fileobj is process.stdin:
                        process.stdin.close()
        if problem:
            process.kill()
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            problem = f"no result within {timeout_s:g} s"
            process.kill()
        out, err = (bytes(printed[each.fileno()]) for each in (process.stdout, process.stderr))
    return Captured(process.returncode, out, err, problem)


def _written(descriptor: int, data: memoryview) -> memoryview:
    """Writes some of the data; returns what is left, nothing if nobody reads it any more."""
    try:
        return data[os.write(descriptor, data[: select.PIPE_BUF]) :]
    except BrokenPipeError:
        return data[:0]
