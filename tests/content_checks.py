"""What this pack asks of its content beyond what `packengine lint` asks of every pack.

Each check is a function that takes a Pack and yields what is wrong, one line for each fault, the
file first.
"""

from __future__ import annotations

import ast
import re
import struct
from pathlib import Path
from typing import Any, Callable, Iterator

import yaml

from packengine.runner_types import RUNNER_TYPES
from packengine.yaml_files import load_yaml

Problems = Iterator[str]

WIDTH = 100
KINDS = ("actions", "sensors", "triggers", "rules", "policies", "aliases")
CREDENTIAL = re.compile(r"(^|_)(token|secret|password|passphrase|private_key|api_key)$")
CONSTRAINTS = ("pattern", "enum", "maxLength")


class Pack:
    """A pack directory, read leniently: a file that cannot be read counts as empty."""

    def __init__(self, path: Path):
        self.path = path
        self.manifest = self._read(path / "pack.yaml")
        self.ref: str = self.manifest.get("ref", path.name)
        self.config_schema = self._read(path / "config.schema.yaml")
        self.actions = self._read_all("actions")
        self.sensors = self._read_all("sensors")
        self.triggers = self._read_all("triggers")
        self.rules = self._read_all("rules")
        self.policies = self._read_all("policies")
        self.aliases = self._read_all("aliases")

    def payloads(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields ref and payload of each trigger."""
        described = list(self.triggers.values())
        for sensor in self.sensors.values():
            described.extend(sensor.get("trigger_types") or [])
        for each in described:
            yield f"{self.ref}.{each.get('name')}", each.get("payload_schema") or {}

    def workflows(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Yields file, content and the action's metadata of each workflow that is there."""
        for metadata in self.actions.values():
            file = self.path / "actions" / str(metadata.get("entry_point"))
            if metadata.get("runner_type") == "orquesta" and file.is_file():
                yield str(file.relative_to(self.path)), self._read(file), metadata

    def _read_all(self, kind: str) -> dict[str, dict[str, Any]]:
        return {
            str(file.relative_to(self.path)): self._read(file)
            for file in sorted((self.path / kind).glob("*.yaml"))
        }

    @staticmethod
    def _read(file: Path) -> dict[str, Any]:
        try:
            content = load_yaml(str(file))
        except (OSError, yaml.YAMLError):
            return {}
        return content if isinstance(content, dict) else {}


def the_manifest_is_what_exchange_asks_for(pack: Pack) -> Problems:
    if pack.manifest.get("python_versions") != ["3"]:
        yield 'pack.yaml: python_versions must be ["3"], or Exchange\'s checks are left out'
    for key in ("ref", "name", "description", "version", "author", "email", "keywords"):
        if not pack.manifest.get(key):
            yield f"pack.yaml: {key} is missing"
    licence = pack.path / "LICENSE"
    if not licence.is_file():
        yield "LICENSE: is missing"
    elif not re.search(r"Apache License\s+Version 2\.0", licence.read_text(encoding="utf-8")):
        yield "LICENSE: is not Apache-2.0"
    icon = pack.path / "icon.png"
    if not icon.is_file() or _size_of_png(icon.read_bytes()) != (64, 64):
        yield "icon.png: must be a PNG of 64x64 pixels"


def the_only_example_has_the_packs_name(pack: Pack) -> Problems:
    examples = [file.name for file in sorted(pack.path.glob("*.yaml.example"))]
    if examples != [f"{pack.ref}.yaml.example"]:
        found = ", ".join(examples) or "none"
        yield f"{pack.ref}.yaml.example: must be the only *.yaml.example; there is {found}"


def names_are_those_of_their_files(pack: Pack) -> Problems:
    for kind in KINDS:
        for file, metadata in getattr(pack, kind).items():
            name = metadata.get("class_name" if kind == "sensors" else "name")
            stem = Path(file).stem
            wanted = {stem, f"{pack.ref}_{stem}", "".join(w.title() for w in stem.split("_"))}
            if name not in wanted:
                yield f"{file}: is called {name}, which is not the name of the file"
            if kind in ("aliases", "policies") and not str(name).startswith(f"{pack.ref}_"):
                yield f"{file}: StackStorm looks it up by name alone: begin it with {pack.ref}_"


def criteria_look_for_members_of_lists(pack: Pack) -> Problems:
    for file, rule in pack.rules.items():
        for key, criterion in (rule.get("criteria") or {}).items():
            operator = str((criterion or {}).get("type"))
            if operator in ("in", "inside", "nin", "ninside") and not isinstance(
                criterion.get("pattern"), list
            ):
                yield f"{file}: {key}: with a text, {operator} is a substring test; give a list"


def workflows_give_only_what_their_action_describes(pack: Pack) -> Problems:
    for file, workflow, metadata in pack.workflows():
        described = (metadata.get("output_schema") or {}).get("properties") or {}
        for name in _names(workflow.get("output")):
            if name not in described:
                yield f"{file}: {name} is missing in the action's output_schema"


def failures_do_not_end_green(pack: Pack) -> Problems:
    for file, workflow, _ in pack.workflows():
        tasks = workflow.get("tasks") or {}
        for name, task in tasks.items():
            for transition in (task or {}).get("next") or ():
                if "failed()" in str(transition.get("when")):
                    for last in _green_ends(tasks, _targets(transition), name, set()):
                        yield f"{file}: when {name} fails, the workflow succeeds after {last}"


def everything_is_described(pack: Pack) -> Problems:
    for file, metadata in pack.actions.items():
        if not metadata.get("description"):
            yield f"{file}: the action has no description"
        runner = RUNNER_TYPES.get(metadata.get("runner_type"))
        for name, details in (metadata.get("parameters") or {}).items():
            if not (runner and name in runner.parameters):
                yield from _undescribed(f"{file}: parameter {name}", details)
        output = (metadata.get("output_schema") or {}).get("properties") or {}
        for name, details in output.items():
            yield from _undescribed(f"{file}: output {name}", details)
    for name, details in pack.config_schema.items():
        yield from _undescribed(f"config.schema.yaml: {name}", details)
    for kind in ("sensors", "rules", "aliases", "policies"):
        for file, metadata in getattr(pack, kind).items():
            if not metadata.get("description"):
                yield f"{file}: has no description"
    for ref, payload in pack.payloads():
        for name, details in (payload.get("properties") or {}).items():
            yield from _undescribed(f"trigger {ref}: {name}", details)


def texts_that_workflows_take_are_constrained(pack: Pack) -> Problems:
    """StackStorm renders the inputs of tasks again, with the pack's secrets in scope."""
    for file, metadata in pack.actions.items():
        if metadata.get("runner_type") != "orquesta":
            continue
        for name, details in (metadata.get("parameters") or {}).items():
            if details.get("type") == "string" and not any(key in details for key in CONSTRAINTS):
                yield f"{file}: parameter {name} needs a pattern, an enum or a maxLength"
            if str(details.get("pattern", "^Z")).endswith("$"):
                yield f"{file}: parameter {name}: $ also matches before a line's end; write \\Z"


def credentials_are_secret(pack: Pack) -> Problems:
    described = [("config.schema.yaml", pack.config_schema)]
    for file, metadata in pack.actions.items():
        described.append((file, metadata.get("parameters") or {}))
        described.append((file, (metadata.get("output_schema") or {}).get("properties") or {}))
    for file, properties in described:
        for name, details in _flattened(properties):
            if CREDENTIAL.search(name) and details.get("secret") is not True:
                yield f"{file}: {name} must have secret: true"


def python_files_compile_and_are_not_wide(pack: Pack) -> Problems:
    for kind in ("actions", "sensors"):
        for file in sorted((pack.path / kind).rglob("*.py")):
            name = file.relative_to(pack.path)
            text = file.read_text(encoding="utf-8")
            try:
                ast.parse(text, feature_version=(3, 8))
            except SyntaxError as error:
                yield f"{name}:{error.lineno}: {error.msg}"
            for number, line in enumerate(text.splitlines(), 1):
                if len(line) > WIDTH:
                    yield f"{name}:{number}: {len(line)} columns, {WIDTH} are allowed"


def formats_are_shown_to_people(pack: Pack) -> Problems:
    for file, alias in pack.aliases.items():
        for entry in alias.get("formats") or ():
            if not isinstance(entry, dict) or not {"display", "representation"} <= set(entry):
                yield f"{file}: each format needs a display and a representation"


CHECKS: list[Callable[[Pack], Problems]] = [
    the_manifest_is_what_exchange_asks_for,
    the_only_example_has_the_packs_name,
    names_are_those_of_their_files,
    criteria_look_for_members_of_lists,
    workflows_give_only_what_their_action_describes,
    failures_do_not_end_green,
    everything_is_described,
    texts_that_workflows_take_are_constrained,
    credentials_are_secret,
    python_files_compile_and_are_not_wide,
    formats_are_shown_to_people,
]


def _names(entries: Any) -> list[str]:
    """Returns the names in a workflow's input or output, whose entries may have defaults."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries or ()]


def _targets(transition: dict[str, Any]) -> list[str]:
    targets = transition.get("do") or []
    return re.split(r"\s*,\s*", targets) if isinstance(targets, str) else targets


def _green_ends(tasks: dict[str, Any], targets: list[str], last: str, seen: set[str]) -> Problems:
    """Yields the tasks after which a path ends without `fail`."""
    if "fail" in targets:
        return
    following = [name for name in targets if name in tasks]
    if not following:
        yield last
    for name in following:
        if name in seen:
            continue
        transitions = (tasks[name] or {}).get("next") or [{}]
        for transition in transitions:
            if "failed()" not in str(transition.get("when")):
                yield from _green_ends(tasks, _targets(transition), name, seen | {name})


def _undescribed(place: str, details: Any) -> Problems:
    if not isinstance(details, dict):
        return
    if not details.get("description"):
        yield f"{place} has no description"
    for name, inner in (details.get("properties") or {}).items():
        yield from _undescribed(f"{place}.{name}", inner)
    additional = details.get("additionalProperties")
    if isinstance(additional, dict):
        for name, inner in (additional.get("properties") or {}).items():
            yield from _undescribed(f"{place}.*.{name}", inner)


def _flattened(properties: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, details in properties.items():
        if isinstance(details, dict):
            yield name, details
            yield from _flattened(details.get("properties") or {})
            additional = details.get("additionalProperties")
            if isinstance(additional, dict):
                yield from _flattened(additional.get("properties") or {})


def _size_of_png(content: bytes) -> tuple[int, int]:
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        return (0, 0)
    return struct.unpack(">II", content[16:24])
