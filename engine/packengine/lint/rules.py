"""Rules: triggers that exist, criteria and parameters that read what those have."""

from __future__ import annotations

import re
from typing import Any, Iterator

from packengine.lint.subject import Subject, is_computed
from packengine.problems import Problem, guarded
from packengine.resources import Rule
from packengine.yaml_files import load_yaml

# Operators whose pattern is a regular expression.
_REGULAR = ("matchregex", "regex", "iregex")


def check(subject: Subject) -> Iterator[Problem]:
    """Yields rules that never run, or not on what they seem to."""
    for rule in subject.rules:
        yield from guarded(rule.path, _of_rule(subject, rule))


def _of_rule(subject: Subject, rule: Rule) -> Iterator[Problem]:
    yield from subject.trigger_problems(rule.path, rule.trigger)
    yield from _payload_problems(subject, rule)
    yield from _pattern_problems(rule.path, rule.criteria)
    if "enabled" not in load_yaml(rule.path):
        yield Problem(
            rule.path,
            "enabled is not said, so StackStorm takes it for false",
            "say enabled: true or enabled: false",
        )


def _pattern_problems(path: str, criteria: dict[str, Any]) -> Iterator[Problem]:
    for key, criterion in criteria.items():
        operator, pattern = criterion["type"], criterion.get("pattern")
        if operator == "search" and isinstance(pattern, dict):
            yield from _pattern_problems(path, pattern)
        if operator not in _REGULAR or not isinstance(pattern, str) or is_computed(pattern):
            continue
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            yield Problem(
                path,
                f'criterion "{key}": {pattern!r} is no regular expression: {error}',
                "correct the pattern",
            )


def _payload_problems(subject: Subject, rule: Rule) -> Iterator[Problem]:
    trigger = subject.registry.triggers.get(rule.trigger)
    if trigger is None or trigger.payload_schema.get("additionalProperties") is not False:
        return
    has = trigger.payload_schema.get("properties") or {}
    used = re.findall(r"\btrigger\.(\w+)", f"{rule.criteria}{rule.parameters}")
    for name in sorted(set(used) - set(has)):
        yield Problem(
            rule.path,
            f"{rule.trigger} has no {name}",
            "read one of {}".format(", ".join(sorted(has))),
        )
