"""What the files of a unit say, as in systemd.unit(5) and systemd.syntax(7)."""

from __future__ import annotations

import os
import re
import shlex
import socket
from pathlib import Path
from typing import Mapping

DIRECTORIES = [
    Path(path)
    for path in (
        "/etc/systemd/system",
        "/run/systemd/system",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
    )
]
STATE_DIRECTORY = Path("/run/systemd/sandbox")
UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]{1,250}\.service")
# What the stand-in acts upon. Ordering after targets is kept by itself, since the host is up.
KNOWN = {
    "Unit": {"Description", "Documentation", "StartLimitBurst", "StartLimitIntervalSec"},
    "Service": {
        "CacheDirectory",
        "ConfigurationDirectory",
        "Environment",
        "EnvironmentFile",
        "ExecReload",
        "ExecStart",
        "ExecStartPost",
        "ExecStartPre",
        "ExecStop",
        "ExecStopPost",
        "Group",
        "KillMode",
        "KillSignal",
        "LogsDirectory",
        "PIDFile",
        "RemainAfterExit",
        "Restart",
        "RestartSec",
        "RuntimeDirectory",
        "StandardError",
        "StandardInput",
        "StandardOutput",
        "StartLimitBurst",
        "StartLimitInterval",
        "StateDirectory",
        "SuccessExitStatus",
        "SyslogIdentifier",
        "TimeoutSec",
        "TimeoutStartSec",
        "TimeoutStopSec",
        "Type",
        "UMask",
        "User",
        "WorkingDirectory",
    },
    "Install": {"WantedBy", "RequiredBy"},
}
TYPES = ("simple", "exec", "forking", "oneshot", "notify")
UNITS_OF_TIME = {
    **dict.fromkeys(("us", "usec"), 1e-6),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}


class UnitError(Exception):
    """Why a unit cannot be used, in one line; status is what systemctl exits with."""

    def __init__(self, message: str, status: int = 1):
        super().__init__(message)
        self.status = status


class Unit:
    """A service, as its files say: sections to keys to their values, in order."""

    def __init__(self, name: str, path: Path, sections: Mapping[str, Mapping[str, list[str]]]):
        self.name, self.path, self._sections = name, path, sections

    @property
    def description(self) -> str:
        return self.last("Unit", "Description", self.name)

    def all(self, section: str, key: str) -> list[str]:
        """Every value of a key, with its specifiers replaced."""
        return [self._expand(value) for value in self._sections.get(section, {}).get(key, [])]

    def last(self, section: str, key: str, default: str = "") -> str:
        return (self.all(section, key) or [default])[-1]

    def service(self, key: str, default: str = "") -> str:
        return self.last("Service", key, default)

    def words(self, key: str) -> list[str]:
        """The words of all values of a key of the section Service."""
        return [word for value in self.all("Service", key) for word in split(value)]

    def is_true(self, key: str) -> bool:
        return self.service(key).lower() in ("1", "yes", "true", "on")

    def seconds(self, key: str, default: str) -> float:
        return seconds(self.service(key) or default)

    @property
    def wanted_by(self) -> list[str]:
        """The directories below /etc/systemd/system in which a link enables the unit."""
        return [f"{target}.wants" for target in self._targets("WantedBy")] + [
            f"{target}.requires" for target in self._targets("RequiredBy")
        ]

    def _targets(self, key: str) -> list[str]:
        return [word for value in self.all("Install", key) for word in value.split()]

    @property
    def not_acted_upon(self) -> list[str]:
        """The settings that the stand-in ignores."""
        return [
            key
            for section, values in self._sections.items()
            for key in values
            if key not in KNOWN.get(section, ()) and not self._is_harmless(section, key)
        ]

    def _is_harmless(self, section: str, key: str) -> bool:
        words = [word for value in self.all(section, key) for word in value.split()]
        ordering = key in ("After", "Before", "Wants", "Requires")
        return key.startswith("X-") or (
            ordering and all(word.endswith((".target", ".mount", ".slice")) for word in words)
        )

    def check(self) -> None:
        """Raise UnitError, as systemd when it loads the unit, if it could not be started."""
        kind = self.service("Type", "simple")
        if kind not in TYPES:
            raise UnitError(
                f"{self.name}: Type={kind} is not supported by the sandbox's stand-in for systemd; "
                f"it has {', '.join(TYPES)}"
            )
        commands = self.all("Service", "ExecStart")
        if not commands and not (kind == "oneshot" and self.all("Service", "ExecStop")):
            raise UnitError(f"{self.name}: Service has no ExecStart= setting. Refusing.")
        if len(commands) > 1 and kind != "oneshot":
            raise UnitError(
                f"{self.name}: Service has more than one ExecStart= setting, which is only allowed "
                "for Type=oneshot services. Refusing."
            )

    def _expand(self, value: str) -> str:
        stem = self.name[: -len(".service")]
        prefix, _, instance = stem.partition("@")
        meanings = {
            "n": self.name,
            "N": stem,
            "p": prefix,
            "i": instance,
            "I": instance,
            "%": "%",
            "H": socket.gethostname(),
            "t": "/run",
            "S": "/var/lib",
            "L": "/var/log",
            "C": "/var/cache",
            "E": "/etc",
            "T": "/tmp",
            "V": "/var/tmp",
            "h": "/root",
        }
        return re.sub(r"%(.)", lambda found: meanings.get(found[1], found[0]), value)


