"""Renders, casts and validates an action's parameters in StackStorm's two passes.

When an execution is requested, what was passed is rendered (*live* parameters), validated and
kept with the execution. When it runs, defaults are added and rendered (*final* parameters); what
was passed is then taken as it is.
"""

from __future__ import annotations

import ast
import json
import re
from typing import Any, Callable, Dict, Sequence

import jinja2
from jinja2 import meta

from packengine import schema, templates
from packengine.datastore import Datastore
from packengine.execution import Context, Parameters
from packengine.resources import Action

# What is declared of parameters, by name: first by the action, then by its runner.
Declarations = Sequence[Dict[str, schema.Schema]]


class ParameterError(ValueError):
    """A parameter cannot be used; the message names it."""


def live_parameters(
    action: Action,
    given: Parameters,
    context: Context,
    config: dict[str, Any],
    datastore: Datastore,
    extra: dict[str, Any] | None = None,
) -> Parameters:
    """Renders and casts what was passed, and defaults that are templates.

    :param given: values may be templates.
    :param context: the execution's context, ``action_context`` in templates.
    :param config: the pack's configuration, ``config_context`` in templates.
    :param datastore: `st2kv` in templates.
    :param extra: more names for templates, such as a rule's ``trigger``.
    :raises ParameterError: when one cannot be rendered or cast.
    """
    schemas = (action.parameters, action.runner.parameters)
    graph = _Graph(context, config, datastore)
    for name, value in (extra or {}).items():
        graph.add_value(name, value)
    for name, value in given.items():
        graph.add(name, value)
    graph.add_defaults(schemas)
    values = graph.resolve()
    live = {name: _cast_with(schemas, name, values[name]) for name in given}
    for parameters in schemas:
        for name, details in parameters.items():
            default = details.get("default")
            if (
                name not in given
                and not details.get("immutable")
                and templates.is_template(default)
                and default != values[name]
            ):
                live[name] = _cast(name, values[name], details)
    return live


def final_parameters(
    action: Action, live: Parameters, context: Context, config: dict[str, Any], datastore: Datastore
) -> tuple[Parameters, Parameters]:
    """Returns (runner's parameters, action's parameters), every declared one present.

    :param live: of :func:`live_parameters`.
    :param context: the execution's context, ``action_context`` in templates.
    :param config: the pack's configuration, ``config_context`` in templates.
    :param datastore: `st2kv` in templates.
    :raises ParameterError: when one cannot be rendered or cast.
    """
    schemas = (action.parameters, action.runner.parameters)
    graph = _Graph(context, config, datastore)
    for name, value in live.items():
        graph.add_value(name, value)
    graph.add_defaults(schemas)
    values = graph.resolve()
    values = {
        name: _cast_with(schemas, name, values[name])
        for name in values
        if any(name in parameters for parameters in schemas)
    }
    runner = {name: value for name, value in values.items() if name in action.runner.parameters}
    return runner, {name: value for name, value in values.items() if name not in runner}


def validate(action: Action, live: Parameters) -> None:
    """Checks that parameters may be passed to the action.

    :raises ParameterError: when they do not fit, or one is immutable.
    """
    declared = action.parameter_schema()
    told: list[schema.Path] = []

    def describe(path: schema.Path) -> str:
        told.append(path)
        return _describe(action, path)

    try:
        schema.validate(live, declared, describe)
    except schema.SchemaError as error:
        name = told[-1][0] if told and told[-1] else ""
        about = declared["properties"].get(name, {}).get("description")
        raise ParameterError(f"{error} ({about})" if about else str(error)) from None
    immutable = sorted(
        name for name in live if declared["properties"].get(name, {}).get("immutable")
    )
    if immutable:
        raise ParameterError(
            f'Parameter "{immutable[0]}" of {action.ref} is immutable and cannot be given'
        )


def _describe(action: Action, path: schema.Path) -> str:
    if not path:
        return f"The parameters of {action.ref}"
    place = schema.dotted(path[1:]) if len(path) > 1 else ""
    suffix = f" (at {place})" if place else ""
    return f'Parameter "{path[0]}" of {action.ref}{suffix}'


