"""Runs shell commands and scripts on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
from typing import Any

from packengine.execution import ABANDONED, CANCELED, FAILED, SUCCEEDED, TIMEOUT
from packengine.run import Ending, Run, RunnerError

# Exit codes a shell action ends with -> status; all others are failures.
_STATUSES = {0: SUCCEEDED, -9: TIMEOUT, -15: ABANDONED}


def local_command(run: Run) -> Ending:
    """``local-shell-cmd``: a command line for the shell; {return_code, stdout, stderr ...}."""
    command = run.runner_parameters.get("cmd")
    if not command:
        raise RunnerError(f"Parameter cmd of {run.action.ref} is empty")
    if run.runner_parameters.get("sudo"):
        return _run(run, [*_sudo(run), "bash", "-c", command])
    return _run(run, ["/bin/sh", "-c", command])


def local_script(run: Run) -> Ending:
    """``local-shell-script``: a file of the pack, its parameters as arguments."""
    if not run.action.entry_point:
        raise RunnerError("Missing entry_point action metadata attribute")
    # The shell also runs a script without a "#!" line, as StackStorm's does.
    command = ["/bin/sh", "-c", 'exec "$0" "$@"', run.action.entry_point, *script_arguments(run)]
    if run.runner_parameters.get("sudo"):
        command = _sudo(run) + command
    make_executable(run.action.entry_point)
    return _run(run, command)


def make_executable(path: str) -> None:
    """Sets the executable bits of a script, where that is possible and needed."""
    if os.path.exists(path) and not os.access(path, os.X_OK):
        os.chmod(path, os.stat(path).st_mode | 0o111)  # noqa: S103 - the pack's own script


def _sudo(run: Run) -> list[str]:
    if os.geteuid() == 0 and shutil.which("sudo") is None:
        return []
    flags = ["-S"] if run.runner_parameters.get("sudo_password") else []
    return ["sudo", *flags, "-E", "--"]


def _run(run: Run, command: list[str]) -> Ending:
    password = run.runner_parameters.get("sudo_password")
    outcome = run.start(
        command,
        env=run.environment(),
        cwd=run.runner_parameters.get("cwd"),
        stdin=(f"{password}\n").encode() if password else None,
    )
    exit_code = -9 if outcome.timed_out else outcome.exit_code
    result: dict[str, Any] = {
        "failed": exit_code != 0,
        "succeeded": exit_code == 0,
        "return_code": exit_code,
        "stdout": output(outcome.stdout),
        "stderr": output(outcome.stderr),
    }
    if outcome.timed_out:
        result["error"] = run.timeout_error()
    if outcome.canceled:
        return CANCELED, result
    return _STATUSES.get(exit_code, FAILED), result


def output(text: str) -> Any:
    """Returns what a shell action wrote: without the last line end, and parsed when it is JSON."""
    text = re.sub(r"(\r\n|\r|\n)\Z", "", text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def script_arguments(run: Run) -> list[str]:
    """Returns an action's parameters as a script gets them: named ones first, then positional."""
    details = run.action.parameters
    positions = {details[name]["position"]: name for name in details if "position" in details[name]}
    positional = [positions[position] for position in sorted(positions)]
    operator = run.runner_parameters.get("kwarg_op") or ""
    arguments: list[str] = []
    for name, value in run.parameters.items():
        if name in positional or value is None or value == "" or value is False:
            continue
        arguments.append(operator + name if value is True else f"{operator}{name}={value}")
    return arguments + [
        _positional(details[name].get("type"), run.parameters.get(name)) for name in positional
    ]


def _positional(kind: str | None, value: Any) -> str:
    if kind == "boolean":
        return "" if value is None else str(int(bool(value)))
    if kind in ("string", "number", "float"):
        return "" if value is None else str(value)
    if not value or kind == "null":
        return ""
    if kind in ("array", "list"):
        return ",".join(str(item) for item in value)
    return json.dumps(value) if kind == "object" else str(value)
