"""This machine as a host for tests: over a real sshd of its own, or without one."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Sequence

import pytest
from consul_server import free_port
from waiting import wait_for

from delivery import isolation
from delivery.isolation import Isolation
from delivery.remote import Host, Ssh

SSHD = "/usr/sbin/sshd"
PRIVILEGE_SEPARATION = Path("/run/sshd")
ISOLATION = Isolation("none", (), memory_mib=1024, processes=256, disk_mib=256, log_mib=1)


class LocalSshd:
    """Use as a context manager; `ssh()` gives a client that is let in, `host` the host."""

    host = Host("here", "127.0.0.1")

    def __init__(self, directory: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("not root: the local sshd could not let the tests in as root")
        if not os.path.exists(SSHD) or not shutil.which("ssh-keygen"):
            pytest.skip("openssh-server is not installed: apt-get install openssh-server")
        self.directory = directory
        self.key_file = str(directory / "id_ed25519")
        self.known_hosts_file = str(directory / "known_hosts")
        self.port = free_port()

    def __enter__(self) -> LocalSshd:
        PRIVILEGE_SEPARATION.mkdir(mode=0o755, exist_ok=True)
        for name in ("host_key", "id_ed25519"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.directory / name)],
                check=True,
            )
        host_key = (self.directory / "host_key.pub").read_text()
        Path(self.known_hosts_file).write_text(f"[127.0.0.1]:{self.port} {host_key}")
        (self.directory / "sshd_config").write_text(
            "\n".join(
                [
                    f"Port {self.port}",
                    "ListenAddress 127.0.0.1",
                    f"HostKey {self.directory}/host_key",
                    f"AuthorizedKeysFile {self.directory}/id_ed25519.pub",
                    "StrictModes no",
                    "UsePAM no",
                    "PermitRootLogin yes",
                    "PasswordAuthentication no",
                    "PidFile none",
                    "MaxStartups 100",
                    "LogLevel QUIET",
                    "KexAlgorithms curve25519-sha256",
                    "",
                ]
            )
        )
        self.process = subprocess.Popen([SSHD, "-D", "-f", str(self.directory / "sshd_config")])
        wait_for(self._listens)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def ssh(self, **changes: object) -> Ssh:
        settings = {
            "user": getpass.getuser(),
            "key_file": self.key_file,
            "port": self.port,
            "known_hosts_file": self.known_hosts_file,
            "connect_timeout_s": 5,
            **changes,
        }
        return Ssh(**settings)


class LocalShell(Ssh):
    """Runs commands on this machine itself: everything of Ssh but OpenSSH, which is slower.

    :param users: what commands find as /etc/passwd, if not the machine's.
    :param environment: what commands find in their environment besides the usual.
    """

    host = Host("here", "127.0.0.1")

    def __init__(self, users: Path | None = None, **environment: str) -> None:
        if os.geteuid() != 0:
            pytest.skip("not root: build hosts are worked on as root")
        if not all(map(shutil.which, isolation.PROGRAMS)):
            pytest.skip(f"what isolates builds is not installed: {isolation.INSTALLED_BY}")
        super().__init__("root", connect_timeout_s=5)
        self.users = users
        self.environment = [f"{key}={value}" for key, value in environment.items()]

    def _command(self, host: Host, argv: Sequence[str], timeout_s: float) -> list[str]:
        remote = super()._command(host, argv, timeout_s)[-1]
        command = ["env", *self.environment, "sh", "-c", remote]
        if not self.users:
            return command
        show = 'mount --bind "$0" /etc/passwd && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", show, str(self.users), *command]


def runs(pid: int) -> bool:
    """Whether there is a process with this number that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