class _Graph:
    """Parameters and what their templates depend on.

    A node may hold both a template and a value; the template wins. That is how StackStorm comes to
    prefer a default that is a template over a passed template, so it is kept.
    """

    def __init__(self, context: Context, config: dict[str, Any], datastore: Datastore) -> None:
        self._nodes: dict[str, dict[str, Any]] = {}
        self._depends: dict[str, set[str]] = {}
        user = context.get("api_user") or context.get("user")
        self.add_value("st2kv", templates.datastore_context(datastore, user))
        self.add_value("action_context", context)
        self.add_value("config_context", config)

    def add_value(self, name: str, value: Any) -> None:
        self._nodes.setdefault(name, {})["value"] = value

    def add(self, name: str, value: Any) -> None:
        text = str(value) if isinstance(value, (list, dict)) else value
        if not templates.is_template(text):
            self.add_value(name, value)
            return
        try:
            tree = templates.environment().parse(text)
        except jinja2.TemplateSyntaxError:
            self.add_value(name, value)
            return
        self._nodes.setdefault(name, {})["template"] = value
        self._depends.setdefault(name, set()).update(meta.find_undeclared_variables(tree))

    def add_defaults(self, schemas: Declarations) -> None:
        for parameters in schemas:
            for name, details in parameters.items():
                value = self._nodes.get(name, {}).get("value")
                if value is None or details.get("immutable"):
                    self.add(name, details.get("default"))

    def resolve(self) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in self._nodes:
            self._resolve(name, values, ())
        return values

    def _resolve(self, name: str, values: dict[str, Any], path: tuple[str, ...]) -> None:
        if name in values:
            return
        if name in path:
            raise ParameterError(
                "Cyclic dependency found in the following variables: {}. Likely the variable is "
                "referencing itself".format(", ".join(sorted(path)))
            )
        if name not in self._nodes:
            raise ParameterError(f'Dependency unsatisfied in variable "{name}"')
        for dependency in sorted(self._depends.get(name, ())):
            self._resolve(dependency, values, (*path, name))
        node = self._nodes[name]
        if "template" not in node:
            values[name] = node["value"]
            return
        try:
            values[name] = _render(node["template"], values)
        except Exception as error:
            raise ParameterError(f'Failed to render parameter "{name}": {error}') from error


def _render(template: Any, context: dict[str, Any]) -> Any:
    if not isinstance(template, (list, dict)):
        return templates.render(str(template), context)
    # "{{name}}" alone in a structure keeps the type of what it names.
    text = re.sub(
        r'"{{([A-z0-9_-]+)}}"', r"{{\1 | to_complex}}", json.dumps(template, ensure_ascii=False)
    )
    return json.loads(templates.render(text, context))


def _cast_with(schemas: Declarations, name: str, value: Any) -> Any:
    details: schema.Schema = {}
    for parameters in schemas:
        details = parameters.get(name, details)
    return _cast(name, value, details)


def _cast(name: str, value: Any, details: schema.Schema) -> Any:
    cast = _CASTS.get(details.get("type", ""))
    if value is None or cast is None:
        return value
    try:
        return cast(value)
    except Exception as error:
        shown = "" if details.get("secret") else f' "{value}"'
        reason = type(error).__name__ if details.get("secret") else error
        raise ParameterError(
            'Failed to cast value{} (type: {}) for parameter "{}" of type "{}": {}'.format(
                shown, type(value).__name__, name, details["type"], reason
            )
        ) from error


def _none_if_marked(value: Any) -> Any:
    return None if value == templates.NONE_MARKER else value


def _cast_structure(value: Any) -> Any:
    value = _none_if_marked(value)
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return ast.literal_eval(value)


def _cast_boolean(value: Any) -> Any:
    value = _none_if_marked(value)
    return ast.literal_eval(value.capitalize()) if isinstance(value, str) else value


def _cast_string(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("it must either be a string or None")
    return _none_if_marked(value)


_CASTS: dict[str, Callable[[Any], Any]] = {
    "array": _cast_structure,
    "object": _cast_structure,
    "boolean": _cast_boolean,
    "integer": lambda value: int(_none_if_marked(value)),
    "number": lambda value: float(_none_if_marked(value)),
    "string": _cast_string,
}
