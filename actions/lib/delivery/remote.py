"""Commands on other hosts over OpenSSH, many at once.

    ssh = Ssh("deploy", "/etc/cicd/id_ed25519", "/etc/cicd/known_hosts", connect_timeout_s=10)
    result = ssh.run(Host("web-1", "10.0.0.5"), ["hostname"], timeout_s=10)
    results = ssh.run_many(hosts, ["cicd-converge", "shop"], timeout_s=120, concurrency=10)

A command is an argument list and reaches the other side as one: every argument is quoted for the
remote shell. What must stay secret travels through `stdin`, never through an argument. The remote
`timeout` ends the command with all it started, so a command that timed out here is not still at
work over there. A host's key has to be known before (strict checking), nobody is ever asked
anything, and settings of the user's ssh_config that are not named here (a jump host) apply.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass
from typing import IO, Iterable, Iterator, Sequence

from delivery import captured, names, ssh_options
from delivery.errors import DeliveryError

LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
HOST_NAME = re.compile(rf"({LABEL}\.)*(?!\d+$){LABEL}")
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")

SSH_FAILED = 255
SHORT = 66  # the exit status of a command that got fewer bytes by `pipe` than it should
TIMED_OUT = (124, 137)
KILL_AFTER_S = 10
STDERR_LIMIT = 64 * 1024  # bytes, of who sends to another host
OUTPUT_LIMIT = 16 * 1024 * 1024  # bytes of what a command prints

# What OpenSSH says when it could not run the command at all, and what that means to a person.
CONNECTION_FAILURES: tuple[tuple[str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key differs from the one in {known_hosts}",
    ),
    (r"Host key verification failed|host key is known for", "its host key is not in {known_hosts}"),
    (r"Permission denied \(", "SSH key rejected for user {user}"),
    (r"Connection refused", "connection refused on port {port}"),
    (
        r"Connection timed out|Operation timed out|during banner exchange",
        "no answer on port {port} within {connect_timeout} s",
    ),
    (r"Timeout, server .* not responding", "stopped answering"),
    (r"No route to host|Network is unreachable", "no route to host"),
    (r"Could not resolve hostname", "host name does not resolve"),
    (
        r"Connection (closed|reset|to .* closed) by|Broken pipe|from master failed",
        "connection closed",
    ),
)


class RemoteError(DeliveryError):
    """A command on another host failed; `result` has all that is known of it."""

    def __init__(self, message: str, result: Result | None = None) -> None:
        super().__init__(message)
        self.result = result


@dataclass(frozen=True)
class Host:
    """A host: its Consul node name, the address it is reached at and its service tags.

    :raises DeliveryError: for a node name or an address that could not be one.
    """

    node: str
    address: str
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not re.fullmatch(names.PATTERNS["node"], self.node):
            raise DeliveryError(f"invalid host name: {self.node[:80]!r}")
        if not is_address(self.address):
            raise DeliveryError(f"invalid address of host {self.node}: {self.address[:80]!r}")

    def __str__(self) -> str:
        return f"{self.node} ({self.address})"


@dataclass(frozen=True)
class Result:
    """What became of a command on one host.

    `exit_status` is None when the command did not run to an end: no connection, connection lost,
    timed out. `reason` is one line on what failed, empty when nothing did.
    """

    host: Host
    exit_status: int | None
    stdout: bytes
    stderr: str
    seconds: float
    reason: str = ""

    @property
    def ok(self) -> bool:
        return self.exit_status == 0

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace")


class Ssh:
    """Runs commands on hosts as one user, over the machine's own OpenSSH client.

    :param user: who to log in as; a user who is not root runs commands through `sudo -n`.
    :param key_file: private key; the user's own keys and agent when left out.
    :param known_hosts_file: the hosts' keys; the user's own file when left out.
    :param keep_connection_s: seconds for which a connection stays open after a command, for the
        next one with the same settings, of whatever process of this user; 0 closes it at once.
    """

    def __init__(
        self,
        user: str,
        key_file: str | None = None,
        known_hosts_file: str | None = None,
        port: int = 22,
        *,
        connect_timeout_s: int,
        keep_connection_s: int = 0,
    ) -> None:
        if not USER.fullmatch(user):
            raise DeliveryError(f"ssh.user: invalid user name {user!r}")
        for key, path in (("key_file", key_file), ("known_hosts_file", known_hosts_file)):
            if path and not os.path.isfile(path):
                raise DeliveryError(f"ssh.{key}: file {path} does not exist")
        self.user = user
        self.key_file = key_file
        self.known_hosts_file = known_hosts_file
        self.port = port
        self.connect_timeout_s = connect_timeout_s
        self.keep_connection_s = keep_connection_s
        # Seconds that callers have waited for other hosts; those at once count once.
        self.waited_s = 0.0

    def run(
        self,
        host: Host,
        argv: Sequence[str],
        stdin: bytes = b"",
        timeout_s: float = 60,
        check: bool = True,
        what: str = "",
    ) -> Result:
        """Runs one command on one host.

        :param stdin: what the command reads; the only way for a secret.
        :param timeout_s: seconds after which the command and its process group are ended.
        :param check: raise RemoteError unless the command exits 0.
        :param what: the command in words, for the error ("check out acme/shop").
        """
        result = self._run(host, argv, stdin, timeout_s)
        self.waited_s += result.seconds
        if check and not result.ok:
            raise RemoteError(f"{host}: {what or shlex.join(argv)[:60]}: {result.reason}", result)
        return result

    def pipe(
        self,
        source: Host,
        read: Sequence[str],
        target: Host,
        argv: Sequence[str],
        timeout_s: float = 60,
        what: str = "",
    ) -> Result:
        """Runs a command on one host that reads what another prints, on that host or another.

        The bytes go from one to the other as they come: none stay here. How many are taken is for
        the command to say; it exits with SHORT when they are too few.

        :param timeout_s: seconds after which both are ended.
        :param what: the command in words, for the error.
        :returns: what became of the command that reads.
        :raises RemoteError: when it fails; with the source's reason if that is why.
        """
        pipe = subprocess.PIPE
        with self._client(), subprocess.Popen(
            self._command(source, read, timeout_s),
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
        ) as sending:
            assert sending.stdout and sending.stderr
            try:
                result = self._run(target, argv, sending.stdout, timeout_s)
            finally:
                sending.stdout.close()  # so that who still writes ends
                with contextlib.suppress(subprocess.TimeoutExpired):
                    sending.wait(KILL_AFTER_S)
                sending.kill()
            self.waited_s += result.seconds
            if result.ok:
                return result
            status, said = sending.wait(), _decode(sending.stderr.read(STDERR_LIMIT))
        host, reason = target, result.reason
        if result.exit_status == SHORT and status > 0:
            host, (_, reason) = source, self._judge(status, said, result.seconds, timeout_s)
        raise RemoteError(f"{host}: {what or shlex.join(argv)[:60]}: {reason}", result)

    def run_many(
        self,
        hosts: Iterable[Host],
        argv: Sequence[str],
        stdin: bytes = b"",
        timeout_s: float = 60,
        concurrency: int = 50,
    ) -> list[Result]:
        """Runs one command on many hosts at once; one result per host, in the hosts' order.

        A host that fails is a result with a reason, never an exception.
        """
        from concurrent.futures import ThreadPoolExecutor

        hosts = list(hosts)
        if not hosts:
            return []
        started = time.monotonic()
        with ThreadPoolExecutor(max_workers=min(concurrency, len(hosts))) as pool:
            results = list(pool.map(lambda host: self._run(host, argv, stdin, timeout_s), hosts))
        self.waited_s += time.monotonic() - started
        return results

    def _run(
        self, host: Host, argv: Sequence[str], stdin: bytes | IO[bytes], timeout_s: float
    ) -> Result:
        started = time.monotonic()
        # The remote `timeout` is the one that counts; this one is for a host that went away.
        deadline_s = self.connect_timeout_s + timeout_s + 2 * KILL_AFTER_S
        with self._client():
            done = captured.run(
                self._command(host, argv, timeout_s), stdin, deadline_s, OUTPUT_LIMIT
            )
        seconds = time.monotonic() - started
        stderr = _decode(done.stderr)
        if done.problem:
            return Result(host, None, done.stdout, stderr, seconds, done.problem)
        status, reason = self._judge(done.exit_status, stderr, seconds, timeout_s)
        return Result(host, status, done.stdout, stderr, seconds, reason)

    @contextlib.contextmanager
    def _client(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise RemoteError(
                "no OpenSSH client on this host; run apt-get install openssh-client"
            ) from None

    def _command(self, host: Host, argv: Sequence[str], timeout_s: float) -> list[str]:
        if not argv or any("\0" in argument for argument in argv):
            raise ValueError(f"not a command: {list(argv)!r}")
        sudo = [] if self.user == "root" else ["sudo", "-n"]
        remote = [*sudo, "timeout", f"--kill-after={KILL_AFTER_S}", f"{timeout_s:g}", *argv]
        return [
            "ssh",
            "-T",
            "-a",
            "-x",
            "-l",
            self.user,
            "-p",
            str(self.port),
            *ssh_options.options(
                self.key_file,
                self.known_hosts_file,
                self.connect_timeout_s,
                self.keep_connection_s,
            ),
            "--",
            host.address,
            shlex.join(remote),
        ]

    def _judge(
        self, exit_status: int, stderr: str, seconds: float, timeout_s: float
    ) -> tuple[int | None, str]:
        """Exit status of the command itself (None: it did not run to an end) and the reason."""
        last_line = _last_line(stderr)
        if exit_status == 0:
            return 0, ""
        if exit_status in TIMED_OUT and seconds >= timeout_s:
            late = f"timed out after {timeout_s:g} s"
            return None, f"{late}: {last_line}" if last_line else late
        if exit_status == SSH_FAILED and self.keep_connection_s and not last_line:
            return None, "connection closed"  # OpenSSH says nothing of a shared one
        if exit_status == SSH_FAILED:
            for pattern, meaning in CONNECTION_FAILURES:
                if re.search(pattern, stderr):
                    return None, meaning.format(
                        known_hosts=self.known_hosts_file or "the user's known_hosts",
                        user=self.user,
                        port=self.port,
                        connect_timeout=self.connect_timeout_s,
                    )
        return exit_status, last_line or f"exit status {exit_status}, no output"


def is_address(text: str) -> bool:
    """Whether text is an IP address (without a zone) or a host name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return len(text) <= 253 and bool(HOST_NAME.fullmatch(text))
    return "%" not in text


def _decode(output: bytes) -> str:
    return output.decode("utf-8", "replace")


def _last_line(text: str) -> str:
    """The last line that says something, without control characters, at most 300 long."""
    lines = [line for line in text.splitlines() if line.strip()]
    return re.sub(r"[\x00-\x1f\x7f]", " ", lines[-1]).strip()[:300] if lines else ""
