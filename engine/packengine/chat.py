"""A chat room of one console: commands to the packs' aliases, and what the packs announce."""

from __future__ import annotations

import contextlib
import queue
import re
import textwrap
import threading
import time
from typing import Any, Iterator, NamedTuple, Protocol, TextIO

from jinja2 import TemplateError

from packengine import aliases, answers, completion, show, templates
from packengine.engine import Engine
from packengine.execution import PAUSED, PENDING, SUCCEEDED, Execution
from packengine.packs import ActionDisabled, UnknownReference
from packengine.parameters import ParameterError

WIDTH = 80
PREFIX = "!"
FAREWELLS = ("quit", "exit")

# Seconds between two looks for what has ended or has been announced, also by other processes.
LOOK_INTERVAL = 0.1
# Announcements looked at each time; more than come in one interval.
_NEWEST = 20
# An execution that no process carries on now: it waits for people.
_AT_REST = (PAUSED, PENDING)
_NOT_PRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# What a person did wrong in a line of chat; the room says it and stays open.
_REFUSALS = (ActionDisabled, UnknownReference, ParameterError, ValueError, TemplateError)


def handle(engine: Engine, user: str, line: str, out: TextIO, width: int = WIDTH) -> bool:
    """Runs one line of chat and waits for its result.

    :param user: the name of the user who typed it.
    :param line: a command, with or without the leading `!`.
    :param out: receives acknowledgement, announcements and result.
    :param width: columns of the output.
    :returns: False for an unknown command or one that failed.
    """
    return Room(engine, user, out, width).say(line)


def run_script(engine: Engine, user: str, source: TextIO, out: TextIO) -> int:
    """Does the lines of a script, each shown and ended before the next; returns the exit code.

    :returns: 1 if a command failed, 130 after Ctrl-C, which ends what runs.
    """
    room = Room(engine, user, out)
    outcomes = []
    try:
        for line in source:
            if is_farewell(line):
                break
            if line.strip():
                room.write(f"{user}> {line.strip()}")
                outcomes.append(room.say(line))
    except KeyboardInterrupt:
        engine.stop_background(0)
        return 130
    return 0 if all(outcomes) else 1


def is_farewell(line: str) -> bool:
    """Returns whether a line ends the chat."""
    return command_of(line).lower() in FAREWELLS


def command_of(line: str) -> str:
    """Returns a line without the mark that tells commands from talk where people talk too."""
    line = line.strip()
    return line[len(PREFIX) :].strip() if line.startswith(PREFIX) else line


