"""A chat room of one console: commands to the packs' aliases, and what the packs announce."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import signal
import sys
import textwrap
import threading
import time
from typing import Any, Iterator, Protocol, TextIO

from jinja2 import TemplateError

from packengine import aliases, show, templates
from packengine.engine import Engine
from packengine.execution import SUCCEEDED, Execution
from packengine.packs import ActionDisabled, UnknownReference
from packengine.parameters import ParameterError

WIDTH = 80
PREFIX = "!"

# Seconds between two looks for what has ended or has been announced, also by other processes.
_LOOK_INTERVAL = 0.1
# Announcements looked at each time; more than come in one interval.
_NEWEST = 20
_NOT_PRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

# What a person did wrong in a line of chat; the room says it and stays open.
_REFUSALS = (ActionDisabled, UnknownReference, ParameterError, ValueError, TemplateError)


def handle(engine: Engine, user: str, line: str, out: TextIO, width: int = WIDTH) -> bool:
    """Runs one line of chat and waits for its result.

        :param user: the name of the user who typed it.
        :param line: `!command`; any other text is ignored.
        :param out: receives acknowledgement, announcements and result.
        :param width: columns of the output.
        :returns: False for an unknown command or one that failed
    ."""
    return Room(engine, user, out, width).say(line)


def run(
    engine: Engine, user: str | None = None, source: TextIO = sys.stdin, out: TextIO = sys.stdout
) -> int:
    """Chats until the source ends; returns the exit code.

    At a terminal this is a prompt, and 0 is returned. Otherwise the lines are commands of a
    script: each is shown and done in turn, and 1 is returned if any of them failed.

    :param user: who talks, by default who is logged in.
    """
    user = user or getpass.getuser()
    if source.isatty() and out.isatty():
        _converse(engine, user, out)
        return 0
    room = Room(engine, user, out)
    outcomes = []
    for line in source:
        if line.strip():
            room.write(f"{user}> {line.strip()}")
            outcomes.append(room.say(line))
    return 0 if all(outcomes) else 1


class Output(Protocol):
    """Where a room writes."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...


class Room:
    """One user's view of the chat: announcements heard and results awaited.

        :param engine: runs the commands.
        :param user: the user's name.
        :param out: receives the room's answers.
        :param width: columns of the answers.
        :raises packengine.aliases.Unsupported: when a pack has an alias the engine cannot match
    ."""

    def __init__(self, engine: Engine, user: str, out: Output, width: int = WIDTH) -> None:
        self._engine = engine
        self._user = user
        self._out = out
        self._width = width
        self._aliases = [
            aliases.Alias(dict(each.metadata, pack=each.pack))
            for each in engine.registry.aliases.values()
        ]
        self._announcers = [
            action.ref
            for action in engine.registry.actions.values()
            if action.runner.name == "announcement"
        ]
        self._waiting: dict[str, aliases.Alias] = {}
        self._lock = threading.RLock()
        self._heard = {each.id for each in self._announcements()}

    def say(self, line: str) -> bool:
        """Does what a line says and waits for it; returns False for a command that failed."""
        line = line.strip()
        if not line.startswith(PREFIX):
            return True
        command = line[len(PREFIX) :].strip()
        if command.split()[:1] == ["help"]:
            self._help(command.partition(" ")[2].strip())
            return True
        try:
            execution = self._start(command)
        except _REFUSALS as error:
            self.write(str(error))
            return False
        return self._wait(execution)

    def look(self) -> None:
        """Writes what has been announced, and the results of what has ended, since last time."""
        with self._lock:
            for announcement in self._announcements():
                if announcement.id not in self._heard and announcement.is_completed:
                    self._heard.add(announcement.id)
                    self._announce(announcement.parameters)
            for identifier in list(self._waiting):
                execution = self._engine.execution(identifier)
                if execution.is_completed:
                    self._answer(self._waiting.pop(identifier), execution)

    def write(self, text: str) -> None:
        """Writes a text in the room's width, without control characters."""
        lines = _NOT_PRINTABLE.sub("", text.rstrip().expandtabs()).split("\n")
        with self._lock:
            self._out.write(
                "".join(f"{part}\n" for line in lines for part in wrapped(line, self._width))
            )
            self._out.flush()

    def is_waited_for(self) -> bool:
        """Says whether something that was started has not ended yet."""
        return bool(self._waiting)

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
            self._waiting[execution.id] = alias
            acknowledgement = aliases.acknowledgement(alias, self._described(execution))
            if acknowledgement:
                self.write(acknowledgement.text)
        return execution

    def _wait(self, execution: Execution) -> bool:
        try:
            while not execution.is_completed:
                if execution.status in ("paused", "pending"):
                    self.write(f"Execution {execution.id} is {execution.status}.")
                    return True
                time.sleep(_LOOK_INTERVAL)
                execution = self._engine.execution(execution.id)
                self.look()
        except KeyboardInterrupt:
            self.write(f"\nExecution {execution.id} continues; its result will follow.")
            raise
        return execution.status == SUCCEEDED

    def _answer(self, alias: aliases.Alias, execution: Execution) -> None:
        try:
            message = aliases.result_message(alias, self._described(execution))
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

    def _described(self, execution: Execution) -> dict[str, Any]:
        """Returns an execution as StackStorm's API describes one, secrets hidden."""
        shown = show.as_dict(self._engine, self._engine.masked(execution), tree=False)
        return dict(shown, runner={"name": execution.runner})

    def _help(self, word: str) -> None:
        commands = sorted(
            (display, alias)
            for alias in self._aliases
            if alias.enabled
            for display in alias.displays()
            if word.lower() in f"{display} {alias.description}".lower()
        )
        if not commands:
            self.write(f'No command mentions "{word}". !help lists all commands.')
            return
        width = self._width
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


