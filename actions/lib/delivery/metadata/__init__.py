"""What a project's own files say of it: version, description, licence, maintainer, homepage, and
the packages it depends on, conflicts with and replaces.

    sources = workspace.read_sources(metadata.paths(settings))
    found = metadata.read(sources, settings, commit, repository)
    found["version"]   # {"value": "1.2.0", "from": "pyproject.toml", "also": {"VERSION": "1.1"}}
    metadata.warning(found)                 # for people, when no file names a version

For each value the first of these that has it wins: `.cicd.yaml`, the files in the order of FILES
below `package.root`, those of the application's directory, `git describe`, the pack's configuration
(maintainer), a default. package.json comes after the files of other languages because it is often
there for the front end of a project in one of them. `also` has what the others said. The package's
name is always the application's.

A file that cannot be parsed is an error even where another one wins: a project with a broken file
is not what its commit was meant to be. Each ecosystem has a file here that reads its own.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Any, Dict, Mapping

from delivery import names
from delivery.errors import DeliveryError
from delivery.metadata import (
    debian,
    elixir,
    go,
    helm,
    java,
    node,
    perl,
    php,
    plain,
    python,
    ruby,
    rust,
)
from delivery.metadata.reader import Reader
from delivery.settings import DEPENDENCY, LIST_LIMIT, RELATION, RELATIONS, Settings
from delivery.settings import FILE as SETTINGS_FILE
from delivery.workspace import Sources

DESCRIBE = "git describe"
CONFIGURATION = "packaging.maintainer"
COMMIT = "commit"
DEFAULT = "default"

TEXTS = ("version", "description", "licence", "maintainer", "homepage")
READERS = (
    *python.READERS,
    *rust.READERS,
    *go.READERS,
    *ruby.READERS,
    *perl.READERS,
    *java.READERS,
    *elixir.READERS,
    *php.READERS,
    *node.READERS,
    *helm.READERS,
    *debian.READERS,
    *plain.READERS,
)
FILES = tuple(reader.path for reader in READERS)

Found = Dict[str, Dict[str, Any]]


class MetadataError(DeliveryError):
    """A file of the project is malformed; the message names it and the line if there is one."""


def paths(settings: Settings) -> list[str]:
    """Returns the files to look for, in order; in some a `*` stands for any name."""
    return [place + path for place in _places(settings) for path in FILES]


def read(
    sources: Sources,
    settings: Settings,
    commit: str,
    repository: str,
    maintainer: str | None = None,
) -> Found:
    """Finds each value and where it came from.

    :param sources: of the commit, with the files that `paths` names.
    :param commit: its 40 digits.
    :param repository: owner/name.
    :param maintainer: for packages whose project names none (`packaging.maintainer`).
    :returns: by key (name, version, description, licence, maintainer, homepage, depends, conflicts,
        replaces) the `value` as a control file takes it (relations: a list), `from` and `also`.
    :raises MetadataError: for a malformed file or a version that cannot be made a Debian one.
    """
    package = settings.package
    told: dict[str, Mapping[str, Any]] = {
        SETTINGS_FILE: {key: getattr(package, key) for key in (*TEXTS, *RELATIONS)},
        **_of_files(sources.files, settings),
        DESCRIBE: {"version": re.sub(r"-[0-9]+-g[0-9a-f]+$", "", sources.describe.strip())},
        CONFIGURATION: {"maintainer": maintainer},
        COMMIT: {"version": _version_of_commit(sources)},
        DEFAULT: {
            "description": f"{settings.name}, commit {commit[:7]} of {repository}",
            "maintainer": f"{settings.name} maintainers <root@localhost>",
        },
    }
    found = {key: _first(key, told) for key in ("name", *TEXTS)}
    for kind in RELATIONS:
        found[kind] = _relations(kind, told, package.architecture)
    found["version"]["value"] = _version(found["version"])
    named = dict(found["name"]["also"])
    if found["name"]["value"]:
        named = {found["name"]["from"]: found["name"]["value"], **named}
    found["name"] = {"value": settings.name, "from": "application", "also": named}
    return found


def warning(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns what people should know of the metadata, on one line; empty if there is nothing."""
    version = found.get("version", {})
    if version.get("from") != COMMIT:
        return ""
    return (
        f"No file names a version: {version['value']} is the commit's date and count; add a "
        f"VERSION file, or package.version to {SETTINGS_FILE}"
    )


