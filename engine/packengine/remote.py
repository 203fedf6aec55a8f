"""Runs commands and scripts on other hosts over OpenSSH, on all of them at once.

StackStorm does this with a library of its own choice; here the `ssh` command does it, so that keys,
agents and jumps work as they do in a shell. What `ssh` cannot be told without a terminal, a
password or a passphrase, is refused.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import tarfile
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Iterable, Iterator

from packengine import shell
from packengine.execution import CANCELED, FAILED, SUCCEEDED, TIMEOUT
from packengine.processes import ChildProcess, Outcome
from packengine.run import Ending, Run, RunnerError, inherited_environment

CONNECT_TIMEOUT_S = 60
# What OpenSSH exits with when it is the connection that failed.
_CONNECTION_FAILED = 255
_MAX_AT_ONCE = 50
# What a host says first: a command may exit with 255 too, and that is no failed connection.
_CONNECTED = "\x1econnected\x1e"
_SAY_CONNECTED = r"printf '\036connected\036' >&2; "

_HOST = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(:(?P<port>[0-9]{1,5}))?")
_ADDRESS = re.compile(r"\[(?P<name>[0-9A-Fa-f:.]+)\](:(?P<port>[0-9]{1,5}))?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def run_command(run: Run) -> Ending:
    """Runs the ``cmd`` of a remote-shell-cmd action on its hosts."""
    command = run.runner_parameters.get("cmd")
    if not command:
        raise RunnerError(f"Parameter cmd of {run.action.ref} is empty")
    return _run_everywhere(run, _in_place(run, command), b"")


def run_script(run: Run) -> Ending:
    """Copies the script of a remote-shell-script action to its hosts, runs it, and removes it."""
    if not run.action.entry_point:
        raise RunnerError("Missing entry_point action metadata attribute")
    name = os.path.basename(run.action.entry_point)
    arguments = " ".join(shlex.quote(word) for word in shell.script_arguments(run))
    directory = shlex.quote(run.runner_parameters["dir"].rstrip("/") + "/engine.XXXXXXXX")
    script = f'"$copy"/{shlex.quote(name)} {arguments}'
    command = (
        f'copy=$(mktemp -d {directory}) && tar -x -C "$copy" || exit; export copy; '
        f'({_in_place(run, script)}); code=$?; rm -rf "$copy"; exit $code'
    )
    return _run_everywhere(run, command, _archive(run.action.entry_point))


def _archive(entry_point: str) -> bytes:
    """Returns a tar file of the script and, as StackStorm copies it too, the lib next to it."""
    shell.make_executable(entry_point)
    stream = io.BytesIO()
    try:
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.add(entry_point, os.path.basename(entry_point))
            libraries = os.path.join(os.path.dirname(entry_point), "lib")
            if os.path.isdir(libraries):
                archive.add(libraries, "lib")
    except OSError as error:
        raise RunnerError(f"{entry_point}: {error.strerror}") from error
    return stream.getvalue()


def _in_place(run: Run, command: str) -> str:
    """Returns a command for the remote shell with its environment, directory and sudo."""
    environment = dict(run.runner_parameters.get("env") or {})
    for name in environment:
        if not _VARIABLE.fullmatch(name):
            raise RunnerError(f'"{name}" is no name of an environment variable')
    exports = " ".join(
        f"{name}={shlex.quote(str(value))}" for name, value in sorted(environment.items())
    )
    command = "cd {} && {}".format(shlex.quote(run.runner_parameters["cwd"]), command)
    if exports:
        command = f"export {exports} && {command}"
    if run.runner_parameters.get("sudo"):
        command = f"sudo -E -- bash -c {shlex.quote(command)}"
    return command


def _run_everywhere(run: Run, command: str, stdin: bytes) -> Ending:
    for name in ("password", "passphrase", "sudo_password"):
        if run.runner_parameters.get(name):
            raise RunnerError(
                f"The embedded engine does not support {name}; use a key without a passphrase, and "
                "sudo without a password"
            )
    hosts = [host.strip() for host in run.runner_parameters["hosts"].split(",") if host.strip()]
    if not hosts:
        raise RunnerError(f"No hosts specified for {run.action.ref}")
    with _key_file(run) as key_file:
        command = _SAY_CONNECTED + command
        commands = {host: [*_ssh(run, host, key_file), command] for host in hosts}
        return _collect(run, commands, stdin)


def _collect(run: Run, commands: dict[str, list[str]], stdin: bytes) -> Ending:
    hosts = _Hosts(run, stdin)
    with run.engine.wishes.granted_by(run.execution.id, hosts.cancel), ThreadPoolExecutor(
        min(len(commands), _MAX_AT_ONCE)
    ) as pool:
        outcomes = dict(zip(commands, pool.map(hosts.run_one, commands.values())))
    names = _names(outcomes)
    result = {
        names[host]: _host_result(names[host], outcome, run.runner_parameters["timeout"])
        for host, outcome in outcomes.items()
    }
    if hosts.canceled:
        return CANCELED, result
    if all(_is_unreachable(outcome) for outcome in outcomes.values()):
        # StackStorm gives up before it runs anything, so there is no result by host.
        raise RunnerError(
            f"Unable to connect to any one of the hosts: {list(commands)}.\n\n"
            f" connect_errors={json.dumps(result, indent=2)}"
        )
    if all(entry["succeeded"] for entry in result.values()):
        return SUCCEEDED, result
    timed_out = all(outcome.timed_out for outcome in outcomes.values())
    return TIMEOUT if timed_out else FAILED, result


def _names(hosts: Iterable[str]) -> dict[str, str]:
    """Returns host -> its key in the result: without the port, as in StackStorm, if that is clear.

    StackStorm reaches only one of two ports of a host; here both are reached and have a result.
    """
    bare = {host: _matched(host).group("name") for host in hosts}
    counts = Counter(bare.values())
    return {host: name if counts[name] == 1 else host for host, name in bare.items()}


class _Hosts:
    """The `ssh` processes of one action, to be canceled together."""

    def __init__(self, run: Run, stdin: bytes) -> None:
        self._run = run
        self._stdin = stdin
        self._lock = threading.Lock()
        self._processes: list[ChildProcess] = []
        self.canceled = False

    def run_one(self, command: list[str]) -> Outcome:
        with self._lock:
            if self.canceled:
                return Outcome(-9, "", "", None, False, True)
            process = ChildProcess(command, env=inherited_environment(), stdin=self._stdin)
            self._processes.append(process)
        return process.wait(self._run.runner_parameters["timeout"])

    def cancel(self) -> None:
        with self._lock:
            self.canceled = True
            for process in self._processes:
                process.cancel()


def _is_unreachable(outcome: Outcome) -> bool:
    return outcome.exit_code == _CONNECTION_FAILED and _CONNECTED not in outcome.stderr


def _host_result(host: str, outcome: Outcome, timeout: float) -> dict[str, Any]:
    if _is_unreachable(outcome):
        return _unreachable_result(host, outcome)
    succeeded = outcome.exit_code == 0
    result: dict[str, Any] = {
        "failed": not succeeded,
        "succeeded": succeeded,
        "return_code": outcome.exit_code,
        "stdout": shell.output(outcome.stdout),
        "stderr": shell.output(outcome.stderr.replace(_CONNECTED, "", 1)),
    }
    if outcome.timed_out:
        result["return_code"] = -9
        result["timeout"] = True
        result["error"] = f"Command failed to complete in {timeout} seconds on {host}"
    return result


def _unreachable_result(host: str, outcome: Outcome) -> dict[str, Any]:
    lines = outcome.stderr.strip().splitlines()
    return {
        "failed": True,
        "succeeded": False,
        "timeout": False,
        "return_code": _CONNECTION_FAILED,
        "stdout": "",
        "stderr": "",
        "error": "Failed connecting to host {}. {}".format(host, lines[-1] if lines else ""),
        "traceback": "",
    }


def _ssh(run: Run, host: str, key_file: str | None) -> list[str]:
    given = run.runner_parameters
    match = _matched(host)
    command = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}"]
    command += ["-o", "StrictHostKeyChecking=accept-new", "-o", "LogLevel=ERROR"]
    port = match.group("port") or given.get("port")
    if port:
        command += ["-p", str(port)]
    if given.get("username"):
        command += ["-l", _checked(_USER, given["username"], "user name")]
    if key_file:
        command += ["-o", "IdentitiesOnly=yes", "-i", key_file]
    if given.get("bastion_host"):
        jump = _checked(_HOST, given["bastion_host"], "host")
        user = "{}@".format(given["username"]) if given.get("username") else ""
        command += ["-J", user + jump]
    return [*command, "--", match.group("name")]


def _matched(host: str) -> re.Match[str]:
    """Returns the parts of a host, name and port.

    :raises RunnerError: when it has none.
    """
    match = _HOST.fullmatch(host) or _ADDRESS.fullmatch(host)
    if match is None:
        raise RunnerError(f'"{host}" is no host or host:port')
    return match


def _checked(pattern: re.Pattern[str], value: str, what: str) -> str:
    if not pattern.fullmatch(value):
        raise RunnerError(f'"{value}" is no {what}')
    return value


@contextlib.contextmanager
def _key_file(run: Run) -> Iterator[str | None]:
    """Yields the file of the private key; None lets OpenSSH choose."""
    key = run.runner_parameters.get("private_key")
    if not key or "PRIVATE KEY" not in key:
        yield key
        return
    # OpenSSH reads a key from a file only, and insists on its mode, which mkstemp gives.
    descriptor, path = tempfile.mkstemp(prefix="engine-key-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(key.strip() + "\n")
        yield path
    finally:
        os.unlink(path)
