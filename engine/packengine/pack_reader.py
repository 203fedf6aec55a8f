"""Reads one pack's files into content, and says of each file it cannot use why."""

from __future__ import annotations

import math
import os
import re
from typing import Any, Callable, Dict, Iterator, TypeVar

import yaml

from packengine import metadata_schemas, payload, schema, stackstorm
from packengine.operators import OPERATORS
from packengine.policy_types import POLICY_TYPES
from packengine.problems import UNSUPPORTED, Problem, described, unsupported
from packengine.resources import (
    Action,
    Alias,
    Content,
    Pack,
    Policy,
    Rule,
    Sensor,
    TriggerType,
)
from packengine.runner_types import OVERRIDABLE, RUNNER_TYPES, RunnerType
from packengine.yaml_files import load_yaml

EXTENSIONS = (".yaml", ".yml", ".json")

Metadata = Dict[str, Any]  # of a file
Resource = TypeVar("Resource")


class PackReader:
    """Reads the pack in a directory. What is wrong becomes problems of the content.

    A file that cannot be used keeps its ref in ``content.refused``, so that whoever asks for it is
    told why. Only a directory without a usable ``pack.yaml`` gives no pack at all.
    """

    def __init__(self, content: Content, path: str):
        self._content = content
        self._path = path
        self._ref = ""

    def read(self) -> bool:
        """Reads everything; returns whether the directory is a pack."""
        manifest = os.path.join(self._path, "pack.yaml")
        if not os.path.isfile(manifest):
            self._problem(self._path, "not a pack, it has no pack.yaml", "name a pack's directory")
            return False
        metadata, problem = self._load(manifest, metadata_schemas.PACK)
        if problem is None:
            self._ref = self._pack_ref(manifest, metadata)
        if not self._ref:
            return False
        same = self._content.packs.get(self._ref)
        if same is not None:
            self._problem(
                manifest,
                f"the pack {self._ref} is already loaded from {same.path}",
                "name one of the two directories, or change the ref",
            )
            return False
        config_schema, config_problem = self._config_schema()
        self._content.packs[self._ref] = Pack(
            ref=self._ref,
            path=self._path,
            metadata=metadata,
            config_schema=config_schema,
            config_problem=config_problem,
        )
        self._each("triggers", "Trigger", metadata_schemas.TRIGGER, self._add_trigger)
        self._each("actions", "Action", metadata_schemas.ACTION, self._add_action)
        self._each("sensors", "Sensor", metadata_schemas.SENSOR, self._add_sensor)
        self._each("rules", "Rule", metadata_schemas.RULE, self._add_rule)
        self._each("policies", "Policy", metadata_schemas.POLICY, self._add_policy)
        self._each("aliases", "Alias", metadata_schemas.ALIAS, self._add_alias)
        return True

    def _pack_ref(self, manifest: str, metadata: Metadata) -> str:
        # As StackStorm: the ref; else the directory's name; else the pack's name.
        directory = os.path.basename(self._path)
        for candidate in (metadata.get("ref"), directory, metadata["name"]):
            if candidate and re.fullmatch("[a-z0-9_]+", candidate):
                return candidate
        self._problem(
            manifest, "the pack has no ref", "add one of small letters, digits and underscores"
        )
        return ""

    def _config_schema(self) -> tuple[Metadata, Problem | None]:
        path = os.path.join(self._path, "config.schema.yaml")
        if not os.path.isfile(path):
            return {}, None
        metadata, problem = self._load(path, metadata_schemas.CONFIG)
        return ({} if problem else metadata), problem

    def _each(
        self,
        directory: str,
        kind: str,
        metadata_schema: dict[str, Any],
        add: Callable[[str, Metadata], Problem | None],
    ) -> None:
        """Reads each metadata file of a directory; ``add`` returns why it cannot be used, if so."""
        directory = os.path.join(self._path, directory)
        if not os.path.isdir(directory):
            return
        for name in sorted(os.listdir(directory)):
            if not name.endswith(EXTENSIONS):
                continue
            path = os.path.join(directory, name)
            metadata, problem = self._load(path, metadata_schema)
            try:
                problem = problem or self._elsewhere(path, metadata) or add(path, metadata)
            except Exception as error:  # one file must not keep the others from being read
                what = f"cannot be used: {described(error)}"
                problem = self._problem(path, what, "correct the file")
            if problem is not None:
                self._refuse(kind, _name_of(metadata, name), problem)
                self._refuse_resource(metadata, problem)

    def _load(self, path: str, metadata_schema: dict[str, Any]) -> tuple[Metadata, Problem | None]:
        """Returns what a file holds, as far as it can be read, and why it cannot be used."""
        try:
            metadata = load_yaml(path)
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            return {}, self._problem(path, " ".join(str(error).split()), "correct the file")
        try:
            schema.check(metadata, metadata_schema, schema.dotted)
        except schema.SchemaError as error:
            problem = self._problem(path, str(error), error.remedy)
            return metadata if isinstance(metadata, dict) else {}, problem
        return metadata, None

    def _elsewhere(self, path: str, metadata: Metadata) -> Problem | None:
        pack = metadata.get("pack", self._ref)
        if pack == self._ref:
            return None
        return self._problem(
            path,
            f'says pack "{pack}" but lies in "{self._ref}"',
            "move the file, or leave out pack",
        )

    def _problem(self, path: str, what: str, remedy: str) -> Problem:
        return self._report(Problem(path, what, remedy))

    def _report(self, problem: Problem, *others: Problem) -> Problem:
        self._content.problems.extend((problem, *others))
        return problem

    def _refuse(self, kind: str, name: str, problem: Problem) -> None:
        self._content.refused[kind, f"{self._ref}.{name}"] = problem

    def _refuse_resource(self, metadata: Metadata, problem: Problem) -> None:
        """Refuses the action of a policy that cannot be applied: without it, it must not run."""
        if "policy_type" in metadata and metadata.get("enabled", True):
            self._content.refused["Action", str(metadata.get("resource_ref"))] = problem

    def _add(
        self,
        kind: str,
        resources: dict[str, Resource],
        path: str,
        name: str,
        make: Callable[[str], Resource],
    ) -> Problem | None:
        ref = f"{self._ref}.{name}"
        if ref not in resources:
            resources[ref] = make(ref)
            return None
        # StackStorm takes the file that happens to come last.
        article = "an" if kind[0] in "AI" else "a"
        return self._problem(
            path, f"there is already {article} {kind.lower()} {ref}", "rename one of the two"
        )

    def _add_trigger(self, path: str, metadata: Metadata) -> None:
        ref = "{}.{}".format(self._ref, metadata["name"])
        same = self._content.triggers.get(ref)
        if same is not None and same.path:
            # Not refused: StackStorm takes one of the two, and rules that name it run.
            self._problem(path, f"there is already a trigger {ref}", "describe it in one place")
        self._content.triggers[ref] = TriggerType(
            ref=ref,
            pack=self._ref,
            name=metadata["name"],
            path=path,
            description=metadata.get("description", ""),
            payload_schema=metadata.get("payload_schema") or {},
            parameters_schema=metadata.get("parameters_schema") or {},
        )

    def _add_action(self, path: str, metadata: Metadata) -> Problem | None:
        runner = RUNNER_TYPES.get(metadata["runner_type"])
        if runner is None:
            return self._report(_unknown_runner(path, metadata["runner_type"]))
        parameters = metadata.get("parameters") or {}
        problems = list(_parameter_problems(path, parameters, runner))
        problems.extend(_output_problems(path, metadata.get("output_schema")))
        if problems:
            return self._report(*problems)
        entry_point = metadata.get("entry_point") or ""
        return self._add(
            "Action",
            self._content.actions,
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

    def _add_sensor(self, path: str, metadata: Metadata) -> Problem | None:
        for trigger in metadata.get("trigger_types") or ():
            self._add_trigger(path, trigger)
        return self._add(
            "Sensor",
            self._content.sensors,
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

    def _add_rule(self, path: str, metadata: Metadata) -> Problem | None:
        criteria = metadata.get("criteria") or {}
        kind = (metadata.get("type") or {}).get("ref", "standard")
        problems = list(_criteria_problems(path, criteria))
        if kind not in ("standard", "backstop"):
            problems.append(
                Problem(path, f"there is no rule type {kind}", "write standard or backstop")
            )
        if problems:
            return self._report(*problems)
        return self._add(
            "Rule",
            self._content.rules,
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

    def _add_policy(self, path: str, metadata: Metadata) -> Problem | None:
        kind = metadata["policy_type"]
        if kind not in POLICY_TYPES:
            choices = ", ".join(sorted(POLICY_TYPES))
            return self._problem(path, f"there is no policy type {kind}", f"write one of {choices}")
        try:
            parameters = schema.validate(
                metadata.get("parameters") or {}, POLICY_TYPES[kind], schema.dotted
            )
        except schema.SchemaError as error:
            return self._problem(path, f"parameters.{error}", error.remedy)
        return self._add(
            "Policy",
            self._content.policies,
            path,
            metadata["name"],
            lambda ref: Policy(
                ref=ref,
                pack=self._ref,
                name=metadata["name"],
                path=path,
                resource_ref=metadata["resource_ref"],
                policy_type=kind,
                parameters=parameters,
                enabled=metadata.get("enabled", True),
            ),
        )

    def _add_alias(self, path: str, metadata: Metadata) -> Problem | None:
        formats = metadata.get("formats") or []
        if any(isinstance(each, dict) and each.get("match_multiple") for each in formats):
            return self._report(unsupported(path, "match_multiple"))
        return self._add(
            "Alias",
            self._content.aliases,
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


def _name_of(metadata: Metadata, file_name: str) -> str:
    """Returns what a file's resource is called; the file's own name when it does not say."""
    name = metadata.get("class_name") or metadata.get("name")
    return name if isinstance(name, str) else os.path.splitext(file_name)[0]


def _unknown_runner(path: str, name: str) -> Problem:
    if name in stackstorm.RUNNERS:
        return unsupported(path, f"the runner {name}")
    choices = ", ".join(sorted({*RUNNER_TYPES, *stackstorm.RUNNERS}))
    return Problem(path, f"StackStorm does not have the runner {name}", f"write one of {choices}")


def _parameter_problems(path: str, parameters: Metadata, runner: RunnerType) -> Iterator[Problem]:
    taken: dict[float, str] = {}
    for name, details in parameters.items():
        inherited = runner.parameters.get(name)
        if inherited is not None:
            for attribute, value in details.items():
                if attribute not in OVERRIDABLE and inherited.get(attribute) != value:
                    yield Problem(
                        path,
                        f'parameter "{name}" comes from the runner: its {attribute} cannot be '
                        "changed",
                        "leave it out, or rename the parameter",
                    )
            if "immutable" in details and "immutable" in inherited:
                yield Problem(
                    path, f'parameter "{name}" is immutable in the runner', "leave out immutable"
                )
        if details.get("immutable") and "default" not in dict(inherited or {}, **details):
            yield Problem(
                path, f'parameter "{name}" is immutable and needs a default', "add a default"
            )
        if "position" in details:
            position = details["position"]
            if isinstance(position, float) and not math.isfinite(position):
                yield Problem(
                    path, f'parameter "{name}" has the position {position}', "number them from 0"
                )
                continue
            if position in taken:
                yield Problem(
                    path,
                    f'parameters "{taken[position]}" and "{name}" have the same position',
                    "number them from 0",
                )
            taken[position] = name
    if taken and sorted(taken) != list(range(int(min(taken)), int(min(taken)) + len(taken))):
        yield Problem(
            path,
            "positions of parameters must follow each other without a gap",
            "number them from 0",
        )


def _output_problems(path: str, output_schema: Metadata | None) -> Iterator[Problem]:
    if output_schema and "type" in output_schema:
        try:
            schema.check(output_schema, metadata_schemas.OUTPUT, schema.dotted)
        except schema.SchemaError as error:
            yield Problem(path, f"output_schema: {error}", error.remedy)


def _criteria_problems(path: str, criteria: Metadata) -> Iterator[Problem]:
    for key, criterion in criteria.items():
        if not isinstance(key, str):
            yield Problem(path, f"criteria: the key {key!r} is not text", "quote it")
            continue
        try:
            payload.parse(key.split("#", 1)[0])
        except payload.PathError as error:
            yield Problem(
                path, f"criterion: {error}", "run it on StackStorm, or name each level", UNSUPPORTED
            )
        operator = criterion.get("type") if isinstance(criterion, dict) else None
        if operator is None:
            yield Problem(path, f'criterion "{key}" has no type', "add one")
        elif not isinstance(operator, str) or operator not in OPERATORS:
            choices = ", ".join(sorted(OPERATORS))
            yield Problem(
                path,
                f'criterion "{key}": StackStorm does not have the operator {operator}',
                f"write one of {choices}",
            )
        elif criterion.get("pattern") is None:
            yield Problem(
                path,
                f'criterion "{key}" has no pattern, which registration asks for',
                "add one; exists and nexists take any",
            )
        if operator == "search" and isinstance(criterion.get("pattern"), dict):
            yield from _criteria_problems(path, criterion["pattern"])
