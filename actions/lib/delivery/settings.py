"""An application's `.cicd.yaml`, validated.

    settings = load(text_of_the_file_or_None, "shop")
    settings.package.prefix        # "/opt/shop"
    settings.as_dict()             # plain data, as it is kept in the release record

Every setting has a default, so the file may be missing or empty. An unknown key, a wrong type or a
value that could mean something else in a shell, a path or a template is an error with the key, the
expected value and the given one. The classes below define the format: each field is a key, with its
default and its accepted values.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import re
from dataclasses import dataclass
from typing import Any, Callable, Iterator

import yaml

from delivery import names
from delivery.errors import DeliveryError
from delivery.plain_yaml import WithoutAliases

FILE = ".cicd.yaml"
SIZE_LIMIT = 64 * 1024
LIST_LIMIT = 200

ARCHITECTURES = (
    "all",
    "amd64",
    "arm64",
    "armel",
    "armhf",
    "i386",
    "mips64el",
    "ppc64el",
    "riscv64",
    "s390x",
)
VERSION = r"v?[0-9][A-Za-z0-9.+~-]{0,60}"
SEGMENT = r"(?!(\.\.?|\.git)(/|$))[A-Za-z0-9._+@][A-Za-z0-9._+@-]*"
RELATIVE_PATH = rf"(?=.{{1,200}}$)({SEGMENT}/)*{SEGMENT}"
UNIT = r"[A-Za-z0-9][A-Za-z0-9._@-]*\.(service|socket|timer|path|target)"
GLOB = r"(?=.{1,200}$)(?!.*(^|/)\.\.(/|$))(?![/-])[A-Za-z0-9._+@*?\[\]/-]+"
PACKAGE = r"[a-z0-9][a-z0-9+.-]{1,100}(:[a-z0-9-]{1,20})?"
RELATION = rf"{PACKAGE}( ?\((<<|<=|=|>=|>>) ?[0-9][A-Za-z0-9.+:~-]{{0,60}}\))?"
RELATIONS = ("depends", "conflicts", "replaces")
DEPENDENCY = rf"{RELATION}( \| {RELATION}){{0,10}}"
LICENCE = r"[A-Za-z0-9][A-Za-z0-9 .+()/-]{0,99}"
MAINTAINER = r"[^<>\x00-\x1f\x7f]{1,100} <[^<>@\s\x00-\x1f]{1,100}@[^<>@\s\x00-\x1f]{1,100}>"
HOMEPAGE = r"https?://[!-;=?-~]{1,300}"
SPELLINGS = {"license": "licence"}  # other spellings of a key

FREE_TEXT = r"[^\x00-\x09\x0b-\x1f\x7f]{1,2000}"


class SettingsError(DeliveryError):
    """The file is invalid; the message names the key or the line."""


def setting(default: Any, expected: str, accepts: Callable[[Any], bool], each: bool = False) -> Any:
    """A field of the format.

    :param expected: the accepted values, in words.
    :param accepts: whether a value is accepted.
    :param each: whether the setting is a list; `accepts` then judges each item.
    """
    metadata = {"expected": expected, "accepts": accepts, "each": each}
    if each and default is not None:
        return dataclasses.field(default_factory=lambda: list(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def section(kind: type) -> Any:
    return dataclasses.field(default_factory=kind, metadata={"section": kind})


def matching(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and bool(re.fullmatch(pattern, value))


def between(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def is_batch_size(value: Any) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"([1-9][0-9]?|100)%", value))
    return between(1, 10000)(value)


@dataclass(frozen=True)
class Package:
    """Section `package`: the package's contents and metadata."""

    version: str | None = setting(None, "a version such as '1.2.0', in quotes", matching(VERSION))
    description: str | None = setting(None, "text", matching(FREE_TEXT))
    licence: str | None = setting(None, "a licence such as Apache-2.0", matching(LICENCE))
    maintainer: str | None = setting(
        None, "a name and address such as Ada <ada@example.org>", matching(MAINTAINER)
    )
    homepage: str | None = setting(
        None, "an address such as https://example.org", matching(HOMEPAGE)
    )
    depends: list[str] | None = setting(
        None,
        "a Debian dependency such as python3 (>= 3.9) or default-jre | java-runtime",
        matching(DEPENDENCY),
        each=True,
    )
    conflicts: list[str] | None = setting(
        None, "a Debian package such as shop-old (<< 2.0)", matching(RELATION), each=True
    )
    replaces: list[str] | None = setting(
        None, "a Debian package such as shop-old (<< 2.0)", matching(RELATION), each=True
    )
    architecture: str = setting(
        "all", "one of " + ", ".join(ARCHITECTURES), ARCHITECTURES.__contains__
    )
    build: str | None = setting(
        None,
        "the path of a script in the repository such as script/package",
        matching(RELATIVE_PATH),
    )
    root: str = setting(
        ".",
        "the path of a directory in the checkout such as dist",
        matching(rf"\.|{RELATIVE_PATH}"),
    )
    prefix: str | None = setting(
        None,
        "an absolute path such as /opt/shop (only / if root is set)",
        matching(rf"/|(/{SEGMENT})+"),
    )
    exclude: list[str] = setting(
        [], "a pattern such as tests, *.pyc or docs/*.md", matching(GLOB), each=True
    )
    config_files: list[str] = setting(
        [],
        "the path of a file, below root, such as config/shop.ini",
        matching(RELATIVE_PATH),
        each=True,
    )
    systemd_unit: str | None = setting(
        None,
        "the path of a unit's file in the checkout such as systemd/shop.service",
        matching(rf"(?=.{{1,200}}$)({SEGMENT}/)*{UNIT}"),
    )
    sbom: str | None = setting(
        None,
        "the path of a file that package.build writes such as dist/bom.json",
        matching(RELATIVE_PATH),
    )


