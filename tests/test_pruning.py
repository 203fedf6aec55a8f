"""Which releases and builds are removed, and that nothing can begin on one that is."""

from __future__ import annotations

import json

import pytest
from releases import begun, published, settled, shop

from delivery.clock import now
from delivery.errors import DeliveryError
from delivery.ledger import Ledger
from delivery.records import MalformedRecord
from delivery.releases import Release
from delivery.store import LostRace

LONG_AGO = "2026-01-01T00:00:00Z"


def commit_of(number):
    return f"{number:07x}" + "0" * 33


def changed(store, key, **values):
    """Changes fields of a record as an operator could."""
    entry = store.get(key)
    record = {**json.loads(entry.value), **values}
    store.commit([store.set(key, json.dumps(record), entry)])


def all_seen(application):
    application.events.mark_seen(application.events.all()[-1]["id"])


def old(store, number):
    """Publishes a release long ago."""
    application = shop(store)
    target = published(application, number, commit=commit_of(number))
    evidence = application.evidence.begin(target.version, {"payload": "e30="})
    application.store.commit([evidence])
    changed(store, f"shop/releases/{target.version}", created_at=LONG_AGO)
    changed(
        store,
        f"shop/builds/{commit_of(number)}",
        started_at=f"2026-01-01T00:00:{number:02}Z",
        finished_at=LONG_AGO,
    )
    all_seen(application)
    return target


@pytest.fixture
def releases(store):
    return [old(store, number) for number in range(1, 9)]


def versions(targets):
    return [each.version for each in targets]


def test_the_newest_stay_and_the_others_go_with_their_evidence(store, releases):
    application = shop(store)
    assert application.pruning.old_releases(3) == versions(releases[4::-1])
    assert sorted(application.releases.versions()) == versions(releases), "only told"

    assert application.pruning.retire(3) == versions(releases[4::-1])

    assert sorted(application.releases.versions()) == versions(releases[5:])
    assert sorted(store.keys("shop/evidence")) == [
        f"shop/evidence/{each.version}" for each in releases[5:]
    ]
    assert sorted(application.pruning.leaving()) == versions(releases[:5])
    application.pruning.left(versions(releases[:2]))
    assert sorted(application.pruning.leaving()) == versions(releases[2:5])
    assert application.pruning.retire(3) == []


def test_what_a_stage_runs_ran_or_can_go_back_to_stays(store, releases):
    application = shop(store)
    for target in releases[:3]:
        settled(application, "canary", target)
    settled(application, "production", releases[0])
    rolled_back = begun(application, "canary", releases[1], [["node-1"]], "alice", "rollback")
    application.rollouts.settle(application.rollouts.record_batch(rolled_back, {}))
    begun(application, "canary", releases[3], [["node-1"]], "alice", "deploy")
    all_seen(application)

    assert application.pruning.retire(1) == versions(
        releases[6:4:-1] + releases[4:5] + releases[2:3]
    )
    assert sorted(application.releases.versions()) == versions(
        [releases[0], releases[1], releases[3], releases[7]]
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("stages/production/version", "{}"),
        ("stages/production/assigned/node-1", "{}"),
        ("hosts/node-1", '{{"version": "{}", "status": "ok"}}'),
        ("hosts/node-1", '{{"version": null, "desired": "{}", "status": "installing"}}'),
        ("newest_release", "{}"),
    ],
)
def test_what_is_named_anywhere_stays(store, releases, key, value):
    named = releases[2].version
    store.commit([store.overwrite(f"shop/{key}", value.format(named))])
    assert named not in shop(store).pruning.retire(1)
    assert named in shop(store).releases.versions()


def test_what_a_workflow_will_still_ask_for_stays(store, releases):
    """Its event has not been handed over: StackStorm is down."""
    application = shop(store)
    event = next(
        each
        for each in application.events.all()
        if each["type"] == "release_published" and each["version"] == releases[2].version
    )
    application.events.mark_seen(f"{int(event['id']) - 1:010d}")
    assert application.pruning.retire(1) == versions(releases[1::-1])
    assert application.pruning.forget_builds(1) == [commit_of(2), commit_of(1)]


def test_what_is_young_or_is_built_again_stays(store, releases):
    application = shop(store)
    changed(store, f"shop/releases/{releases[0].version}", created_at=now())
    application.builds.start(commit_of(2), "acme/shop", "main", "alice", again=True)
    application.builds.start(commit_of(3), "acme/shop", "main", "alice", again=True)
    application.builds.finish(commit_of(3), passed=True)
    all_seen(application)
    assert application.pruning.retire(1) == versions(releases[6:2:-1])


def test_a_malformed_release_stays_and_holds_up_no_other(store, releases):
    store.commit([store.overwrite(f"shop/releases/{releases[3].version}", "{")])
    assert shop(store).pruning.retire(5) == versions(releases[2::-1])


def test_nothing_is_removed_while_nobody_can_say_what_a_stage_runs(store, releases):
    store.commit([store.overwrite("shop/stages/production/state", "{")])
    with pytest.raises(MalformedRecord, match="shop/stages/production/state"):
        shop(store).pruning.retire(1)
    assert len(shop(store).releases.versions()) == 8


