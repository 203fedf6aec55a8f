"""What an application's `.cicd.yaml` may ask for. The operator's configuration says it.

    policy = Policies(configuration.section("policy")).of("shop")
    chosen = policy.apply(settings.load(text, "shop"))      # filled in, or refused
    policy.limited(release.rules)                           # what an older release may still ask

Section `policy` of the configuration holds for every application, and its part `applications` for
one by name. Packaging refuses what goes beyond; a rollout is planned within the policy of today,
whatever the release was published with.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from delivery.errors import DeliveryError
from delivery.names import PATTERNS, check_applications, matches, shown
from delivery.releases import Release, Rules
from delivery.settings import FILE, Settings


class AgainstPolicy(DeliveryError):
    """The application asks for what the configuration does not allow it."""


@dataclass(frozen=True)
class Policy:
    """What one application may ask for.

    :param place: the section of the configuration that can be changed for this application alone.
    :param stages: its stages, in order; the first gets every release.
    :param roles: its hosts may carry; the first is the default.
    :param largest_batch: share of a stage's hosts that may be updated at once, such as `50%`.
    :param largest_failure_budget: hosts that may fail before a rollout is reverted.
    :param least_min_healthy_s: seconds that a batch has to stay healthy, at least.
    """

    place: str
    stages: Sequence[str]
    roles: Sequence[str]
    largest_batch: str
    largest_failure_budget: int
    least_min_healthy_s: int

    def apply(self, settings: Settings) -> Settings:
        """Returns the settings with the stages and the role that they leave to the policy.

        :raises AgainstPolicy: naming the key, what is allowed, and where.
        """
        rollout = settings.rollout
        if settings.stages is not None and settings.stages != list(self.stages):
            self._refuse("stages", _listed(settings.stages), _listed(self.stages), "stages")
        if settings.role is not None and settings.role not in self.roles:
            self._refuse("role", settings.role, f"one of {', '.join(self.roles)}", "roles")
        # A number is compared with the share once the hosts are known: see `largest_batch_of`.
        if isinstance(rollout.batch_size, str) and _percent(rollout.batch_size) > _percent(
            self.largest_batch
        ):
            self._refuse(
                "rollout.batch_size",
                rollout.batch_size,
                f"at most {self.largest_batch}",
                "largest_batch",
            )
        if rollout.failure_budget > self.largest_failure_budget:
            self._refuse(
                "rollout.failure_budget",
                rollout.failure_budget,
                f"at most {self.largest_failure_budget}",
                "largest_failure_budget",
            )
        if rollout.min_healthy_s < self.least_min_healthy_s:
            self._refuse(
                "rollout.min_healthy_s",
                rollout.min_healthy_s,
                f"at least {self.least_min_healthy_s}",
                "least_min_healthy_s",
            )
        return dataclasses.replace(
            settings, stages=list(self.stages), role=settings.role or self.roles[0]
        )

    def limited(self, rules: Rules) -> Rules:
        """Returns a release's rules, cut to what is allowed now."""
        return rules._replace(
            failure_budget=min(rules.failure_budget, self.largest_failure_budget),
            min_healthy_s=max(rules.min_healthy_s, self.least_min_healthy_s),
        )

    def largest_batch_of(self, hosts: int) -> int:
        """Returns how many of so many hosts may be updated at once; always at least one."""
        return max(1, math.floor(hosts * _percent(self.largest_batch) / 100))

    def require_order(self, release: Release, stage: str, source: str | None) -> None:
        """Refuses what would leave out a stage.

        :param source: the stage that a promotion takes the release from; None for a deployment.
        :raises AgainstPolicy: when the release was published for other stages than those of now, or
            it does not come from the stage before this one.
        """
        if release.stages != list(self.stages):
            raise AgainstPolicy(
                f"{release.version} was published for the stages {', '.join(release.stages)}; "
                f"the pack's configuration has {', '.join(self.stages)}: push again, or correct "
                f"{self.place}.stages there"
            )
        if release.role not in self.roles:
            raise AgainstPolicy(
                f"{release.version} was published for the role {release.role}; the pack's "
                f"configuration allows {', '.join(self.roles)}: push again, or correct "
                f"{self.place}.roles there"
            )
        if (source, stage) not in zip([None, *self.stages], self.stages):
            raise AgainstPolicy(
                f"{release.version} comes to {stage} from the stage before it; the stages are "
                f"{', '.join(self.stages)}"
            )

    def _refuse(self, key: str, given: object, allowed: str, limit: str) -> None:
        raise AgainstPolicy(
            f"{FILE}: {key}: {given} is not allowed, but {allowed}; correct it, or have an "
            f"operator change {self.place}.{limit} in the pack's configuration"
        )


class Policies:
    """
    :param section: `policy` of the configuration, defaults filled in.
    :raises DeliveryError: for a name that is no application's, stages that are none, or no role.
    """

    def __init__(self, section: Mapping[str, Any]) -> None:
        self._common = {key: value for key, value in section.items() if key != "applications"}
        self._applications: Mapping[str, Any] = section["applications"]
        check_applications("policy.applications", self._applications)
        for name in self._applications:
            self.of(name)
        self.of("")

    def of(self, application: str) -> Policy:
        """Returns the policy of an application."""
        # StackStorm makes an empty list of one that is left out.
        own = {
            key: value
            for key, value in (self._applications.get(application) or {}).items()
            if value not in (None, [])
        }
        place = f"policy.applications.{application}" if application else "policy"
        policy = Policy(place=place, **{**self._common, **own})
        _check_names(policy, "stages", policy.stages, "stage")
        _check_names(policy, "roles", policy.roles, "role")
        return policy


def _listed(items: Sequence[str]) -> str:
    return f"[{', '.join(items)}]"


def _check_names(policy: Policy, key: str, names: Sequence[str], kind: str) -> None:
    if not names or len(set(names)) < len(names) or not all(matches(kind, each) for each in names):
        raise DeliveryError(
            f"{policy.place}.{key} in the pack's configuration: expected at least one name, each "
            f"once ({PATTERNS[kind]}), got {shown(_listed(names))}"
        )


def _percent(share: str) -> int:
    return int(share.rstrip("%"))
