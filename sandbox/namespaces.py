"""The Linux calls the sandbox is built from, which Python has from 3.12 on or not at all."""

from __future__ import annotations

import ctypes
import os
import signal

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
NAMESPACES = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET
# With the root directory: where the machine itself is a chroot, the mounts' own root is another.
NSENTER_OPTIONS = ["--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd"]

MS_RDONLY = 1
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15

_libc = ctypes.CDLL(None, use_errno=True)


def leave_namespaces() -> None:
    """Give this process its own mounts, network, names and IPC, and its children their own PIDs."""
    _check(_libc.unshare(NAMESPACES), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount, as mount(2): source and options as the file system of that kind wants them."""
    result = _libc.mount(
        source.encode(),
        target.encode(),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    _check(result, f"mount {source} on {target}")


def show_read_only(source: str, target: str) -> None:
    """Show a directory at target as well, without what is mounted on it."""
    mount(source, target, flags=MS_BIND)
    mount(source, target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def keep_mounts_private() -> None:
    """Let no mount made from now on be seen outside this process's mount namespace."""
    mount("none", "/", flags=MS_REC | MS_PRIVATE)


def change_root(directory: str) -> None:
    """Make a mounted directory the root, and let go of everything outside it."""
    os.chdir(directory)
    _check(_libc.pivot_root(b".", b"."), f"pivot_root to {directory}")
    _check(_libc.umount2(b".", MNT_DETACH), "umount of the old root")
    os.chdir("/")


def die_with_parent() -> None:
    """Have the kernel kill this process the moment its parent is gone."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")


def name_process(name: str) -> None:
    """Set the name `ps` shows for this process: at most 15 characters."""
    _check(_libc.prctl(PR_SET_NAME, name.encode()), "prctl")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
