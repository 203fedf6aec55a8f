"""Checks of a pack's content that StackStorm's registration does not make.

Each check is a function that takes a Pack and yields what is wrong, one line for each fault, the
file first. They read the files themselves, so a pack that StackStorm would refuse is described too.
"""

from __future__ import annotations

import ast
import re
import struct
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple

import yaml

from packengine import schema
from packengine.aliases import Alias, NoMatch, acknowledgement, extract_parameters, sre_parse
from packengine.packs import Registry
from packengine.runner_types import RUNNER_TYPES
from packengine.system_triggers import SYSTEM_TRIGGERS
from packengine.yaml_files import load_yaml

Problems = Iterator[str]

WIDTH = 100
KINDS = ("actions", "sensors", "triggers", "rules", "policies", "aliases")
CREDENTIAL = re.compile(r"(^|_)(token|secret|password|passphrase|private_key|api_key)$")
CONSTRAINTS = ("pattern", "enum", "maxLength")
TEXT = {"type": "string"}

# What this pack may use of other packs. Each name is in every StackStorm installation.
OTHER_ACTIONS = {
    "core.noop": {},
    "core.echo": dict(
        RUNNER_TYPES["local-shell-cmd"].parameters, message={"type": "string", "required": True}
    ),
    "core.local": dict(
        RUNNER_TYPES["local-shell-cmd"].parameters, cmd={"type": "string", "required": True}
    ),
    "chatops.post_message": {
        "channel": {"type": "string", "required": True},
        "message": {"type": "string", "required": True},
        "user": TEXT,
        "whisper": {"type": "boolean"},
        "context": {"type": "object"},
        "extra": {"type": "object"},
        "route": TEXT,
    },
}


class Trigger(NamedTuple):
    payload: dict[str, Any]
    parameters: dict[str, Any]


