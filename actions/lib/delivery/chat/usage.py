"""The syntax of the chat commands, from their aliases."""

from __future__ import annotations

import difflib
import glob
import os
from typing import NamedTuple, Sequence

import yaml

from delivery.errors import DeliveryError
from delivery.names import shown


class Command(NamedTuple):
    """A command as people are shown it: `deploy abort <app>`, and what it does."""

    display: str
    description: str

    @property
    def word(self) -> str:
        """The word that names it."""
        return self.display.split()[1]


class Usage:
    """:param aliases: the directory with the commands' aliases."""

    def __init__(self, aliases: str) -> None:
        self._commands = _read(aliases)

    def text(self, word: str | None = None) -> str:
        """Returns the syntax of a command, or of all, in 80 columns.

        :raises DeliveryError: when the word is no command; names the nearest.
        """
        if not word:
            return _text(self._commands)
        chosen = [each for each in self._commands if each.word == word.lower()]
        if chosen:
            return _text(chosen)
        raise DeliveryError(f"unknown command {shown(word)}; {self.hint(word)}")

    def syntax(self, word: str) -> str:
        """Returns how a command is written, in one line."""
        return " or ".join(f"!{each.display}" for each in self._commands if each.word == word)

    def hint(self, word: str) -> str:
        """Returns where to go on from a word that is no command."""
        near = difflib.get_close_matches(word.lower(), [each.word for each in self._commands], 2)
        if not near:
            return "!deploy help lists all commands"
        return f"nearest: {' or '.join(self.syntax(each) for each in near)}"


def _text(commands: Sequence[Command]) -> str:
    return "\n".join(f"!{each.display}\n  {each.description}" for each in commands)


def _read(aliases: str) -> Sequence[Command]:
    found = []
    for path in sorted(glob.glob(os.path.join(aliases, "*.yaml"))):
        with open(path, encoding="utf-8") as file:
            alias = yaml.safe_load(file)
        found += [Command(each["display"], alias["description"]) for each in alias["formats"]]
    return found
