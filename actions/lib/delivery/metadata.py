"""What a project's own files say of it: version, description, licence, maintainer, homepage.

    sources = workspace.read_sources([settings.FILE, *metadata.FILES])
    found = metadata.read(sources.files, sources.describe, settings)
    found["version"]   # {"value": "1.2.0", "from": "pyproject.toml", "also": {"VERSION": "1.1"}}

For each value the first of these that has it wins: `.cicd.yaml`, the files in the order of FILES,
`git describe`, the pack's configuration (maintainer), a default. package.json comes after the
files of other languages because it is often there for the front end of a project in one of them.
`also` has what the others said. The package's name is always the application's.

A file that cannot be parsed is an error even where another one wins: a project with a broken file
is not what its commit was meant to be.
"""

from __future__ import annotations

import configparser
import json
import re
from typing import Any, Callable, Dict, Mapping

from delivery import names
from delivery.errors import DeliveryError
from delivery.settings import FILE as SETTINGS_FILE
from delivery.settings import Settings

DESCRIBE = "git describe"
CONFIGURATION = "packaging.maintainer"
DEFAULT = "default"

Found = Dict[str, Dict[str, Any]]


class MetadataError(DeliveryError):
    """A file of the project is malformed; the message names it and the line if there is one."""


def read(
    files: Mapping[str, bytes], describe: str, settings: Settings, maintainer: str | None = None
) -> Found:
    """Finds each value and where it came from.

    :param files: contents by path; those of FILES are looked at.
    :param describe: what `git describe --tags` says, or nothing.
    :param maintainer: for packages whose project names none (`packaging.maintainer`).
    :returns: by key (name, version, description, licence, maintainer, homepage) the `value` as a
        control file takes it, `from` and `also`.
    :raises MetadataError: for a malformed file or a version that cannot be made a Debian one.
    """
    read: dict[str, dict[str, str | None]] = {SETTINGS_FILE: _of_settings(settings)}
    for path, reader in READERS.items():
        if path in files:
            read[path] = _read_file(path, reader, files[path])
    read[DESCRIBE] = {"version": re.sub(r"-[0-9]+-g[0-9a-f]+$", "", describe.strip())}
    read[CONFIGURATION] = {"maintainer": maintainer or ""}
    read[DEFAULT] = {
        "version": "0.0.0",
        "description": settings.name,
        "maintainer": f"{settings.name} maintainers <root@localhost>",
    }
    said = {
        source: {key: _clean(key, value) for key, value in values.items() if value}
        for source, values in read.items()
    }

    found = {
        key: _first(key, said)
        for key in ("version", "description", "licence", "maintainer", "homepage")
    }
    found["version"]["value"] = _version(found["version"])
    found["name"] = {
        "value": settings.name,
        "from": "application",
        "also": {source: values["name"] for source, values in said.items() if "name" in values},
    }
    return found


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
        release = re.sub(r"[._]?dev(?=[0-9]*$)", "~dev", release)
    version = release + plus + build.replace("-", ".")
    return version if re.fullmatch(r"[0-9][A-Za-z0-9.+~]{0,60}", version) else None


def _first(key: str, said: dict[str, dict[str, str]]) -> dict[str, Any]:
    values = {source: values[key] for source, values in said.items() if key in values}
    if not values:
        return {"value": None, "from": DEFAULT, "also": {}}
    source = next(iter(values))
    also = {other: value for other, value in values.items() if other not in (source, DEFAULT)}
    return {"value": values[source], "from": source, "also": also}


def _version(found: dict[str, Any]) -> str:
    version = debian_version(found["value"])
    if version is None:
        raise MetadataError(
            f"{found['from']}: {names.shown(found['value'])} is not a valid version; use one such "
            f"as 1.2.0 or 1.2.0-rc1, or set package.version in {SETTINGS_FILE}"
        )
    return version


def _clean(key: str, value: str) -> str:
    """Free text as a control file takes it: one line, or the lines of a description."""
    value = re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]", " ", value)
    if key == "description":
        lines = [names.plain(line) for line in value.strip().split("\n")[:50]]
        return "\n".join(lines)[:2000]
    return names.plain(value)[:200]


def _of_settings(settings: Settings) -> dict[str, str | None]:
    package = settings.package
    return {
        "version": package.version,
        "description": package.description,
        "licence": package.licence,
        "maintainer": package.maintainer,
        "homepage": package.homepage,
    }


