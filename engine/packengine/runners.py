"""The runners: one function for each runner type, which ends an action as StackStorm does."""

from __future__ import annotations

import json
import os
from typing import Any, Callable

from packengine import conductor, processes, python_child, remote, shell
from packengine.execution import CANCELED, FAILED, PENDING, SUCCEEDED, TIMEOUT
from packengine.run import SHIMS, Ending, Run, RunnerError

# Tells rules that somebody is asked.
INQUIRY_TRIGGER = "core.st2.generic.inquiry"


def python_script(run: Run) -> Ending:
    """``python-script``: a subprocess of the pack's Python; {result, exit_code, stdout, stderr}."""
    if not run.action.entry_point:
        raise RunnerError(f'Action "{run.action.name}" is missing entry_point attribute')
    pack = run.engine.registry.packs[run.action.pack]
    python = run.engine.python(pack.ref)
    request = {
        "parent": os.getpid(),
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


def _python_result(run: Run, outcome: processes.Outcome) -> Ending:
    if outcome.exit_code == python_child.INVALID_STATUS:
        raise RunnerError(outcome.stderr)
    returned = json.loads(outcome.result) if outcome.result else None
    result: dict[str, Any] = {
        "stdout": outcome.stdout,
        "stderr": outcome.stderr,
        "exit_code": outcome.exit_code,
        # What StackStorm records for an action that died before it returned.
        "result": returned["result"] if returned else "None",
    }
    succeeded = outcome.exit_code == 0 and (returned is None or returned["status"] is not False)
    status = SUCCEEDED if succeeded else FAILED
    if outcome.timed_out:
        result["error"] = run.timeout_error()
        status = TIMEOUT
    return (CANCELED if outcome.canceled else status), result


def noop(run: Run) -> Ending:
    """``noop``: succeeds."""
    return SUCCEEDED, {"failed": False, "succeeded": True, "return_code": 0}


def announcement(run: Run) -> Ending:
    """``announcement``: says its parameters to whoever listens to the engine."""
    if not run.runner_parameters.get("experimental"):
        raise RunnerError(f"Experimental flag is missing for action {run.action.ref}")
    run.engine.announce(run.runner_parameters["route"], run.parameters)
    return SUCCEEDED, dict(run.parameters, output=run.parameters)


def inquirer(run: Run) -> Ending:
    """``inquirer``: waits for a response; {schema, roles, users, route, ttl}, later response."""
    names = ("schema", "roles", "users", "route", "ttl")
    result = {name: run.runner_parameters[name] for name in names}
    if result["roles"]:
        raise RunnerError("The embedded engine has no roles to ask for responses of")
    run.engine.dispatch(INQUIRY_TRIGGER, {"id": run.execution.id, "route": result["route"]})
    return PENDING, result


RUNNERS: dict[str, Callable[[Run], Ending]] = {
    "orquesta": conductor.orquesta,
    "python-script": python_script,
    "local-shell-cmd": shell.local_command,
    "local-shell-script": shell.local_script,
    "noop": noop,
    "announcement": announcement,
    "inquirer": inquirer,
    "remote-shell-cmd": remote.run_command,
    "remote-shell-script": remote.run_script,
}
