"""Rules: triggers that exist, criteria and parameters that read what those have."""

from __future__ import annotations

import re
from typing import Iterator

from packengine.lint.subject import Subject
from packengine.problems import Problem
from packengine.resources import Rule
from packengine.yaml_files import load_yaml


def check(subject: Subject) -> Iterator[Problem]:
    """Yields rules that never run, or not on what they seem to."""
    for rule in subject.rules:
        yield from subject.trigger_problems(rule.path, rule.trigger)
        yield from _payload_problems(subject, rule)
        if "enabled" not in load_yaml(rule.path):
            yield Problem(
                rule.path,
                "enabled is not said, so StackStorm takes it for false",
                "say enabled: true or enabled: false",
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
