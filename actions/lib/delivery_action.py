"""What the pack's actions have in common: their tools, and errors a person can read."""

from __future__ import annotations

import traceback

from st2common.runners.base_action import Action

from delivery import permission
from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.names import plain
from delivery.release import known_application
from delivery.rollout import Rollout
from delivery.store import ConsulUnreachable


class DeliveryAction(Action):
    """An action implements `deliver` and returns a dictionary, its result, to which `remote_s` is
    added, the seconds it waited for other hosts.

    A DeliveryError becomes a failed action whose result is {"error": one line}; that line can be
    shown in chat as it is. So does any other exception, with its traceback on standard error, so
    that a workflow's failure path always finds an error to pass on. While Consul is away the
    result says so in `without`, for a workflow that would rather wait than give up.
    """

    def run(self, **parameters):
        try:
            self.configuration = Configuration(self.config)
            result = self.deliver(**parameters)
            return True, dict(result, remote_s=self.configuration.waited_s)
        except ConsulUnreachable as error:
            return False, {"error": plain(str(error)), "without": "consul"}
        except DeliveryError as error:
            return False, {"error": plain(str(error))}
        except Exception as error:
            self.logger.error(traceback.format_exc())
            return False, {"error": plain(f"{type(error).__name__}: {error}")}

    def deliver(self, **parameters):
        """Does the action's work.

        :raises DeliveryError: says what, where and what to do.
        """
        raise NotImplementedError

    def application(self, name):
        """Returns an application that Consul knows, or fails with the nearest names."""
        return known_application(self.configuration.store(), name)

    def require_permission(self, to_do, chat_user, stackstorm_user):
        """Refuses who the configuration does not allow to do this."""
        permission.require(
            self.configuration.section("permissions"), to_do, chat_user, stackstorm_user
        )

    def rollout(self, application):
        """Returns the steps of a rollout of this application."""
        return Rollout(application, self.configuration.discovery(), self.configuration.ssh())


def progress(stage):
    """Returns of a rollout what the workflow decides by; names and numbers, no free text."""
    state = stage.state
    return {
        "stage": stage.name,
        "deployment": state["deployment"],
        "version": state["target"]["version"],
        "status": stage.status,
        "batches": len(state["batches"]),
        "remaining": len(state["batches"]) - state["completed"],
        "hosts": [node for batch in state["batches"] for node in batch],
        "failed_hosts": state["failed_hosts"],
    }
