"""`execution` and `inquiry`: what runs, has run or waits for an answer."""

from __future__ import annotations

import getpass
import sys

from packengine import show
from packengine.cli.commands import (
    ID,
    JSON,
    USER,
    Commands,
    Options,
    add_command,
    add_group,
    print_json,
)
from packengine.cli.runs import read_words
from packengine.engine import Engine
from packengine.execution import PENDING, SUCCEEDED, Execution


def add_execution(commands: Commands) -> None:
    group = add_group(commands, "execution", "List, show, cancel and pause executions.")
    add_command(
        group,
        "list",
        _execution_list,
        "List executions, newest first.",
        (
            ("-n", "--last"),
            {"type": int, "default": 50, "metavar": "N", "help": "number of executions (50)"},
        ),
        (("--action",), {"metavar": "PACK.ACTION"}),
        (("--status",), {}),
        (("--all",), {"action": "store_true", "help": "include the tasks of workflows"}),
        JSON,
    )
    add_command(
        group,
        "get",
        _execution_get,
        "Show an execution and a workflow's tasks.",
        ID,
        JSON,
        (("-d", "--detail"), {"action": "store_true", "help": "show every field"}),
    )
    add_command(group, "cancel", _execution_cancel, "Cancel an execution.", ID)
    add_command(group, "pause", _execution_pause, "Pause a workflow between its tasks.", ID)
    add_command(group, "resume", _execution_resume, "Resume a paused workflow.", ID)


def _execution_list(engine: Engine, options: Options) -> int:
    found = engine.executions(
        action=options.action, status=options.status, limit=options.last, top_level=not options.all
    )
    shown = [engine.masked(execution) for execution in found]
    if options.json:
        print_json([show.as_dict(engine, execution, tree=False) for execution in shown])
    else:
        show.executions(shown, sys.stdout)
    return 0


def _execution_get(engine: Engine, options: Options) -> int:
    execution = engine.masked(engine.execution(options.id))
    if options.json:
        print_json(show.as_dict(engine, execution))
    else:
        show.execution(engine, execution, sys.stdout, detail=options.detail)
    return 0


def _execution_cancel(engine: Engine, options: Options) -> int:
    execution = engine.cancel(options.id)
    print(f"Execution {execution.id} is being canceled (it was {execution.status}).")
    return 0


def _execution_pause(engine: Engine, options: Options) -> int:
    execution = engine.pause(options.id)
    print(f"Execution {execution.id} is being paused (it was {execution.status}).")
    return 0


def _execution_resume(engine: Engine, options: Options) -> int:
    execution = engine.execution(options.id)
    engine.subscribe(show.Progress(execution.id, sys.stdout))
    engine.resume(options.id)
    return _show_the_rest(engine, execution)


def _show_the_rest(engine: Engine, execution: Execution) -> int:
    """Waits for a workflow that goes on in this process, and shows how it ends."""
    engine.wait_for_background()
    execution = engine.execution(execution.id)
    show.execution(engine, engine.masked(execution), sys.stdout)
    return 0 if execution.status == SUCCEEDED else 1


def add_inquiry(commands: Commands) -> None:
    group = add_group(commands, "inquiry", "List, show and answer inquiries.")
    add_command(group, "list", _inquiry_list, "List open inquiries.", JSON)
    add_command(
        group,
        "respond",
        _inquiry_respond,
        "Respond to an inquiry and resume its workflow in this process.",
        ID,
        (("response",), {"nargs": "+", "metavar": "name=value"}),
        USER,
    )


def _inquiry_list(engine: Engine, options: Options) -> int:
    found = [engine.masked(one) for one in engine.executions(status=PENDING, top_level=False)]
    if options.json:
        print_json([show.as_dict(engine, one, tree=False) for one in found])
    else:
        rows = [(one.id, one.result["route"], ", ".join(one.result["users"])) for one in found]
        show.table(("id", "route", "users"), rows, sys.stdout)
    return 0


def _inquiry_respond(engine: Engine, options: Options) -> int:
    execution = engine.execution(options.id)
    properties = ((execution.result or {}).get("schema") or {}).get("properties", {})
    response = read_words("the response", options.response, properties)
    root = _root(engine, execution)
    engine.subscribe(show.Progress(root.id, sys.stdout))
    engine.respond(options.id, response, options.user or getpass.getuser())
    return _show_the_rest(engine, root)


def _root(engine: Engine, execution: Execution) -> Execution:
    while execution.parent:
        execution = engine.execution(execution.parent)
    return execution
