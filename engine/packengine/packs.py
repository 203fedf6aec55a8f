"""Reads packs: their metadata, validated and checked for what the engine does not support."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass, field

import yaml

from packengine import metadata_schemas, payload, schema
from packengine.operators import OPERATORS
from packengine.policy_types import POLICY_TYPES
from packengine.runner_types import OVERRIDABLE, RUNNER_TYPES, RunnerType
from packengine.system_triggers import SYSTEM_TRIGGERS

EXTENSIONS = (".yaml", ".yml", ".json")
CORE_PACKS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "packs")


class PackError(Exception):
    """Packs cannot be used; ``problems`` lists every reason, each one line that names the file."""

    def __init__(self, problems):
        super().__init__("\n".join(problems))
        self.problems = problems


class UnknownReference(LookupError):
    """No resource of that name; the message offers the nearest ones."""

    def __str__(self):
        return self.args[0]


class ActionDisabled(Exception):
    """The action may not be run; the message names it."""


@dataclass
class Pack:
    ref: str
    path: str
    metadata: dict
    config_schema: dict


@dataclass
class Action:
    ref: str
    pack: str
    name: str
    path: str
    runner: RunnerType
    entry_point: str
    description: str = ""
    enabled: bool = True
    parameters: dict = field(default_factory=dict)
    output_schema: dict = field(default_factory=dict)
    notify: dict = field(default_factory=dict)

    @property
    def is_workflow(self):
        return self.runner.name == "orquesta"

    def parameter_schema(self):
        """Return the JSON schema of all parameters, the runner's merged with the action's."""
        merged = {name: dict(details) for name, details in self.runner.parameters.items()}
        for name, details in self.parameters.items():
            merged.setdefault(name, {}).update(details)
        return {
            "type": "object",
            "properties": {name: details or schema.ANY_TYPE for name, details in merged.items()},
            "additionalProperties": False,
        }


@dataclass
class TriggerType:
    ref: str
    pack: str
    name: str
    description: str = ""
    payload_schema: dict = field(default_factory=dict)
    parameters_schema: dict = field(default_factory=dict)


@dataclass
class Sensor:
    ref: str
    pack: str
    class_name: str
    path: str
    entry_point: str
    description: str = ""
    enabled: bool = True
    poll_interval: float | None = None
    trigger_types: list[str] = field(default_factory=list)


@dataclass
class Rule:
    ref: str
    pack: str
    name: str
    path: str
    trigger: str
    trigger_parameters: dict
    criteria: dict
    action: str
    parameters: dict
    description: str = ""
    enabled: bool = False
    backstop: bool = False


@dataclass
class Policy:
    ref: str
    pack: str
    name: str
    resource_ref: str
    policy_type: str
    parameters: dict
    enabled: bool = True


@dataclass
class Alias:
    """A chat command; ``metadata`` is the file's content."""

    ref: str
    pack: str
    name: str
    path: str
    action_ref: str
    metadata: dict
    description: str = ""
    enabled: bool = True


