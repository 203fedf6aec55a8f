"""Runs actions: one function for each runner type, giving (status, result) as StackStorm does."""

from __future__ import annotations

import json
import os
import shutil

from packengine import conductor, python_child, remote, store
from packengine.run import SHIMS, RunnerError, make_executable, script_arguments, shell_output

# Tells rules that somebody is asked.
INQUIRY_TRIGGER = "core.st2.generic.inquiry"

# Exit codes a shell action ends with -> status; all others are failures.
_SHELL_STATUSES = {0: store.SUCCEEDED, -9: store.TIMEOUT, -15: store.ABANDONED}


def python_script(run):
    """``python-script``: a subprocess of the pack's Python; {result, exit_code, stdout, stderr}."""
    if not run.action.entry_point:
        raise RunnerError(f'Action "{run.action.name}" is missing entry_point attribute')
    pack = run.engine.registry.packs[run.action.pack]
    python = run.engine.python(pack.ref)
    request = {
        "pack": pack.ref,
        "entry_point": run.action.entry_point,
        "config": run.engine.config(pack.ref, run.execution.user),
        "parameters": run.parameters,
        "user": run.execution.user,
        "log_level": run.runner_parameters["log_level"],
        "database": run.engine.store.path,
    }
    environment = run.environment()
    environment["PATH"] = os.pathsep.join(
        [os.path.dirname(python), environment.get("PATH", os.defpath)]
    )
    libraries = [os.path.join(pack.path, "actions", "lib"), SHIMS]
    environment["PYTHONPATH"] = os.pathsep.join(libraries)
    outcome = run.start(
        [python, "-u", python_child.__file__],
        env=environment,
        stdin=json.dumps(request).encode(),
        with_result=True,
    )
    return _python_result(run, outcome)


def _python_result(run, outcome):
    if outcome.exit_code == python_child.INVALID_STATUS:
        raise RunnerError(outcome.stderr)
    returned = json.loads(outcome.result) if outcome.result else None
    result = {
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
        "exit_code": outcome.exit_code,
        # What StackStorm records for an action that died before it returned.
        "result": returned["result"] if returned else "None",
    }
    succeeded = outcome.exit_code == 0 and (returned is None or returned["status"] is not False)
    status = store.SUCCEEDED if succeeded else store.FAILED
    if outcome.timed_out:
        result["error"] = _timeout_error(run)
        status = store.TIMEOUT
    return (store.CANCELED if outcome.canceled else status), result


def _timeout_error(run):
    return "Action failed to complete in {} seconds".format(run.runner_parameters["timeout"])


def local_shell_command(run):
    """``local-shell-cmd``: a command line for the shell; {return_code, stdout, stderr ...}."""
    command = run.runner_parameters.get("cmd")
    if not command:
        raise RunnerError(f"Parameter cmd of {run.action.ref} is empty")
    if run.runner_parameters.get("sudo"):
        return _local_shell(run, [*_sudo(run), "bash", "-c", command])
    return _local_shell(run, ["/bin/sh", "-c", command])


def local_shell_script(run):
    """``local-shell-script``: a file of the pack, its parameters as arguments."""
    if not run.action.entry_point:
        raise RunnerError("Missing entry_point action metadata attribute")
    # The shell also runs a script without a "#!" line, as StackStorm's does.
    command = ["/bin/sh", "-c", 'exec "$0" "$@"', run.action.entry_point, *script_arguments(run)]
    if run.runner_parameters.get("sudo"):
        command = _sudo(run) + command
    make_executable(run.action.entry_point)
    return _local_shell(run, command)


def _sudo(run):
    if os.geteuid() == 0 and shutil.which("sudo") is None:
        return []
    flags = ["-S"] if run.runner_parameters.get("sudo_password") else []
    return ["sudo", *flags, "-E", "--"]


def _local_shell(run, command):
    password = run.runner_parameters.get("sudo_password")
    outcome = run.start(
        command,
        env=run.environment(),
        cwd=run.runner_parameters.get("cwd"),
        stdin=(f"{password}\n").encode() if password else None,
    )
    exit_code = -9 if outcome.timed_out else outcome.exit_code
    result = {
        "failed": exit_code != 0,
        "succeeded": exit_code == 0,
        "return_code": exit_code,
        "stdout": shell_output(outcome.stdout),
        "stderr": shell_output(outcome.stderr),
    }
    if outcome.timed_out:
        result["error"] = _timeout_error(run)
    if outcome.canceled:
        return store.CANCELED, result
    return _SHELL_STATUSES.get(exit_code, store.FAILED), result


def noop(run):
    """``noop``: succeeds."""
    return store.SUCCEEDED, {"failed": False, "succeeded": True, "return_code": 0}


def announcement(run):
    """``announcement``: says its parameters to whoever listens to the engine."""
    if not run.runner_parameters.get("experimental"):
        raise RunnerError(f"Experimental flag is missing for action {run.action.ref}")
    run.engine.announce(run.runner_parameters["route"], run.parameters)
    return store.SUCCEEDED, dict(run.parameters, output=run.parameters)


def inquirer(run):
    """``inquirer``: waits for a response; {schema, roles, users, route, ttl}, later response."""
    names = ("schema", "roles", "users", "route", "ttl")
    result = {name: run.runner_parameters[name] for name in names}
    if result["roles"]:
        raise RunnerError("The embedded engine has no roles to ask for responses of")
    run.engine.dispatch(INQUIRY_TRIGGER, {"id": run.execution.id, "route": result["route"]})
    return store.PENDING, result


RUNNERS = {
    "orquesta": conductor.orquesta,
    "python-script": python_script,
    "local-shell-cmd": local_shell_command,
    "local-shell-script": local_shell_script,
    "noop": noop,
    "announcement": announcement,
    "inquirer": inquirer,
    "remote-shell-cmd": remote.run_command,
    "remote-shell-script": remote.run_script,
}
