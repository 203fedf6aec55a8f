"""The packs that are loaded, and what they hold."""

from __future__ import annotations

import difflib
import os
from typing import Any, Iterable, Iterator, Mapping, TypeVar

from packengine import schema, stackstorm
from packengine.pack_reader import PackReader
from packengine.problems import Problem, guarded, unsupported
from packengine.resources import Action, Content, Rule, TriggerType
from packengine.system_triggers import SYSTEM_TRIGGERS

# The packs every StackStorm has, as far as the engine runs them.
BUILTIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "builtin")

Resource = TypeVar("Resource")


class PackError(Exception):
    """A directory is no pack; ``problems`` says why, one each."""

    def __init__(self, problems: list[Problem]):
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems


class UnknownReference(LookupError):
    """No resource of that name; the message offers the nearest ones."""

    def __str__(self) -> str:
        return str(self.args[0])


class Refused(UnknownReference):
    """The resource is there and cannot be used; the message says why and what to do."""


class ActionDisabled(Exception):
    """The action may not be run; the message names it."""


class Registry(Content):
    """Everything the loaded packs hold, by ref.

    What cannot be used is left out and listed in ``problems``; asking for it by name raises
    :class:`Refused`.

    :param paths: directories of packs; the built-in ones are always there.
    :raises PackError: when a directory is no pack.
    """

    def __init__(self, paths: Iterable[str] = ()):
        super().__init__()
        for name, (payload_schema, parameters_schema) in SYSTEM_TRIGGERS.items():
            ref = f"core.{name}"
            self.triggers[ref] = TriggerType(
                ref=ref,
                pack="core",
                name=name,
                payload_schema=payload_schema,
                parameters_schema=parameters_schema,
            )
        builtin = [os.path.join(BUILTIN, name) for name in sorted(os.listdir(BUILTIN))]
        directories = builtin + [os.path.abspath(path) for path in paths]
        readable = [PackReader(self, path).read() for path in directories]
        if not all(readable):
            raise PackError(self.problems)
        for kind, ref in self.refused:
            # What two files describe, and actions whose policy cannot be applied, were read.
            self._of_kind(kind).pop(ref, None)
        for rule in list(self.rules.values()):
            for problem in guarded(rule.path, self._trigger_problems(rule)):
                self.problems.append(problem)
                self.refused["Rule", rule.ref] = problem
                self.rules.pop(rule.ref, None)

    def action(self, ref: str) -> Action:
        """Returns an action.

        :raises UnknownReference: when there is none of that name.
        :raises Refused: when there is, and it cannot be used.
        """
        if ref in stackstorm.ACTIONS and ref not in self.actions:
            raise Refused(f"{ref}: the engine does not have this action; run it on StackStorm")
        return self._find("Action", self.actions, ref)

    def rule(self, ref: str) -> Rule:
        """Returns a rule.

        :raises UnknownReference: when there is none of that name.
        :raises Refused: when there is, and it cannot be used.
        """
        return self._find("Rule", self.rules, ref)

    def trigger(self, ref: str) -> TriggerType:
        """Returns a trigger type.

        :raises UnknownReference: when there is none of that name.
        :raises Refused: when there is, and it cannot be used.
        """
        return self._find("Trigger", self.triggers, ref)

    def _find(self, kind: str, resources: Mapping[str, Resource], ref: str) -> Resource:
        if ref in resources:
            return resources[ref]
        problem = self.refused.get((kind, ref))
        if problem is not None:
            raise Refused(f'{kind} "{ref}" cannot be used: {problem}')
        message = f'{kind} "{ref}" cannot be found.'
        nearest = difflib.get_close_matches(ref, list(resources), n=3, cutoff=0.5)
        if nearest:
            message += " Did you mean {}?".format(" or ".join(nearest))
        raise UnknownReference(message)

    def _of_kind(self, kind: str) -> dict[str, Any]:
        resources: dict[str, dict[str, Any]] = {
            "Action": self.actions,
            "Alias": self.aliases,
            "Policy": self.policies,
            "Rule": self.rules,
            "Sensor": self.sensors,
            "Trigger": self.triggers,
        }
        return resources[kind]

    def _trigger_problems(self, rule: Rule) -> Iterator[Problem]:
        if rule.trigger in stackstorm.TRIGGERS:
            yield unsupported(rule.path, f"the trigger type {rule.trigger}")
        elif rule.trigger in self.triggers:
            yield from self._trigger_parameter_problems(rule)
        else:
            pack = rule.trigger.split(".", 1)[0]
            if pack in self.packs:
                yield Problem(
                    rule.path,
                    f"the pack {pack} has no trigger {rule.trigger}",
                    "correct the name, or describe it in triggers/ or with its sensor",
                )

    def _trigger_parameter_problems(self, rule: Rule) -> Iterator[Problem]:
        parameters_schema = self.triggers[rule.trigger].parameters_schema
        if not parameters_schema:
            return
        try:
            schema.validate(rule.trigger_parameters, parameters_schema, schema.dotted)
        except schema.SchemaError as error:
            yield Problem(rule.path, f"trigger.parameters.{error}", error.remedy)