class Registry:
    """Everything the loaded packs hold, by ref.

    :param paths: directories of packs; the core pack is always there
    """

    def __init__(self, paths=()):
        self.packs: dict[str, Pack] = {}
        self.actions: dict[str, Action] = {}
        self.triggers: dict[str, TriggerType] = {}
        self.sensors: dict[str, Sensor] = {}
        self.rules: dict[str, Rule] = {}
        self.policies: dict[str, Policy] = {}
        self.aliases: dict[str, Alias] = {}
        for name, (payload_schema, parameters_schema) in SYSTEM_TRIGGERS.items():
            self._add_trigger(
                "core",
                {
                    "name": name,
                    "payload_schema": payload_schema,
                    "parameters_schema": parameters_schema,
                },
            )
        problems = []
        core = [os.path.join(CORE_PACKS, name) for name in sorted(os.listdir(CORE_PACKS))]
        for path in core + [os.path.abspath(path) for path in paths]:
            _PackReader(self, path, problems).read()
        problems.extend(self._trigger_problems())
        if problems:
            raise PackError(problems)

    def action(self, ref):
        """Return an action. Raises :class:`UnknownReference`."""
        return self._find("Action", self.actions, ref)

    def rule(self, ref):
        """Return a rule. Raises :class:`UnknownReference`."""
        return self._find("Rule", self.rules, ref)

    def trigger(self, ref):
        """Return a trigger type. Raises :class:`UnknownReference`."""
        return self._find("Trigger", self.triggers, ref)

    @staticmethod
    def _find(kind, resources, ref):
        if ref in resources:
            return resources[ref]
        message = f'{kind} "{ref}" cannot be found.'
        nearest = difflib.get_close_matches(ref, list(resources), n=3, cutoff=0.5)
        if nearest:
            message += " Did you mean {}?".format(" or ".join(nearest))
        raise UnknownReference(message)

    def _add_trigger(self, pack, metadata):
        ref = "{}.{}".format(pack, metadata["name"])
        self.triggers[ref] = TriggerType(
            ref=ref,
            pack=pack,
            name=metadata["name"],
            description=metadata.get("description", ""),
            payload_schema=metadata.get("payload_schema") or {},
            parameters_schema=metadata.get("parameters_schema") or {},
        )

    def _trigger_parameter_problems(self, rule):
        parameters_schema = self.triggers[rule.trigger].parameters_schema
        if not parameters_schema:
            return
        try:
            schema.validate(rule.trigger_parameters, parameters_schema, schema.dotted)
        except schema.SchemaError as error:
            yield f"{rule.path}: trigger.parameters.{error}"

    def _trigger_problems(self):
        for rule in self.rules.values():
            if rule.trigger in self.triggers:
                yield from self._trigger_parameter_problems(rule)
                continue
            pack = rule.trigger.split(".", 1)[0]
            if pack == "core":
                yield f"{rule.path}: the engine does not have the trigger type {rule.trigger}"
            elif pack in self.packs:
                yield f"{rule.path}: the pack {pack} has no trigger {rule.trigger}"


