"""Jinja templates that parse, and rules that name what a rule knows."""

from __future__ import annotations

from typing import Any, Iterator

import jinja2
from jinja2 import meta

from packengine import templates
from packengine.lint.subject import Subject
from packengine.problems import Problem, guarded
from packengine.resources import Rule

# What templates of a rule's parameters and of its criteria may name.
_IN_PARAMETERS = {"trigger", "st2kv", "action_context", "config_context"}
_IN_CRITERIA = {"trigger", "st2kv", "system", "item"}


def check(subject: Subject) -> Iterator[Problem]:
    """Yields templates that do not parse. Those of workflows are Orquesta's to inspect."""
    for rule in subject.rules:
        yield from guarded(rule.path, _rule_problems(subject, rule))
    for alias in subject.aliases:
        for name in ("ack", "result", "immutable_parameters"):
            found = _problems(alias.path, name, alias.metadata.get(name))
            yield from guarded(alias.path, found)
    for action in subject.actions:
        for name, details in action.parameters.items():
            found = _problems(action.path, f"default of {name}", details.get("default"))
            yield from guarded(action.path, found)


def _rule_problems(subject: Subject, rule: Rule) -> Iterator[Problem]:
    action = subject.action(rule.action)
    known = None if action is None else _IN_PARAMETERS | set(action.all_parameters())
    for name, value in rule.parameters.items():
        yield from _problems(rule.path, f"parameter {name}", value, known)
    for name, criterion in rule.criteria.items():
        yield from _problems(rule.path, name, criterion.get("pattern"), _IN_CRITERIA)


def _problems(
    path: str, place: str, value: Any, known: set[str] | None = None
) -> Iterator[Problem]:
    """Yields what is wrong with the templates in a value.

    :param known: names a template may use; None when that cannot be told.
    """
    for text in _templates(value):
        try:
            templates.environment().from_string(text)
        except jinja2.TemplateSyntaxError as error:
            yield Problem(path, f"{place}: {error.message} in {text!r}", "correct the template")
            continue
        names = meta.find_undeclared_variables(templates.environment().parse(text))
        for name in sorted(names - known if known is not None else ()):
            yield Problem(
                path, f"{place}: {text!r} names {name}, which a rule does not know", "correct it"
            )


def _templates(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for child in value.values():
            yield from _templates(child)
    elif isinstance(value, list):
        for item in value:
            yield from _templates(item)
    elif templates.is_template(value):
        yield value
