"""The evidence of releases, kept beside them: envelopes of statements, the provenance first."""

from __future__ import annotations

import json
from typing import Any, Mapping, Sequence

from delivery.errors import DeliveryError
from delivery.ledger import Ledger, retry
from delivery.names import check
from delivery.records import Fields
from delivery.store import Operation

MOST_ENVELOPES = 100  # of a release; what comes later is left out

Envelope = Mapping[str, Any]


class Evidence:
    """:param ledger: of the application."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def begin(self, version: str, provenance: Envelope) -> Operation:
        """An operation: the evidence of a release that is being published."""
        key = _key(version)
        return self._ledger.set(key, _json([provenance]), self._ledger.get(key))

    def append(self, version: str, envelope: Envelope) -> None:
        """Adds an envelope, unless the release has none to begin with, or this one already."""

        def write() -> None:
            entry = self._ledger.get(_key(version))
            if not entry:
                return
            envelopes = _envelopes(Fields.of(entry))
            known = any(each.get("payload") == envelope["payload"] for each in envelopes)
            if not known and len(envelopes) < MOST_ENVELOPES:
                text = _json([*envelopes, envelope])
                self._ledger.commit([self._ledger.set(_key(version), text, entry)])

        retry(write)

    def of(self, version: str) -> Sequence[Envelope]:
        """Returns the envelopes of a release, the provenance first.

        :raises DeliveryError: when it has none.
        """
        entry = self._ledger.get(_key(version))
        if not entry:
            raise DeliveryError(
                f"{self._ledger.application} {version} has no evidence: it was published without "
                "proof.signing_key in the pack's configuration"
            )
        return _envelopes(Fields.of(entry))


def _key(version: str) -> str:
    return f"evidence/{check('version', version)}"


def _envelopes(fields: Fields) -> list[Envelope]:
    found = fields.values.get("envelopes")
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        fields.refuse("envelopes", "a list of envelopes")
    return list(found)


def _json(envelopes: Sequence[Envelope]) -> str:
    return json.dumps({"envelopes": envelopes})
