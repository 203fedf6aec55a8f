"""Rollouts against a real Consul; the hosts are told by a stand-in for SSH.

The stand-in does what cicd-converge does to Consul (it reports) and nothing of what it does to a
host; the end-to-end tests have the real program on real hosts.
"""

from __future__ import annotations

import dataclasses
import json
import time
import uuid

import pytest
from consul_server import register, take_down
from releases import POLICY, SETTINGS, published, settled
from waiting import wait_for

from delivery.application import Application
from delivery.clock import now
from delivery.discovery import Discovery
from delivery.errors import DeliveryError
from delivery.remote import Result
from delivery.rollout import health
from delivery.rollout.abort import Aborted
from delivery.rollout.lock import LockLost
from delivery.rollout.plan import cut
from delivery.rollout.steps import RolloutFailed, Steps, Superseded
from delivery.store import ConsulUnreachable, LostRace


class Hosts:
    """Converges hosts by reporting to Consul; `broken` and `refusing` ones fail as real ones do."""

    def __init__(self, application):
        self.application = application
        self.release = application.releases.get
        self.broken, self.refusing, self.told, self.waited_s = {}, set(), [], 0.0
        self.emptied = []

    def run_many(self, hosts, argv, timeout_s):
        self.told.append([host.node for host in hosts])
        return [self._converge(host, argv) for host in hosts]

    def _converge(self, host, argv):
        rollout = self.application.stages.get("canary").rollout
        assert argv == [
            "/usr/local/sbin/cicd-converge",
            self.application.name,
            rollout.deployment,
        ]
        if host.node in self.refusing:
            return Result(host, None, b"", "", 0.1, "connection refused on port 22")
        store, name = self.application.store, self.application.name
        wanted = store.get(f"{name}/stages/canary/assigned/{host.node}") or store.get(
            f"{name}/stages/canary/version"
        )
        if not wanted:
            self.emptied.append(host.node)
            return Result(host, 0, b"{}", "", 0.1)
        version = wanted.value
        if version in self.broken.get(host.node, ()):
            report = json.dumps({"reason": f"{version} was not healthy within 2 s"})
            return Result(host, 1, report.encode(), "", 0.1, "exit status 1")
        release = self.release(version)
        store.commit(
            [
                store.overwrite(
                    f"{name}/hosts/{host.node}",
                    json.dumps(
                        {
                            "version": version,
                            "sha256": release.package.sha256,
                            "status": "ok",
                            "at": "2026-01-01T00:00:00Z",
                        }
                    ),
                )
            ]
        )
        return Result(host, 0, b"{}", "", 0.1)


class Fleet:
    def __init__(self, store, consul_url, count):
        self.application = Application(store, "app-" + uuid.uuid4().hex[:8])
        name = self.application.name
        self.nodes = [f"{name}-{number}" for number in range(count)]
        for number, node in enumerate(self.nodes):
            register(
                consul_url,
                node,
                f"10.1.0.{number + 1}",
                name,
                [f"{name}::app", f"{name}::app_canary"],
            )
        self.hosts = Hosts(self.application)
        self.steps = Steps(self.application, Discovery(store), self.hosts, POLICY)

    def version_of(self, node):
        return self.application.hosts.all()[node].version

    def complete(self, stage):
        """Goes through the batches as the workflow does."""
        deployment = stage.deployment
        while stage.remaining:
            stage = self.steps.update_batch("canary", deployment)
        return self.steps.finish("canary", deployment)


@pytest.fixture
def fleet(store, consul_url):
    return Fleet(store, consul_url, 3)


@pytest.mark.parametrize(
    ("hosts", "size", "expected"),
    [
        (3, 1, [1, 1, 1]),
        (3, "25%", [1, 1, 1]),
        (10, "25%", [3, 3, 3, 1]),
        (4, "50%", [2, 2]),
        (5, "100%", [5]),
        (2, 9, [2]),
        (100, "1%", [1] * 100),
    ],
)
def test_batches_are_cut_by_number_or_share(hosts, size, expected):
    nodes = [str(number) for number in range(hosts)]
    batches = cut(nodes, size, hosts)
    assert [len(batch) for batch in batches] == expected
    assert [node for batch in batches for node in batch] == nodes


def test_hosts_are_updated_batch_by_batch(fleet):
    target = published(fleet.application)
    stage = fleet.complete(fleet.steps.deploy("canary", target.version, "alice"))
    assert fleet.hosts.told == [[node] for node in fleet.nodes]
    assert (stage.version, stage.status) == (target.version, "live")
    assert {fleet.version_of(node) for node in fleet.nodes} == {target.version}


