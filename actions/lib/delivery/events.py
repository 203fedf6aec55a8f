"""Events: what has happened to an application, and how far it was handed over to StackStorm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from delivery.ledger import Event, Ledger
from delivery.names import plain
from delivery.records import Fields, readable
from delivery.store import Entry

if TYPE_CHECKING:
    from delivery.releases import Release

# Names that events of a type carry, beside their message, and that their readers rely on.
OF_A_COMMIT, OF_A_ROLLOUT = ("commit",), ("stage", "version", "deployment")
FACTS = {
    "build_started": OF_A_COMMIT,
    "build_passed": OF_A_COMMIT,
    "build_failed": OF_A_COMMIT,
    "packaging_failed": OF_A_COMMIT,
    "release_published": ("commit", "version"),
    "rollout_started": OF_A_ROLLOUT,
    "batch_finished": OF_A_ROLLOUT,
    "rollout_succeeded": OF_A_ROLLOUT,
    "rollout_failed": OF_A_ROLLOUT,
    "rollout_refused": ("stage", "version"),
    "abort_asked": OF_A_ROLLOUT,
}


class Events:
    """:param ledger: of the application; it writes the events, with the changes they tell of."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def all(self) -> list[Event]:
        """Returns what happened, oldest first, each with its `id`; without malformed events."""
        found = self._ledger.get_below("events")
        return list(readable(self._parse, sorted(found.items())))

    def get(self, event_id: str) -> Event | None:
        """Returns an event, or None when it is not kept any more.

        :raises MalformedRecord: naming the key.
        """
        entry = self._ledger.get(f"events/{event_id}")
        return self._parse(event_id, entry) if entry else None

    def seen(self) -> str:
        """Returns the id of the last event that was handed over; empty if none was."""
        return self._ledger.seen()

    def mark_seen(self, event_id: str) -> None:
        """Records that this event, and those before it, were handed over."""
        self._ledger.commit([self._ledger.overwrite("events_seen", event_id)])

    def refused(self, stage: str, release: Release, reason: str) -> None:
        """Records why a release that was to go to a stage by itself did not even begin to."""
        what = f"{release.version} is not deployed to {stage}"
        event = self._ledger.event(
            "rollout_refused",
            stage=stage,
            version=release.version,
            commit=release.commit,
            by=release.by,
            message=f"{self._ledger.application}: {what}: {plain(reason)}",
        )
        self._ledger.commit([], event)

    def _parse(self, event_id: str, entry: Entry) -> Event:
        """:raises MalformedRecord: when a field that events of its type have is missing."""
        fields = Fields.of(entry)
        kind = fields.text("type")
        message = plain(fields.text("message"))
        fields.time("at")
        for name in FACTS.get(kind, ()):
            fields.name(name, name)
        facts = {name: value for name, value in fields.values.items() if name != "transaction"}
        return dict(facts, id=event_id, application=self._ledger.application, message=message)
