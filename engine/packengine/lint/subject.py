"""The pack that is looked at, and what its files may refer to."""

from __future__ import annotations

import re
from typing import Any, Iterable, Iterator, TypeVar

from packengine import schema, stackstorm
from packengine.packs import Refused, Registry, UnknownReference
from packengine.problems import UNCHECKED, Problem, unsupported
from packengine.resources import Action, Alias, Pack, Policy, Rule, Sensor

Resource = TypeVar("Resource", Action, Alias, Policy, Rule, Sensor)


class Subject:
    """A pack and everything that is loaded beside it.

    :param registry: holds the pack, and those it refers to.
    :param pack: the pack that is looked at.
    """

    def __init__(self, registry: Registry, pack: Pack):
        self.registry = registry
        self.pack = pack
        self.actions = self._own(registry.actions.values())
        self.sensors = self._own(registry.sensors.values())
        self.rules = self._own(registry.rules.values())
        self.policies = self._own(registry.policies.values())
        self.aliases = self._own(registry.aliases.values())

    def _own(self, resources: Iterable[Resource]) -> list[Resource]:
        return [resource for resource in resources if resource.pack == self.pack.ref]

    def action(self, ref: str) -> Action | None:
        """Returns an action, None when there is none that can be used."""
        try:
            return self.registry.action(ref)
        except UnknownReference:
            return None

    def action_problems(self, path: str, place: str, ref: str) -> Iterator[Problem]:
        """Yields why an action that a file names cannot be found.

        :param place: where in the file, with a colon and a space; may be empty.
        """
        try:
            self.registry.action(ref)
        except Refused:
            # What is wrong with an action of the pack is said of the action's own file.
            if ref in stackstorm.ACTIONS:
                yield unsupported(path, f"the action {ref}", place)
        except UnknownReference as error:
            yield self._missing(path, f"{place}there is no action {ref}", ref, str(error))

    def trigger_problems(self, path: str, ref: str) -> Iterator[Problem]:
        """Yields why a trigger type of another pack cannot be found."""
        if ref not in self.registry.triggers:
            yield self._missing(path, f"there is no trigger {ref}", ref, "")

    def _missing(self, path: str, what: str, ref: str, hint: str) -> Problem:
        pack = ref.split(".", 1)[0]
        if "." in ref and pack not in self.registry.packs:
            return Problem(
                path,
                f"{ref} is of the pack {pack}, which is not here",
                "name that pack's directory with --pack",
                UNCHECKED,
            )
        _, _, nearest = hint.partition("Did you mean ")
        return Problem(path, what, f"write {nearest[:-1]}" if nearest else "correct the name")

    def call_problems(
        self, path: str, place: str, ref: str, given: dict[str, Any]
    ) -> Iterator[Problem]:
        """Yields what does not fit when an action is called.

        :param given: name -> value; values may be templates and expressions.
        """
        action = self.action(ref)
        if action is not None:
            yield from argument_problems(path, f"{place}{ref}: ", action.all_parameters(), given)


def argument_problems(
    path: str, place: str, taken: dict[str, Any], given: dict[str, Any]
) -> Iterator[Problem]:
    """Yields what of the given values does not fit.

    :param taken: name -> schema of what may be given.
    :param given: name -> value; values may be templates and expressions.
    """
    for name, details in taken.items():
        if details.get("required") and "default" not in details and name not in given:
            yield Problem(path, f"{place}the required {name} is not given", "pass it")
    for name, value in given.items():
        if name not in taken:
            yield Problem(path, f"{place}{name} is not known", "leave it out")
        elif taken[name].get("immutable"):
            yield Problem(path, f"{place}{name} is immutable", "leave it out")
        elif value is not None and not is_computed(value):
            yield from value_problems(path, place, name, value, taken[name])


def value_problems(
    path: str, place: str, name: str, value: Any, details: dict[str, Any]
) -> Iterator[Problem]:
    """Yields why a value does not fit its schema."""
    try:
        schema.check({name: value}, {"properties": {name: details}}, schema.dotted)
    except schema.SchemaError as error:
        yield Problem(path, f"{place}{error}", error.remedy)


def is_computed(value: Any) -> bool:
    """Returns whether a value holds templates or expressions, so that its type is not known."""
    return re.search("{{|{%|<%", str(value)) is not None