class _PackReader:
    """Reads one pack into a registry, adding to ``problems`` what is wrong with it."""

    def __init__(self, registry, path, problems):
        self._registry = registry
        self._path = path
        self._problems = problems
        self._ref = None

    def read(self):
        manifest = os.path.join(self._path, "pack.yaml")
        if not os.path.isfile(manifest):
            self._problems.append(f"{self._path}: not a pack, it has no pack.yaml")
            return
        metadata = self._load(manifest, metadata_schemas.PACK)
        if metadata is None:
            return
        self._ref = self._pack_ref(manifest, metadata)
        if self._ref is None:
            return
        self._registry.packs[self._ref] = Pack(
            ref=self._ref,
            path=self._path,
            metadata=metadata,
            config_schema=self._config_schema(),
        )
        self._each("triggers", metadata_schemas.TRIGGER, self._add_trigger)
        self._each("actions", metadata_schemas.ACTION, self._add_action)
        self._each("sensors", metadata_schemas.SENSOR, self._add_sensor)
        self._each("rules", metadata_schemas.RULE, self._add_rule)
        self._each("policies", metadata_schemas.POLICY, self._add_policy)
        self._each("aliases", metadata_schemas.ALIAS, self._add_alias)

    def _pack_ref(self, manifest, metadata):
        # As StackStorm: the ref; else the directory's name; else the pack's name.
        directory = os.path.basename(self._path)
        for candidate in (metadata.get("ref"), directory, metadata["name"]):
            if candidate and re.fullmatch("[a-z0-9_]+", candidate):
                return candidate
        self._problem(manifest, "the pack needs a ref of small letters, digits and underscores")
        return None

    def _config_schema(self):
        path = os.path.join(self._path, "config.schema.yaml")
        if not os.path.isfile(path):
            return {}
        return self._load(path, metadata_schemas.CONFIG) or {}

    def _each(self, kind, metadata_schema, add):
        directory = os.path.join(self._path, kind)
        if not os.path.isdir(directory):
            return
        for name in sorted(os.listdir(directory)):
            if name.endswith(EXTENSIONS):
                path = os.path.join(directory, name)
                metadata = self._load(path, metadata_schema)
                if metadata is not None and self._belongs(path, metadata):
                    add(path, metadata)

    def _load(self, path, metadata_schema):
        try:
            metadata = load_yaml(path)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            self._problem(path, " ".join(str(error).split()))
            return None
        try:
            schema.check(metadata, metadata_schema, schema.dotted)
        except schema.SchemaError as error:
            self._problem(path, str(error))
            return None
        return metadata

    def _belongs(self, path, metadata):
        if metadata.get("pack", self._ref) == self._ref:
            return True
        self._problem(path, 'says pack "{}" but lies in "{}"'.format(metadata["pack"], self._ref))
        return False

    def _problem(self, path, message):
        self._problems.append(f"{path}: {message}")

    def _add(self, resources, path, name, make):
        ref = f"{self._ref}.{name}"
        if ref in resources:
            self._problem(path, f"there is already a {ref}")
        else:
            resources[ref] = make(ref)

    def _add_trigger(self, path, metadata):
        self._registry._add_trigger(self._ref, metadata)

    def _add_action(self, path, metadata):
        runner = RUNNER_TYPES.get(metadata["runner_type"])
        if runner is None:
            self._problem(
                path,
                "the embedded engine does not have the runner {}".format(metadata["runner_type"]),
            )
            return
        parameters = metadata.get("parameters") or {}
        problems = list(_parameter_problems(parameters, runner))
        problems.extend(_output_problems(metadata.get("output_schema")))
        for problem in problems:
            self._problem(path, problem)
        if problems:
            return
        entry_point = metadata.get("entry_point") or ""
        self._add(
            self._registry.actions,
            path,
            metadata["name"],
            lambda ref: Action(
                ref=ref,
                pack=self._ref,
                name=metadata["name"],
                path=path,
                runner=runner,
                entry_point=entry_point and os.path.join(os.path.dirname(path), entry_point),
                description=metadata.get("description", ""),
                enabled=metadata.get("enabled", True),
                parameters=parameters,
                output_schema=metadata.get("output_schema") or {},
                notify=metadata.get("notify") or {},
            ),
        )

    def _add_sensor(self, path, metadata):
        for trigger in metadata.get("trigger_types") or ():
            self._registry._add_trigger(self._ref, trigger)
        self._add(
            self._registry.sensors,
            path,
            metadata["class_name"],
            lambda ref: Sensor(
                ref=ref,
                pack=self._ref,
                class_name=metadata["class_name"],
                path=path,
                entry_point=os.path.join(os.path.dirname(path), metadata["entry_point"]),
                description=metadata.get("description", ""),
                enabled=metadata.get("enabled", True),
                poll_interval=metadata.get("poll_interval"),
                trigger_types=[
                    "{}.{}".format(self._ref, trigger["name"])
                    for trigger in metadata.get("trigger_types") or ()
                ],
            ),
        )

    def _add_rule(self, path, metadata):
        criteria = metadata.get("criteria") or {}
        kind = (metadata.get("type") or {}).get("ref", "standard")
        problems = list(_criteria_problems(criteria))
        if kind not in ("standard", "backstop"):
            problems.append(f"the embedded engine does not have the rule type {kind}")
        for problem in problems:
            self._problem(path, problem)
        if problems:
            return
        self._add(
            self._registry.rules,
            path,
            metadata["name"],
            lambda ref: Rule(
                ref=ref,
                pack=self._ref,
                name=metadata["name"],
                path=path,
                trigger=metadata["trigger"]["type"],
                trigger_parameters=metadata["trigger"].get("parameters") or {},
                criteria=criteria,
                action=metadata["action"]["ref"],
                parameters=metadata["action"].get("parameters") or {},
                description=metadata.get("description", ""),
                enabled=metadata.get("enabled", False),
                backstop=kind == "backstop",
            ),
        )

    def _add_policy(self, path, metadata):
        kind = metadata["policy_type"]
        if kind not in POLICY_TYPES:
            self._problem(path, f"the embedded engine does not have the policy type {kind}")
            return
        parameters = metadata.get("parameters") or {}
        try:
            parameters = schema.validate(parameters, POLICY_TYPES[kind], schema.dotted)
        except schema.SchemaError as error:
            self._problem(path, f"parameters.{error}")
            return
        self._add(
            self._registry.policies,
            path,
            metadata["name"],
            lambda ref: Policy(
                ref=ref,
                pack=self._ref,
                name=metadata["name"],
                resource_ref=metadata["resource_ref"],
                policy_type=kind,
                parameters=parameters,
                enabled=metadata.get("enabled", True),
            ),
        )

    def _add_alias(self, path, metadata):
        self._add(
            self._registry.aliases,
            path,
            metadata["name"],
            lambda ref: Alias(
                ref=ref,
                pack=self._ref,
                name=metadata["name"],
                path=path,
                action_ref=metadata["action_ref"],
                metadata=metadata,
                description=metadata.get("description", ""),
                enabled=metadata.get("enabled", True),
            ),
        )