def test_only_the_hosts_of_the_current_batch_are_assigned(fleet):
    target = published(fleet.application)
    stage = fleet.steps.deploy("canary", target.version, "alice")
    fleet.steps.update_batch("canary", stage.deployment)
    assigned = fleet.application.store.get_below(f"{fleet.application.name}/stages/canary/assigned")
    assert list(assigned) == fleet.nodes[:1]


def test_a_host_that_fails_stops_the_rollout_and_is_named(fleet):
    target = published(fleet.application)
    fleet.hosts.refusing = {fleet.nodes[1]}
    stage = fleet.steps.deploy("canary", target.version, "alice")
    fleet.steps.update_batch("canary", stage.deployment)
    with pytest.raises(RolloutFailed, match=f"{fleet.nodes[1]}: connection refused on port 22"):
        fleet.steps.update_batch("canary", stage.deployment)
    assert fleet.hosts.told[-1] == [fleet.nodes[1]]


def test_a_batch_whose_hosts_all_failed_waits_for_nothing(fleet, monkeypatch):
    rules = {"batch_size": 3, "failure_budget": 0, "healthy_deadline_s": 60, "min_healthy_s": 60}
    target = published(fleet.application, rollout=rules)
    fleet.hosts.refusing = set(fleet.nodes)
    monkeypatch.setattr(health.time, "sleep", lambda _: pytest.fail("it waited"))
    rollout = fleet.steps.deploy("canary", target.version, "alice")
    with pytest.raises(RolloutFailed):
        fleet.steps.update_batch("canary", rollout.deployment)


def test_a_failed_rollout_brings_every_host_it_told_back(fleet):
    old = published(fleet.application, 1)
    fleet.complete(fleet.steps.deploy("canary", old.version, "alice"))
    new = published(fleet.application, 2)
    fleet.hosts.broken = {fleet.nodes[1]: {new.version}}
    stage = fleet.steps.deploy("canary", new.version, "alice")
    deployment = stage.deployment
    fleet.steps.update_batch("canary", deployment)
    with pytest.raises(RolloutFailed, match="was not healthy within 2 s"):
        fleet.steps.update_batch("canary", deployment)
    assert fleet.steps.revert("canary", deployment) == {}
    canary = fleet.application.stages.get("canary")
    assert (canary.version, canary.status) == (old.version, "failed")
    assert fleet.nodes[1] in canary.rollout.reason
    assert {fleet.version_of(node) for node in fleet.nodes} == {old.version}
    assert fleet.application.store.lock_holder(f"{fleet.application.name}/lock") is None


def test_a_failure_within_the_budget_does_not_stop_the_rollout(fleet):
    rules = {"batch_size": 1, "failure_budget": 1, "healthy_deadline_s": 1, "min_healthy_s": 0}
    target = published(fleet.application, rollout=rules)
    fleet.hosts.refusing = {fleet.nodes[0]}
    stage = fleet.complete(fleet.steps.deploy("canary", target.version, "alice"))
    assert stage.status == "live"
    assert stage.rollout.failed_hosts == {fleet.nodes[0]: "connection refused on port 22"}


def test_a_host_that_consul_does_not_find_healthy_has_failed(fleet, consul_url):
    target = published(fleet.application)
    name = fleet.application.name
    register(
        consul_url,
        fleet.nodes[0],
        "10.1.0.1",
        name,
        [f"{name}::app", f"{name}::app_canary"],
        passing=False,
    )
    stage = fleet.steps.deploy("canary", target.version, "alice")
    with pytest.raises(RolloutFailed, match=f"{fleet.nodes[0]}: failing in Consul: {name} answers"):
        fleet.steps.update_batch("canary", stage.deployment)


def test_another_package_under_the_same_version_is_not_taken_for_the_target(fleet):
    target = published(fleet.application)
    release = fleet.application.releases.get(target.version)
    other = dataclasses.replace(release, package=release.package._replace(sha256="f" * 64))
    fleet.hosts.release = lambda version: other
    stage = fleet.steps.deploy("canary", target.version, "alice")
    with pytest.raises(RolloutFailed, match=f"{fleet.nodes[0]}: reports {target.version} with"):
        fleet.steps.update_batch("canary", stage.deployment)


def installing(application, node, deployment, version="1.0-1.aaaaaaa", sha256=f"{1:064x}"):
    """The host says that it is at work; returns what it writes when it is done."""
    report = {
        "version": version,
        "sha256": sha256,
        "deployment": deployment,
        "at": now(),
        "reason": "",
    }
    key = f"{application.name}/hosts/{node}"

    def write(**values):
        text = json.dumps({**report, **values})
        application.store.commit([application.store.overwrite(key, text)])

    write(status="installing", desired="1.0-2.bbbbbbb")
    return write


