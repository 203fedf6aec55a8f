"""Writes executions and other resources for people, in 80 columns, with colours on a terminal."""

from __future__ import annotations

import json
import os
import textwrap
import threading
from typing import TYPE_CHECKING, Any, Iterable, Sequence, TextIO

import yaml

from packengine.execution import Execution
from packengine.resources import Action

if TYPE_CHECKING:
    from packengine.engine import Engine

WIDTH = 80

_COLOURS = {
    "succeeded": "32",
    "failed": "31",
    "timeout": "31",
    "abandoned": "31",
    "canceled": "33",
    "canceling": "33",
    "running": "36",
    "paused": "33",
    "pending": "33",
}


def coloured(text: str, colour: str | None, stream: TextIO) -> str:
    """Returns the text in a colour if the stream is a terminal that wants colours."""
    if colour and stream.isatty() and "NO_COLOR" not in os.environ:
        return f"\033[{colour}m{text}\033[0m"
    return text


def status(execution: Execution, stream: TextIO) -> str:
    return coloured(execution.status, _COLOURS.get(execution.status), stream)


def duration(seconds: float) -> str:
    """Returns seconds in few characters: 0.04s, 12.3s, 3m05s, 2h04m."""
    if seconds < 10:
        return f"{seconds:.2f}s"
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m"


def shorten(text: object, width: int) -> str:
    """Returns the text on one line, cut to a width."""
    text = " ".join(str(text).split())
    return text if len(text) <= width else text[: max(width - 3, 0)] + "..."


def table(headings: tuple[str, ...], rows: Sequence[tuple[object, ...]], stream: TextIO) -> None:
    """Writes rows under headings, cells cut so that a line fits; the first column never is."""
    texts = [
        tuple("" if cell is None else " ".join(str(cell).split()) for cell in row) for row in rows
    ]
    if not texts:
        stream.write("No matching items found\n")
        return
    widths = [
        max(len(row[column]) for row in [*texts, headings]) for column in range(len(headings))
    ]
    while sum(widths) + 2 * (len(widths) - 1) > WIDTH and max(widths[1:]) > 8:
        widths[widths.index(max(widths[1:]), 1)] -= 1
    for number, row in enumerate([headings, *texts]):
        cells = [row[0].ljust(widths[0])]
        cells += [shorten(cell, width).ljust(width) for cell, width in zip(row[1:], widths[1:])]
        line = "  ".join(cells).rstrip()
        stream.write((coloured(line, "1", stream) if number == 0 else line) + "\n")


def executions(found: Iterable[Execution], stream: TextIO) -> None:
    """Writes a list of executions."""
    rows = [
        (
            one.id,
            one.action,
            one.user,
            one.status,
            one.start_timestamp[5:19].replace("T", " "),
            duration(one.elapsed_seconds),
        )
        for one in found
    ]
    table(("id", "action.ref", "user", "status", "started (UTC)", "took"), rows, stream)


def execution(engine: Engine, shown: Execution, stream: TextIO, detail: bool = False) -> None:
    """Writes an execution and the tree of its tasks.

    :param shown: from Engine.masked.
    :param detail: also the context and the log of statuses.
    """
    elapsed = duration(shown.elapsed_seconds)
    lines = [
        ("id", shown.id),
        ("action.ref", shown.action),
        ("context.user", shown.user),
    ]
    trace_tag = (shown.context.get("trace_context") or {}).get("trace_tag")
    if trace_tag:
        lines.append(("trace_tag", trace_tag))
    lines += [
        ("status", f"{status(shown, stream)} ({elapsed} elapsed)"),
        ("start_timestamp", shown.start_timestamp),
        ("end_timestamp", shown.end_timestamp or ""),
    ]
    for name, value in lines:
        stream.write(("{}: {}".format(coloured(name, "1", stream), value)).rstrip() + "\n")
    _block("parameters", shown.parameters, stream)
    _block("result", shown.result, stream)
    if detail:
        _block("context", shown.context, stream)
        _block("log", shown.log, stream)
    children = engine.children(shown.id)
    if children:
        stream.write(coloured("tasks:", "1", stream) + "\n")
        _tree(engine, children, stream, "  ")


def _block(name: str, value: Any, stream: TextIO) -> None:
    heading = coloured(name + ":", "1", stream)
    if value in (None, {}, []):
        stream.write(f"{heading} None\n")
        return
    stream.write(heading + "\n" + textwrap.indent(as_yaml(value), "  "))


