"""The embedded engine and a running StackStorm, asked the same way."""

from __future__ import annotations

import io
import shutil
import threading
from pathlib import Path
from typing import Any, NamedTuple

import needs
import requests
from stackstorm import COMPLETED, ApiError, Json, StackStorm, eventually, now

from packengine import aliases, chat
from packengine.engine import Engine
from packengine.packs import ActionDisabled, UnknownReference
from packengine.parameters import ParameterError
from packengine.webhooks import api_key

PACK = "cicd_parity"
REFUSED = "refused"
UNMATCHED = "unmatched"
USER = "parity"


class Outcome(NamedTuple):
    """What became of a request.

    status: StackStorm's, or `refused` when there is no execution. tasks: their names, sorted, one
    for each execution.
    """

    status: str
    result: Any = None
    parameters: Json | None = None
    seconds: float = 0.0
    tasks: tuple = ()


class Embedded:
    """The embedded engine, serving a pack."""

    def __init__(self, pack: Path, data_dir: Path) -> None:
        self.engine = Engine(packs=[str(pack)], data_dir=str(data_dir), api_port=0)
        ready = threading.Event()
        self._serving = threading.Thread(target=self.engine.serve, args=(ready.set,))
        self._serving.start()
        assert ready.wait(20)

    def close(self) -> None:
        self.engine.stop()
        self._serving.join()
        self.engine.close()

    def start(self, action: str, parameters: Json) -> str | None:
        """Returns the execution's id, None when the request is refused."""
        try:
            return self.engine.start(action, parameters, user=USER).id
        except (ActionDisabled, ParameterError, UnknownReference):
            return None

    def wait(self, identifier: str, *statuses: str, tasks: int = 0) -> Outcome:
        """As `Real.wait`."""
        execution = eventually(
            lambda: (lambda found: found if found.status in COMPLETED + statuses else None)(
                self.engine.execution(identifier)
            ),
            f"{identifier} to end",
        )
        return self._outcome(execution)

    def _outcome(self, execution: Any) -> Outcome:
        children = self.engine.children(execution.id)
        return Outcome(
            execution.status,
            execution.result,
            execution.parameters,
            execution.elapsed_seconds or 0.0,
            tuple(sorted(child.task_name for child in children)),
        )

    def children(self, identifier: str) -> list[str]:
        return [child.id for child in self.engine.children(identifier)]

    def executions(self, action: str) -> list[Outcome]:
        return [self._outcome(each) for each in self.engine.executions(action, top_level=False)]

    def cancel(self, identifier: str) -> None:
        self.engine.cancel(identifier)

    def pause(self, identifier: str) -> None:
        self.engine.pause(identifier)

    def resume(self, identifier: str) -> None:
        self.engine.resume(identifier)

    def respond(self, identifier: str, response: Json) -> bool:
        """Returns whether the response to an inquiry was taken."""
        try:
            self.engine.respond(identifier, response, user=USER)
        except ValueError:
            return False
        return True

    def hear(self, command: str) -> Outcome:
        """Returns what a command of chat was run with, or that it was refused."""
        before = {each.id for each in self.engine.executions()}
        room = chat.Room(self.engine, USER, io.StringIO())
        known = [
            aliases.Alias(dict(each.metadata, pack=each.pack))
            for each in self.engine.registry.aliases.values()
        ]
        try:
            aliases.match(command, known)
        except aliases.NoMatch:
            return Outcome(UNMATCHED)
        room.say("!" + command)
        started = [each for each in self.engine.executions() if each.id not in before]
        return self._outcome(started[0]) if started else Outcome(REFUSED)

    def post(self, hook: str, body: Json, headers: dict[str, str]) -> None:
        """Sends a payload to a webhook that a rule of the pack waits for."""
        requests.post(
            f"{self.engine.api_url}/webhooks/{hook}",
            json=body,
            headers={**headers, "St2-Api-Key": api_key(self.engine.data_dir)},
            timeout=20,
        ).raise_for_status()

    def rules_that_ran(self) -> list[str]:
        """Returns the rules that have run core.noop."""
        return [
            each.context["rule"]["name"] and f"{PACK}.{each.context['rule']['name']}"
            for each in self.engine.executions("core.noop")
            if "rule" in each.context
        ]

    def delete_key(self, name: str) -> None:
        """Nothing: the datastore is new."""