def full_name(name: str) -> str:
    """`shop` is `shop.service`; UnitError for other kinds of units."""
    found = os.path.basename(name) if name.startswith("/") else name
    if not re.search(r"\.[a-z]+$", found) or not found.endswith(
        (".socket", ".timer", ".target", ".mount", ".path", ".slice", ".scope", ".service")
    ):
        found += ".service"
    if not UNIT_NAME.fullmatch(found):
        raise UnitError(f"{found}: the sandbox's stand-in for systemd has services only", 1)
    return found


def find(name: str) -> Path | None:
    """The file of a unit; that of the template for an instance. None when there is none."""
    template = re.sub(r"@.*(?=\.service$)", "@", name)
    for candidate in dict.fromkeys((name, template)):
        for directory in DIRECTORIES:
            if os.path.lexists(directory / candidate):
                return directory / candidate
    return None


def is_masked(path: Path) -> bool:
    return os.path.realpath(path) == "/dev/null" or (path.exists() and not path.stat().st_size)


def load(name: str) -> Unit:
    """Read a unit's file, or what of it was loaded before: see `keep`.

    Raises UnitError when there is none, or when it is masked.
    """
    path = find(name)
    if path is None:
        raise UnitError(f"Unit {name} not found.", 5)
    if is_masked(path):
        raise UnitError(f"Unit {name} is masked.")
    kept = STATE_DIRECTORY / f"{name}.loaded"
    return Unit(name, path, parse(kept.read_text() if kept.exists() else text_of(name, path)))


def keep(name: str) -> None:
    """As systemd, go by the unit as it is now until `daemon-reload`."""
    path, kept = find(name), STATE_DIRECTORY / f"{name}.loaded"
    if path and not kept.exists():
        kept.write_text(text_of(name, path))


def needs_reload(name: str) -> bool:
    """Whether the unit's files are not as they were when it was loaded."""
    path, kept = find(name), STATE_DIRECTORY / f"{name}.loaded"
    return bool(path and kept.exists() and kept.read_text() != text_of(name, path))


def text_of(name: str, path: Path) -> str:
    """The unit's file and its drop-ins, in the order in which they count."""
    drop_ins = {
        file.name: file
        for directory in reversed(DIRECTORIES)
        for file in (directory / f"{name}.d").glob("*.conf")
    }
    files = [path, *(drop_ins[each] for each in sorted(drop_ins))]
    return "".join(f"{file.read_text(errors='replace')}\n" for file in files)


def parse(text: str) -> dict[str, dict[str, list[str]]]:
    """Sections to keys to values: an empty one takes back those before it."""
    sections: dict[str, dict[str, list[str]]] = {}
    section = ""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(("#", ";"))]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            section = stripped[1:-1]
        elif "=" in stripped:
            key, _, value = (part.strip() for part in stripped.partition("="))
            values = sections.setdefault(section, {}).setdefault(key, [])
            if value:
                values.append(value)
            else:
                values.clear()
    return sections


def split(text: str) -> list[str]:
    """The words of a value, which may be quoted; UnitError when a quote is not closed."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UnitError(f"{text}: {error}") from None


def seconds(text: str) -> float:
    """A span of time as in systemd.time(7): 5, 100ms, 1min 30s, infinity."""
    if text.strip() == "infinity":
        return float("inf")
    parts = re.findall(r"([\d.]+)\s*([a-z]*)", text)
    if not parts or any(unit not in UNITS_OF_TIME for _, unit in parts):
        raise UnitError(f"{text!r} is not a span of time")
    return sum(float(number) * UNITS_OF_TIME[unit] for number, unit in parts)


def is_enabled(unit: Unit) -> bool:
    return any(os.path.lexists(link) for link in links(unit))


def links(unit: Unit) -> list[Path]:
    """The links that enable the unit."""
    return [DIRECTORIES[0] / directory / unit.name for directory in unit.wanted_by]
