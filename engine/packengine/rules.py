"""Tries rules on trigger instances and starts their actions."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any, Dict

from packengine import payload as payloads
from packengine import templates
from packengine.datastore import Datastore
from packengine.execution import SYSTEM_USER, Execution
from packengine.operators import OPERATORS
from packengine.packs import ActionDisabled, UnknownReference
from packengine.parameters import ParameterError
from packengine.resources import Rule
from packengine.rule_records import TriggerInstance

if TYPE_CHECKING:
    from packengine.engine import Engine

LOG = logging.getLogger(__name__)

# A place in the payload -> {type, pattern, condition}.
Criteria = Dict[str, Dict[str, Any]]


class RuleError(Exception):
    """A rule could not be tried on an instance; the message says which criterion and why."""


class RuleEngine:
    """Handles trigger instances.

    :param engine: knows the rules and runs their actions.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def handle(self, instance: TriggerInstance) -> list[Execution]:
        """Starts the actions of the rules that match an instance; returns their executions."""
        executions = []
        for rule in self._matching(instance):
            execution = self._enforce(rule, instance)
            if execution is not None:
                executions.append(execution)
        return executions

    def _matching(self, instance: TriggerInstance) -> list[Rule]:
        rules = [
            rule
            for rule in self._engine.rules()
            if rule.enabled
            and rule.trigger == instance.trigger
            and rule.trigger_parameters == instance.parameters
        ]
        matched = [rule for rule in rules if not rule.backstop and self._matches(rule, instance)]
        if not matched:
            matched = [rule for rule in rules if rule.backstop and self._matches(rule, instance)]
        return matched

    def _matches(self, rule: Rule, instance: TriggerInstance) -> bool:
        try:
            return matches(rule.criteria, instance.payload, self._engine.store.keys)
        except RuleError as error:
            LOG.error("Rule %s: %s", rule.ref, error)
            reason = (
                f'Failed to match rule "{rule.ref}" against trigger instance "{instance.id}": '
                f"{error}"
            )
            self._engine.store.rules.add_enforcement(rule.ref, instance.id, failure_reason=reason)
            return False

    def _enforce(self, rule: Rule, instance: TriggerInstance) -> Execution | None:
        context = {
            "trigger_instance": {"id": instance.id, "name": None},
            "rule": {"id": rule.ref, "name": rule.name},
            "user": SYSTEM_USER,
            "trace_context": {"trace_tag": instance.trace_tag or f"trigger_instance-{instance.id}"},
        }
        try:
            execution = self._engine.request(
                rule.action, rule.parameters, context, extra={"trigger": instance.payload}
            )
        except (UnknownReference, ActionDisabled, ParameterError) as error:
            LOG.error("Rule %s could not run %s: %s", rule.ref, rule.action, error)
            self._engine.store.rules.add_enforcement(
                rule.ref, instance.id, failure_reason=str(error)
            )
            return None
        self._engine.store.rules.add_enforcement(rule.ref, instance.id, execution.id)
        self._engine.in_background(self._engine.perform, execution)
        return execution


def matches(criteria: Criteria, payload: Any, datastore: Datastore) -> bool:
    """Returns whether a payload fulfils all criteria.

    :param datastore: its keys may stand in patterns.
    :raises RuleError: when a criterion cannot be compared.
    """
    if criteria and not payload:
        return False
    return all(
        _check(key, criterion, "trigger", payload, datastore) for key, criterion in criteria.items()
    )


def _check(
    key: str, criterion: dict[str, Any], prefix: str, payload: Any, datastore: Datastore
) -> bool:
    st2kv = templates.datastore_context(datastore, SYSTEM_USER)
    context = {prefix: payload, "system": st2kv["system"], "st2kv": st2kv}
    pattern = criterion.get("pattern")
    try:
        pattern = _rendered(pattern, context)
    except Exception as error:
        raise RuleError(
            f'Failed to render pattern value "{pattern}" for key "{key}": {error}'
        ) from error
    # What follows a "#" only makes a key unlike others of the same path.
    value = payloads.find(key.split("#", 1)[0], {prefix: payload})
    name = criterion["type"].lower()
    try:
        if name == "search":
            return OPERATORS[name](
                value,
                pattern,
                criterion.get("condition"),
                lambda child_key, child, item: _check(child_key, child, "item", item, datastore),
            )
        return OPERATORS[name](value, pattern)
    except RuleError:
        raise
    except Exception as error:
        raise RuleError(f'criterion "{key}" ({name}): {type(error).__name__}: {error}') from error


def _rendered(pattern: Any, context: dict[str, Any]) -> Any:
    if not isinstance(pattern, str):
        return pattern
    # A pattern that is one expression keeps the type of its value.
    typed = re.sub(r"({{)\s*(.*)\s*(}})", r"\1\2 | to_complex\3", pattern)
    if typed != pattern:
        try:
            return json.loads(templates.render(typed, context))
        except (ValueError, TypeError):
            pass
    return templates.render(pattern, context)