class Output(Protocol):
    """Where a room writes."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...


class _Waiting(NamedTuple):
    """What was asked for and has not been answered yet."""

    command: str
    alias: aliases.Alias


class Room:
    """One user's view of the chat: announcements heard and results awaited.

    Commands run in this process; announcements may come from others that share its data.

    :ivar width: columns of the answers.

    :param engine: runs the commands.
    :param user: the user's name.
    :param out: receives the room's answers.
    :param tells_steps: tell of each task of a workflow when it has ended.
    :raises packengine.aliases.Unsupported: when a pack has an alias the engine cannot match.
    """

    def __init__(
        self,
        engine: Engine,
        user: str,
        out: Output,
        width: int = WIDTH,
        tells_steps: bool = False,
    ) -> None:
        self.width = width
        self._engine = engine
        self._user = user
        self._out = out
        self._aliases = [
            aliases.Alias(dict(each.metadata, pack=each.pack))
            for each in engine.registry.aliases.values()
        ]
        self._announcers = [
            action.ref
            for action in engine.registry.actions.values()
            if action.runner.name == "announcement"
        ]
        self._waiting: dict[str, _Waiting] = {}
        self._at_rest: set[str] = set()
        self._lock = threading.RLock()
        self._heard = {each.id for each in self._announcements()}
        self._steps = _Steps()
        if tells_steps:
            engine.subscribe(self._steps)

    def say(self, line: str) -> bool:
        """Does what a line says and waits for it; returns False for a command that failed."""
        done = self.start(line)
        return self._wait(done) if isinstance(done, Execution) else done

    def start(self, line: str) -> Execution | bool:
        """Starts what a line says; `look` writes the answer once it has ended.

        :returns: the execution; without one, whether the line could be answered.
        """
        command = command_of(line)
        if not command:
            self.write(f"Type a command; {PREFIX}help lists them.")
            return True
        if command.lower().split()[:1] == ["help"]:
            self._help(command.partition(" ")[2].strip())
            return True
        try:
            return self._start(command)
        except _REFUSALS as error:
            self.write(str(error))
            return False

    def look(self) -> None:
        """Writes what has been announced, and the results of what has ended, since last time."""
        with self._lock:
            for line in self._steps.take():
                self.write(line)
            for announcement in self._announcements():
                if announcement.id not in self._heard and announcement.is_completed:
                    self._heard.add(announcement.id)
                    self._announce(announcement.parameters)
            for identifier, waiting in list(self._waiting.items()):
                execution = self._engine.execution(identifier)
                if execution.is_completed:
                    del self._waiting[identifier]
                    self._answer(waiting.alias, execution)
                elif execution.status in _AT_REST and identifier not in self._at_rest:
                    self._at_rest.add(identifier)
                    self.write(f"Execution {identifier} is {execution.status}.")

    def write(self, text: str) -> None:
        """Writes a text in the room's width, without control characters."""
        lines = _NOT_PRINTABLE.sub("", text.rstrip().expandtabs()).split("\n")
        with self._lock:
            self._out.write(
                "".join(f"{part}\n" for line in lines for part in wrapped(line, self.width))
            )
            self._out.flush()

    def running(self) -> list[str]:
        """Returns the commands whose executions go on in this process."""
        return [
            waiting.command
            for identifier, waiting in self._waiting.items()
            if self._engine.execution(identifier).status not in _AT_REST
        ]

    def completions(self, typed: str) -> list[str]:
        """Returns what the last word of a line may become.

        :param typed: the line up to the end of that word, which may be empty.
        """
        mark = PREFIX if typed.lstrip().startswith(PREFIX) else ""
        before = command_of(typed).split()
        word = before.pop() if before and not typed.endswith(" ") else ""
        commands = [
            (alias.pack, display)
            for alias in self._aliases
            if alias.enabled
            for display in alias.displays()
        ]
        commands += [("", word) for word in ("help [command]", *FAREWELLS)]
        found = completion.completions(self._engine, commands, before, word)
        return sorted(each if before else mark + each for each in found)

    def _start(self, command: str) -> Execution:
        found = aliases.match(command, self._aliases)
        alias = found.alias
        action = self._engine.registry.action(alias.action_ref)
        context = {
            "api_user": self._user,
            "source_channel": "console",
            "action_alias_ref": {"id": alias.ref, "name": alias.name},
        }
        names = dict(
            context,
            user=self._user,
            st2kv=templates.datastore_context(self._engine.store.keys, self._user),
        )
        parameters = aliases.execution_parameters(
            found, action.parameter_schema()["properties"], names
        )
        with self._lock:  # Nothing is answered before it is acknowledged.
            execution = self._engine.start(
                alias.action_ref, parameters, user=self._user, context=context, literal=True
            )
            self._waiting[execution.id] = _Waiting(command, alias)
            acknowledgement = aliases.acknowledgement(
                alias, answers.described(self._engine, execution)
            )
            if acknowledgement:
                self.write(acknowledgement.text)
        return execution

    def _wait(self, execution: Execution) -> bool:
        while not execution.is_completed:
            if execution.status in _AT_REST:
                return True
            time.sleep(LOOK_INTERVAL)
            execution = self._engine.execution(execution.id)
            self.look()
        return execution.status == SUCCEEDED

    def _answer(self, alias: aliases.Alias, execution: Execution) -> None:
        try:
            message = aliases.result_message(alias, answers.described(self._engine, execution))
        except Exception as error:  # A template may raise anything, and the room stays open.
            self.write(
                f"Execution {execution.id} {execution.status}, but the result format of "
                f"{alias.ref} is wrong: {error}"
            )
            return
        if message and message.text.strip():
            self.write(message.text)

    def _announcements(self) -> list[Execution]:
        """Returns the newest announcements, oldest first."""
        newest = [
            execution
            for ref in self._announcers
            for execution in self._engine.executions(ref, limit=_NEWEST, top_level=False)
        ]
        return sorted(newest, key=lambda execution: execution.start_timestamp)

    def _announce(self, parameters: dict[str, Any]) -> None:
        channel = parameters.get("channel") or parameters.get("route") or "announcement"
        self.write(f"#{channel}: {parameters.get('message')}")

    def _help(self, word: str) -> None:
        every = sorted(
            (display, alias)
            for alias in self._aliases
            if alias.enabled
            for display in alias.displays()
        )
        commands = [each for each in every if word.lower() in each[0].lower()] or [
            each for each in every if word.lower() in each[1].description.lower()
        ]
        if not commands:
            self.write(f'No command mentions "{word}". !help lists all commands.')
            return
        width = self.width
        column = min(max(len(display) for display, _ in commands), width // 2) + len(PREFIX) + 2
        for display, alias in commands:
            start = (PREFIX + display).ljust(column)
            if not start.endswith(" "):  # too long to have the description beside it
                self.write(start)
                start = " " * column
            for part in wrapped(start + alias.description, width, " " * column):
                self.write(part)
            if word:
                for format_string in alias.get_format_strings():
                    line = f"{'':{column}}matches {format_string}"
                    if len(line) <= width and "\n" not in line:  # else a long regular expression
                        self.write(line)


def wrapped(line: str, width: int, indent: str | None = None) -> list[str]:
    """Breaks a line between words only; a longer word, such as an address, stays whole.

    :param indent: of continuation lines; by default two columns more than the line's own.
    :returns: the parts; the line itself if it fits, however it is spaced.
    """
    if len(line) <= width:
        return [line]
    if indent is None:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=indent,
        replace_whitespace=False,
        break_long_words=False,
        break_on_hyphens=False,
    )


class _Steps:
    """The tasks of this process's workflows that have ended; a listener of the engine."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def __call__(self, event: str, what: Any) -> None:
        if event != "status":
            return
        if what.runner == "orquesta":
            self._names[what.id] = what.action.partition(".")[2]
        elif what.is_completed and what.parent in self._names and what.runner != "noop":
            outcome = "" if what.status == SUCCEEDED else f" {what.status}"
            self._lines.put(
                f"  {self._names[what.parent]}: {what.task_name}{outcome} "
                f"({show.duration(what.elapsed_seconds)})"
            )

    def take(self) -> Iterator[str]:
        """Yields a line for each task that has ended since last time."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._lines.get_nowait()
