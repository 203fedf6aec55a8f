"""Stages: what each runs, and what may come to it next."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, Sequence

from delivery.errors import DeliveryError
from delivery.ledger import Ledger
from delivery.names import check
from delivery.records import or_nothing
from delivery.releases import Releases, Target
from delivery.rollout.record import PROMOTABLE, UNUSABLE, Rollout, Settled


class Stage(NamedTuple):
    """A stage as Consul has it.

    `version` is what it advertises to hosts, None before it has settled on anything; `rollout` is
    its latest one, None before the first.
    """

    name: str
    version: str | None
    rollout: Rollout | None

    @property
    def status(self) -> str:
        """Of the latest rollout; `empty` before the first."""
        return self.rollout.status if self.rollout else "empty"

    @property
    def settled(self) -> list[Settled]:
        """What the stage settled on, newest last; the last one is what it runs now."""
        return self.rollout.settled if self.rollout else []

    def latest(self) -> Rollout:
        """Returns its latest rollout.

        :raises DeliveryError: before the first.
        """
        if not self.rollout:
            raise DeliveryError(f"{self.name} has had no rollout yet: deploy or promote to it")
        return self.rollout


class Stages:
    """
    :param ledger: of the application.
    :param releases: its releases; the newest one's settings name the stages.
    """

    def __init__(self, ledger: Ledger, releases: Releases) -> None:
        self._ledger = ledger
        self.releases = releases

    def get(self, name: str) -> Stage:
        """Returns the stage as it is now."""
        version = self._ledger.get(f"stages/{check('stage', name)}/version")
        entry = self._ledger.get(f"stages/{name}/state")
        return Stage(
            name, version.value if version else None, Rollout.parse(name, entry) if entry else None
        )

    def names(self) -> list[str]:
        """Returns the names of this application's stages in order, from its newest release."""
        return self.releases.newest().stages

    def target_commits(self, names: Sequence[str]) -> set[str]:
        """Returns the commits of what the latest rollouts of stages were to bring; what cannot be
        read is left out."""
        found = (or_nothing(partial(self._target_commit, name)) for name in names)
        return {commit for commit in found if commit}

    def _target_commit(self, name: str) -> str:
        return self.releases.get(self.get(name).latest().target.version).commit

    def before(self, name: str) -> str:
        """Returns the name of the stage that a promotion to stage `name` takes its version from."""
        names = self.names()
        application = self._ledger.application
        if name == names[0]:
            raise DeliveryError(
                f"the {name} of {application} gets every release by itself; to bring an older one "
                f"there: !deploy canary {application} <version>; to promote what it runs: !deploy "
                f"promote {application}"
            )
        if name not in names:
            raise DeliveryError(
                f"{application} has no stage {name}; its stages: {', '.join(names)}; to promote to "
                f"the last: !deploy promote {application}"
            )
        return names[names.index(name) - 1]

    def promotion(self, to: str, source: str) -> Target:
        """Returns what promoting from stage `source` to stage `to` would take there.

        :raises DeliveryError: when there is nothing that may be promoted; says why.
        """
        name = self._ledger.application
        here, there = self.get(source), self.get(to)
        if not here.rollout:
            raise DeliveryError(f"{name} has no {source} yet; push a commit")
        version = here.rollout.target.version
        if here.status == "rolling_out":
            raise DeliveryError(
                f"{version} is still rolling out to {source} of {name}; wait until it is live"
            )
        if here.status not in PROMOTABLE:
            raise DeliveryError(
                f"{version} {UNUSABLE[here.status]} on {source} of {name}: "
                f"{here.rollout.reason or 'no reason recorded'}; push a fix, or retry "
                f"with !deploy canary {name}"
            )
        if here.version == there.version:
            raise DeliveryError(f"{to} of {name} already runs {there.version}")
        return here.settled[-1].target

    def rollback(self, name: str) -> Target:
        """Returns what the stage ran before what it runs now.

        :raises DeliveryError: when it has not settled on two versions.
        """
        settled = self.get(name).settled
        if len(settled) < 2:
            if name not in self.names():
                raise DeliveryError(
                    f"{self._ledger.application} has no stage {name}; its stages: "
                    + ", ".join(self.names())
                )
            raise DeliveryError(f"{name} of {self._ledger.application} has no previous version")
        return settled[-2].target

    def is_live(self, name: str, version: str) -> bool:
        """Returns whether the stage has settled on this version, in the latest rollout."""
        stage = self.get(name)
        return stage.status in PROMOTABLE and stage.version == version

    def was_rolled_back(self, name: str, version: str) -> bool:
        """Returns whether the stage's latest rollbacks took it away from `version`."""
        rollout = self.get(name).rollout
        return rollout is not None and version in rollout.rolled_back_from
