"""What OpenSSH's client is told besides user, port, host and command.

Nobody is ever asked anything, a host's key has to be known, and a connection is shared only by
those who would have got it themselves.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile

from delivery.errors import DeliveryError

# The path of a socket has at most 107 characters, and OpenSSH adds 17 to what we give it.
SOCKET_DIRECTORY_LIMIT = 107 - 17 - len("/") - 8 - 40


def options(
    key_file: str | None,
    known_hosts_file: str | None,
    connect_timeout_s: int,
    keep_connection_s: int,
) -> list[str]:
    """Returns the options as arguments of ssh; the parameters are those of `remote.Ssh`.

    :raises DeliveryError: when there is no place for shared connections that is this user's alone.
    """
    chosen = {
        "BatchMode": "yes",
        "ClearAllForwardings": "yes",
        "ConnectTimeout": str(connect_timeout_s),
        "GSSAPIAuthentication": "no",
        "LogLevel": "ERROR",
        "ServerAliveCountMax": "3",
        "ServerAliveInterval": "5",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
    }
    if known_hosts_file:
        chosen["UserKnownHostsFile"] = _quote_path(known_hosts_file)
        chosen["GlobalKnownHostsFile"] = "none"
    if key_file:
        chosen["IdentityFile"] = _quote_path(key_file)
        chosen["IdentitiesOnly"] = "yes"
        chosen["IdentityAgent"] = "none"
    chosen.update(_sharing(key_file, known_hosts_file, keep_connection_s))
    return [part for key, value in chosen.items() for part in ("-o", f"{key}={value}")]


def _sharing(
    key_file: str | None, known_hosts_file: str | None, keep_connection_s: int
) -> dict[str, str]:
    """Options that share connections, or not.

    OpenSSH tells connections apart by user, host and port only. A connection must not serve
    who would not have been let in with his key, or would not have known the host's; so it is
    told apart by what is in those files, whatever their names.
    """
    if not keep_connection_s:
        return {"ControlMaster": "no", "ControlPath": "none"}
    trust = hashlib.sha256()
    for path in (key_file, known_hosts_file):
        trust.update(hashlib.sha256(_content(path)).digest())
    socket = _quote_path(_private_directory())[:-1] + f'/{trust.hexdigest()[:8]}%C"'
    return {
        "ControlMaster": "auto",
        "ControlPersist": str(keep_connection_s),
        "ControlPath": socket,
    }


def _private_directory() -> str:
    """The directory of this user's open connections; nobody else may look into it."""
    directory = os.path.join(tempfile.gettempdir(), f"cicd-canary-ssh-{os.getuid()}")
    if len(directory) > SOCKET_DIRECTORY_LIMIT:
        directory = f"/tmp/cicd-canary-ssh-{os.getuid()}"  # noqa: S108 - its owner is checked below
    os.makedirs(directory, mode=0o700, exist_ok=True)
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise DeliveryError(f"{directory}: not private to this user; remove it")
    return directory


def _content(path: str | None) -> bytes:
    if not path:
        return b""
    with open(path, "rb") as file:
        return file.read()


def _quote_path(path: str) -> str:
    """A path as ssh_config's file options take it: % is a token there, space a separator."""
    return '"' + path.replace("%", "%%") + '"'
