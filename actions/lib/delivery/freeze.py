"""Freezes: nothing of an application is promoted while one holds."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from delivery.clock import lasting, left, now, seconds_since
from delivery.errors import DeliveryError
from delivery.ledger import Ledger, retry
from delivery.names import check, plain
from delivery.records import Fields
from delivery.store import Entry, Operation
from delivery.zones import Zone

REASON_LENGTH = 300  # characters


class Frozen(DeliveryError):
    """Nothing is promoted for now; the message says who froze it, why and until when."""


@dataclass(frozen=True)
class Freeze:
    """
    :param reason: in people's own words; may be empty.
    :param at: when it began, ISO 8601, UTC.
    :param until: when it ends; None: not by itself.
    """

    reason: str
    by: str
    at: str
    until: str | None

    @classmethod
    def parse(cls, entry: Entry) -> Freeze:
        """:raises MalformedRecord: naming the key."""
        fields = Fields.of(entry)
        until = fields.time("until") if fields.optional_text("until") else None
        return cls(fields.text("reason", ""), fields.name("by", "user"), fields.time("at"), until)

    @property
    def holds(self) -> bool:
        """Whether its time is not over yet."""
        return self.until is None or seconds_since(self.until) < 0

    def __str__(self) -> str:
        """Returns `frozen by olga for another 1 h 59 min: the sale is on`."""
        return self.told(f"for another {left(self.until)}" if self.until else "")

    def until_in(self, zone: Zone) -> str:
        """Returns `frozen by olga until 2026-01-01 18:00 UTC: the sale is on`."""
        return self.told(
            f"until {zone.local(self.until):%Y-%m-%d %H:%M} {zone.name}" if self.until else ""
        )

    def told(self, when: str) -> str:
        """Returns who has frozen it, when it ends, in these words, and why."""
        words = f"frozen by {self.by} {when}".rstrip()
        return f"{words}: {self.reason}" if self.reason else words


class Freezes:
    """:param ledger: of the application."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def start(self, by: str, reason: str = "", for_s: int | None = None) -> Freeze:
        """Freezes the application. Another freeze replaces the one before.

        :param reason: in people's own words.
        :param for_s: seconds until it ends by itself; None: until `end`.
        """
        freeze = Freeze(
            reason=plain(reason)[:REASON_LENGTH],
            by=check("user", by),
            at=now(),
            until=None if for_s is None else now(for_s),
        )
        record = json.dumps(dataclasses.asdict(freeze))
        told = freeze.told(f"for {lasting(for_s)}" if for_s else "")
        event = self._ledger.event("frozen", by=by, message=f"{self._ledger.application}: {told}")
        retry(
            lambda: self._ledger.commit(
                [self._ledger.set("freeze", record, self._ledger.get("freeze"))], event
            )
        )
        return freeze

    def end(self, by: str) -> bool:
        """Ends the freeze; returns whether there was one."""
        entry = self._ledger.get("freeze")
        if not entry:
            return False
        self._ledger.commit(
            [self._ledger.unchanged("freeze", entry), self._ledger.delete("freeze")],
            self._ledger.event(
                "unfrozen",
                by=check("user", by),
                message=f"{self._ledger.application}: freeze ended by {by}",
            ),
        )
        return True

    def current(self) -> Freeze | None:
        """Returns the freeze that holds now, or None."""
        entry = self._ledger.get("freeze")
        freeze = Freeze.parse(entry) if entry else None
        return freeze if freeze and freeze.holds else None

    def guard(self) -> Operation:
        """An operation: fail the transaction if the application is frozen meanwhile.

        :raises Frozen: when it is frozen now.
        """
        entry = self._ledger.get("freeze")
        if not entry:
            return self._ledger.absent("freeze")
        freeze = Freeze.parse(entry)
        if freeze.holds:
            name = self._ledger.application
            raise Frozen(f"{name} is {freeze}; to end the freeze: !deploy unfreeze {name}")
        return self._ledger.unchanged("freeze", entry)
