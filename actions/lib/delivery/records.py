"""Records read from Consul, parsed at the door.

    fields = Fields.of(entry)
    build = Build(number=fields.integer("number"), branch=fields.name("branch", "branch"), ...)

Whatever is not as it should be is a `MalformedRecord` that names the key and the field.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Callable, Collection, Iterable, Iterator, Mapping, NoReturn, TypeVar

from delivery.clock import seconds_since
from delivery.errors import DeliveryError
from delivery.names import matches, shown
from delivery.store import ConsulUnreachable, Entry

LOG = logging.getLogger(__name__)
Record = TypeVar("Record")
Found = TypeVar("Found")


class MalformedRecord(DeliveryError):
    """What a key holds cannot be read; the message names the key."""


def readable(
    parse: Callable[[str, Entry], Record], found: Iterable[tuple[str, Entry]]
) -> Iterator[Record]:
    """Yields what can be read of many records; the others are logged by their keys.

    :param parse: makes a record of a name and its entry, or raises MalformedRecord.
    """
    for name, entry in found:
        try:
            yield parse(name, entry)
        except MalformedRecord as malformed:
            LOG.error("Left out: %s", malformed)


class Fields:
    """The fields of a JSON object, each checked as it is taken.

    :param where: the key in Consul, for messages.
    :param values: the object.
    :param path: what comes before the fields' names in messages, such as `target.`.
    :raises MalformedRecord: when it is not an object.
    """

    def __init__(self, where: str, values: object, path: str = "") -> None:
        self.where = where
        self.path = path
        if not isinstance(values, Mapping):
            raise self._malformed(f"{path[:-1] or 'it'} is not a JSON object")
        self.values = values

    @classmethod
    def of(cls, entry: Entry) -> Fields:
        """Returns the fields of a key's value.

        :raises MalformedRecord: when the value is not a JSON object.
        """
        try:
            values = json.loads(entry.value)
        except (ValueError, RecursionError):
            values = None
        return cls(entry.key, values)

    def text(self, name: str, default: str | None = None) -> str:
        """Returns a text; without a default it must be there."""
        value = self._take(name, default)
        return value if isinstance(value, str) else self.refuse(name, "text")

    def optional_text(self, name: str) -> str | None:
        """Returns a text, or None where it is null or missing."""
        return None if self.values.get(name) is None else self.text(name)

    def name(self, name: str, kind: str) -> str:
        """Returns a name of a kind that `delivery.names` knows."""
        value = self.values.get(name)
        return str(value) if matches(kind, value) else self.refuse(name, f"the name of a {kind}")

    def one_of(self, name: str, known: Collection[str]) -> str:
        """Returns one of the known words."""
        value = self.text(name)
        return value if value in known else self.refuse(name, "one of " + ", ".join(known))

    def time(self, name: str) -> str:
        """Returns a timestamp."""
        value = self.text(name)
        try:
            seconds_since(value)
        except ValueError:
            self.refuse(name, "a time such as 2026-01-01T00:00:00Z")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """Returns a whole number, not negative; without a default it must be there."""
        value = self._take(name, default)
        return value if type(value) is int and value >= 0 else self.refuse(name, "a number")

    def object(self, name: str) -> dict[str, Any]:
        """Returns an object; an empty one where it is missing."""
        value = self._take(name, {})
        return dict(value) if isinstance(value, Mapping) else self.refuse(name, "an object")

    def nested(self, name: str) -> Fields:
        """Returns the fields of an object that must be there."""
        return Fields(self.where, self.values.get(name), f"{self.path}{name}.")

    def each(self, name: str) -> list[Any]:
        """Returns a list; an empty one where it is missing."""
        value = self._take(name, [])
        return list(value) if isinstance(value, list) else self.refuse(name, "a list")

    def names(self, name: str, kind: str) -> list[str]:
        """Returns a list of names of a kind; an empty one where it is missing."""
        values = self.each(name)
        if not all(matches(kind, value) for value in values):
            self.refuse(name, f"names of {kind}s")
        return values

    def _take(self, name: str, default: Any) -> Any:
        value = self.values.get(name)
        return default if value is None else value

    def refuse(self, name: str, expected: str) -> NoReturn:
        """:raises MalformedRecord: saying what the field was expected to be."""
        found = shown(self.values.get(name))
        raise self._malformed(f"{self.path}{name} is {found}, expected {expected}")

    def _malformed(self, why: str) -> MalformedRecord:
        return MalformedRecord(f"{self.where} in Consul is malformed: {why}; correct or delete it")


def or_nothing(look: Callable[[], Found]) -> Found | None:
    """Returns what a look finds; None when there is nothing, or a record is malformed.

    :raises ConsulUnreachable: while Consul is away: then nobody knows what there is.
    """
    try:
        return look()
    except ConsulUnreachable:
        raise
    except DeliveryError:
        return None