def _converse(engine: Engine, user: str, out: TextIO) -> None:
    """Prompts for lines until Ctrl-D, while announcements and late results appear above."""
    # Closing the window must not end a rollout half way: it ends the lines instead.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    terminal = _Terminal(out, f"{user}> ")
    room = Room(engine, user, terminal)
    room.write(f"Hello {user}. {PREFIX}help lists the commands, Ctrl-D leaves.")
    with terminal.history(os.path.join(engine.data_dir, "chat_history")), _looking(room):
        while True:
            try:
                line = terminal.ask().strip()
                if line and not line.startswith(PREFIX):
                    room.write(f"Not a command: commands start with {PREFIX}; type {PREFIX}help")
                    continue
                room.say(line)
            except KeyboardInterrupt:
                continue
            except EOFError:
                break
    terminal.write("\n")
    if room.is_waited_for():
        terminal.write("Waiting for running commands. Ctrl-C ends them now.\n")


class _Terminal:
    """A terminal with a prompt; what is written while it asks appears above the prompt."""

    def __init__(self, out: TextIO, prompt: str) -> None:
        import readline  # Not at the top: it may write to a terminal when it is imported.

        self._readline = readline
        self._out = out
        self._prompt = prompt
        self._asking = False

    def ask(self) -> str:
        self._asking = True
        try:
            return input(self._prompt)
        finally:
            self._asking = False

    def write(self, text: str) -> None:
        if self._asking:
            text = f"\r\033[K{text}{self._prompt}{self._readline.get_line_buffer()}"
        self._out.write(text)

    def flush(self) -> None:
        self._out.flush()

    @contextlib.contextmanager
    def history(self, path: str) -> Iterator[None]:
        """Remembers what is typed from one chat to the next."""
        with contextlib.suppress(OSError):
            self._readline.read_history_file(path)
        self._readline.set_history_length(1000)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                self._readline.write_history_file(path)


@contextlib.contextmanager
def _looking(room: Room) -> Iterator[None]:
    """Has a thread look for what is new while somebody types."""
    left = threading.Event()

    def look() -> None:
        while not left.wait(_LOOK_INTERVAL):
            room.look()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        thread.join()
