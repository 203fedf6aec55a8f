"""A store that version 0.1.0 has written is read, and goes on, with this version.

`stores/0.1.0.json` was written by that version's own code: keys and values below its prefix.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from releases import begun, published

from delivery.application import Application, applications, running_builds, unseen_events
from delivery.errors import DeliveryError
from delivery.report import history, status
from delivery.rollout.transitions import Locked

STORE = Path(__file__).parent / "stores" / "0.1.0.json"


@pytest.fixture
def old(store):
    for key, value in json.loads(STORE.read_text()).items():
        if not key.endswith("/lock"):
            store.commit([store.overwrite(key, value)])
    return store


def test_its_applications_stages_and_releases_are_read(old):
    assert [each.name for each in applications(old)] == ["empty", "notes", "shop"]
    shop = Application(old, "shop")
    assert shop.stages.names() == ["canary", "production"]
    canary, production = shop.stages.get("canary"), shop.stages.get("production")
    assert (canary.status, canary.version) == ("failed", "1.0-2.bbbbbbb")
    assert canary.rollout.target.version == "1.0-3.ccccccc"
    assert canary.rollout.reason == "node-1: is broken"
    assert (production.status, production.version) == ("rolled_back", "1.0-1.aaaaaaa")
    assert production.rollout.rolled_back_from == ["1.0-2.bbbbbbb"]
    assert shop.releases.newest().version == "1.0-3.ccccccc"
    assert shop.releases.get("1.0-1.aaaaaaa").target == production.settled[-1].target
    assert str(shop.freezes.current()) == "frozen by olga: the sale is on"
    assert shop.hosts.all()["shop-canary-1"].version == "1.0-2.bbbbbbb"
    assert not Application(old, "empty").releases.versions()


def test_its_builds_are_read(old):
    shop = Application(old, "shop")
    failed = shop.builds.get("d" * 40)
    assert (failed.status, failed.branch) == ("failed", "feature/x")
    assert failed.failure == "build 4 failed: script/cibuild exited with 1"
    assert {(each.name, build.commit) for each, build in running_builds(old)} == {
        ("shop", "e" * 40),
        ("empty", "f" * 40),
    }
    assert shop.builds.get("e" * 40).ci["queue_id"] == 7


def test_its_events_are_handed_over_from_where_it_had_stopped(old):
    shop = Application(old, "shop")
    first = next(event for each, event in unseen_events(old, old.keys()) if each.name == "shop")
    assert int(first["id"]) == int(shop.events.seen()) + 1
    assert "shop: frozen by olga: the sale is on" in history(shop, 200)["text"]


def test_its_rollout_goes_on_and_is_aborted_as_was_asked(old):
    notes = Application(old, "notes")
    rollout = notes.stages.get("canary").rollout
    assert (rollout.status, rollout.completed, rollout.remaining) == ("rolling_out", 1, 1)
    assert notes.rollouts.aborts.asked_by(rollout) == "olga"
    resumed = notes.rollouts.resume("canary", rollout.deployment)
    with pytest.raises(Locked, match="deploying 1.0-2.bbbbbbb on canary, resumed"):
        notes.rollouts.refuse_if_locked()
    assert notes.rollouts.assigned_batches(resumed) == [["node-1"]]
    assert notes.rollouts.fail(resumed).status == "aborted"


def test_what_is_published_next_is_its_newest_release(old):
    shop = Application(old, "shop")
    assert old.get("shop/newest_release") is None
    version = shop.releases.newest().version
    target = published(Application(old, "notes"), 3)
    assert Application(old, "notes").releases.newest().version == target.version
    assert shop.releases.newest().version == version


def test_status_tells_all_of_it(old):
    text = status(old, None)["text"]
    assert "1.0-1.aaaaaaa rolled back (olga" in text
    assert "1.0-3.ccccccc failed (alice" in text
    assert "1.0-1.aaaaaaa, rolling out 1.0-2.bbbbbbb (carol" in text
    shop = Application(old, "shop")
    newest = shop.releases.newest().target
    with pytest.raises(DeliveryError, match="shop is frozen by olga"):
        begun(shop, "production", newest, [["n"]], "bob", "promote")
