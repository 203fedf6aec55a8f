"""Programs whose time and output are bounded."""

from __future__ import annotations

import time

import pytest

from delivery import captured
from delivery.remote import RemoteError

from .local_host import LocalShell

MIB = 1024 * 1024


def shell(script, stdin=b"", timeout_s=60, limit=MIB):
    return captured.run(["sh", "-c", script], stdin, timeout_s, limit)


def test_what_a_program_prints_and_how_it_ends_comes_back():
    assert shell("cat; echo no >&2; exit 3", b"in") == (3, b"in", b"no\n", "")
    assert shell("exit 0") == (0, b"", b"", "")


def test_what_goes_in_and_comes_out_may_be_more_than_a_pipe_holds():
    data = bytes(range(256)) * 2048
    assert shell("cat", data) == (0, data, b"", "")
    assert shell("exec <&-; sleep 0.1; echo done", data).stdout == b"done\n"


@pytest.mark.parametrize("to", ["", ">&2"])
def test_a_program_that_prints_without_end_is_ended(to):
    ended = shell(f"exec yes {to}")

    assert ended.problem == "printed more than 1048576 bytes"
    assert len(ended.stdout + ended.stderr) < 2 * MIB
    assert ended.exit_status != 0


@pytest.mark.parametrize("script", ["exec sleep 60", "exec sleep 60 >&- 2>&-", "sleep 60 & wait"])
def test_a_program_that_takes_too_long_is_ended(script):
    started = time.monotonic()

    ended = shell(f"echo begun; {script}", timeout_s=1)

    assert (ended.stdout, ended.problem) == (b"begun\n", "no result within 1 s")
    assert time.monotonic() - started < 30


def test_a_program_that_is_not_there_says_so():
    with pytest.raises(FileNotFoundError):
        captured.run(["/no/such/program"], b"", 1, MIB)


def test_a_host_that_answers_without_end_fails_with_that():
    ssh = LocalShell()
    with pytest.raises(RemoteError, match=r"here \(127.0.0.1\): talk: printed more than 16777216 "):
        ssh.run(ssh.host, ["yes"], what="talk")