def debian_version(text: str) -> str | None:
    """The version as a Debian upstream version without a hyphen, or None if it cannot be one.

    A leading v goes; what comes before a release sorts before it (1.0.0-rc1, 1.0rc1 and 1.0.dev3
    become 1.0.0~rc1, 1.0~rc1 and 1.0~dev3).
    """
    release, plus, build = re.sub(r"^[vV](?=[0-9])", "", text.strip()).partition("+")
    release, hyphen, early = release.partition("-")
    if hyphen:
        release += "~" + early.replace("-", ".")
    else:
        release = re.sub(
            r"(?<=[0-9])[._]?(alpha|beta|preview|pre|rc|a|b|c)(?=[._]?[0-9])",
            r"~\1",
            release,
            count=1,
        )
        release = re.sub(r"(?<=[0-9])[._](alpha|beta|preview|pre|rc)$", r"~\1", release)
        release = re.sub(r"[._]?dev(?=[0-9]*$)", "~dev", release)
    version = release + plus + build.replace("-", ".")
    return version if re.fullmatch(r"[0-9][A-Za-z0-9.+~]{0,60}", version) else None


def _places(settings: Settings) -> list[str]:
    root = settings.package.root
    return [""] if root == "." else [f"{root}/", ""]


def _of_files(files: Mapping[str, bytes], settings: Settings) -> dict[str, dict[str, Any]]:
    """Returns what each file says, in the order in which they count."""
    told = {}
    for place in _places(settings):
        for reader in READERS:
            path = _path(place, reader, files, str(settings.name))
            if path and path not in told:
                try:
                    told[path] = reader.read(files[path])
                except ValueError as error:
                    raise MetadataError(f"{path}: {names.plain(str(error))[:200]}") from None
    return told


def _path(place: str, reader: Reader, files: Mapping[str, bytes], name: str) -> str | None:
    """Returns the file that a reader reads in a place: of several the one named after the
    application, else the one that is the least deep, else the first by name."""
    if "*" not in reader.path:
        return place + reader.path if place + reader.path in files else None
    pattern = re.escape(place) + "".join(
        {"**/": r"([A-Za-z0-9._-]+/)*", "*": r"[A-Za-z0-9._-]+"}.get(part, re.escape(part))
        for part in re.split(r"(\*\*/|\*)", reader.path)
    )
    suitable = [path for path in files if re.fullmatch(pattern, path)]
    suitable.sort(key=lambda path: (name not in re.split(r"[/.]", path), path.count("/"), path))
    return suitable[0] if suitable else None


def _first(key: str, told: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    cleaned = {source: _clean(key, values.get(key) or "") for source, values in told.items()}
    values = {source: value for source, value in cleaned.items() if value}
    if not values:
        return {"value": None, "from": DEFAULT, "also": {}}
    source = next(iter(values))
    also = {
        other: value for other, value in values.items() if other not in (source, COMMIT, DEFAULT)
    }
    return {"value": values[source], "from": source, "also": also}


def _relations(
    kind: str, told: Mapping[str, Mapping[str, Any]], architecture: str
) -> dict[str, Any]:
    """Returns relations to other packages; an empty list in `.cicd.yaml` wins too."""
    values: dict[str, list[str]] = {}
    for source, said in told.items():
        if said.get(kind) is not None:
            try:
                values[source] = list(debian.for_architecture(said[kind], architecture))
            except ValueError as error:
                raise MetadataError(
                    f"{source}: {kind.capitalize()}: {names.plain(str(error))[:200]}, or "
                    f"package.{kind} in {SETTINGS_FILE}"
                ) from None
    if not values:
        return {"value": [], "from": DEFAULT, "also": {}}
    source = next(iter(values))
    pattern = DEPENDENCY if kind == "depends" else RELATION
    for relation in values[source]:
        if not re.fullmatch(pattern, relation) or len(values[source]) > LIST_LIMIT:
            raise MetadataError(
                f"{source}: {kind.capitalize()}: {names.shown(relation)} cannot be read; set "
                f"package.{kind} in {SETTINGS_FILE}"
            )
    return {"value": values.pop(source), "from": source, "also": values}


def _version(found: dict[str, Any]) -> str:
    version = debian_version(found["value"])
    if version is None:
        raise MetadataError(
            f"{found['from']}: {names.shown(found['value'])} is not a valid version; use one such "
            f"as 1.2.0 or 1.2.0-rc1, or set package.version in {SETTINGS_FILE}"
        )
    return version


def _version_of_commit(sources: Sources) -> str:
    """Returns a version that grows with the history, and is below 0.1, with which most files begin:
    the day of the commit (UTC) and the number of commits up to it, or the time of day where the
    history is not all there."""
    at = datetime.fromtimestamp(sources.committed_at, timezone.utc)
    return f"0.0.{at:%Y%m%d}.{sources.commits or at.strftime('%H%M%S')}"


def _clean(key: str, value: str) -> str:
    """Free text as a control file takes it: one line, or the lines of a description."""
    value = re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", " ", value)
    if key == "description":
        lines = [names.plain(line) for line in value.strip().split("\n")[:50]]
        return "\n".join(lines)[:2000].strip()
    return names.plain(value)[:200].strip()
