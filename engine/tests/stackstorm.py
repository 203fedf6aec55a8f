"""A running StackStorm through its HTTP API, as chat bots and its web interface use it.

stackstorm = StackStorm.given()
execution = stackstorm.run("core.echo", {"message": "hello"})
execution["result"]["result"]
"""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from typing import Any, Callable, Dict, Iterator

import pytest
import requests

COMPLETED = ("succeeded", "failed", "timeout", "canceled", "abandoned")
NOT_GIVEN = (
    "ST2_API_URL is not set: set it and ST2_API_KEY to try a running StackStorm, such as "
    "ST2_API_URL=https://stackstorm.example/api/v1"
)

PATIENCE_S = 300  # a busy machine takes a minute for a step that otherwise takes two seconds

Json = Dict[str, Any]


class ApiError(Exception):
    """StackStorm refused a request; `status` is HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")
        self.status, self.reason = status, reason


class StackStorm:
    """
    :param url: of the API, up to and including its version.
    :param key: an API key.
    """

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.headers["St2-Api-Key"] = key

    @classmethod
    def given(cls) -> StackStorm | None:
        """The one that ST2_API_URL and ST2_API_KEY name, None when they name none."""
        url = os.environ.get("ST2_API_URL")
        return cls(url, os.environ.get("ST2_API_KEY", "")) if url else None

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """What the API answers, from JSON.

        :raises ApiError: with the reason that StackStorm gives.
        """
        answer = self._request(method, path, body, query)
        return answer.json() if answer.content else None

    def text(self, path: str) -> str:
        """What the API answers to a GET, as it is."""
        return self._request("GET", path, None, {}).text

    def send(self, path: str, body: Any, headers: dict[str, str]) -> None:
        """Posts with headers of one's own, as whoever calls a webhook."""
        self._request("POST", path, body, {}, headers)

    def _request(
        self, method: str, path: str, body: Any, query: Json, headers: dict[str, str] | None = None
    ) -> requests.Response:
        answer = self._session.request(
            method, f"{self.url}/{path}", json=body, params=query, headers=headers, timeout=60
        )
        if answer.status_code >= 400:
            try:
                reason = answer.json()["faultstring"]
            except (ValueError, KeyError):
                reason = answer.text[:500]
            raise ApiError(answer.status_code, reason)
        return answer

    def get(self, path: str, **query: Any) -> Any:
        return self.call("GET", path, **query)

    def everything(self, path: str, **query: Any) -> Iterator[Json]:
        """Every entry of a list, newest first where it is sorted by time."""
        offset = 0
        while True:
            page = self.get(path, limit=100, offset=offset, **query)
            yield from page
            if len(page) < 100:
                return
            offset += len(page)

    # --- executions -------------------------------------------------------------------------------

    def start(self, action: str, parameters: Json | None = None) -> Json:
        return self.call("POST", "executions", {"action": action, "parameters": parameters or {}})

    def run(
        self, action: str, parameters: Json | None = None, timeout_s: float = PATIENCE_S
    ) -> Json:
        """Runs an action to its end; returns its execution."""
        return self.wait(self.start(action, parameters)["id"], timeout_s=timeout_s)

    def execution(self, identifier: str) -> Json:
        return self.get(f"executions/{identifier}")

    def wait(self, identifier: str, *statuses: str, timeout_s: float = PATIENCE_S) -> Json:
        """Waits until an execution has one of these statuses, or has ended; returns it."""
        return eventually(
            lambda: (lambda found: found if found["status"] in COMPLETED + statuses else None)(
                self.execution(identifier)
            ),
            f"execution {identifier} to end",
            timeout_s,
        )

    def executions(self, action: str, since: str) -> list[Json]:
        """The executions of an action that began after a time (ISO 8601), oldest first, ended."""

        def ended() -> list[Json] | None:
            found = list(
                self.everything("executions", action=action, timestamp_gt=since, sort_asc="true")
            )
            return found if all(each["status"] in COMPLETED for each in found) else None

        return eventually(ended, f"the executions of {action} to end")

    def tasks(self, execution: Json) -> dict[str, Json]:
        """The executions of a workflow's tasks by the task's name, the last where it ran often."""
        children = self.get(f"executions/{execution['id']}/children", depth=1)
        children.sort(key=lambda child: child["start_timestamp"])
        return {child["context"]["orquesta"]["task_name"]: child for child in children}

    # --- chat -------------------------------------------------------------------------------------

    def hear(self, command: str, user: str, channel: str = "deployments") -> Json:
        """Hands over what somebody typed, as a chat bot does; returns the execution it started
        with the acknowledgement as `message`."""
        answer = self.call(
            "POST",
            "aliasexecution/match_and_execute",
            {
                "command": command,
                "user": user,
                "source_channel": channel,
                "notification_route": "none",
            },
        )
        return answer["results"][0]

    def said(self, execution: Json) -> str:
        """What the chat bot says when an execution it started has ended."""
        formatted = self.run("chatops.format_execution_result", {"execution_id": execution["id"]})
        assert formatted["status"] == "succeeded", formatted["result"]
        return formatted["result"]["result"]["message"]

    # --- content ----------------------------------------------------------------------------------

    def content(self, kind: str, pack: str) -> list[Json]:
        return list(self.everything(kind, pack=pack))

    def enable_sensors(self, pack: str, enabled: bool) -> None:
        """Starts or stops a pack's sensors; those that start read their configuration."""
        for sensor in self.content("sensortypes", pack):
            self.call("PUT", f"sensortypes/{sensor['id']}", dict(sensor, enabled=enabled))


def skip_module_without_stackstorm() -> None:
    """Skips the module that is being imported, as one, when no StackStorm is given."""
    __tracebackhide__ = True  # the place of the skip is the module's
    if not StackStorm.given():
        pytest.skip(NOT_GIVEN, allow_module_level=True)


def now() -> str:
    """The time, as StackStorm writes it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def eventually(find: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Asks again until the answer is neither None nor False; returns it."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = find()
        if found is not None and found is not False:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s for {what}")
        time.sleep(0.1)
