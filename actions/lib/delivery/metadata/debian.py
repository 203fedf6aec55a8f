"""Debian: debian/control and debian/changelog.

The changelog is what dpkg-parsechangelog makes of it, where the build host has that, else the
beginning of the file (see READ_SOURCES in workspace_scripts.py). Both name the newest version.
"""

from __future__ import annotations

import re
from typing import Any, Iterator, Sequence

from delivery.metadata.reader import Reader, program, text_of
from delivery.settings import RELATIONS

ALTERNATIVE = re.compile(
    r"(?P<package>[^\s(\[<]+)\s*(?P<version>\([^)]*\))?\s*"
    r"(?:\[(?P<architectures>[^\]]*)\])?\s*(?P<profiles>(?:<[^>]*>\s*)*)"
)


def control(raw: bytes) -> dict[str, Any]:
    """Fields of the source and of the first package; relations to the file's other packages are
    left out, because all of their files are in the one that is made."""
    stanzas = list(_stanzas(text_of(raw)))
    packages = [each for each in stanzas if "Package" in each]
    source = next((each for each in stanzas if "Source" in each), {})
    fields: dict[str, Any] = {**(packages[0] if packages else {}), **source}
    siblings = {each["Package"] for each in packages}
    for kind in RELATIONS:
        text = fields.get(kind.capitalize(), "")
        clauses = (_without_variables(clause, siblings) for clause in text.split(","))
        fields[kind.capitalize()] = [clause for clause in clauses if clause]
    return fields


def changelog(raw: bytes) -> dict[str, Any]:
    text = program(raw)
    entry = re.match(r"\s*(?P<name>[^\s(]+) \((?P<version>[^\s)]+)\)", text) or re.match(
        r"Source: (?P<name>\S+)\nVersion: (?P<version>\S+)\n", text
    )
    if not entry:
        raise ValueError("expected an entry such as shop (1.2.0-1) unstable; urgency=medium")
    without_epoch = re.sub(r"^[0-9]+:", "", entry.group("version"))
    return {
        "name": entry.group("name"),
        "upstream version": re.sub(r"-[^-]*$", "", without_epoch),
    }


def for_architecture(clauses: Sequence[str], architecture: str) -> Iterator[str]:
    """Yields relations as they hold for one architecture, without build profiles.

    :param clauses: of a relation's field, each with its alternatives.
    :raises ValueError: for one that only some architectures have, in a package for all.
    """
    for clause in clauses:
        kept = []
        for alternative in clause.split("|"):
            parts = ALTERNATIVE.fullmatch(alternative.strip())
            if not parts:
                kept.append(alternative.strip())  # for the check of each relation
                continue
            if parts["architectures"] is not None and architecture == "all":
                raise ValueError(
                    f"{alternative.strip()} depends on the architecture; set package.architecture"
                )
            if _holds(parts["architectures"], architecture) and _built(parts["profiles"]):
                kept.append(" ".join(filter(None, (parts["package"], parts["version"]))))
        if kept:
            yield " | ".join(kept)


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    stanza: dict[str, list[str]] = {}
    field = ""
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if line.startswith("#"):
            continue
        if not line.strip():
            if stanza:
                yield {name: "\n".join(lines) for name, lines in stanza.items()}
            stanza, field = {}, ""
        elif line[0] in " \t" and field:
            stanza[field].append(re.sub(r"^\.$", "", line.strip()))
        else:
            name, colon, value = line.partition(":")
            if not colon or not re.fullmatch(r"[!-9;-~]+", name):
                raise ValueError(f"line {number}: expected a field such as Source: shop")
            field = name.title()
            if field in stanza:
                raise ValueError(f"line {number}: {field} is there twice; delete one")
            stanza[field] = [value.strip()]


def _without_variables(clause: str, siblings: set[str]) -> str:
    alternatives = [" ".join(each.split()) for each in clause.split("|")]
    return " | ".join(
        each
        for each in alternatives
        if each and "${" not in each and re.split(r"[\s:(\[<]", each)[0] not in siblings
    )


def _holds(architectures: str | None, architecture: str) -> bool:
    """Returns whether a list such as `amd64 arm64` or `!i386` has an architecture."""
    if not architectures:
        return True
    listed = {each.lstrip("!") for each in architectures.split()}
    has = bool(listed & {architecture, "any", "linux-any", f"any-{architecture}"})
    return has != ("!" in architectures)


def _built(profiles: str) -> bool:
    """Returns whether a relation holds where no build profile is set."""
    groups = re.findall(r"<([^>]*)>", profiles)
    return not groups or any(
        all(term.startswith("!") for term in group.split()) for group in groups
    )


READERS = (
    Reader(
        "debian/control",
        control,
        {
            "name": ("Source", "Package"),
            "description": ("Description",),
            "maintainer": ("Maintainer",),
            "homepage": ("Homepage",),
            **{kind: (kind.capitalize(),) for kind in RELATIONS},
        },
    ),
    Reader(
        "debian/changelog",
        changelog,
        {"name": ("name",), "version": ("upstream version",)},
    ),
)
