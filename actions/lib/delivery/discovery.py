"""Which hosts there are, and how they are, asked of Consul.

discovery = Discovery(store)
discovery.service_hosts("build", "build::host")
discovery.stage_hosts("shop", role="app", stage="canary", stages=["canary", "production"])
"""

from __future__ import annotations

import logging
from typing import Any, Iterable, Iterator, Mapping, NamedTuple, Sequence

from delivery.errors import DeliveryError
from delivery.names import matches, nearest, plain, shown
from delivery.remote import Host
from delivery.store import Store, reaching_consul

OUTPUT_LIMIT = 200  # characters of what a check found
TAGS_SHOWN = 20

LOG = logging.getLogger(__name__)


class NoHosts(DeliveryError):
    """No host that can be used; the message names the tag asked for and those that exist."""


class StageHosts(NamedTuple):
    """The hosts of a stage. `down` are those whose Consul agent does not answer."""

    up: list[Host]
    down: list[Host]


class Instance(NamedTuple):
    """A service on a host: `node_up` is the agent's health, `passing` that of all its checks.

    `failing_checks` says what each of them found, in one line, by its name.
    """

    host: Host
    node_up: bool
    passing: bool
    failing_checks: dict[str, str]


class Discovery:
    """:param store: says which Consul."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.client = store.client
        self.url = store.url

    def instances(self, service: str) -> list[Instance]:
        """Returns the service on every host that registered it, sorted by node name.

        A host registers itself: one whose name or address is none is logged and left out.
        """
        with reaching_consul(self.url):
            _, found = self.client.health.service(service)
        return sorted(_usable(found), key=lambda each: each.host.node)

    def service_hosts(self, service: str, tag: str) -> list[Host]:
        """Returns the hosts whose service carries the tag and passes its checks.

        :raises NoHosts: when there is none.
        """
        return _passing(self._tagged(service, tag), service, tag)

    def only_host(self, service: str, tag: str) -> Host:
        """Returns the one host whose service carries the tag; it has to pass its checks.

        :raises NoHosts: when there is none, or another one, healthy or not: what belongs to one
            host must not be split between two.
        """
        tagged = self._tagged(service, tag)
        if len(tagged) > 1:
            raise NoHosts(
                f"several hosts of {service} carry the tag {tag}: "
                f"{', '.join(each.host.node for each in tagged)}; take it from all but one"
            )
        return _passing(tagged, service, tag)[0]

    def host(self, service: str, node: str) -> Host:
        """Returns the host of a service that has this node name.

        :raises NoHosts: when it is not registered any more.
        """
        for each in self._registered(service):
            if each.host.node == node:
                return each.host
        raise NoHosts(f"{node} is no longer registered for {service} in Consul")

    def stage_hosts(
        self, application: str, role: str, stage: str, stages: Sequence[str]
    ) -> StageHosts:
        """Returns the hosts of a stage: the last stage's carry no stage tag of their own.

        A host chooses its tags. Where the pack has a token, it also has to be enrolled for the
        stage by an operator (cicd-consul-token); one that differs is logged and left out.

        :param stages: all stages of the application, in order.
        :raises NoHosts: when no host belongs to the stage, or none of them is up.
        """
        if stage not in stages:
            raise DeliveryError(
                f"{application} has no stage {stage}; its stages: {', '.join(stages)}"
            )
        instances = self._registered(application)
        tagged = [each for each in instances if _is_tagged(each, application, role, stage, stages)]
        left_out = _left_out(application, stage, instances, tagged, self.enrolment(application))
        for node, why in left_out.items():
            LOG.error("Left out of the %s hosts of %s: %s %s", stage, application, node, why)
        members = [each for each in tagged if each.host.node not in left_out]
        if tagged and not members:
            raise NoHosts(
                f"every host with the tags of {stage} is left out: "
                + "; ".join(f"{each.host.node} {left_out[each.host.node]}" for each in tagged)
            )
        if not members:
            wanted, others = _tags_of(application, role, stage, stages)
            but = f" without {' or '.join(sorted(others))}" if others else ""
            raise NoHosts(
                f"no host of {application} carries the tag {wanted}{but}; {_tags_seen(instances)}"
            )
        up = [each.host for each in members if each.node_up]
        down = [each.host for each in members if not each.node_up]
        if not up:
            raise NoHosts(
                f"every {stage} host of {application} is down: "
                + ", ".join(host.node for host in down)
            )
        return StageHosts(up, down)

    def left_out(self, application: str, role: str, stages: Sequence[str]) -> dict[str, str]:
        """Returns the hosts that no rollout of any stage reaches as they are, and why, by node."""
        instances = self.instances(application)
        enrolled = self.enrolment(application)
        left_out: dict[str, str] = {}
        for stage in stages:
            tagged = [
                each for each in instances if _is_tagged(each, application, role, stage, stages)
            ]
            left_out.update(_left_out(application, stage, instances, tagged, enrolled))
        return left_out

    def enrolment(self, application: str) -> dict[str, str] | None:
        """Returns the stage that an operator has enrolled each node for. A malformed entry is
        logged and left out.

        :returns: None where the pack has no token: then any host could write that itself.
        """
        if not self._store.has_token:
            return None
        enrolled = {}
        for node, entry in self._store.get_below(f"{application}/members").items():
            if matches("node", node) and matches("stage", entry.value):
                enrolled[node] = entry.value
            else:
                LOG.error(
                    "Left out: %s in Consul is %s, no enrolment of a host for a stage; delete it",
                    plain(entry.key),
                    shown(entry.value),
                )
        return enrolled

    def up(self, application: str) -> set[str]:
        """Returns the nodes of an application whose Consul agents are there."""
        return {each.host.node for each in self.instances(application) if each.node_up}

    def failing(self, application: str, nodes: set[str]) -> dict[str, str]:
        """Returns which of the nodes do not pass Consul's checks of the application, and why."""
        states = {each.host.node: each for each in self.instances(application)}
        problems = {}
        for node in nodes:
            if node not in states:
                problems[node] = f"is no longer registered for {application} in Consul"
            elif not states[node].passing:
                problems[node] = "failing in Consul: " + ", ".join(
                    f"{name} ({output})" if output else name
                    for name, output in states[node].failing_checks.items()
                )
        return problems

    def _tagged(self, service: str, tag: str) -> list[Instance]:
        instances = self._registered(service)
        tagged = [each for each in instances if tag in each.host.tags]
        if not tagged:
            raise NoHosts(f"no host of {service} carries the tag {tag}; {_tags_seen(instances)}")
        return tagged

    def _registered(self, service: str) -> list[Instance]:
        instances = self.instances(service)
        if not instances:
            with reaching_consul(self.url):
                _, services = self.client.catalog.services()
            raise NoHosts(
                f"no service {service} in Consul; nearest: {', '.join(nearest(service, services))}"
            )
        return instances


