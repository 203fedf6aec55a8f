"""What is in a line that is no command: the command that is meant, and what else it names."""

from __future__ import annotations

import difflib
import re
from typing import Collection, NamedTuple, Sequence

COMMANDS = (
    "promote",
    "rollback",
    "canary",
    "status",
    "history",
    "hosts",
    "evidence",
    "freeze",
    "unfreeze",
    "abort",
    "doctor",
    "help",
)
RELEASES = "releases"  # no command, and yet asked for

# Words of other tools, and plurals.
ALSO = {
    "promote": "promotion promotions ship release publish live go",
    "rollback": "rollbacks undo revert back restore",
    "canary": "canaries redeploy retry",
    "status": "list ls show info state apps applications",
    "history": "log logs events",
    "evidence": "proof provenance attestation sbom origin",
    "hosts": "host nodes servers machines",
    "freeze": "lock pause hold block",
    "unfreeze": "unlock resume unblock thaw",
    "abort": "stop cancel kill halt",
    "doctor": "check diagnose",
    "help": "commands usage",
    RELEASES: "releases version versions",
}
MEANING = {command: command for command in COMMANDS}
MEANING.update((word, command) for command, words in ALSO.items() for word in words.split())

# Around a word, and not of it.
AROUND = "!?,;:.\"'`<>[]()=\u201c\u201d\u2018\u2019\u201e\xab\xbb"
LINE_LIMIT = 500  # characters that are read
FILLERS = frozenset(
    [
        "a",
        "all",
        "an",
        "app",
        "application",
        "at",
        "for",
        "from",
        "in",
        "me",
        "my",
        "now",
        "of",
        "on",
        "please",
        "the",
        "to",
    ]
)
TIMES = frozenset(
    [
        "because",
        "ever",
        "forever",
        "till",
        "until",
        "today",
        "tomorrow",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "min",
        "minutes",
        "hour",
        "hours",
        "day",
        "days",
        "week",
        "weeks",
        "month",
        "months",
    ]
)
NAME = re.compile(r"[a-z][a-z0-9-]{1,61}")
NUMBER = re.compile(r"-?[0-9]{1,9}")
VERSION = re.compile(r"v[0-9]+|v?[0-9]+\.[A-Za-z0-9.+~-]*")
COMMIT = re.compile(r"(?=.*[0-9])[0-9a-f]{7,40}")


class Typed(NamedTuple):
    """A line, read.

    :param command: the one that is meant; empty when none is.
    :param word: what was typed for it, or the first word.
    :param app: the application it names; empty if it names none that is known.
    :param unknown: the name that stands where an application's would; empty if there is none.
    :param version: or the commit it names, without a leading v.
    :param number: a whole number it names, as typed.
    :param others: the other words, in lower case.
    :param rest: the line without the command and the application, as typed.
    """

    command: str
    word: str
    app: str
    unknown: str
    stage: str
    version: str
    number: str
    others: Sequence[str]
    rest: str


def read(line: str, applications: Collection[str], stages: Collection[str]) -> Typed:
    """Reads a line.

    :param line: what was typed, with or without `deploy`.
    :param applications: names of those that are known.
    :param stages: names of their stages.
    """
    words = re.sub(r"(?i)\broll\s+back\b", "rollback", line[:LINE_LIMIT]).split()
    keys = [word.lower().strip(AROUND) for word in words]
    place = _place_of_command(keys, {*applications, *stages})
    word = keys[place] if place >= 0 else (keys[0] if keys else "")
    command = MEANING.get(word) or _nearest(word) if place >= 0 else ""
    others = [key for number, key in enumerate(keys) if number != place and key]
    app = next((key for key in others if key in applications), "")
    stage = next((key for key in others if key in stages and key != app), "")
    version = next((key for key in others if VERSION.fullmatch(key) or COMMIT.fullmatch(key)), "")
    number = next((key for key in others if NUMBER.fullmatch(key)), "")
    others = [key for key in others if key not in (app, stage, version, number)]
    names = [key for key in others if NAME.fullmatch(key) and key not in FILLERS | TIMES]
    unknown = names[0] if names and not app else ""
    return Typed(
        command,
        word,
        app,
        unknown,
        stage,
        version[1:] if version.startswith("v") else version,
        number,
        others,
        " ".join(words[n] for n in range(len(keys)) if n != place and keys[n] != (app or unknown)),
    )


def _place_of_command(keys: Sequence[str], names: Collection[str]) -> int:
    """Returns where the command stands; -1 when none does."""
    for number, key in enumerate(keys):
        if key in MEANING and key not in names:
            return number
    for number, key in enumerate(keys):
        if key in MEANING:  # a stage may be called canary
            return number
    return 0 if keys and keys[0] not in names and _nearest(keys[0]) else -1


def _nearest(word: str) -> str:
    near = difflib.get_close_matches(word, COMMANDS, 1, cutoff=0.75)
    return near[0] if near else ""
