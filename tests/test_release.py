"""Builds, releases, stages and events against a real Consul."""

from __future__ import annotations

import dataclasses
import re

import pytest
from releases import COMMITS, begun, failed, published, settled, shop

from delivery.application import Application, known_application, unseen_events
from delivery.errors import DeliveryError
from delivery.freeze import Freezes
from delivery.ledger import EVENTS_KEPT
from delivery.promotion import choose
from delivery.releases import package_version
from delivery.rollout.abort import Aborted
from delivery.rollout.transitions import Locked
from delivery.store import LostRace


def types(application):
    return [event["type"] for event in application.events.all()]


def unseen(store):
    return [event["id"] for _, event in unseen_events(store, store.keys())]


# --- builds -------------------------------------------------------------------------------------


def test_a_second_delivery_of_a_commit_starts_no_second_build(store):
    application = shop(store)
    first = application.builds.start(COMMITS[0], "acme/shop", "main", "alice")
    second = application.builds.start(COMMITS[0], "acme/shop", "main", "bob")
    assert (first.new, second.new) == (True, False)
    assert second.build.number == first.build.number == 1
    assert types(application) == ["build_started"]


def test_builds_are_numbered_in_order(store):
    numbers = [
        shop(store).builds.start(commit, "acme/shop", "main", "alice").build.number
        for commit in COMMITS
    ]
    assert numbers == [1, 2, 3, 4]


def test_a_build_whose_process_is_gone_is_started_again_with_its_number(store):
    application = shop(store)
    application.builds.start(COMMITS[0], "acme/shop", "main", "alice")
    again = application.builds.start(COMMITS[0], "acme/shop", "main", "alice", stale_after_s=-1)
    assert (again.new, again.build.number) == (True, 1)


def test_a_commit_is_built_again_when_asked_for(store):
    application = shop(store)
    application.builds.start(COMMITS[0], "acme/shop", "main", "alice")
    application.builds.finish(COMMITS[0], passed=False, reason="script/cibuild failed")
    again = application.builds.start(COMMITS[0], "acme/shop", "main", "alice", again=True)
    assert (again.new, again.build.number) == (True, 1)


def test_the_verdict_and_its_event_are_written_once(store):
    application = shop(store)
    application.builds.start(COMMITS[0], "acme/shop", "main", "alice")
    assert application.builds.finish(COMMITS[0], passed=True)
    assert not application.builds.finish(COMMITS[0], passed=True)
    assert types(application) == ["build_started", "build_passed"]


def test_a_failed_build_says_why_without_template_markers(store):
    application = shop(store)
    application.builds.start(COMMITS[0], "acme/shop", "main", "alice")
    application.builds.finish(COMMITS[0], passed=False, reason="see {{ config_context.token }}\nx")
    message = application.events.all()[-1]["message"]
    assert re.fullmatch(
        r"shop: build 1 of main \(aaaaaaa\) failed after \d s: see \? config_context.token \? x",
        message,
    ), message


def test_a_version_names_its_build_and_commit():
    assert package_version("1.2.0", 7, "abcdef0" + "0" * 33) == "1.2.0-7.abcdef0"


@pytest.mark.parametrize(
    "branch",
    ["main; rm -rf /", "{{config_context.x}}", "../main", "a//b", "ünï", "a b", "x.lock", ""],
)
def test_a_branch_that_could_do_harm_is_refused(store, branch):
    with pytest.raises(DeliveryError, match="is not a valid branch"):
        shop(store).builds.start(COMMITS[0], "acme/shop", branch, "alice")
    assert store.keys() == []


def test_feature_branches_keep_their_whole_name(store):
    application = shop(store)
    application.builds.start(COMMITS[0], "acme/shop", "feature/x", "alice")
    assert application.builds.get(COMMITS[0]).branch == "feature/x"


# --- releases -----------------------------------------------------------------------------------


def test_a_release_is_written_once(store):
    application = shop(store)
    target = published(application)
    assert not application.releases.publish(application.releases.get(target.version))
    assert types(application).count("release_published") == 1


def test_another_package_under_a_published_version_is_refused(store):
    application = shop(store)
    release = application.releases.get(published(application).version)
    other = dataclasses.replace(release, package=release.package._replace(sha256="f" * 64))
    with pytest.raises(DeliveryError, match="is already published with another package"):
        application.releases.publish(other)