def _instance(item: dict[str, Any]) -> Instance:
    checks = item["Checks"]
    host = Host(
        node=item["Node"]["Node"],
        # Not the service's: any host of a service may write that for the others.
        address=item["Node"]["Address"],
        tags=tuple(item["Service"]["Tags"] or ()),
    )
    failing = {
        plain(check["Name"]): plain(check["Output"] or check.get("Notes") or "")[:OUTPUT_LIMIT]
        for check in checks
        if check["Status"] == "critical"
    }
    node_up = all(
        check["Status"] != "critical" for check in checks if check["CheckID"] == "serfHealth"
    )
    return Instance(host, node_up, not failing, failing)


def _passing(tagged: Sequence[Instance], service: str, tag: str) -> list[Host]:
    """Returns the hosts that pass their checks.

    :raises NoHosts: when there is none.
    """
    passing = [each.host for each in tagged if each.passing]
    if not passing:
        raise NoHosts(
            f"no host of {service} with the tag {tag} is healthy: "
            + "; ".join(
                f"{each.host.node} fails {', '.join(each.failing_checks)}" for each in tagged
            )
        )
    return passing


def _left_out(
    application: str,
    stage: str,
    instances: Sequence[Instance],
    tagged: Sequence[Instance],
    enrolled: Mapping[str, str] | None,
) -> dict[str, str]:
    """Returns the nodes whose tags and whose enrolment differ about this stage, and how."""
    if enrolled is None:
        return {}
    left_out = {}
    claiming = {each.host.node for each in tagged}
    registered = {each.host.node for each in instances}
    for node in sorted(claiming):
        if enrolled.get(node) != stage:
            has = f"is enrolled for {enrolled[node]}" if node in enrolled else "is not enrolled"
            left_out[node] = (
                f"{has}, but carries the tags of {stage}; if they are right, run "
                f"cicd-consul-token host --node {node} --app {application} --stage {stage}"
            )
    for node, of_stage in sorted(enrolled.items()):
        if of_stage == stage and node not in claiming:
            so = "carries other tags" if node in registered else f"has no service {application}"
            left_out[node] = f"is enrolled for {stage}, but {so}; run cicd-host-setup there"
    return left_out


def _is_tagged(
    instance: Instance, application: str, role: str, stage: str, stages: Sequence[str]
) -> bool:
    wanted, others = _tags_of(application, role, stage, stages)
    return wanted in instance.host.tags and not others & set(instance.host.tags)


def _tags_of(
    application: str, role: str, stage: str, stages: Sequence[str]
) -> tuple[str, set[str]]:
    """Returns the tag that a stage's hosts carry, and those that they must not carry."""
    if stage != stages[-1]:
        return f"{application}::{role}_{stage}", set()
    others = {f"{application}::{role}_{other}" for other in stages[:-1]}
    return f"{application}::{role}", others


def _usable(found: Iterable[dict[str, Any]]) -> Iterator[Instance]:
    for item in found:
        try:
            yield _instance(item)
        except DeliveryError as error:
            LOG.error("Left out: %s; correct it in that Consul agent's configuration", error)


def _tags_seen(instances: Sequence[Instance]) -> str:
    tags = sorted({tag for each in instances for tag in each.host.tags})
    if not tags:
        return "its hosts have no tags"
    more = f" and {len(tags) - TAGS_SHOWN} more" if len(tags) > TAGS_SHOWN else ""
    return f"existing tags: {', '.join(plain(tag)[:80] for tag in tags[:TAGS_SHOWN])}{more}"