@dataclass(frozen=True)
class Rollout:
    """Section `rollout`: how a version reaches the hosts of a stage."""

    batch_size: int | str = setting(
        "25%", "a number of hosts, or a share from 1% to 100%", is_batch_size
    )
    failure_budget: int = setting(0, "a number of hosts, 0 or more", between(0, 10000))
    healthy_deadline_s: int = setting(60, "seconds, from 1 to 3600", between(1, 3600))
    min_healthy_s: int = setting(2, "seconds, from 0 to 3600", between(0, 3600))


@dataclass(frozen=True)
class Settings:
    """An application's settings; `name` and `package.prefix` are filled in by `load`, `role` and
    `stages` by the policy."""

    name: str | None = setting(
        None, "the application's name", matching(names.PATTERNS["application"])
    )
    role: str | None = setting(
        None, "a name of lower-case letters, digits and dashes", matching(names.PATTERNS["role"])
    )
    stages: list[str] | None = setting(
        None,
        "a name of lower-case letters, digits and dashes",
        matching(names.PATTERNS["stage"]),
        each=True,
    )
    depends_on: list[str] = setting(
        [],
        "a path from the top of the repository such as libs/common",
        matching(names.PATTERNS["path"]),
        each=True,
    )
    package: Package = section(Package)
    rollout: Rollout = section(Rollout)

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain data, defaults included."""
        return dataclasses.asdict(self)


def load(text: bytes | str | None, application: str) -> Settings:
    """Reads an application's settings.

    :param text: the content of `.cicd.yaml`, or None when there is none.
    :param application: the application's name.
    :raises SettingsError: naming the key, the expected value and the given one.
    """
    settings: Settings = _read_section(Settings, _parse(text) if text else {}, "")
    if settings.name not in (None, application):
        raise SettingsError(
            f"{FILE}: name: expected {application}, the application's name, got {settings.name}; "
            "correct or delete it"
        )
    package = settings.package
    if package.prefix == "/" and package.root == ".":
        raise SettingsError(
            f"{FILE}: package.prefix: / would receive the whole checkout; set package.root, "
            "or another prefix"
        )
    stages = settings.stages
    if stages is not None and (not stages or len(set(stages)) < len(stages)):
        raise SettingsError(f"{FILE}: stages: expected at least one stage, each of them once")
    return dataclasses.replace(
        settings,
        name=application,
        package=dataclasses.replace(package, prefix=package.prefix or f"/opt/{application}"),
    )


def _read_section(kind: type, data: Any, path: str) -> Any:
    if data is None:
        data = {}
    if not isinstance(data, dict):
        where = path.rstrip(".") or "the file"
        raise SettingsError(f"{FILE}: {where}: expected a mapping, got {_described(data)}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for key, value in data.items():
        name = SPELLINGS.get(key, key)
        if name not in fields:
            raise SettingsError(_unknown(str(key), path))
        if name in values:
            other = next(each for each in data if each != key and SPELLINGS.get(each, each) == name)
            raise SettingsError(f"{FILE}: {path}{key}: same setting as {path}{other}; delete one")
        values[name] = _read_value(fields[name], value, path + key)
    return kind(**values)


def _read_value(field: dataclasses.Field[Any], value: Any, key: str) -> Any:
    if "section" in field.metadata:
        return _read_section(field.metadata["section"], value, key + ".")
    if not field.metadata["each"]:
        return _accepted(field, value, key)
    if not isinstance(value, list) or len(value) > LIST_LIMIT:
        raise SettingsError(
            f"{FILE}: {key}: expected a list (at most {LIST_LIMIT}), each "
            f"{field.metadata['expected']}, got {_described(value)}"
        )
    return [_accepted(field, item, f"{key}[{number}]") for number, item in enumerate(value)]


def _accepted(field: dataclasses.Field[Any], value: Any, key: str) -> Any:
    try:
        accepted = field.metadata["accepts"](value)
    except TypeError:
        accepted = False
    if not accepted:
        raise SettingsError(
            f"{FILE}: {key}: expected {field.metadata['expected']}, got {_described(value)}"
        )
    return value


def _unknown(key: str, path: str) -> str:
    """Returns the message for an unknown key, with the nearest known key of any section."""
    known = {name: where for where, name in _known_keys(Settings)}
    siblings = [name for where, name in _known_keys(Settings) if where == path]
    near = difflib.get_close_matches(key, siblings, n=1, cutoff=0.5) or difflib.get_close_matches(
        key, known, n=1, cutoff=0.6
    )
    hint = (
        f" (nearest: {(path if near[0] in siblings else known[near[0]]) + near[0]})" if near else ""
    )
    return (
        f"{FILE}: {path}{names.shown(key)[1:-1]}: unknown key; expected one of "
        f"{', '.join(siblings)}{hint}"
    )


def _known_keys(kind: type, path: str = "") -> Iterator[tuple[str, str]]:
    for field in dataclasses.fields(kind):
        yield path, field.name
        if "section" in field.metadata:
            yield from _known_keys(field.metadata["section"], f"{path}{field.name}.")


def _described(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {str(value)[:30]}"
    if isinstance(value, datetime.date):
        return f"the date {value} (put it in quotes)"
    if isinstance(value, list):
        return f"a list of length {len(value)}"
    if isinstance(value, dict):
        return "a mapping"
    return f"the text {names.shown(value)}"


class _Loader(WithoutAliases, yaml.SafeLoader):
    """YAML without aliases and duplicate keys."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"duplicate key {key.value}", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _parse(text: bytes | str) -> Any:
    raw = text if isinstance(text, bytes) else text.encode()
    if len(raw) > SIZE_LIMIT:
        raise SettingsError(f"{FILE}: {len(raw)} bytes; the limit is {SIZE_LIMIT}")
    try:
        return yaml.load(raw.decode("utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except UnicodeDecodeError:
        raise SettingsError(f"{FILE}: not UTF-8; save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}:" if mark else ""
        raise SettingsError(
            f"{FILE}:{where} {names.plain(error.problem or str(error))[:200]}"
        ) from None
    except RecursionError:
        raise SettingsError(f"{FILE}: nested too deeply; simplify it") from None
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as error:
        raise SettingsError(f"{FILE}: {names.plain(str(error))[:200]}") from None
