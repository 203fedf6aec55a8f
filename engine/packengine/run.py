"""One run of an action: what runners have in common."""

from __future__ import annotations

import json
import os
import re

from packengine import processes

SHIMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shims")


class RunnerError(Exception):
    """An action could not be started; becomes the ``error`` of its result."""


def inherited_environment():
    """Returns what actions and sensors get of this process's environment."""
    return {name: value for name, value in os.environ.items() if name != "ENGINE_API_KEY"}


class Run:
    """What a runner gets to know.

    :param engine: packengine.engine.Engine.
    :param execution: packengine.store.Execution.
    :param action: packengine.packs.Action.
    :param runner_parameters: final parameters of the runner.
    :param parameters: final parameters of the action.
    """

    def __init__(self, engine, execution, action, runner_parameters, parameters):
        self.engine = engine
        self.execution = execution
        self.action = action
        self.runner_parameters = runner_parameters
        self.parameters = parameters

    def environment(self):
        """Returns the environment of a process of this action."""
        environment = inherited_environment()
        environment.update(
            {
                name: str(value)
                for name, value in (self.runner_parameters.get("env") or {}).items()
                if name.lower() != "pythonpath"
            }
        )
        environment.update(
            ST2_ACTION_PACK_NAME=self.action.pack,
            ST2_ACTION_EXECUTION_ID=self.execution.id,
            ST2_ACTION_API_URL=self.engine.api_url,
            ST2_ACTION_DEBUG=str(bool(self.runner_parameters.get("debug"))),
        )
        return environment

    def start(self, command, **options):
        """Starts a process and waits for it, letting ``execution cancel`` kill it."""
        if self.runner_parameters.get("content_version"):
            raise RunnerError("The embedded engine does not support content_version")
        try:
            process = processes.ChildProcess(command, **options)
        except OSError as error:
            raise RunnerError(f"{error.filename or command}: {error.strerror}") from error
        with self.engine.cancelable(self.execution.id, process.cancel):
            return process.wait(self.runner_parameters.get("timeout"))


def make_executable(path):
    """Sets the executable bits of a script, where that is possible and needed."""
    if os.path.exists(path) and not os.access(path, os.X_OK):
        os.chmod(path, os.stat(path).st_mode | 0o111)


def shell_output(text):
    """Returns what a shell action wrote: without the last line end, and parsed when it is JSON."""
    text = re.sub(r"(\r\n|\r|\n)\Z", "", text)
    try:
        return json.loads(text)
    except ValueError:
        return text


def script_arguments(run):
    """Returns an action's parameters as a script gets them: named ones first, then positional."""
    details = run.action.parameters
    positions = {details[name]["position"]: name for name in details if "position" in details[name]}
    positional = [positions[position] for position in sorted(positions)]
    operator = run.runner_parameters.get("kwarg_op") or ""
    arguments = []
    for name, value in run.parameters.items():
        if name in positional or value is None or value == "" or value is False:
            continue
        arguments.append(operator + name if value is True else f"{operator}{name}={value}")
    return arguments + [
        _positional(details[name].get("type"), run.parameters.get(name)) for name in positional
    ]


def _positional(kind, value):
    if kind == "boolean":
        return "" if value is None else str(int(bool(value)))
    if kind in ("string", "number", "float"):
        return "" if value is None else str(value)
    if not value or kind == "null":
        return ""
    if kind in ("array", "list"):
        return ",".join(str(item) for item in value)
    return json.dumps(value) if kind == "object" else str(value)