def _parameter_problems(parameters, runner):
    taken = {}
    for name, details in parameters.items():
        inherited = runner.parameters.get(name)
        if inherited is not None:
            for attribute, value in details.items():
                if attribute not in OVERRIDABLE and inherited.get(attribute) != value:
                    yield (
                        f'parameter "{name}" comes from the runner: '
                        f"its {attribute} cannot be changed"
                    )
            if "immutable" in details and "immutable" in inherited:
                yield f'parameter "{name}" is immutable in the runner'
        if details.get("immutable") and "default" not in dict(inherited or {}, **details):
            yield f'parameter "{name}" is immutable and needs a default'
        if "position" in details:
            position = details["position"]
            if position in taken:
                yield f'parameters "{taken[position]}" and "{name}" have the same position'
            taken[position] = name
    if taken and sorted(taken) != list(range(min(taken), min(taken) + len(taken))):
        yield "positions of parameters must follow each other without a gap"


def _output_problems(output_schema):
    if output_schema and "type" in output_schema:
        try:
            schema.check(output_schema, metadata_schemas.OUTPUT, schema.dotted)
        except schema.SchemaError as error:
            yield f"output_schema: {error}"


def _criteria_problems(criteria):
    for key, criterion in criteria.items():
        try:
            payload.parse(key.split("#", 1)[0])
        except payload.PathError as error:
            yield f"criterion: {error}"
        operator = criterion.get("type") if isinstance(criterion, dict) else None
        if operator is None:
            yield f'criterion "{key}" has no type'
        elif operator not in OPERATORS:
            yield f'criterion "{key}": the embedded engine does not have the operator {operator}'
        elif criterion.get("pattern") is None:
            yield f'criterion "{key}" has no pattern, which registration asks for'
        if operator == "search" and isinstance(criterion.get("pattern"), dict):
            yield from _criteria_problems(criterion["pattern"])


class _UniqueKeyLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Refuses a mapping that names a key twice, which YAML loaders let pass silently."""


def _construct_unique_mapping(loader, node):
    seen = set()
    for key_node, _ in node.value:
        if isinstance(key_node, yaml.ScalarNode):
            if key_node.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key_node.value!r} is there twice", key_node.start_mark
                )
            seen.add(key_node.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_UniqueKeyLoader.add_constructor(
    yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_unique_mapping
)


def load_yaml(path):
    """Return a YAML file's content. Raises yaml.YAMLError, also for a key that is there twice."""
    with open(path, encoding="utf-8") as stream:
        return yaml.load(stream, Loader=_UniqueKeyLoader)