# --- at the same time -----------------------------------------------------------------------------


def test_a_rollout_that_begins_meanwhile_keeps_its_release(store, releases, monkeypatch):
    application, wanted = shop(store), releases[0]
    settled(application, "canary", releases[7])
    all_seen(application)
    commit, begins = Ledger.commit, [wanted]

    def committed(self, operations, event=None):
        if begins and any(each["KV"]["Verb"] == "delete-cas" for each in operations):
            begun(shop(store), "production", begins.pop(), [["node-1"]], "alice", "deploy")
            all_seen(application)
        commit(self, operations, event)

    monkeypatch.setattr(Ledger, "commit", committed)
    assert application.pruning.retire(1) == versions(releases[6:0:-1])
    assert application.stages.get("production").latest().target == wanted
    assert wanted.version in application.releases.versions()


def test_no_rollout_begins_on_a_release_that_goes_meanwhile(store, releases, monkeypatch):
    application, wanted = shop(store), releases[0]
    guard = type(application.releases).guard

    def guarded(self, version):
        operation = guard(self, version)
        shop(store).pruning.retire(1)
        return operation

    monkeypatch.setattr(type(application.releases), "guard", guarded)
    with pytest.raises(LostRace):
        begun(application, "canary", wanted, [["node-1"]], "alice", "deploy")
    monkeypatch.undo()
    with pytest.raises(DeliveryError, match=f"shop {wanted.version} is no release any more"):
        begun(application, "canary", wanted, [["node-1"]], "alice", "deploy")
    assert application.stages.get("canary").rollout is None
    assert not application.rollouts.is_locked()


def test_a_build_that_begins_again_meanwhile_keeps_its_release(store, releases, monkeypatch):
    application, commit, again = shop(store), Ledger.commit, [commit_of(1)]

    def committed(self, operations, event=None):
        if again and any(releases[0].version in each["KV"]["Key"] for each in operations):
            shop(store).builds.start(again.pop(), "acme/shop", "main", "alice", again=True)
            all_seen(application)
        commit(self, operations, event)

    monkeypatch.setattr(Ledger, "commit", committed)
    assert application.pruning.retire(1) == versions(releases[6:0:-1])
    assert releases[0].version in application.releases.versions()


def test_two_at_once_remove_each_release_once(store, releases, monkeypatch):
    application, commit, other = shop(store), Ledger.commit, []

    def committed(self, operations, event=None):
        if not other:
            other.append([])
            other[0] = shop(store).pruning.retire(1)
        commit(self, operations, event)

    monkeypatch.setattr(Ledger, "commit", committed)
    assert application.pruning.retire(1) == []
    assert other == [versions(releases[6::-1])]


def test_a_version_is_not_published_again_while_its_package_is_to_go(store, releases):
    application, gone = shop(store), releases[0]
    before = store.get(f"shop/releases/{gone.version}")
    application.pruning.retire(1)
    release = Release.parse(before)
    with pytest.raises(DeliveryError, match="its package is about to leave the repository"):
        application.releases.publish(release)
    application.pruning.left([gone.version])
    assert application.releases.publish(release)


# --- builds ---------------------------------------------------------------------------------------


def test_builds_go_but_for_the_newest_those_at_work_and_those_of_kept_releases(store, releases):
    application = shop(store)
    application.builds.start(commit_of(20), "acme/shop", "main", "alice")
    application.builds.leave_out(commit_of(21), "acme/shop", "main", "alice", "api", "nothing")
    all_seen(application)
    for number in (20, 21):
        changed(store, f"shop/builds/{commit_of(number)}", started_at="2025-01-01T00:00:00Z")
    store.commit([store.overwrite("shop/builds/" + commit_of(22), "{")])
    application.pruning.retire(6)

    assert application.pruning.old_builds(1) == [commit_of(2), commit_of(1), commit_of(21)]
    assert application.pruning.forget_builds(1) == [commit_of(2), commit_of(1), commit_of(21)]

    left = [commit_of(number) for number in (3, 4, 5, 6, 7, 8, 20, 22)]
    assert store.keys("shop/builds") == [f"shop/builds/{each}" for each in left]
    assert application.builds.running() == [commit_of(20)]
    assert application.pruning.forget_builds(1) == []


def test_the_attempts_of_a_branch_name_no_build_that_is_gone(store):
    application = shop(store)
    for number, branch in ((1, "main"), (2, "topic"), (3, "main")):
        commit = commit_of(number)
        application.builds.start(commit, "acme/shop", branch, "alice", path="api")
        application.builds.finish(commit, passed=False)
        changed(store, f"shop/builds/{commit}", started_at=f"2026-01-01T00:00:0{number}Z")
    all_seen(application)
    assert application.pruning.forget_builds(1) == [commit_of(2), commit_of(1)]
    assert store.keys("shop/attempts") == ["shop/attempts/main"]
    assert store.get("shop/attempts/main").value == commit_of(3)
