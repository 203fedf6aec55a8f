"""Aborts: a word left in Consul that a rollout is to stop."""

from __future__ import annotations

import json

from delivery.clock import now
from delivery.errors import DeliveryError
from delivery.ledger import Ledger
from delivery.names import check
from delivery.records import Fields
from delivery.rollout.record import Rollout, state_key
from delivery.store import Operation


class Aborted(DeliveryError):
    """Somebody wants the rollout to stop and its hosts to go back."""


class Aborts:
    """:param ledger: of the application."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def ask(self, rollout: Rollout, by: str) -> None:
        """Leaves word that the rollout is to stop; its next step sees it.

        :raises LostRace: when the rollout has moved on meanwhile, perhaps to its end.
        """
        wish = {"deployment": rollout.deployment, "by": check("user", by), "at": now()}
        version, stage, entry = rollout.target.version, rollout.stage, rollout.entry
        moved_on = [self._ledger.unchanged(state_key(stage), entry)] if entry else []
        self._ledger.commit(
            [*moved_on, self._ledger.overwrite(_key(stage), json.dumps(wish))],
            self._ledger.event(
                "abort_asked",
                stage=stage,
                version=version,
                by=by,
                deployment=rollout.deployment,
                message=f"{self._ledger.application}: {by} aborts {version} on {stage}",
            ),
        )

    def asked_by(self, rollout: Rollout) -> str | None:
        """Returns who has asked for the rollout to stop, or None."""
        entry = self._ledger.get(_key(rollout.stage))
        if not entry:
            return None
        wish = Fields.of(entry)
        return wish.name("by", "user") if wish.text("deployment") == rollout.deployment else None

    def refuse_if_asked(self, rollout: Rollout) -> None:
        """:raises Aborted: when somebody has asked for the rollout to stop; names who."""
        by = self.asked_by(rollout)
        if by:
            raise Aborted(
                f"{rollout.target.version} on {rollout.stage} of {self._ledger.application} "
                f"was aborted by {by}"
            )

    def none(self, stage: str) -> Operation:
        """An operation: fail the transaction if a rollout of the stage is to stop."""
        return self._ledger.absent(_key(stage))

    def forget(self, stage: str) -> Operation:
        """An operation: a word that was left for the stage goes."""
        return self._ledger.delete(_key(stage))


def _key(stage: str) -> str:
    return f"stages/{stage}/abort"
