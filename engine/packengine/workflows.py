"""Workflow files: reading them, and inspecting them with Orquesta before they run."""

from __future__ import annotations

import os
import re
import threading
import warnings
from typing import Any, Iterator

from packengine import compat, templates, workflow_functions
from packengine.packs import Refused, Registry, UnknownReference
from packengine.resources import Action
from packengine.yaml_files import load_yaml

# Orquesta's expression parsers are shared by all workflows and are not made for threads.
ORQUESTA = threading.RLock()

_loaded: dict[str, _Workflow] = {}


class _Workflow:
    """A workflow file as it was when it was read.

    :param stamp: tells whether the file has changed since.
    :param spec: Orquesta's specification.
    """

    def __init__(self, stamp: tuple[int, int], spec: Any) -> None:
        self.stamp = stamp
        self.spec = spec
        self.errors: list[dict[str, Any]] | None = None


def orquesta() -> Any:
    """Returns the orquesta package, made ready for this Python."""
    functions = dict(templates.WORKFLOW_FUNCTIONS, **workflow_functions.FUNCTIONS)
    compat.prepare_orquesta(functions)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import orquesta
        import orquesta.conducting
        import orquesta.events
        import orquesta.specs.loader
        import orquesta.statuses
    return orquesta


def load(path: str) -> Any:
    """Returns the workflow of a file as Orquesta's specification, kept until the file changes.

    :raises OSError: when it cannot be read.
    :raises yaml.YAMLError: when it is no YAML; for other mistakes orquesta has its own exceptions.
    """
    return _load(path).spec


def _load(path: str) -> _Workflow:
    details = os.stat(path)
    stamp = (details.st_mtime_ns, details.st_size)
    with ORQUESTA:
        if path not in _loaded or _loaded[path].stamp != stamp:
            content = load_yaml(path)
            spec = orquesta().specs.loader.get_spec_module("native").instantiate(content)
            _loaded[path] = _Workflow(stamp, spec)
        return _loaded[path]


def inspect(action: Action, registry: Registry) -> list[dict[str, Any]]:
    """Returns what is wrong with an action's workflow, as StackStorm does before it runs.

    :param action: one of the orquesta runner.
    :returns: dicts of type (content, context, expression, semantic, syntax), message, spec_path
        and schema_path, of some also language and expression.
    :raises: what :func:`load` raises.
    """
    workflow = _load(action.entry_point)
    if workflow.errors is None:
        with ORQUESTA:
            found = workflow.spec.inspect(app_ctx={"st2": {}, "parent": {}}, raise_exception=False)
        workflow.errors = [
            _error(category, entry) for category, entries in found.items() for entry in entries
        ]
    errors = [*workflow.errors, *_content_errors(workflow.spec, registry)]
    return sorted(errors, key=lambda error: (error["type"], error["schema_path"]))


_CATEGORIES = {
    "contents": "content",
    "context": "context",
    "expressions": "expression",
    "semantics": "semantic",
    "syntax": "syntax",
}


def _error(category: str, entry: dict[str, Any]) -> dict[str, Any]:
    entry = dict(entry)
    if category in ("context", "expressions") and "language" not in entry:
        entry["language"] = entry.pop("type")
    entry["type"] = _CATEGORIES[category]
    return entry


_TASK_SCHEMA = r"properties.tasks.patternProperties.^\w+$.properties"


def tasks_with_action(spec: Any) -> Iterator[tuple[str, str, Any]]:
    """Yields name, action and input of each task whose action is no expression."""
    from orquesta.expressions import base as expressions

    for name, task in (spec.tasks or {}).items():
        ref = getattr(task, "action", None)
        if ref and not expressions.has_expressions(ref):
            yield name, ref, getattr(task, "input", None) or {}


def _content_errors(spec: Any, registry: Registry) -> Iterator[dict[str, Any]]:
    for name, ref, given in tasks_with_action(spec):
        message = ""
        if not re.fullmatch(r"[^.]+\..+", ref):
            message = f'The action reference "{ref}" is not formatted correctly.'
        else:
            try:
                action = registry.action(ref)
            except Refused:
                continue  # It is there; the task that runs it is told why it cannot.
            except UnknownReference:
                message = f'The action "{ref}" is not registered in the database.'
        if message:
            yield {
                "type": "content",
                "message": message,
                "spec_path": f"tasks.{name}.action",
                "schema_path": f"{_TASK_SCHEMA}.action",
            }
        elif isinstance(given, dict):
            yield from _input_errors(name, action, given)


def _input_errors(task: str, action: Action, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
    declared = dict(action.runner.parameters, **action.parameters)
    place = {
        "type": "content",
        "spec_path": f"tasks.{task}.input",
        "schema_path": f"{_TASK_SCHEMA}.input",
    }
    for name, details in sorted(declared.items()):
        if details.get("required") and "default" not in details and name not in given:
            message = f'Action "{action.ref}" is missing required input "{name}".'
            yield dict(place, message=message)
    for name in sorted(set(given) - set(declared)):
        yield {
            "type": "content",
            "message": f'Action "{action.ref}" has unexpected input "{name}".',
            "spec_path": f"tasks.{task}.input.{name}",
            "schema_path": f"{_TASK_SCHEMA}.input.patternProperties.^\\w+$",
        }
