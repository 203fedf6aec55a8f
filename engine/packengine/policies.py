"""Applies policies: how many of an action run at once, and trying again what failed."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING

from packengine.execution import CANCELED, FAILED, TIMEOUT, Execution
from packengine.resources import Policy
from packengine.store import Limit

if TYPE_CHECKING:
    from packengine.engine import Engine

# Seconds between tries of an execution that waits for others to end.
_INTERVAL_S = 0.2

_CONCURRENCY = ("action.concurrency", "action.concurrency.attr")
_RETRY_ON = {"failure": FAILED, "timeout": TIMEOUT}


def admit(engine: Engine, execution: Execution) -> bool:
    """Makes an execution run, once its concurrency policies let it.

    :returns: False if it was canceled meanwhile.
    """
    limits = [
        policy
        for policy in engine.registry.policies.values()
        if policy.enabled
        and policy.resource_ref == execution.action
        and policy.policy_type in _CONCURRENCY
    ]
    if not limits:
        engine.set_status(execution, "running")
        return not execution.is_completed
    canceled = threading.Event()
    with engine.wishes.granted_by(execution.id, canceled.set):
        while not engine.store.admit(execution, [_slots(policy, execution) for policy in limits]):
            if any(policy.parameters["action"] == "cancel" for policy in limits):
                canceled.set()
            else:
                engine.set_status(execution, "delayed")
            if canceled.wait(_INTERVAL_S):
                engine.store.leave_queue(execution.id)
                engine.set_status(execution, CANCELED, {})
                return False
            engine.store.abandon_orphans()
    engine.tell_status(execution)
    return not execution.is_completed


def _slots(policy: Policy, execution: Execution) -> Limit:
    """Returns how many executions like this one may run.

    As in StackStorm only parameters that were passed count: an attribute left to its default
    makes the policy count executions whatever their value of it.
    """
    attributes = policy.parameters.get("attributes", ())
    shared = {name: value for name, value in execution.parameters.items() if name in attributes}
    return Limit(policy.parameters["threshold"], shared)


def retry(engine: Engine, execution: Execution) -> None:
    """Runs a failed execution again if a policy says so.

    Tasks of workflows have a retry of their own.
    """
    if execution.parent is not None:
        return
    for policy in engine.registry.policies.values():
        if (
            policy.enabled
            and policy.resource_ref == execution.action
            and policy.policy_type == "action.retry"
            and _RETRY_ON[policy.parameters["retry_on"]] == execution.status
        ):
            _retry_by(engine, execution, policy)


def _retry_by(engine: Engine, execution: Execution, policy: Policy) -> None:
    tried = ((execution.context.get("policies") or {}).get("retry") or {}).get("retry_count", 0)
    if tried >= policy.parameters["max_retry_count"]:
        return
    again = copy.deepcopy(execution)
    again.context["policies"] = {
        "retry": {
            "applied_policy": policy.ref,
            "retry_count": tried + 1,
            "retried_liveaction_id": execution.id,
        }
    }
    again = engine.store.repeat(again)
    engine.in_background(engine.perform, again, policy.parameters["delay"])
