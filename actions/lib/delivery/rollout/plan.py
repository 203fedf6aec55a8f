"""Which hosts a rollout updates, in which order and how many at a time."""

from __future__ import annotations

import math
from typing import NamedTuple, Sequence

from delivery.discovery import Discovery
from delivery.policy import Policy
from delivery.releases import Release, Target


class Order(NamedTuple):
    """A rollout that is asked for.

    :param kind: `deploy`, `promote` or `rollback`.
    :param batches: node names, in the order in which they are updated.
    :param failure_budget: how many hosts may fail before it is stopped.
    :param source: the stage whose version this is, which must not change meanwhile; or None.
    :param ships: what comes with it, in a few words for people.
    """

    kind: str
    stage: str
    target: Target
    batches: Sequence[Sequence[str]]
    by: str
    failure_budget: int = 0
    source: str | None = None
    ships: str = ""


def plan(
    discovery: Discovery, application: str, release: Release, stage: str, policy: Policy
) -> list[list[str]]:
    """Returns the batches of a rollout of a release: node names.

    :raises NoHosts: when the stage has no host that is up.
    """
    hosts = discovery.stage_hosts(application, release.role, stage, release.stages)
    nodes = [host.node for host in hosts.up]
    return cut(nodes, release.rules.batch_size, policy.largest_batch_of(len(nodes)))


def cut(nodes: Sequence[str], batch_size: int | str, largest: int) -> list[list[str]]:
    """Cuts node names into batches.

    :param batch_size: hosts, or a share such as `25%`; rounded up, at least one.
    :param largest: hosts that may be in one batch, at most.
    """
    if isinstance(batch_size, str):
        size = math.ceil(len(nodes) * int(batch_size.rstrip("%")) / 100)
    else:
        size = batch_size
    size = max(1, min(size, largest))
    return [list(nodes[start : start + size]) for start in range(0, len(nodes), size)]
