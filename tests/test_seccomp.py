"""The filter of builds' system calls, run by an interpreter of its few instructions."""

from __future__ import annotations

import struct

import pytest

from delivery import seccomp
from delivery.seccomp import CLONE3, CLONE_NEWUSER, KNOWN, X32

THREAD = 0x003D0F00  # the flags of clone for a new thread


def verdict(architecture: int, number: int, first: int = 0) -> int:
    """Runs the program for a system call; returns what it returns."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, first, 0, 0, 0, 0, 0)
    program = list(struct.iter_unpack("<HBBI", seccomp.no_user_namespaces()))
    at = value = 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        if code == seccomp.RETURN:
            return operand
        if code == seccomp.LOAD:
            (value,) = struct.unpack_from("<I", data, operand)
            continue
        true = {
            seccomp.EQUAL: value == operand,
            seccomp.AT_LEAST: value >= operand,
            seccomp.ANY_BIT: bool(value & operand),
        }[code]
        at += if_true if true else if_false


@pytest.mark.parametrize("calls", KNOWN)
def test_only_what_makes_a_user_namespace_is_refused(calls: seccomp.Calls):
    of = calls.architecture
    for number in (calls.unshare, calls.clone):
        assert verdict(of, number, CLONE_NEWUSER) == seccomp.NOT_PERMITTED
        assert verdict(of, number, CLONE_NEWUSER | THREAD) == seccomp.NOT_PERMITTED
        assert verdict(of, number, THREAD) == seccomp.ALLOW
    assert verdict(of, CLONE3) == seccomp.NO_SUCH_CALL
    assert verdict(of, calls.unshare | X32, CLONE_NEWUSER) == seccomp.NO_SUCH_CALL
    others = set(range(500)) - {calls.unshare, calls.clone, CLONE3}
    assert {verdict(of, number, CLONE_NEWUSER) for number in others} == {seccomp.ALLOW}


def test_a_process_of_another_architecture_is_killed():
    assert verdict(0x80000016, 1) == seccomp.KILL
