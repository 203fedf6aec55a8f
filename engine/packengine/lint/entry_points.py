"""Entry points: files that exist, and Python that defines exactly what the runner needs."""

from __future__ import annotations

import ast
import os
from typing import Iterator

from packengine.lint.subject import Subject
from packengine.problems import Problem, described, guarded
from packengine.regular_files import read_text
from packengine.resources import Action, Sensor

_NEED_A_FILE = ("python-script", "orquesta", "local-shell-script", "remote-shell-script")
_REFUSE_A_FILE = ("local-shell-cmd", "remote-shell-cmd")

# What StackStorm's base classes leave to a sensor.
_SENSOR_METHODS = ("setup", "cleanup", "add_trigger", "update_trigger", "remove_trigger")
_OWN_METHOD = {"Sensor": "run", "PollingSensor": "poll"}


def check(subject: Subject) -> Iterator[Problem]:
    """Yields entry points that cannot be run."""
    for action in subject.actions:
        yield from guarded(action.path, _of_action(subject, action))
    for sensor in subject.sensors:
        yield from guarded(sensor.path, _of_sensor(subject, sensor))
    yield from _syntax_problems(subject.pack.path)


def _of_action(subject: Subject, action: Action) -> Iterator[Problem]:
    runner = action.runner.name
    if runner in _REFUSE_A_FILE and action.entry_point:
        script = runner.replace("cmd", "script")
        yield Problem(
            action.path,
            f"{runner} takes no entry_point",
            f"leave it out, or use {script}",
        )
    elif runner in _NEED_A_FILE:
        problem = _missing(subject.pack.path, action.path, action.entry_point)
        if problem is not None:
            yield problem
        elif runner == "python-script":
            yield from _action_problems(action)


def _of_sensor(subject: Subject, sensor: Sensor) -> Iterator[Problem]:
    problem = _missing(subject.pack.path, sensor.path, sensor.entry_point)
    if problem is not None:
        yield problem
    else:
        yield from _sensor_problems(sensor)


def _missing(pack: str, path: str, entry_point: str) -> Problem | None:
    if not entry_point:
        return Problem(path, "has no entry_point", "name its file")
    if os.path.relpath(entry_point, pack).split(os.sep, 1)[0] == os.pardir:
        return Problem(path, "entry_point lies outside of the pack", "move the file into the pack")
    if os.path.isfile(entry_point):
        return None
    name = os.path.relpath(entry_point, os.path.dirname(os.path.dirname(path)))
    return Problem(path, f"there is no {name}", "correct entry_point, or add the file")


def _syntax_problems(directory: str) -> Iterator[Problem]:
    for kind in ("actions", "sensors"):
        for folder, _, files in sorted(os.walk(os.path.join(directory, kind))):
            for file in sorted(files):
                if file.endswith(".py"):
                    path = os.path.join(folder, file)
                    problem = _parsed(path)[1]
                    if problem is not None:
                        yield problem


def _parsed(path: str) -> tuple[ast.Module, Problem | None]:
    """Returns a file's syntax tree, empty with a problem when it cannot be read."""
    try:
        return ast.parse(read_text(path)), None
    except SyntaxError as error:
        return ast.Module([], []), Problem(path, f"line {error.lineno}: {error.msg}", "correct it")
    except OSError as error:
        words = error.strerror or "it is no regular file"
        problem = Problem(path, f"cannot be read: {words}", "correct or remove it")
        return ast.Module([], []), problem
    except ValueError as error:
        return ast.Module([], []), Problem(path, str(error), "correct it")
    except (MemoryError, RecursionError) as error:  # what deep nesting raises
        return ast.Module([], []), Problem(path, described(error), "nest it less deeply")


def _classes(path: str) -> dict[str, ast.ClassDef] | None:
    """Returns the classes a file defines at its top, None when it cannot be read."""
    tree, problem = _parsed(path)
    if problem is not None:
        return None
    # Also those that stand below an if, a try or a with.
    found: dict[str, ast.ClassDef] = {}
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.ClassDef):
            found[node.name] = node
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.expr)):
            waiting.extend(ast.iter_child_nodes(node))
    return found


def _base_names(node: ast.ClassDef) -> list[str]:
    """Returns the last part of each base class's name."""
    return [
        base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "?")
        for base in node.bases
    ]


