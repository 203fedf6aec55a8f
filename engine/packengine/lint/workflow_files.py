"""Workflow files: Orquesta's inspection, and whether they fit what their action says."""

from __future__ import annotations

import re
from typing import Any, Iterator

import jinja2
import yaml

from packengine import workflows
from packengine.lint.subject import Subject
from packengine.problems import Problem, guarded
from packengine.resources import Action
from packengine.yaml_files import load_yaml

_REMEDIES = {
    "context": "publish it before, or add it to input or vars",
    "expression": "correct the expression",
    "semantic": "correct the workflow",
    "syntax": "write it as Orquesta's schema has it",
}

# What a result holds of each runner whose result is the same for all of its actions.
_SHELL = frozenset({"stdout", "stderr", "return_code", "succeeded", "failed", "error"})
_RESULTS = {
    "python-script": frozenset({"result", "stdout", "stderr", "exit_code", "error"}),
    "local-shell-cmd": _SHELL,
    "local-shell-script": _SHELL,
    "orquesta": frozenset({"output", "errors"}),
}


def check(subject: Subject) -> Iterator[Problem]:
    """Yields what makes workflows fail when they start, or ignore what they are given."""
    for action in subject.actions:
        if not action.is_workflow:
            continue
        try:
            errors = workflows.inspect(action, subject.registry)
            content = load_yaml(action.entry_point)
        except OSError:
            continue  # said by the check of entry points
        except yaml.YAMLError as error:
            yield Problem(action.entry_point, " ".join(str(error).split()), "correct the file")
            continue
        except Exception as error:  # Orquesta raises many kinds for a file that is no workflow.
            message = " ".join(f"{type(error).__name__}: {error}".split())
            yield Problem(action.entry_point, message, "correct the file")
            continue
        for found in errors:
            if found["type"] != "content":  # said by the check of calls
                yield _inspection_problem(action.entry_point, found)
        for problems in (
            _input_problems(action, content),
            _output_problems(action, content),
            _result_problems(subject, action, content),
            _name_problems(action.entry_point, content),
        ):
            yield from guarded(action.entry_point, problems)


def _inspection_problem(path: str, error: dict[str, Any]) -> Problem:
    expression = error.get("expression")
    words = f"{error['spec_path']}: {error['message'].rstrip('.')}"
    return Problem(
        path, words + (f" in {expression}" if expression else ""), _REMEDIES[error["type"]]
    )


def _input_problems(action: Action, content: dict[str, Any]) -> Iterator[Problem]:
    entries = _entries(content.get("input"))
    declared = set(action.parameters) - set(action.runner.parameters)
    for name in sorted(declared - set(entries)):
        yield Problem(
            action.entry_point,
            f"input does not have the action's parameter {name}, which is then ignored",
            "add it to input",
        )
    for name in sorted(set(entries) - declared):
        if not entries[name]:
            yield Problem(
                action.path,
                f"the workflow's input {name} is no parameter, so nobody can pass it",
                "add it to parameters, or give it a default in the workflow",
            )


def _output_problems(action: Action, content: dict[str, Any]) -> Iterator[Problem]:
    promised = (action.output_schema or {}).get("properties") or {}
    for name in sorted(set(promised) - set(_entries(content.get("output")))):
        yield Problem(
            action.entry_point,
            f"output does not have {name} of the action's output_schema",
            "add it to output, or take it from output_schema",
        )


def _result_problems(
    subject: Subject, action: Action, content: dict[str, Any]
) -> Iterator[Problem]:
    """Yields reads of results that the actions of tasks do not give."""
    for task, details in (content.get("tasks") or {}).items():
        details = details or {}
        called = subject.action(str(details.get("action")).split(" ", 1)[0])
        if called is None or "with" in details or called.runner.name not in _RESULTS:
            continue
        given = (called.output_schema or {}).get("properties") or {}
        for part, name in re.findall(r"\bresult\(\)\.(\w+)(?:\.(\w+))?", str(details.get("next"))):
            place = f"task {task}: {called.ref} gives no"
            if part not in _RESULTS[called.runner.name]:
                choices = ", ".join(sorted(_RESULTS[called.runner.name]))
                yield Problem(action.entry_point, f"{place} {part}", f"read one of {choices}")
            elif part == called.runner.output_key and name and given and name not in given:
                yield Problem(
                    action.entry_point,
                    f"{place} {part}.{name}",
                    f"read one of {', '.join(sorted(given))}, or add it to {called.ref}'s "
                    "output_schema",
                )


def _name_problems(path: str, content: Any) -> Iterator[Problem]:
    """Yields functions and filters that Orquesta, which only parses expressions, lets pass."""
    # Only now, as it takes long; the inspection has made them ready for this Python.
    from orquesta.expressions.jinja import JinjaEvaluator
    from orquesta.expressions.yql import YAQLEvaluator
    from yaql.language.exceptions import YaqlException

    for text in sorted(set(_texts(content))):
        try:
            JinjaEvaluator._jinja_env.from_string(text)
        except jinja2.TemplateAssertionError as error:
            yield Problem(path, f"{error.message} in {text!r}", "correct the expression")
        except jinja2.TemplateError:
            pass  # said by Orquesta's inspection
        for expression in YAQLEvaluator._regex_parser.findall(text):
            try:
                parsed = YAQLEvaluator._engine(YAQLEvaluator.strip_delimiter(expression))
            except (YaqlException, ValueError, TypeError):
                continue  # said by Orquesta's inspection
            for name in sorted(set(_function_names(parsed))):
                if not _is_yaql_function(name, YAQLEvaluator._root_ctx):
                    yield Problem(
                        path, f"YAQL has no function {name} in {expression}", "correct its name"
                    )


def _is_yaql_function(name: str, context: Any) -> bool:
    while context is not None:
        if context.get_functions(name)[0]:
            return True
        context = context.parent
    return False


def _function_names(parsed: Any) -> Iterator[str]:
    """Returns the names of the functions and methods that a parsed YAQL expression calls."""
    from yaql.language import expressions

    waiting = [parsed]
    while waiting:
        node = waiting.pop()
        if isinstance(node, expressions.Function):
            waiting.extend(node.args)
            if re.match(r"\w", node.name):  # operators have names of their own
                yield node.name
        elif isinstance(node, expressions.MappingRuleExpression):
            waiting.extend((node.source, node.destination))
        elif isinstance(node, expressions.Wrap):
            waiting.append(node.expr)
        elif isinstance(node, expressions.Statement):
            waiting.append(node.expression)


def _texts(value: Any) -> Iterator[str]:
    """Returns all text in a document, each part once: YAML can make a list hold itself."""
    waiting, seen = [value], set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            yield part
        elif isinstance(part, (dict, list)) and id(part) not in seen:
            seen.add(id(part))
            waiting.extend(part.values() if isinstance(part, dict) else part)


def _entries(entries: Any) -> dict[str, bool]:
    """Returns the names in a workflow's input or output, and whether each has a value."""
    found: dict[str, bool] = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            found.update(dict.fromkeys(entry, True))
        else:
            found[str(entry)] = False
    return found
