"""One run of an action, as its runner sees it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Mapping, Tuple

from packengine import processes
from packengine.execution import Execution, Parameters
from packengine.resources import Action

if TYPE_CHECKING:
    from packengine.engine import Engine

SHIMS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "shims")

# How an execution ended or what it waits for: status and result, whose shape is the runner's.
Ending = Tuple[str, Any]


class RunnerError(Exception):
    """An action could not be started; becomes the ``error`` of its result."""


def inherited_environment() -> dict[str, str]:
    """Returns what actions and sensors get of this process's environment."""
    return {name: value for name, value in os.environ.items() if name != "ENGINE_API_KEY"}


@dataclass
class Run:
    """What a runner gets to know.

    :ivar runner_parameters: final parameters of the runner.
    :ivar parameters: final parameters of the action.
    """

    engine: Engine
    execution: Execution
    action: Action
    runner_parameters: Parameters
    parameters: Parameters

    def environment(self) -> dict[str, str]:
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

    def start(
        self,
        command: list[str],
        env: Mapping[str, str],
        cwd: str | None = None,
        stdin: bytes | None = None,
        with_result: bool = False,
    ) -> processes.Outcome:
        """Starts a process and waits for it, letting `execution cancel` kill it.

        The parameters are those of :class:`packengine.processes.ChildProcess`.

        :raises RunnerError: when it cannot be started.
        """
        if self.runner_parameters.get("content_version"):
            raise RunnerError("The embedded engine does not support content_version")
        try:
            process = processes.ChildProcess(command, env, cwd, stdin, with_result)
        except OSError as error:
            raise RunnerError(f"{error.filename or command}: {error.strerror}") from error
        with self.engine.wishes.granted_by(self.execution.id, process.cancel):
            return process.wait(self.runner_parameters.get("timeout"))

    def timeout_error(self) -> str:
        """Returns the `error` of a result that did not come in time."""
        return "Action failed to complete in {} seconds".format(self.runner_parameters["timeout"])