def _defined(node: ast.ClassDef) -> dict[str, ast.AST]:
    """Returns what a class defines itself: methods, and names that are assigned."""
    found: dict[str, ast.AST] = {}
    for statement in node.body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[statement.name] = statement
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    found[target.id] = statement
    return found


def _inherited(
    name: str, classes: dict[str, ast.ClassDef], below: frozenset[str] = frozenset()
) -> tuple[dict[str, ast.AST], set[str]]:
    """Returns what a class has by classes of its file, and the names of its other bases.

    :param below: classes this one is asked for, so that a circle of bases comes to an end.
    """
    has: dict[str, ast.AST] = {}
    outside: set[str] = set()
    for base in _base_names(classes[name]):
        if base in classes and base != name and base not in below:
            more, further = _inherited(base, classes, below | {name})
            has.update(more)
            outside |= further
        elif base not in below:
            outside.add(base)
    has.update(_defined(classes[name]))
    return has, outside - {"object", "ABC"}


def _is_abstract(method: ast.AST) -> bool:
    decorators = getattr(method, "decorator_list", [])
    return any("abstract" in ast.dump(decorator) for decorator in decorators)


def _action_problems(action: Action) -> Iterator[Problem]:
    classes = _classes(action.entry_point)
    if classes is None:
        return
    runnable = {}
    for name in classes:
        has, outside = _inherited(name, classes)
        if "run" in has and not _is_abstract(has["run"]):
            runnable[name] = (has, outside)
        elif "run" not in has and outside and outside != {"Action"}:
            runnable[name] = (has, outside)  # a base of another file may bring run
    certain = [name for name, (has, _) in runnable.items() if "run" in has]
    if not runnable:
        yield Problem(
            action.entry_point, "defines no class with a method run", "add one that extends Action"
        )
    elif len(certain) > 1:
        yield Problem(
            action.entry_point,
            f"defines several classes with a method run, of which the runner takes {min(certain)}",
            "leave one, and move the others to another file",
        )
    elif len(certain) == 1:
        has, outside = runnable[certain[0]]
        if not outside and "__init__" not in has:
            yield Problem(
                action.entry_point,
                f"{certain[0]} does not extend Action, which takes config and action_service",
                "extend st2common.runners.base_action.Action",
            )
        if isinstance(has["run"], ast.AsyncFunctionDef):
            yield Problem(
                action.entry_point,
                "run() is async, and the runner does not wait for what it returns",
                "write def run, and asyncio.run() in it",
            )
        if isinstance(has["run"], ast.FunctionDef):
            yield from _signature_problems(action, has["run"])


def _signature_problems(action: Action, run: ast.FunctionDef) -> Iterator[Problem]:
    """Yields where the parameters of the action and of its run method differ."""
    given = set(action.parameters) - set(action.runner.parameters)
    arguments = run.args
    names = [argument.arg for argument in (*arguments.args, *arguments.kwonlyargs)][1:]
    if arguments.kwarg is None:
        for name in sorted(given - set(names)):
            yield Problem(
                action.entry_point,
                f"run() does not take the action's parameter {name}",
                f"add it, or take it out of {os.path.basename(action.path)}",
            )
    first_default = len(arguments.args) - len(arguments.defaults)
    required = [argument.arg for argument in arguments.args[1:first_default]]
    required += [
        argument.arg
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults)
        if default is None
    ]
    for name in required:
        if name not in given:
            yield Problem(
                action.entry_point,
                f"run() requires {name}, which is no parameter of the action",
                f"add it to {os.path.basename(action.path)}, or give it a default",
            )


def _sensor_problems(sensor: Sensor) -> Iterator[Problem]:
    classes = _classes(sensor.entry_point)
    if classes is None:
        return
    if sensor.class_name not in classes:
        tree, _ = _parsed(sensor.entry_point)
        imported = {
            alias.asname or alias.name
            for node in tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        if sensor.class_name not in imported:
            yield Problem(
                sensor.path,
                f"{os.path.basename(sensor.entry_point)} has no class {sensor.class_name}",
                "correct class_name",
            )
        return
    has, outside = _inherited(sensor.class_name, classes)
    if len(outside) != 1 or not outside <= set(_OWN_METHOD):
        return  # a base of another file may bring what is missing
    for method in (_OWN_METHOD[min(outside)], *_SENSOR_METHODS):
        if method not in has:
            yield Problem(
                sensor.entry_point,
                f"{sensor.class_name} has no method {method}, so that it cannot be started",
                "add it; it may do nothing",
            )