class Pack:
    """A pack directory, read leniently: a file that cannot be read counts as empty."""

    def __init__(self, path: Path):
        self.path = path
        self.manifest = self._read(path / "pack.yaml")
        self.ref: str = self.manifest.get("ref", path.name)
        self.config_schema = self._read(path / "config.schema.yaml")
        for kind in KINDS:
            setattr(self, kind, self._read_all(kind))

    def own_actions(self) -> dict[str, dict[str, Any]]:
        """Return the metadata of the pack's actions by ref."""
        return {f"{self.ref}.{each.get('name')}": each for each in self.actions.values()}

    def action_parameters(self, ref: str) -> dict[str, Any] | None:
        """Return what an action takes, its runner's parameters included; None if unknown."""
        if ref in OTHER_ACTIONS:
            return OTHER_ACTIONS[ref]
        metadata = self.own_actions().get(ref)
        return None if metadata is None else _with_runner(metadata)

    def own_triggers(self) -> dict[str, Trigger]:
        described = list(self.triggers.values())
        for sensor in self.sensors.values():
            described.extend(sensor.get("trigger_types") or [])
        return {
            f"{self.ref}.{each.get('name')}": Trigger(
                each.get("payload_schema") or {}, each.get("parameters_schema") or {}
            )
            for each in described
        }

    def all_triggers(self) -> dict[str, Trigger]:
        system = {f"core.{name}": Trigger(*schemas) for name, schemas in SYSTEM_TRIGGERS.items()}
        return {**system, **self.own_triggers()}

    def workflows(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Yield file, content and the action's metadata of each workflow that is there."""
        for metadata in self.actions.values():
            file = self.path / "actions" / str(metadata.get("entry_point"))
            if metadata.get("runner_type") == "orquesta" and file.is_file():
                yield str(file.relative_to(self.path)), self._read(file), metadata

    def tasks(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Yield file, name and content of every task of every workflow."""
        for file, workflow, _ in self.workflows():
            for name, task in (workflow.get("tasks") or {}).items():
                yield file, name, task or {}

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


def metadata_fits_stackstorms_schemas(pack: Pack) -> Problems:
    for problem in Registry([str(pack.path)]).problems:
        yield problem.line(str(pack.path))


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


def the_example_configuration_is_valid(pack: Pack) -> Problems:
    examples = sorted(pack.path.glob("*.yaml.example"))
    if [file.name for file in examples] != [f"{pack.ref}.yaml.example"]:
        yield (
            f"{pack.ref}.yaml.example: must be the only *.yaml.example; "
            f"there is {', '.join(file.name for file in examples) or 'none'}"
        )
        return
    wanted = {"type": "object", "additionalProperties": False, "properties": pack.config_schema}
    try:
        schema.check(load_yaml(str(examples[0])), wanted, schema.dotted)
    except (schema.SchemaError, yaml.YAMLError) as error:
        yield f"{examples[0].name}: {error}"


def entry_points_exist(pack: Pack) -> Problems:
    for file, metadata in pack.actions.items():
        entry_point = metadata.get("entry_point")
        if entry_point:
            yield from _entry_point_problems(pack, file, "actions", entry_point, "Action")
        elif metadata.get("runner_type") in ("python-script", "orquesta"):
            yield f"{file}: has no entry_point"
    for file, metadata in pack.sensors.items():
        yield from _entry_point_problems(
            pack, file, "sensors", metadata.get("entry_point"), metadata.get("class_name")
        )


def names_are_unique_and_those_of_their_files(pack: Pack) -> Problems:
    for kind in KINDS:
        seen: dict[str, str] = {}
        for file, metadata in getattr(pack, kind).items():
            name = metadata.get("class_name" if kind == "sensors" else "name")
            if name in seen:
                yield f"{file}: {seen[name]} is called {name} already"
            seen[name] = file
            stem = Path(file).stem
            wanted = {stem, f"{pack.ref}_{stem}", "".join(w.title() for w in stem.split("_"))}
            if name not in wanted:
                yield f"{file}: is called {name}, which is not the name of the file"
            if kind in ("aliases", "policies") and not str(name).startswith(f"{pack.ref}_"):
                yield f"{file}: StackStorm looks it up by name alone: begin it with {pack.ref}_"


def references_resolve(pack: Pack) -> Problems:
    references = [(file, each.get("action", {}).get("ref")) for file, each in pack.rules.items()]
    references += [(file, each.get("action_ref")) for file, each in pack.aliases.items()]
    references += [(file, each.get("resource_ref")) for file, each in pack.policies.items()]
    references += [
        (f"{file}: task {name}", task["action"])
        for file, name, task in pack.tasks()
        if "action" in task
    ]
    for place, ref in references:
        if pack.action_parameters(ref) is None:
            yield f"{place}: there is no action {ref}"
    for file, rule in pack.rules.items():
        ref = rule.get("trigger", {}).get("type")
        if ref not in pack.all_triggers():
            yield f"{file}: there is no trigger {ref}"


def parameters_passed_are_those_taken(pack: Pack) -> Problems:
    for file, rule in pack.rules.items():
        action = rule.get("action", {})
        yield from _call_problems(pack, file, action.get("ref"), action.get("parameters"))
        trigger = pack.all_triggers().get(rule.get("trigger", {}).get("type"))
        if trigger and trigger.parameters:
            given = rule["trigger"].get("parameters") or {}
            taken = trigger.parameters.get("properties") or {}
            yield from _argument_problems(f"{file}: trigger", taken, given)
    for file, name, task in pack.tasks():
        yield from _call_problems(
            pack, f"{file}: task {name}", task.get("action"), task.get("input")
        )
    for file, policy in pack.policies.items():
        taken = pack.action_parameters(policy.get("resource_ref")) or {}
        for name in (policy.get("parameters") or {}).get("attributes") or ():
            if name not in taken:
                yield f"{file}: {policy['resource_ref']} has no parameter {name}"


def rules_use_what_their_trigger_has(pack: Pack) -> Problems:
    for file, rule in pack.rules.items():
        trigger = pack.all_triggers().get(rule.get("trigger", {}).get("type"))
        if trigger is None or trigger.payload.get("additionalProperties") is not False:
            continue
        parameters = (rule.get("action") or {}).get("parameters") or {}
        used = re.findall(r"\btrigger\.(\w+)", f"{list(rule.get('criteria') or {})}{parameters}")
        for name in sorted(set(used) - set(trigger.payload.get("properties") or {})):
            yield f"{file}: {rule['trigger']['type']} has no {name}"


def rules_say_what_they_mean(pack: Pack) -> Problems:
    for file, rule in pack.rules.items():
        if "enabled" not in rule:
            yield f"{file}: enabled is not said, so StackStorm takes it for false"
        for key, criterion in (rule.get("criteria") or {}).items():
            operator = str((criterion or {}).get("type"))
            if operator in ("in", "inside", "nin", "ninside") and not isinstance(
                criterion.get("pattern"), list
            ):
                yield f"{file}: {key}: with a text, {operator} is a substring test; give a list"


def workflows_pass_orquestas_inspection(pack: Pack) -> Problems:
    """Needs orquesta; raises ImportError without."""
    from packengine.workflows import ORQUESTA, load

    for file, _, _ in pack.workflows():
        try:
            spec = load(str(pack.path / file))
        except Exception as error:  # Orquesta raises many kinds for a file that is no workflow.
            yield f"{file}: {type(error).__name__}: {error}"
            continue
        with ORQUESTA:
            found = spec.inspect(app_ctx={"st2": {}, "parent": {}}, raise_exception=False)
        for kind in found.values():
            for each in kind:
                yield (
                    f"{file}: {each.get('spec_path')}: {each.get('message')} "
                    f"{each.get('expression') or ''}".rstrip()
                )


def workflows_take_and_give_what_their_action_says(pack: Pack) -> Problems:
    for file, workflow, metadata in pack.workflows():
        taken = set(_names(workflow.get("input")))
        declared = set(metadata.get("parameters") or {}) - set(RUNNER_TYPES["orquesta"].parameters)
        for name in sorted(taken ^ declared):
            where = "the action's parameters" if name in taken else "the workflow's input"
            yield f"{file}: {name} is missing in {where}"
        given = set(_names(workflow.get("output")))
        promised = set((metadata.get("output_schema") or {}).get("properties") or {})
        for name in sorted(given ^ promised):
            where = "the action's output_schema" if name in given else "the workflow's output"
            yield f"{file}: {name} is missing in {where}"


def workflows_read_what_actions_give(pack: Pack) -> Problems:
    actions = pack.own_actions()
    for file, name, task in pack.tasks():
        metadata = actions.get(task.get("action"))
        if metadata is None or "with" in task:
            continue
        key = RUNNER_TYPES[metadata["runner_type"]].output_key
        given = (metadata.get("output_schema") or {}).get("properties") or {}
        for part, field in re.findall(r"\bresult\(\)\.(\w+)\.(\w+)", str(task.get("next"))):
            if part != key or field not in given:
                yield f"{file}: task {name}: {task['action']} gives no {part}.{field}"


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
    for ref, trigger in pack.own_triggers().items():
        for name, details in (trigger.payload.get("properties") or {}).items():
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


def aliases_fit_their_actions(pack: Pack) -> Problems:
    for file, alias in _aliases(pack):
        for entry in alias.formats:
            if (
                not isinstance(entry, dict)
                or not entry.get("display")
                or not entry.get("representation")
            ):
                yield f"{file}: each format needs a display and a representation"
        taken = pack.action_parameters(alias.action_ref) or {}
        for format_string in alias.get_format_strings():
            given = {**dict.fromkeys(_always_given(format_string)), **alias.immutable_parameters}
            place = f'{file}: "{format_string}"'
            named = {**dict.fromkeys(_named_in(format_string)), **given}
            for name in named:
                if name not in taken:
                    yield f"{place}: {name} is not known"
            yield from _argument_problems(
                place, taken, {name: "{{ x }}" for name in given if name in taken}
            )


def aliases_mean_one_thing(pack: Pack) -> Problems:
    aliases = dict(_aliases(pack))
    for file, alias in aliases.items():
        for format_string in alias.get_format_strings():
            for command in _examples_of(format_string):
                matching = [
                    text
                    for other in aliases.values()
                    for text in other.get_format_strings()
                    if _matches(text, command)
                ]
                if format_string not in matching:
                    yield f'{file}: nothing that reads like "{command}" matches "{format_string}"'
                elif len(matching) > 1:
                    others = '", "'.join(text for text in matching if text != format_string)
                    yield f'{file}: "{command}" also matches "{others}"'


def acknowledgements_render(pack: Pack) -> Problems:
    """StackStorm is strict about them: a parameter that was not given must not be read."""
    for file, alias in _aliases(pack):
        for format_string in alias.get_format_strings():
            message = acknowledgement(alias, _started(pack, alias, format_string))
            if message and message.text.startswith("Cannot render"):
                yield f'{file}: for "{format_string}": {message.text}'


CHECKS: list[Callable[[Pack], Problems]] = [
    metadata_fits_stackstorms_schemas,
    the_manifest_is_what_exchange_asks_for,
    the_example_configuration_is_valid,
    entry_points_exist,
    names_are_unique_and_those_of_their_files,
    references_resolve,
    parameters_passed_are_those_taken,
    rules_use_what_their_trigger_has,
    rules_say_what_they_mean,
    workflows_pass_orquestas_inspection,
    workflows_take_and_give_what_their_action_says,
    workflows_read_what_actions_give,
    failures_do_not_end_green,
    everything_is_described,
    texts_that_workflows_take_are_constrained,
    credentials_are_secret,
    python_files_compile_and_are_not_wide,
    aliases_fit_their_actions,
    aliases_mean_one_thing,
    acknowledgements_render,
]


def _with_runner(metadata: dict[str, Any]) -> dict[str, Any]:
    runner = RUNNER_TYPES.get(metadata.get("runner_type"))
    inherited = runner.parameters if runner else {}
    merged = {name: dict(details) for name, details in inherited.items()}
    for name, details in (metadata.get("parameters") or {}).items():
        merged.setdefault(name, {}).update(details or {})
    return merged


def _entry_point_problems(pack, file, kind, entry_point, class_name) -> Problems:
    target = pack.path / kind / str(entry_point)
    if not target.is_file():
        yield f"{file}: there is no {kind}/{entry_point}"
    elif target.suffix == ".py":
        try:
            tree = ast.parse(target.read_text(encoding="utf-8"))
        except SyntaxError:
            return  # said by the check of python files
        classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
        if not classes if class_name == "Action" else class_name not in classes:
            yield f"{file}: {kind}/{entry_point} has no class {class_name}"


def _call_problems(pack: Pack, place: str, ref: str | None, given) -> Problems:
    taken = pack.action_parameters(ref) if ref else None
    if taken is not None:
        yield from _argument_problems(f"{place}: {ref}", taken, given or {})


def _argument_problems(place: str, taken: dict[str, Any], given: dict[str, Any]) -> Problems:
    for name, details in taken.items():
        if details.get("required") and "default" not in details and name not in given:
            yield f"{place}: the required {name} is not given"
    for name, value in given.items():
        if name not in taken:
            yield f"{place}: {name} is not known"
        elif taken[name].get("immutable"):
            yield f"{place}: {name} is immutable"
        elif not re.search(r"{{|{%|<%", str(value)):
            try:
                schema.check(value, {"definitions": {}, **taken[name]}, lambda path: name)
            except schema.SchemaError as error:
                yield f"{place}: {error}"


def _names(entries) -> list[str]:
    """Return the names in a workflow's input or output, whose entries may have defaults."""
    return [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries or ()]


def _targets(transition: dict[str, Any]) -> list[str]:
    targets = transition.get("do") or []
    return re.split(r"\s*,\s*", targets) if isinstance(targets, str) else targets


def _green_ends(tasks, targets: list[str], last: str, seen: set) -> Problems:
    """Yield the tasks after which a path ends without `fail`."""
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


def _aliases(pack: Pack) -> list[tuple[str, Alias]]:
    return [
        (file, Alias(dict(metadata, pack=pack.ref)))
        for file, metadata in pack.aliases.items()
        if {"name", "action_ref", "formats"} <= set(metadata)
    ]


def _examples_of(format_string: str) -> list[str]:
    """Return lines that read like a format, with and without each of its optional parts."""
    return sorted({" ".join(each.split()) for each in _spelt(_parsed(format_string))})


def _named_in(format_string: str) -> list[str]:
    """Return the parameters that a format may give."""
    return list(_parsed(format_string).state.groupdict)


def _always_given(format_string: str) -> list[str]:
    """Return the parameters that every line of a format gives."""
    tokens = _parsed(format_string)
    groups = {number: name for name, number in tokens.state.groupdict.items()}
    return [
        groups[value[0]]
        for kind, value in tokens
        if str(kind) == "SUBPATTERN" and value[0] in groups
    ]


def _parsed(format_string: str):
    """Return a format as the regular expression that it is, each placeholder a group of a word."""
    return sre_parse.parse(
        re.sub(
            r"{{\s*([^\s={}]+)\s*(=.*?)?}}", lambda found: f"(?P<{found[1]}>word)", format_string
        )
    )


def _spelt(tokens) -> list[str]:
    texts = [""]
    for kind, value in tokens:
        texts = [text + more for text in texts for more in _spellings(str(kind), value)]
    return texts


def _spellings(kind: str, value) -> list[str]:
    """Return what stands for a part of a regular expression in an example."""
    if kind == "LITERAL":
        return [chr(value)]
    if kind == "IN":
        return _spellings(str(value[0][0]), value[0][1])
    if kind == "RANGE":
        return [chr(value[0])]
    if kind == "CATEGORY":
        return [" " if str(value) == "CATEGORY_SPACE" else "w"]
    if kind == "SUBPATTERN":
        return _spelt(value[3])
    if kind == "BRANCH":
        return [text for branch in value[1] for text in _spelt(branch)]
    if kind in ("MAX_REPEAT", "MIN_REPEAT"):
        least, most, repeated = value
        return sorted(
            {
                text * count
                for text in _spelt(repeated)
                for count in {least, min(max(least, 1), most)}
            }
        )
    if kind in ("AT", "ASSERT", "ASSERT_NOT"):
        return [""]
    return ["w"]


def _matches(format_string: str, command: str) -> bool:
    try:
        extract_parameters(format_string, command)
    except NoMatch:
        return False
    return True


def _started(pack: Pack, alias: Alias, format_string: str) -> dict[str, Any]:
    """Return the execution a format leads to, with no parameter but those it gives."""
    taken = pack.action_parameters(alias.action_ref) or {}
    parameters = {name: each["default"] for name, each in taken.items() if "default" in each}
    parameters.update(dict.fromkeys(_always_given(format_string), "word"))
    parameters.update(alias.immutable_parameters)
    return {
        "id": "0",
        "status": "requested",
        "parameters": parameters,
        "action": {"ref": alias.action_ref},
        "context": {"user": "alice"},
    }


def _size_of_png(content: bytes) -> tuple[int, int]:
    if content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        return (0, 0)
    return struct.unpack(">II", content[16:24])
