"""Interrupts script/demo at moments from its first second on, and looks for what is left.

    python -m tests.end_to_end.interrupts 0.3 1 2.5 ...     seconds after which Ctrl-C is typed

Each moment is a line: exit status, seconds until the end, the last line, and what is wrong: a
traceback, or a process that outlived the demo. Exit status 1 if anything is wrong. Needs root.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]
END_S = 60
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Interrupted(NamedTuple):
    """What became of a demo: `wrong` is empty if it ended as it should."""

    status: int
    seconds: float
    output: str
    wrong: list[str]


def interrupt(after_s: float, *options: str) -> Interrupted:
    """Starts the demo at a terminal of its own and types Ctrl-C there after some seconds."""
    pid, terminal = pty.fork()
    if not pid:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background ignores it
        os.execv(str(PROJECT / "script/demo"), ["demo", *options])
    output = bytearray()
    reading = threading.Thread(target=_read, args=(terminal, output), daemon=True)
    reading.start()
    time.sleep(after_s)
    os.write(terminal, b"\x03")
    began = time.monotonic()
    wrong = []
    ended, status = 0, 0
    while not ended and time.monotonic() - began < END_S:
        ended, status = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.05)
    seconds = time.monotonic() - began
    if not ended:
        wrong.append(f"it had not ended after {END_S} s")
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    reading.join(5)
    os.close(terminal)
    said = ESCAPES.sub("", output.decode("utf-8", "replace")).replace("\r", "")
    if "Traceback" in said or "KeyboardInterrupt" in said:
        wrong.append("a traceback")
    time.sleep(1)  # the kernel ends what a world held
    wrong += [f"left: {each}" for each in _of_session(pid)]
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    return Interrupted(code, seconds, said, wrong)


def _read(terminal: int, output: bytearray) -> None:
    with contextlib.suppress(OSError):  # the other side has gone
        while True:
            output += os.read(terminal, 65536)


def _of_session(session: int) -> list[str]:
    """Returns the command lines of the processes of a session, and of those in its worlds."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((stat.parent / "cmdline").read_text().replace("\0", " ")[:100])
        except OSError:
            continue
    return found


def main(arguments: list[str]) -> int:
    wrong = 0
    for text in arguments:
        done = interrupt(float(text))
        last = (done.output.splitlines() or [""])[-1]
        line = f"{text:>6} s: {done.status}, {done.seconds:.1f} s, {last!r} {done.wrong}\n"
        sys.stdout.write(line)
        sys.stdout.flush()
        wrong += bool(done.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