def test_an_unknown_application_is_answered_with_the_nearest(store):
    published(shop(store))
    published(Application(store, "notes"))
    with pytest.raises(DeliveryError, match=r"no application shpo; nearest: shop"):
        known_application(store, "shpo")


# --- rollouts -----------------------------------------------------------------------------------


def test_the_advertised_version_moves_only_when_the_rollout_has_succeeded(store):
    application = shop(store)
    target = published(application)
    rollout = begun(application, "canary", target, [["node-1"]], "alice", "deploy")
    application.rollouts.assign(rollout, ["node-1"])
    assert application.stages.get("canary").version is None
    assert store.get("shop/stages/canary/assigned/node-1").value == target.version
    application.rollouts.settle(application.rollouts.record_batch(rollout, {}))
    canary = application.stages.get("canary")
    assert (canary.version, canary.status) == (target.version, "live")
    assert store.get("shop/stages/canary/assigned/node-1") is None


def test_a_failed_rollout_leaves_the_version_and_no_assignment(store):
    application = shop(store)
    old, new = published(application, 1), published(application, 2)
    settled(application, "canary", old)
    failed(application, "canary", new)
    canary = application.stages.get("canary")
    assert (canary.version, canary.status) == (old.version, "failed")
    assert store.get_below("shop/stages/canary/assigned") == {}
    assert "back to " + old.version in application.events.all()[-1]["message"]


def test_one_rollout_of_an_application_at_a_time(store):
    application = shop(store)
    target = published(application)
    begun(application, "canary", target, [["node-1"]], "alice", "deploy")
    with pytest.raises(Locked, match=f"shop is locked: deploying {target.version} on canary, by"):
        begun(application, "production", target, [["node-2"]], "bob", "promote")
    assert application.stages.get("production").status == "empty"


def test_a_rollout_whose_process_is_gone_is_taken_over(store):
    application = shop(store)
    old, new = published(application, 1), published(application, 2)
    dead = begun(application, "canary", old, [["node-1"]], "alice", "deploy")
    application.rollouts.assign(dead, ["node-1"])
    store.sessions.close(dead.session)
    taken = begun(application, "canary", new, [["node-2"]], "bob", "deploy")
    application.rollouts.assign(taken, ["node-2"])
    assert application.rollouts.assigned_batches(taken) == [["node-2"], ["node-1"]]
    with pytest.raises(DeliveryError, match="another one replaced it"):
        application.rollouts.resume("canary", dead.deployment)


def test_a_rollout_whose_lock_has_lapsed_takes_it_again(store):
    application = shop(store)
    rollout = begun(application, "canary", published(application), [["node-1"]], "alice", "deploy")
    store.sessions.close(rollout.session)
    resumed = application.rollouts.resume("canary", rollout.deployment)
    application.rollouts.assign(resumed, ["node-1"])
    done = application.rollouts.record_batch(resumed, {})
    assert application.rollouts.settle(done).status == "live"


def test_a_step_without_the_lock_changes_nothing(store):
    application = shop(store)
    rollout = begun(application, "canary", published(application), [["node-1"]], "alice", "deploy")
    rollout = application.rollouts.record_batch(rollout, {})
    store.sessions.close(rollout.session)
    with pytest.raises(LostRace):
        application.rollouts.settle(rollout)
    assert application.stages.get("canary").version is None


@pytest.mark.parametrize("failed_hosts", [None, {"node-1": "is broken"}])
def test_a_version_that_no_host_has_proven_is_never_settled_on(store, failed_hosts):
    application = shop(store)
    rollout = begun(application, "canary", published(application), [["node-1"]], "alice", "deploy")
    if failed_hosts:
        rollout = application.rollouts.record_batch(rollout, failed_hosts)
    with pytest.raises(DeliveryError, match="cannot be settled on canary of shop"):
        application.rollouts.settle(rollout)
    assert application.stages.get("canary").version is None


def test_an_abort_that_comes_too_late_leaves_no_word(store):
    application = shop(store)
    rollout = begun(application, "canary", published(application), [["node-1"]], "alice", "deploy")
    rollout = application.rollouts.record_batch(rollout, {})
    application.rollouts.settle(rollout)
    with pytest.raises(LostRace):
        application.rollouts.aborts.ask(rollout, "olga")
    assert store.get("shop/stages/canary/abort") is None
    assert types(application)[-1] == "rollout_succeeded"


