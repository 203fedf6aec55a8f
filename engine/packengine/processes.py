"""Processes: those of actions, killed as a group; and names by which a process is known again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from typing import BinaryIO, Mapping, NamedTuple


class Outcome(NamedTuple):
    """How a process ended.

    :ivar exit_code: the negative of the signal's number for a process that was killed.
    :ivar result: what it wrote to its result file, if it was given one.
    """

    exit_code: int
    stdout: str
    stderr: str
    result: bytes | None
    timed_out: bool
    canceled: bool


class ChildProcess:
    """A process of an action, which one thread waits for and another may kill.

    Output goes to memory files instead of pipes: nothing is on disk, nothing blocks, and a
    daemon the action leaves behind does not keep the action from ending.

    :param command: program and arguments.
    :param env: the whole environment.
    :param cwd: directory to run in, None for this process's own.
    :param stdin: what the process reads, None for nothing.
    :param with_result: also give it a file for its result, whose descriptor's number becomes the
        last argument.
    :raises OSError: when the program cannot be started.
    """

    def __init__(
        self,
        command: list[str],
        env: Mapping[str, str],
        cwd: str | None = None,
        stdin: bytes | None = None,
        with_result: bool = False,
    ) -> None:
        self._stdout = _memory_file("stdout")
        self._stderr = _memory_file("stderr")
        self._result = _memory_file("result") if with_result else None
        self._lock = threading.Lock()
        self._reason: str | None = None
        if with_result:
            command = [*command, str(self._result)]
        with memory_stream("stdin", stdin or b"") as stdin_stream:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=env,
                stdin=stdin_stream,
                stdout=self._stdout,
                stderr=self._stderr,
                pass_fds=() if self._result is None else (self._result,),
                start_new_session=True,
            )

    def wait(self, timeout: float | None) -> Outcome:
        """Waits for the process to end.

        :param timeout: seconds after which it is killed, None for never.
        """
        timer = threading.Timer(timeout, self._kill, ("timeout",)) if timeout else None
        if timer:
            timer.daemon = True
            timer.start()
        try:
            exit_code = self._process.wait()
        finally:
            if timer:
                timer.cancel()
        return Outcome(
            exit_code=exit_code,
            stdout=_take(self._stdout).decode("utf-8", "replace"),
            stderr=_take(self._stderr).decode("utf-8", "replace"),
            result=_take(self._result) if self._result is not None else None,
            timed_out=self._reason == "timeout",
            canceled=self._reason == "cancel",
        )

    def cancel(self) -> None:
        """Kills the process and everything in its group."""
        self._kill("cancel")

    def _kill(self, reason: str) -> None:
        with self._lock:
            if self._process.poll() is None:
                self._reason = self._reason or reason
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)


def _memory_file(name: str) -> int:
    return os.memfd_create(name)


def memory_stream(name: str, content: bytes) -> BinaryIO:
    """Returns a file in memory that holds some bytes, to be read from its start."""
    stream = os.fdopen(_memory_file(name), "w+b")
    stream.write(content)
    stream.seek(0)
    return stream


def _take(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as stream:
        stream.seek(0)
        return stream.read()


def process_identity(pid: int) -> str | None:
    """Returns a name for a process that a later one with the same number does not share.

    :returns: None when there is no such process.
    """
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            fields = stream.read().rpartition(")")[2].split()
    except OSError:
        return None
    return f"{pid}:{fields[19]}"


def is_alive(identity: str | None) -> bool:
    """Returns whether the process of that identity still runs (and is not a zombie)."""
    if not identity:
        return False
    pid = int(identity.split(":", 1)[0])
    if process_identity(pid) != identity:
        return False
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