def as_yaml(value: Any) -> str:
    """Returns a value as YAML for people, in lines of the width."""
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=False,
        allow_unicode=True,
        sort_keys=False,
        width=WIDTH,
    )
    return text


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text.rstrip("\n") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _tree(engine: Engine, children: list[Execution], stream: TextIO, indent: str) -> None:
    for child in children:
        stream.write(_task_line(child, indent, stream) + "\n")
        _tree(engine, engine.children(child.id), stream, indent + "  ")


def _task_line(child: Execution, indent: str, stream: TextIO) -> str:
    orquesta = child.context.get("orquesta") or {}
    name = orquesta.get("task_name") or child.action
    if orquesta.get("item_id") is not None:
        name += "[{}]".format(orquesta["item_id"])
    left = shorten(indent + name, 34)
    left = indent + left.strip()
    end = duration(child.elapsed_seconds)
    return "{}  {} {}  {}".format(
        left.ljust(34),
        status(child, stream) + " " * (9 - len(child.status)),
        end.rjust(7),
        shorten(child.action, 25),
    )


class Progress:
    """Tells of a workflow's tasks as they end; a listener of the engine.

    :param identifier: of the workflow's execution.
    """

    def __init__(self, identifier: str, stream: TextIO) -> None:
        self._depths = {identifier: 0}
        self._stream = stream
        self._lock = threading.Lock()

    def __call__(self, event: str, what: Any) -> None:
        if event != "status" or what.parent not in self._depths:
            return
        with self._lock:
            depth = self._depths[what.parent] + 1
            if what.runner == "orquesta" and what.id not in self._depths:
                self._depths[what.id] = depth
                self._write(what, depth)
            elif what.is_completed or what.status in ("paused", "pending"):
                self._write(what, depth)

    def _write(self, what: Execution, depth: int) -> None:
        self._stream.write(_task_line(what, "  " * (depth - 1), self._stream).rstrip() + "\n")
        self._stream.flush()


def as_dict(engine: Engine, shown: Execution, tree: bool = True) -> dict[str, Any]:
    """Returns an execution as JSON shows it.

    :param shown: from Engine.masked.
    :param tree: also the tasks, and theirs.
    """
    result = {
        "id": shown.id,
        "action": {"ref": shown.action, "runner_type": shown.runner},
        "status": shown.status,
        "context": shown.context,
        "parameters": shown.parameters,
        "start_timestamp": shown.start_timestamp,
        "end_timestamp": shown.end_timestamp,
        "elapsed_seconds": shown.elapsed_seconds,
        "result": shown.result,
        "log": shown.log,
    }
    if tree:
        result["children"] = [
            as_dict(engine, engine.masked(child)) for child in engine.children(shown.id)
        ]
    return result


def action_as_dict(action: Action) -> dict[str, Any]:
    """Returns an action as JSON shows it."""
    return {
        "ref": action.ref,
        "pack": action.pack,
        "name": action.name,
        "description": action.description,
        "enabled": action.enabled,
        "runner_type": action.runner.name,
        "entry_point": action.entry_point,
        "parameters": action.parameters,
        "output_schema": action.output_schema,
    }


def action(shown: Action, stream: TextIO) -> None:
    """Writes an action and what may be passed to it."""
    stream.write("{}: {}\n".format(coloured("ref", "1", stream), shown.ref))
    stream.write("{}: {}\n".format(coloured("runner_type", "1", stream), shown.runner.name))
    if not shown.enabled:
        stream.write("{}: false\n".format(coloured("enabled", "1", stream)))
    if shown.description:
        stream.write(textwrap.fill(shown.description, WIDTH) + "\n")
    stream.write(coloured("parameters:", "1", stream) + "\n")
    for name, details in sorted(
        shown.parameters.items(), key=lambda item: (not item[1].get("required"), item[0])
    ):
        notes = [str(details.get("type", "any"))]
        notes += [word for word in ("required", "secret", "immutable") if details.get(word)]
        if "default" in details:
            notes.append("default {}".format(json.dumps(details["default"])))
        stream.write("  {} ({})\n".format(name, ", ".join(notes)))
        description = details.get("description")
        if description:
            stream.write(
                textwrap.fill(description, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
                + "\n"
            )
