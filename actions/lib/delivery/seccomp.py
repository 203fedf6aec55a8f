"""A filter of system calls under which no user namespace can be made, for bubblewrap's --seccomp.

A user namespace gives its maker every capability within, and with them the parts of the kernel in
which most ways out of a container have been found. bubblewrap can forbid them itself
(--disable-userns), but only in a user namespace that it has made, as one user.

The program is classic BPF over `struct seccomp_data` (Linux: include/uapi/linux/seccomp.h,
filter.h, audit.h; the numbers are those of arch/*/include/.../unistd).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16  # offsets in seccomp_data, little-endian

ALLOW, KILL = 0x7FFF0000, 0x80000000
NOT_PERMITTED, NO_SUCH_CALL = 0x00050001, 0x00050026  # EPERM, ENOSYS

CLONE_NEWUSER = 0x10000000
CLONE3 = 435  # its flags are out of a filter's sight; without it the C library calls clone
X32 = 0x40000000  # the bit of system calls of amd64's other ABI


class Calls(NamedTuple):
    """The system calls of an architecture (AUDIT_ARCH_*) that can make a user namespace."""

    architecture: int
    unshare: int
    clone: int


KNOWN = (
    Calls(0xC000003E, 272, 56),  # amd64
    Calls(0x40000003, 310, 120),  # i386
    Calls(0xC00000B7, 97, 220),  # arm64
    Calls(0x40000028, 337, 120),  # armhf
    Calls(0xC00000F3, 97, 220),  # riscv64
    Calls(0xC0000015, 282, 120),  # ppc64el
)


def no_user_namespaces() -> bytes:
    """Returns the program, in the byte order of little-endian machines.

    A process of an architecture that is not KNOWN is killed.
    """
    program = [_instruction(LOAD, ARCHITECTURE)]
    for calls in KNOWN:
        block = [
            _instruction(LOAD, NUMBER),
            _instruction(AT_LEAST, X32, 6, 0),
            _instruction(EQUAL, CLONE3, 5, 0),
            _instruction(EQUAL, calls.unshare, 1, 0),
            _instruction(EQUAL, calls.clone, 0, 2),
            _instruction(LOAD, FIRST_ARGUMENT),
            _instruction(ANY_BIT, CLONE_NEWUSER, 2, 0),
            _instruction(RETURN, ALLOW),
            _instruction(RETURN, NO_SUCH_CALL),
            _instruction(RETURN, NOT_PERMITTED),
        ]
        program += [_instruction(EQUAL, calls.architecture, 0, len(block)), *block]
    return b"".join([*program, _instruction(RETURN, KILL)])


def _instruction(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Returns a `struct sock_filter`: jumps count the instructions that are left out."""
    return struct.pack("<HBBI", code, if_true, if_false, operand)