def test_a_host_that_is_installing_gets_more_time_and_is_no_failure(fleet, monkeypatch):
    """Its connection was lost, and it takes longer than the service may to become healthy."""
    rollout_rules = dict(SETTINGS["rollout"], healthy_deadline_s=0)
    target = published(fleet.application, rollout=rollout_rules)
    rollout = fleet.steps.deploy("canary", target.version, "alice")
    fleet.hosts.refusing = {fleet.nodes[0]}
    done = installing(fleet.application, fleet.nodes[0], rollout.deployment)
    naps, nap = [], time.sleep

    def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            done(status="ok", desired=target.version)
        nap(seconds)

    monkeypatch.setattr(health.time, "sleep", sleep)
    assert fleet.steps.update_batch("canary", rollout.deployment).failed_hosts == {}
    assert len(naps) >= 3


@pytest.mark.parametrize(
    ("of_this", "after_s", "agent"), [(True, 310, "up"), (False, 5, "up"), (True, 5, "down")]
)
def test_a_host_that_stays_installing_has_failed_with_since_when(
    fleet, consul_url, monkeypatch, of_this, after_s, agent
):
    target = published(fleet.application)
    rollout = fleet.steps.deploy("canary", target.version, "alice")
    deployment = rollout.deployment if of_this else "canary-of-yesterday"
    # It has the version already, but is at work on it again.
    installing(fleet.application, fleet.nodes[0], deployment, target.version, target.sha256)
    if agent == "down":
        take_down(consul_url, fleet.nodes[0])
    clock = [0.0]
    monkeypatch.setattr(health.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(health.time, "sleep", lambda _: clock.append(clock.pop() + 1))
    pending = fleet.steps._health.wait(
        fleet.nodes[:1],
        target,
        fleet.application.releases.get(target.version).rules,
        rollout.deployment,
        lambda: None,
    )
    assert pending[fleet.nodes[0]].startswith("has been installing 1.0-2.bbbbbbb since 20")
    assert after_s - 10 < clock[0] <= after_s


def test_an_older_release_does_not_replace_a_newer_one_by_itself(fleet):
    old, new = published(fleet.application, 1), published(fleet.application, 2)
    fleet.complete(fleet.steps.deploy("canary", new.version, "alice"))
    with pytest.raises(Superseded, match=f"{old.version} is older than {new.version}"):
        fleet.steps.deploy("canary", old.version, "alice")


def test_a_promotion_without_hosts_writes_nothing(fleet):
    target = published(fleet.application)
    settled(fleet.application, "canary", target)
    with pytest.raises(DeliveryError, match="no host of .* carries the tag"):
        fleet.steps.promote("production", "canary", "bob")
    assert fleet.application.stages.get("production").status == "empty"


def test_a_rollout_waits_for_the_lock_as_long_as_it_is_told_to(fleet, monkeypatch):
    from delivery.rollout import steps

    target = published(fleet.application)
    first = fleet.steps.deploy("canary", target.version, "alice")
    monkeypatch.setattr(steps, "LOCK_POLL_S", 0.05)
    with pytest.raises(DeliveryError, match="is locked: deploying"):
        fleet.steps.deploy("canary", target.version, "bob", wait_for_lock_s=0)
    fleet.application.store.sessions.close(first.session)
    assert fleet.steps.deploy("canary", target.version, "bob", wait_for_lock_s=5).by == "bob"


def test_an_abort_stops_before_the_next_batch_and_brings_hosts_back(fleet):
    old, new = published(fleet.application, 1), published(fleet.application, 2)
    fleet.complete(fleet.steps.deploy("canary", old.version, "alice"))
    stage = fleet.steps.deploy("canary", new.version, "alice")
    deployment = stage.deployment
    fleet.steps.update_batch("canary", deployment)
    assert fleet.steps.abort("olga").status == "rolling_out"
    with pytest.raises(Aborted, match="was aborted by olga"):
        fleet.steps.update_batch("canary", deployment)
    assert fleet.steps.revert("canary", deployment) == {}
    assert fleet.application.stages.get("canary").status == "aborted"
    assert {fleet.version_of(node) for node in fleet.nodes} == {old.version}


def test_an_abort_of_what_a_dead_process_left_brings_hosts_back_itself(fleet):
    old, new = published(fleet.application, 1), published(fleet.application, 2)
    fleet.complete(fleet.steps.deploy("canary", old.version, "alice"))
    stage = fleet.steps.deploy("canary", new.version, "alice")
    fleet.steps.update_batch("canary", stage.deployment)
    fleet.application.store.sessions.close(stage.session)
    stopped = fleet.steps.abort("olga")
    assert (stopped.status, stopped.version) == ("aborted", old.version)
    assert {fleet.version_of(node) for node in fleet.nodes} == {old.version}
    assert not fleet.application.rollouts.is_locked()


def test_hosts_go_back_batch_by_batch_the_last_one_first(fleet):
    old = published(fleet.application, 1)
    fleet.complete(fleet.steps.deploy("canary", old.version, "alice"))
    new = published(fleet.application, 2)
    fleet.hosts.broken = {fleet.nodes[2]: {new.version}}
    stage = fleet.steps.deploy("canary", new.version, "alice")
    deployment = stage.deployment
    for _ in range(2):
        fleet.steps.update_batch("canary", deployment)
    with pytest.raises(RolloutFailed):
        fleet.steps.update_batch("canary", deployment)
    fleet.hosts.told.clear()
    fleet.steps.revert("canary", deployment)
    assert fleet.hosts.told == [[node] for node in reversed(fleet.nodes)]


def test_where_nothing_was_before_the_hosts_are_told_to_go_back_to_that(fleet):
    target = published(fleet.application)
    fleet.hosts.broken = {fleet.nodes[1]: {target.version}}
    rollout = fleet.steps.deploy("canary", target.version, "alice")
    fleet.steps.update_batch("canary", rollout.deployment)
    with pytest.raises(RolloutFailed):
        fleet.steps.update_batch("canary", rollout.deployment)
    fleet.hosts.refusing = {fleet.nodes[0]}
    not_back = fleet.steps.revert("canary", rollout.deployment)
    assert not_back == {fleet.nodes[0]: "connection refused on port 22"}
    assert fleet.hosts.emptied == [fleet.nodes[1]]


def test_hosts_that_fail_for_one_cause_are_named_with_it_once(fleet):
    rules = {"batch_size": 3, "failure_budget": 0, "healthy_deadline_s": 1, "min_healthy_s": 0}
    target = published(fleet.application, rollout=rules)
    fleet.hosts.refusing = set(fleet.nodes)
    rollout = fleet.steps.deploy("canary", target.version, "alice")
    with pytest.raises(RolloutFailed) as failed:
        fleet.steps.update_batch("canary", rollout.deployment)
    assert str(failed.value) == (
        f"{target.version} failed on {', '.join(fleet.nodes)}: connection refused on port 22"
    )


def test_a_step_that_is_repeated_after_it_was_done_says_the_same(fleet):
    """Its process may have died after the commit and before its answer."""
    old, new = published(fleet.application, 1), published(fleet.application, 2)
    rollout = fleet.steps.deploy("canary", old.version, "alice")
    fleet.complete(rollout)
    assert fleet.steps.finish("canary", rollout.deployment).status == "live"
    rollout = fleet.steps.deploy("canary", new.version, "alice")
    while rollout.remaining:
        rollout = fleet.steps.update_batch("canary", rollout.deployment)
    told = len(fleet.hosts.told)
    assert fleet.steps.update_batch("canary", rollout.deployment).remaining == 0
    assert len(fleet.hosts.told) == told
    assert fleet.steps.revert("canary", rollout.deployment) == {}
    assert fleet.steps.revert("canary", rollout.deployment) == {}
    assert fleet.application.stages.get("canary").status == "failed"
    assert [each["type"] for each in fleet.application.events.all()].count("rollout_failed") == 1


def test_when_every_host_fails_no_budget_saves_the_rollout(fleet):
    rules = {"batch_size": 3, "failure_budget": 9, "healthy_deadline_s": 1, "min_healthy_s": 0}
    target = published(fleet.application, rollout=rules)
    fleet.hosts.refusing = set(fleet.nodes)
    rollout = fleet.steps.deploy("canary", target.version, "alice")
    with pytest.raises(RolloutFailed, match="connection refused"):
        fleet.steps.update_batch("canary", rollout.deployment)


def test_consul_may_be_away_while_a_batch_becomes_healthy(fleet, monkeypatch):
    target = published(fleet.application)
    rollout = fleet.steps.deploy("canary", target.version, "alice")
    look, away = health.Health.pending, ["once", "twice"]

    def pending(self, nodes, wanted):
        if away:
            raise ConsulUnreachable(f"away {away.pop()}")
        return look(self, nodes, wanted)

    monkeypatch.setattr(health.Health, "pending", pending)
    assert fleet.steps.update_batch("canary", rollout.deployment).failed_hosts == {}


def test_a_rollout_whose_lock_goes_to_another_one_records_nothing(fleet):
    rollout = fleet.steps.deploy("canary", published(fleet.application).version, "alice")
    tell = fleet.hosts.run_many

    def lose_the_lock(*arguments, **options):
        fleet.application.store.sessions.close(rollout.session)
        results = tell(*arguments, **options)
        wait_for(lambda: not fleet.application.rollouts.is_locked(), what="the end of the session")
        return results

    fleet.hosts.run_many = lose_the_lock
    with pytest.raises((LockLost, LostRace)):
        fleet.steps.update_batch("canary", rollout.deployment)
    assert fleet.application.stages.get("canary").latest().completed == 0
    assert len(fleet.hosts.told) == 1
