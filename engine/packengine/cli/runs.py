"""`run`: an action, from its parameters in words to its end."""

from __future__ import annotations

import ast
import contextlib
import getpass
import json
import os
import signal
import subprocess
import sys
from typing import Any, Iterator, Sequence

from packengine import answers, show
from packengine.cli import configurations
from packengine.cli.commands import (
    JSON,
    USER,
    Commands,
    Options,
    UsageError,
    add_command,
    print_json,
)
from packengine.engine import Engine
from packengine.execution import SUCCEEDED, Execution
from packengine.resources import Action


def add_run(commands: Commands) -> None:
    run = add_command(
        commands,
        "run",
        _run,
        "Run an action and show its answer; --json shows everything.",
        (("ref",), {"metavar": "PACK.ACTION"}),
        (("parameters",), {"nargs": "*", "default": [], "metavar": "name=value"}),
        (
            ("-a", "--async"),
            {
                "action": "store_true",
                "dest": "detach",
                "help": "start it in a separate process and return",
            },
        ),
        JSON,
        (("--trace-tag",), {"help": "tag shared by related executions"}),
        USER,
    )
    run.epilog = "Pass objects and arrays as JSON, an array of strings also as a,b,c."
    perform = commands.add_parser("perform")  # what `run --async` starts; not for people
    perform.add_argument("id")
    perform.set_defaults(command=_perform, needs_engine=True)


def _run(engine: Engine, options: Options) -> int:
    action = engine.registry.action(options.ref)
    given = read_parameters(action, options.parameters)
    configurations.check(engine, options, [action.pack])
    context = engine.context(options.user or getpass.getuser(), options.trace_tag)
    execution = engine.request(options.ref, given, context)
    if options.detach:
        return _detach(engine, options, execution)
    if not options.json:
        engine.subscribe(show.Progress(execution.id, sys.stderr))
    with _canceled_by_interrupt(engine, execution):
        engine.perform(execution)
    shown = engine.masked(execution)
    if options.json:
        print_json(show.as_dict(engine, shown))
    else:
        _answer(engine, shown)
    return 0 if execution.status == SUCCEEDED else 1


def _answer(engine: Engine, shown: Execution) -> None:
    """Prints what people read; the whole record only of what has no words for them."""
    answer = answers.answer(engine, shown)
    if answer is None:
        show.execution(engine, shown, sys.stdout)
    else:
        print(answer.text, file=sys.stderr if answer.is_error else sys.stdout)


def _detach(engine: Engine, options: Options, execution: Execution) -> int:
    command = [sys.executable, "-W", "ignore", "-m", "packengine", "--data-dir", engine.data_dir]
    if options.config_dir:
        command += ["--config-dir", options.config_dir]
    for path in options.pack or ():
        command += ["--pack", path]
    with open(os.path.join(engine.data_dir, "async.log"), "ab") as log:
        process = subprocess.Popen(
            [*command, "perform", execution.id],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    engine.store.hand_over(execution, process.pid)
    print(f"To get the results, execute:\n packengine execution get {execution.id}")
    return 0


def _perform(engine: Engine, options: Options) -> int:
    execution = engine.execution(options.id)
    engine.store.adopt(execution)
    engine.perform(execution)
    return 0 if execution.status == SUCCEEDED else 1


@contextlib.contextmanager
def _canceled_by_interrupt(engine: Engine, execution: Execution) -> Iterator[None]:
    """Makes Ctrl-C and SIGTERM cancel the execution; a second one ends this process."""

    def cancel(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        print(f"Canceling {execution.id} ...", file=sys.stderr)
        engine.in_background(_cancel_quietly, engine, execution.id)

    previous = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _cancel_quietly(engine: Engine, identifier: str) -> None:
    with contextlib.suppress(ValueError):
        engine.cancel(identifier)


def read_parameters(action: Action, words: Sequence[str]) -> dict[str, Any]:
    """Returns name -> value of ``name=value`` words, read as the action's types say.

    Raises :class:`UsageError`.
    """
    return read_words(action.ref, words, action.parameter_schema()["properties"])


def read_words(whose: str, words: Sequence[str], declared: dict[str, Any]) -> dict[str, Any]:
    """Like :func:`read_parameters`, for anything whose properties' schemas are given."""
    given = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator or not name:
            hint = "" if separator or not declared else f"; write it as {_first(declared)}={word}"
            raise UsageError(f'"{word}" is not name=value{hint}')
        try:
            given[name] = _read_value(text, declared.get(name, {}))
        except (ValueError, SyntaxError):
            raise UsageError(
                'Parameter "{}" of {}: not of type {}'.format(name, whose, declared[name]["type"])
            ) from None
    return given


def _first(declared: dict[str, Any]) -> str:
    """Returns the name of the parameter that a value without a name is most likely meant for."""
    return min(
        declared,
        key=lambda name: (declared[name].get("position", 99), not declared[name].get("required")),
    )


def _read_value(text: str, details: dict[str, Any]) -> Any:
    kind = details.get("type")
    if "{{" in text or "{%" in text:
        return text
    if kind == "integer":
        return int(text)
    if kind == "number":
        return float(text)
    if kind == "boolean":
        value = {"1": True, "yes": True, "0": False, "no": False}.get(text.lower())
        return ast.literal_eval(text.capitalize()) if value is None else value
    if kind == "object":
        return json.loads(text)
    if kind == "array":
        if text.lstrip().startswith("["):
            return json.loads(text)
        items = details.get("items")
        items = items if isinstance(items, dict) else {}
        return [_read_value(part.strip(), items) for part in text.split(",")] if text else []
    return text
