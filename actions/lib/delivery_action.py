"""What the pack's actions have in common: their tools, and errors a person can read."""

from __future__ import annotations

import traceback
from typing import Any

from st2common.runners.base_action import Action

from delivery import permission
from delivery.application import Application, known_application
from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.names import plain
from delivery.rollout.record import Rollout
from delivery.rollout.steps import Steps
from delivery.store import ConsulUnreachable


class DeliveryAction(Action):
    """An action implements `deliver` and returns a dictionary, its result, to which `remote_s` is
    added, the seconds it waited for other hosts.

    A DeliveryError becomes a failed action whose result is {"error": one line}; that line can be
    shown in chat as it is. So does any other exception, with its traceback on standard error, so
    that a workflow's failure path always finds an error to pass on. While Consul is away the
    result says so in `without`, for a workflow that would rather wait than give up.

    `note_failure` may record a failure before it is answered.
    """

    def run(self, **parameters: Any) -> tuple[bool, dict[str, Any]]:
        try:
            self.configuration = Configuration(self.config)
            result = self.deliver(**parameters)
            return True, dict(result, remote_s=self.configuration.waited_s)
        except ConsulUnreachable as error:
            return False, {"error": plain(str(error)), "without": "consul"}
        except DeliveryError as error:
            return self._fail(str(error), parameters)
        except Exception as error:
            self.logger.error(traceback.format_exc())
            return self._fail(f"{type(error).__name__}: {error}", parameters)

    def _fail(self, error: str, parameters: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
        reason = plain(error)
        self.note_failure(reason, parameters)
        return False, {"error": reason}

    def note_failure(self, reason: str, parameters: dict[str, Any]) -> None:
        """Does what has to be done when the action fails; nothing unless a subclass says so.

        :param reason: one line.
        :param parameters: of the action, by name.
        """

    def deliver(self, *_: Any, **parameters: Any) -> dict[str, Any]:
        """Does the action's work.

        :raises DeliveryError: says what, where and what to do.
        """
        raise NotImplementedError

    def application(self, name: str) -> Application:
        """Returns an application that Consul knows, or fails with the nearest names."""
        return known_application(self.configuration.store(), name)

    def requester(
        self, to_do: str, app: str, by: str, chat_user: str | None, stackstorm_user: str
    ) -> str:
        """Returns who is recorded as asking for this (`permission.requester`).

        :raises NotAllowed: when the configuration does not allow it with this application.
        """
        lists = permission.lists_of(app.lower(), self.configuration.section("permissions"))
        permission.require(lists, to_do, chat_user, stackstorm_user)
        return permission.requester(by, chat_user, stackstorm_user)

    def steps(self, application: Application) -> Steps:
        """Returns the steps of a rollout of this application."""
        return Steps(
            application,
            self.configuration.discovery(),
            self.configuration.ssh(),
            self.configuration.policies.of(application.name),
        )


def progress(rollout: Rollout) -> dict[str, Any]:
    """Returns of a rollout what the workflow decides by; names and numbers, no free text."""
    return {
        "stage": rollout.stage,
        "deployment": rollout.deployment,
        "version": rollout.target.version,
        "status": rollout.status,
        "batches": len(rollout.batches),
        "remaining": rollout.remaining,
        "hosts": rollout.hosts,
        "failed_hosts": dict(rollout.failed_hosts),
    }
