"""Actions that rules, aliases, policies and workflows name, and what they pass to them."""

from __future__ import annotations

from typing import Iterator

from packengine import workflows
from packengine.lint.subject import Subject, is_computed, value_problems
from packengine.problems import Problem


def check(subject: Subject) -> Iterator[Problem]:
    """Yields references that lead nowhere and parameters that do not fit."""
    for rule in subject.rules:
        yield from subject.action_problems(rule.path, "", rule.action)
        yield from subject.call_problems(rule.path, "", rule.action, rule.parameters)
    for alias in subject.aliases:  # what they pass is checked format by format
        yield from subject.action_problems(alias.path, "", alias.action_ref)
    for policy in subject.policies:
        yield from subject.action_problems(policy.path, "", policy.resource_ref)
        action = subject.action(policy.resource_ref)
        for name in policy.parameters.get("attributes") or ():
            if action is not None and name not in action.all_parameters():
                yield Problem(
                    policy.path,
                    f"{policy.resource_ref} has no parameter {name}",
                    "correct the attribute's name",
                )
    for action in subject.actions:
        for name, details in action.parameters.items():
            default = details.get("default")
            if default is not None and not is_computed(default):
                yield from value_problems(action.path, "default of ", name, default, details)
        if action.is_workflow:
            yield from _task_problems(subject, action.entry_point)


def _task_problems(subject: Subject, path: str) -> Iterator[Problem]:
    try:
        spec = workflows.load(path)
    except Exception:  # said by the check of workflow files
        return
    for task, ref, given in workflows.tasks_with_action(spec):
        place = f"task {task}: "
        yield from subject.action_problems(path, place, ref)
        if isinstance(given, dict):
            yield from subject.call_problems(path, place, ref, given)
