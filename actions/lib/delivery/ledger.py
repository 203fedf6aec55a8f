"""One application's part of Consul, where every change leaves the event that tells of it.

    ledger = Ledger(store, "shop")
    entry = ledger.get("freeze")
    ledger.commit([ledger.set("freeze", "{}", entry)], ledger.event("frozen", message="..."))

A change is one transaction, all of it or nothing. A change that another process made in between is
a `LostRace`. A change whose answer was lost is sent again: it is recognised if it had arrived.
"""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import time
from typing import Any, Callable, Dict, TypeVar

from delivery.clock import now
from delivery.errors import DeliveryError
from delivery.names import check
from delivery.store import (
    AnswerLost,
    ConsulUnreachable,
    LostRace,
    Operation,
    Store,
    encode,
)

EVENTS_KEPT = 200  # per application, and those not yet seen
PRUNED_AT_ONCE = 8
RACE_PATIENCE_S = 15  # for which a change that lost a race is tried again
PAUSES_S = (0.01, 0.2)  # between two attempts, at random, so that rivals do not meet again
ANSWER_PATIENCE_S = 10  # for which a change whose answer was lost is sent again
SEND_AGAIN_S = 0.5

EVENT_ID = re.compile("[0-9]{10}")

Event = Dict[str, Any]
Result = TypeVar("Result")


class _NumberTaken(LostRace):
    """Another event got the number; nothing else was wrong."""


def retry(change: Callable[[], Result], lost: type[DeliveryError] = LostRace) -> Result:
    """Makes a change, and once more from the start whenever it lost a race.

    :param change: reads what it relies on and commits.
    :param lost: the error that calls for another attempt.
    :raises LostRace: when it has lost for `RACE_PATIENCE_S`.
    """
    deadline = time.monotonic() + RACE_PATIENCE_S
    while True:
        try:
            return change()
        except lost:
            if time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(*PAUSES_S))


class Ledger(Store):
    """
    :param store: says which Consul, and below which prefix.
    :param application: whose part of it this is.
    :raises DeliveryError: when that is not an application's name.
    """

    def __init__(self, store: Store, application: str) -> None:
        self.application = check("application", application)
        super().__init__(store.url, None, f"{store.prefix}/{application}", store.client)

    def event(self, kind: str, **facts: Any) -> Event:
        """Returns an event of now, to be committed with what it tells of.

        :param facts: a `message` for people, and what the event is about.
        """
        event = dict(facts, type=kind, application=self.application, at=now())
        if "commit" in facts:
            event["trace_tag"] = f"{self.application}-{facts['commit'][:12]}"
        if os.environ.get("ST2_ACTION_EXECUTION_ID"):
            # Links what is told of the event to the execution behind it.
            event["execution"] = os.environ["ST2_ACTION_EXECUTION_ID"]
        return event

    def commit(self, operations: list[Operation], event: Event | None = None) -> None:
        """Applies the operations and the event, all or nothing.

        :raises LostRace: when another process changed what they rely on.
        :raises AnswerLost: when Consul went away and it is not known whether they were applied.
        """
        if event is None:
            self._send(operations, lambda: self._is_written(operations))
        else:
            marked = dict(event, transaction=secrets.token_hex(8))
            retry(lambda: self._commit_with_event(operations, marked), _NumberTaken)

    def event_ids(self) -> list[str]:
        """Returns the numbers of the events that are kept, oldest first."""
        ids = (key[len("events/") :] for key in self.keys("events"))
        return [each for each in ids if EVENT_ID.fullmatch(each)]

    def seen(self) -> str:
        """Returns the number of the last event that was handed over; empty if none was."""
        entry = self.get("events_seen")
        return entry.value if entry and EVENT_ID.fullmatch(entry.value) else ""

    def _commit_with_event(self, operations: list[Operation], event: Event) -> None:
        """Numbers the event. One of those committed at once gets the number, others try again."""
        ids = self.event_ids()
        # Numbers go on after what was handed over, even if somebody has deleted the events.
        key = f"events/{int(ids[-1] if ids else self.seen() or 0) + 1:010d}"
        numbered = self.set(key, json.dumps(event), None)

        def is_recorded() -> bool:
            entry = self.get(key)
            return entry is not None and event["transaction"] in entry.value

        try:
            self._send([*operations, numbered, *self._prune(ids)], is_recorded)
        except LostRace as error:
            if self.get(key):
                raise _NumberTaken(str(error)) from error
            raise

    def _prune(self, ids: list[str]) -> list[Operation]:
        """Operations: delete the oldest events beyond those kept, never one that was not seen."""
        beyond = ids[: max(0, len(ids) + 1 - EVENTS_KEPT)][:PRUNED_AT_ONCE]
        seen = self.seen() if beyond else ""
        return [self.delete(f"events/{old}") for old in beyond if old <= seen]

    def _send(self, operations: list[Operation], is_written: Callable[[], bool]) -> None:
        """Commits. When the answer is lost the same is sent again until an answer arrives.

        :param is_written: whether Consul holds what these operations write.
        """
        deadline: float | None = None
        while True:
            try:
                super().commit(operations)
                return
            except LostRace:
                if deadline and is_written():
                    return
                raise
            except ConsulUnreachable as error:
                if deadline is None and not isinstance(error, AnswerLost):
                    raise
                deadline = deadline or time.monotonic() + ANSWER_PATIENCE_S
                if time.monotonic() > deadline:
                    raise
                time.sleep(SEND_AGAIN_S)

    def _is_written(self, operations: list[Operation]) -> bool:
        """Returns whether every key that is written under a check holds what was to be written."""
        wanted = [each["KV"] for each in operations if each["KV"]["Verb"] == "cas"]
        return bool(wanted) and all(
            entry and encode(entry.value) == write["Value"]
            for write in wanted
            for entry in [self.get(write["Key"][len(self.prefix) + 1 :])]
        )