# --- promotion and rollback -----------------------------------------------------------------------


def test_promotion_takes_exactly_what_the_canary_runs(store):
    application = shop(store)
    target = published(application)
    settled(application, "canary", target)
    assert application.stages.promotion("production", "canary") == target


def test_a_canary_that_changes_meanwhile_is_not_promoted(store):
    application = shop(store)
    old, new = published(application, 1), published(application, 2)
    settled(application, "canary", old)
    chosen = application.stages.promotion("production", "canary")
    settled(application, "canary", new)
    with pytest.raises(LostRace, match="the canary of shop has changed"):
        begun(application, "production", chosen, [["n"]], "bob", "promote", source="canary")
    assert application.stages.get("production").status == "empty"
    assert store.lock_holder("shop/lock") is None


def test_promotion_without_a_canary_says_what_to_do(store):
    application = shop(store)
    published(application)
    with pytest.raises(DeliveryError, match="shop has no canary yet; push a commit"):
        application.stages.promotion("production", "canary")


def test_a_failed_canary_is_not_promoted(store):
    application = shop(store)
    old, new = published(application, 1), published(application, 2)
    settled(application, "canary", old)
    failed(application, "canary", new)
    with pytest.raises(
        DeliveryError, match=f"{new.version} failed on canary of shop: node-1: is broken; push a"
    ):
        application.stages.promotion("production", "canary")


def test_a_canary_still_rolling_out_is_not_promoted(store):
    application = shop(store)
    begun(application, "canary", published(application), [["n"]], "alice", "deploy")
    with pytest.raises(DeliveryError, match="is still rolling out"):
        application.stages.promotion("production", "canary")


def test_what_production_runs_already_is_not_promoted(store):
    application = shop(store)
    target = published(application)
    settled(application, "canary", target)
    settled(application, "production", target, "promote", source="canary")
    with pytest.raises(DeliveryError, match=f"production of shop already runs {target.version}"):
        application.stages.promotion("production", "canary")


def test_promotion_without_a_name_takes_the_only_candidate(store):
    settled(shop(store), "canary", published(shop(store)))
    published(Application(store, "notes"))
    assert choose(store).name == "shop"


def test_promotion_without_a_name_lists_the_candidates_when_there_are_several(store):
    for name in ("shop", "notes"):
        application = Application(store, name)
        settled(application, "canary", published(application))
    with pytest.raises(
        DeliveryError,
        match=r"Several canaries are ready: name one \(notes 1.0-1.aaaaaaa, shop 1.0-1.aaaaaaa\)",
    ):
        choose(store)


def test_promotion_without_a_name_and_without_a_candidate_says_so(store):
    with pytest.raises(DeliveryError, match="nothing to promote"):
        choose(store)


def test_rollback_goes_back_through_what_the_stage_settled_on(store):
    application = shop(store)
    targets = [published(application, number) for number in (1, 2, 3)]
    for target in targets:
        settled(application, "production", target)
    for expected in (targets[1], targets[0]):
        assert application.stages.rollback("production") == expected
        settled(application, "production", expected, "rollback")
        assert application.stages.get("production").version == expected.version
        assert application.stages.get("production").status == "rolled_back"
    with pytest.raises(DeliveryError, match="has no previous version"):
        application.stages.rollback("production")


def test_what_was_rolled_back_is_promoted_again_only_by_name(store):
    application = shop(store)
    first, second, new = (published(application, number) for number in (1, 2, 3))
    for target in (first, second, new):
        settled(application, "canary", target)
        settled(application, "production", target, "promote", source="canary")
    for target in (second, first):  # The second rollback does not make the first one's forgotten.
        settled(application, "production", target, "rollback")
        with pytest.raises(DeliveryError, match="nothing to promote"):
            choose(store)
        assert application.stages.promotion("production", "canary") == new
    settled(application, "production", new, "promote", source="canary")
    assert not application.stages.was_rolled_back("production", new.version)


# --- freeze and abort -----------------------------------------------------------------------------