class Real:
    """A running StackStorm, into which a pack is installed."""

    def __init__(self, stackstorm: StackStorm, pack: Path) -> None:
        self.api = stackstorm
        directory = needs.packs_directory(stackstorm) / PACK
        if directory.exists():
            self.close()
        self._installed_at = now()
        shutil.copytree(pack, directory)
        made = self.api.run("packs.setup_virtualenv", {"packs": [PACK]})
        assert made["status"] == "succeeded", made["result"]
        self.api.call("POST", "packs/register", {"packs": [PACK], "types": ["all"]})

    def close(self) -> None:
        removed = self.api.run("packs.uninstall", {"packs": [PACK]})
        assert removed["status"] == "succeeded", removed["result"]

    def start(self, action: str, parameters: Json) -> str | None:
        try:
            return self.api.start(action, parameters)["id"]
        except ApiError as error:
            assert error.status == 400, error
            return None

    def wait(self, identifier: str, *statuses: str, tasks: int = 0) -> Outcome:
        """Waits until an execution has one of these statuses, or is over.

        A workflow is over when all that it has run is over too. StackStorm writes `failed` when it
        comes to `fail` and only then requests the tasks that stand beside it.

        :param tasks: how many a workflow must have run to be over.
        """
        execution = self.api.wait(identifier, *statuses)
        if execution["status"] in COMPLETED:
            eventually(
                lambda: self._over(execution, tasks),
                f"{tasks} or more tasks of {identifier} to end",
            )
            execution = self.api.execution(identifier)
        return self._outcome(execution)

    def _over(self, execution: Json, tasks: int) -> bool:
        children = self._children(execution)
        return len(children) >= tasks and all(each["status"] in COMPLETED for each in children)

    def _children(self, execution: Json) -> list[Json]:
        """What a workflow has run; nothing of another action."""
        if execution["action"]["runner_type"] != "orquesta":
            return []
        return self.api.get(f"executions/{execution['id']}/children", depth=1)

    def _outcome(self, execution: Json) -> Outcome:
        children = self._children(execution)
        names = [child["context"]["orquesta"]["task_name"] for child in children]
        return Outcome(
            execution["status"],
            execution.get("result"),
            execution.get("parameters", {}),
            execution.get("elapsed_seconds", 0.0),
            tuple(sorted(names)),
        )

    def children(self, identifier: str) -> list[str]:
        children = self.api.get(f"executions/{identifier}/children", depth=1)
        return [child["id"] for child in children]

    def executions(self, action: str) -> list[Outcome]:
        return [
            self._outcome(each)
            for each in self.api.everything(
                "executions", action=action, timestamp_gt=self._installed_at
            )
        ]

    def cancel(self, identifier: str) -> None:
        self.api.call("DELETE", f"executions/{identifier}")

    def pause(self, identifier: str) -> None:
        self.api.call("PUT", f"executions/{identifier}", {"status": "pausing"})

    def resume(self, identifier: str) -> None:
        self.api.call("PUT", f"executions/{identifier}", {"status": "resuming"})

    def respond(self, identifier: str, response: Json) -> bool:
        try:
            self.api.call(
                "PUT", f"inquiries/{identifier}", {"id": identifier, "response": response}
            )
        except ApiError:
            return False
        return True

    def hear(self, command: str) -> Outcome:
        try:
            heard = self.api.hear(command, USER)
        except ApiError as error:
            assert error.status == 400, error
            return Outcome(UNMATCHED if "matched no patterns" in error.reason else REFUSED)
        return self.wait(heard["execution"]["id"])

    def post(self, hook: str, body: Json, headers: dict[str, str]) -> None:
        self.api.send(f"webhooks/{hook}", body, headers)

    def rules_that_ran(self) -> list[str]:
        return [
            each["rule"]["ref"]
            for each in self.api.everything(
                "executions", action="core.noop", timestamp_gt=self._installed_at
            )
            if "rule" in each
        ]

    def delete_key(self, name: str) -> None:
        try:
            self.api.call("DELETE", f"keys/{name}")
        except ApiError as error:
            assert error.status == 404, error