def _read_file(
    path: str, reader: Callable[[str], dict[str, Any]], raw: bytes
) -> dict[str, str | None]:
    try:
        values = reader(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise MetadataError(f"{path}: not UTF-8; save it as UTF-8") from None
    except RecursionError:
        raise MetadataError(f"{path}: nested too deeply; simplify it") from None
    except ValueError as error:
        raise MetadataError(f"{path}: {names.plain(str(error))[:200]}") from None
    for key, value in values.items():
        if value is not None and not isinstance(value, str):
            raise MetadataError(f"{path}: {key}: expected text, got {names.shown(value)}")
    return values


def _package_json(text: str) -> dict[str, Any]:
    project = _json_object(text)
    licence = project.get("license")
    return {
        "name": project.get("name"),
        "version": project.get("version"),
        "description": project.get("description"),
        "homepage": project.get("homepage"),
        "licence": licence.get("type") if isinstance(licence, dict) else licence,
        "maintainer": _person(project.get("author")),
    }


def _composer_json(text: str) -> dict[str, Any]:
    project = _json_object(text)
    licence = project.get("license")
    return {
        "name": project.get("name"),
        "version": project.get("version"),
        "description": project.get("description"),
        "homepage": project.get("homepage"),
        "licence": _joined(licence, " or ") if isinstance(licence, list) else licence,
        "maintainer": _person(_head(project.get("authors"))),
    }


def _pyproject_toml(text: str) -> dict[str, Any]:
    document = _toml(text)
    project = _table(document, "project")
    poetry = _table(document, "tool", "poetry")
    licence = project.get("license", poetry.get("license"))
    homepages = [
        address
        for label, address in _table(project, "urls").items()
        if label.lower() in ("homepage", "home-page")
    ]
    people = [
        _head(table.get(role)) for table in (project, poetry) for role in ("maintainers", "authors")
    ]
    return {
        "name": project.get("name", poetry.get("name")),
        "version": project.get("version", poetry.get("version")),
        "description": project.get("description", poetry.get("description")),
        "licence": licence.get("text") if isinstance(licence, dict) else licence,
        "maintainer": _person(next(filter(None, people), None)),
        "homepage": _head(homepages) or poetry.get("homepage"),
    }


def _cargo_toml(text: str) -> dict[str, Any]:
    document = _toml(text)
    inherited = _table(document, "workspace", "package")
    package = {
        key: inherited.get(key) if isinstance(value, dict) else value
        for key, value in _table(document, "package").items()
    }
    package = package or inherited
    return {
        "name": package.get("name"),
        "version": package.get("version"),
        "description": package.get("description"),
        "licence": package.get("license"),
        "maintainer": _person(_head(package.get("authors"))),
        "homepage": package.get("homepage"),
    }


def _setup_cfg(text: str) -> dict[str, Any]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text, source="setup.cfg")
    except configparser.Error as error:
        raise ValueError(str(error)) from None
    section = dict(parser.items("metadata")) if parser.has_section("metadata") else {}
    # attr: and file: tell setuptools where to look, which only running the project would answer.
    values = {
        key.replace("-", "_"): value
        for key, value in section.items()
        if not re.match(r"(attr|file):", value)
    }
    people = [
        {"name": values.get(role), "email": values.get(f"{role}_email")}
        for role in ("maintainer", "author")
        if values.get(role)
    ]
    return {
        "name": values.get("name"),
        "version": values.get("version"),
        "description": values.get("description"),
        "licence": values.get("license"),
        "maintainer": _person(_head(people)),
        "homepage": values.get("url"),
    }


def _go_mod(text: str) -> dict[str, Any]:
    module = re.search(r'^module[ \t]+"?([^\s"]+)', text, re.MULTILINE)
    if not module:
        raise ValueError("no module line; add one such as module example.org/shop")
    path = re.sub(r"/v[0-9]+$", "", module.group(1))
    return {
        "name": path.rpartition("/")[2],
        "homepage": f"https://{path}" if "." in path.partition("/")[0] else None,
    }


def _debian_control(text: str) -> dict[str, Any]:
    fields: dict[str, str] = {}
    field = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("#") or not line.strip():
            continue
        if line[0] in " \t" and field:
            fields[field] += "\n" + re.sub(r"^\.$", "", line.strip())
            continue
        name, colon, value = line.partition(":")
        if not colon or not re.fullmatch(r"[!-9;-~]+", name):
            raise ValueError(f"line {number}: expected a field such as Source: shop")
        # Of several packages the first one speaks; later ones only add what it leaves out.
        field = name.lower() if name.lower() not in fields else f"{name.lower()} {number}"
        fields[field] = value.strip()
    return {
        "name": fields.get("source", fields.get("package")),
        "description": fields.get("description"),
        "maintainer": fields.get("maintainer"),
        "homepage": fields.get("homepage"),
    }


def _version_file(text: str) -> dict[str, Any]:
    lines = text.split("\n")
    return {"version": next((line.strip() for line in lines if line.strip()), None)}


READERS: dict[str, Callable[[str], dict[str, Any]]] = {
    "pyproject.toml": _pyproject_toml,
    "setup.cfg": _setup_cfg,
    "Cargo.toml": _cargo_toml,
    "go.mod": _go_mod,
    "composer.json": _composer_json,
    "package.json": _package_json,
    "debian/control": _debian_control,
    "VERSION": _version_file,
}
FILES = tuple(READERS)


def _json_object(text: str) -> dict[str, Any]:
    document = json.loads(text)
    if not isinstance(document, dict):
        raise ValueError("expected an object")
    return document


def _toml(text: str) -> dict[str, Any]:
    try:
        import tomllib
    except ImportError:
        import tomli as tomllib
    document: dict[str, Any] = tomllib.loads(text)
    return document


def _table(document: dict[str, Any], *path: str) -> dict[str, Any]:
    for key in path:
        document = document.get(key, {})
        if not isinstance(document, dict):
            raise ValueError(f"{'.'.join(path)}: expected a table")
    return document


def _head(items: Any) -> Any:
    """The first item of a list, None when there is none."""
    return items[0] if isinstance(items, list) and items else None


def _joined(items: list[Any], separator: str) -> str:
    return separator.join(item for item in items if isinstance(item, str))


def _person(person: Any) -> Any:
    """`Name <address>` of a person written as text or as an object; other types as they are."""
    if not isinstance(person, dict):
        return person
    name, email = person.get("name"), person.get("email")
    address = f"<{email}>" if email and name else email
    return _joined([name, address], " ") or None