def test_a_freeze_that_comes_while_a_promotion_begins_still_counts(store, monkeypatch):
    application = shop(store)
    target = published(application)
    settled(application, "canary", target)
    look = Freezes.guard

    def freeze_after(self):
        guard = look(self)
        application.freezes.start("alice")
        return guard

    monkeypatch.setattr(Freezes, "guard", freeze_after)
    with pytest.raises(LostRace):
        begun(application, "production", target, [["n"]], "bob", "promote", source="canary")
    assert application.stages.get("production").status == "empty"
    assert not application.rollouts.is_locked()


def test_a_freeze_ends_by_itself_when_its_time_is_over(store):
    application = shop(store)
    target = published(application)
    settled(application, "canary", target)
    application.freezes.start("alice", for_s=-1)
    assert application.freezes.current() is None
    settled(application, "production", target, "promote", source="canary")
    assert application.stages.get("production").version == target.version


def test_a_frozen_application_still_gets_its_canary(store):
    application = shop(store)
    application.freezes.start("alice")
    target = published(application)
    settled(application, "canary", target)
    with pytest.raises(DeliveryError, match="shop is frozen by alice; to end the freeze"):
        begun(application, "production", target, [["n"]], "bob", "promote", source="canary")


def test_an_aborted_rollout_settles_on_nothing_even_after_its_last_batch(store):
    application = shop(store)
    old, new = published(application, 1), published(application, 2)
    settled(application, "canary", old)
    rollout = begun(application, "canary", new, [["node-1"]], "alice", "deploy")
    rollout = application.rollouts.record_batch(rollout, {})
    application.rollouts.aborts.ask(rollout, "olga")
    with pytest.raises(Aborted, match=f"{new.version} on canary of shop was aborted by olga"):
        application.rollouts.settle(rollout)
    application.rollouts.fail(rollout)
    canary = application.stages.get("canary")
    assert (canary.version, canary.status) == (old.version, "aborted")
    with pytest.raises(
        DeliveryError, match=f"{new.version} was aborted on canary of shop: requested by olga"
    ):
        application.stages.promotion("production", "canary")


def test_the_next_rollout_is_not_stopped_by_an_old_word(store):
    application = shop(store)
    old, new = published(application, 1), published(application, 2)
    dead = begun(application, "canary", old, [["node-1"]], "alice", "deploy")
    application.rollouts.aborts.ask(dead, "olga")
    store.sessions.close(dead.session)
    settled(application, "canary", new)
    assert application.stages.get("canary").status == "live"


def test_a_host_that_failed_makes_a_rollout_failed_and_not_aborted(store):
    application = shop(store)
    rollout = begun(application, "canary", published(application), [["node-1"]], "alice", "deploy")
    application.rollouts.aborts.ask(rollout, "olga")
    rollout = application.rollouts.record_batch(rollout, {"node-1": "broken"}, "node-1: broken")
    assert application.rollouts.fail(rollout).status == "failed"


# --- events ---------------------------------------------------------------------------------------


def test_events_are_numbered_without_gaps_however_many_write(store):
    import threading

    threads = [
        threading.Thread(target=published, args=(Application(store, name), number))
        for number in (1, 2)
        for name in ("shop", "notes")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("shop", "notes"):
        application = Application(store, name)
        releases = map(application.releases.get, application.releases.versions())
        assert sorted(each.build for each in releases) == [1, 2]
        assert application.releases.newest().build == 2
        assert [int(event["id"]) for event in application.events.all()] == [1, 2, 3, 4, 5, 6]


def test_every_event_is_handed_over_until_it_is_marked(store):
    application = shop(store)
    published(application)
    assert unseen(store) == ["0000000001", "0000000002", "0000000003"]
    application.events.mark_seen(application.events.all()[1]["id"])
    assert unseen(store) == ["0000000003"]


def test_old_events_are_forgotten_once_they_were_seen(store):
    application = shop(store)
    for number in range(EVENTS_KEPT // 2 + 4):
        application.builds.start(COMMITS[0], "acme/shop", "main", "alice", again=True)
        application.builds.finish(COMMITS[0], passed=True)
        if number == 2:
            application.events.mark_seen(application.events.all()[-1]["id"])
    events = application.events.all()
    assert len(events) == EVENTS_KEPT + 2, "two more would be gone if what was not seen counted"
    assert events[0]["id"] == "0000000007", "the six that were seen are gone"
    assert events[-1]["id"] == f"{EVENTS_KEPT + 8:010d}"
