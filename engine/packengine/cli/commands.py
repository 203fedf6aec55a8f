"""How commands are described to argparse, and what several of them share."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import sys
from typing import Any, Callable, Dict, NoReturn, Sequence, Tuple

Options = argparse.Namespace
# What the parsers of commands are added to.
Commands = Any
# Names and options of an argument, for argparse.
Argument = Tuple[Tuple[str, ...], Dict[str, Any]]

JSON = (("-j", "--json"), {"action": "store_true", "help": "print JSON"})
ID = (("id",), {"metavar": "ID"})
USER = (("--user",), {"help": "user to run as (default: the login user)"})


class UsageError(ValueError):
    """The command line cannot be understood."""


class Parser(argparse.ArgumentParser):
    """Answers a misspelt command with the nearest one, and lists no hidden command."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        commands = action.choices
        if not isinstance(commands, dict) or value in commands:
            super()._check_value(action, value)
            return
        # A hidden command has no description.
        shown = [name for name, parser in commands.items() if parser.description]
        near = difflib.get_close_matches(value, shown, n=1)
        advice = f"did you mean {near[0]}?" if near else "use " + ", ".join(shown)
        if value.lstrip("!") == "deploy" or value.startswith("!"):
            advice = "what is typed in chat is typed in: chat"
        self.error(f"unknown command {value}; {advice}")

    given: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Keeps what it was given, for `error`."""
        self.given = sys.argv[1:] if args is None else list(args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Names an unknown option first: without it the command would be there."""
        unknown = [word for word in self.given[:1] if re.match("--?[a-z]", word)]
        if message.endswith("required: COMMAND") and unknown:
            message = f"unknown option {unknown[0]}; --help lists them"
        super().error(message)


def add_command(
    commands: Commands,
    name: str,
    function: Callable[..., int],
    help_text: str,
    *arguments: Argument,
    needs_engine: bool = True,
) -> argparse.ArgumentParser:
    """Adds a command.

    :param function: returns the exit status.
    :param arguments: (names, options) pairs for argparse.
    :param needs_engine: whether the function takes an engine before the options.
    """
    result: argparse.ArgumentParser = commands.add_parser(
        name, help=help_text, description=help_text
    )
    for names, options in arguments:
        result.add_argument(*names, **options)
    result.set_defaults(command=function, needs_engine=needs_engine)
    return result


def add_group(commands: Commands, name: str, help_text: str) -> Commands:
    """Adds a word that is followed by another command, as in ``execution list``."""
    group = commands.add_parser(name, help=help_text, description=help_text)
    return group.add_subparsers(metavar="COMMAND", required=True)


def packs(options: Options) -> list[str]:
    """Returns the directories of packs a command is about."""
    named = [path for path in os.environ.get("ENGINE_PACKS", "").split(":") if path]
    return options.pack or named or [os.getcwd()]


def print_json(value: Any) -> None:
    """Prints a value as indented JSON."""
    print(json.dumps(value, indent=4, ensure_ascii=False))
