"""Actions that rules, aliases, policies and workflows name, and what they pass to them."""

from __future__ import annotations

from typing import Iterator

from packengine import workflows
from packengine.lint.subject import Subject, is_computed, value_problems
from packengine.problems import Problem, guarded
from packengine.resources import Action, Policy, Rule


def check(subject: Subject) -> Iterator[Problem]:
    """Yields references that lead nowhere and parameters that do not fit."""
    for rule in subject.rules:
        yield from guarded(rule.path, _of_rule(subject, rule))
    for alias in subject.aliases:  # what they pass is checked format by format
        yield from subject.action_problems(alias.path, "", alias.action_ref)
    for policy in subject.policies:
        yield from guarded(policy.path, _of_policy(subject, policy))
    for action in subject.actions:
        yield from guarded(action.path, _of_action(action))
        if action.is_workflow:
            yield from guarded(action.entry_point, _task_problems(subject, action.entry_point))


def _of_rule(subject: Subject, rule: Rule) -> Iterator[Problem]:
    yield from subject.action_problems(rule.path, "", rule.action)
    yield from subject.call_problems(rule.path, "", rule.action, rule.parameters)


def _of_policy(subject: Subject, policy: Policy) -> Iterator[Problem]:
    yield from subject.action_problems(policy.path, "", policy.resource_ref)
    action = subject.action(policy.resource_ref)
    for name in policy.parameters.get("attributes") or ():
        if action is not None and name not in action.all_parameters():
            yield Problem(
                policy.path,
                f"{policy.resource_ref} has no parameter {name}",
                "correct the attribute's name",
            )


def _of_action(action: Action) -> Iterator[Problem]:
    for name, details in action.parameters.items():
        default = details.get("default")
        if default is not None and not is_computed(default):
            yield from value_problems(action.path, "default of ", name, default, details)


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
