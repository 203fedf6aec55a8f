"""Child processes of actions: their own process group, nothing in argv, killed as a group."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import NamedTuple


class Outcome(NamedTuple):
    """How a process ended; ``result`` is what it wrote to its result file, if it was given one."""

    exit_code: int
    stdout: str
    stderr: str
    result: bytes | None
    timed_out: bool
    canceled: bool


class ChildProcess:
    """A process that can be waited for by one thread and killed by another.

    Output goes to memory files instead of pipes: nothing is on disk, nothing blocks, and a
    daemon the action leaves behind does not keep the action from ending.

    :param command: list of arguments, or a text that a shell runs when ``shell`` is set
    :param stdin: bytes the process reads, or None for nothing
    :param with_result: also give it a file for its result, whose descriptor's number becomes the
        last argument
    """

    def __init__(self, command, env, cwd=None, stdin=None, shell=False, with_result=False):
        self._stdout = _memory_file("stdout")
        self._stderr = _memory_file("stderr")
        self._result = _memory_file("result") if with_result else None
        self._lock = threading.Lock()
        self._reason = None
        if with_result:
            command = [*command, str(self._result)]
        with memory_stream("stdin", stdin or b"") as stdin_stream:
            self._process = subprocess.Popen(
                command,
                shell=shell,
                cwd=cwd,
                env=env,
                stdin=stdin_stream,
                stdout=self._stdout,
                stderr=self._stderr,
                pass_fds=(self._result,) if with_result else (),
                start_new_session=True,
            )

    def wait(self, timeout):
        """Waits for the process to end, killing it after ``timeout`` seconds (None: never)."""
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

    def cancel(self):
        """Kills the process and everything in its group."""
        self._kill("cancel")

    def _kill(self, reason):
        with self._lock:
            if self._process.poll() is None:
                self._reason = self._reason or reason
                try:
                    os.killpg(self._process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


def _memory_file(name):
    return os.memfd_create(name)


def memory_stream(name, content):
    """Returns a file in memory that holds some bytes, to be read from its start."""
    stream = os.fdopen(_memory_file(name), "w+b")
    stream.write(content)
    stream.seek(0)
    return stream


def _take(descriptor):
    with os.fdopen(descriptor, "rb") as stream:
        stream.seek(0)
        return stream.read()
