"""The ledger against a real Consul, also over a wire that loses answers."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from consul_server import pack_token
from losing_wire import losing_wire
from releases import COMMITS, begun, published, settled, shop

from delivery import ledger as ledger_module
from delivery.application import Application, running_builds, unseen_events
from delivery.errors import DeliveryError
from delivery.ledger import Ledger
from delivery.names import plain
from delivery.promotion import candidates
from delivery.records import MalformedRecord
from delivery.report import status
from delivery.store import ConsulUnreachable, LostRace, Store


@pytest.fixture
def wire(store, monkeypatch):
    monkeypatch.setattr(ledger_module, "SEND_AGAIN_S", 0)
    with losing_wire(store.url) as wire:
        yield wire


@pytest.fixture
def behind(wire, store):
    """The same part of Consul as `store`, over the wire."""
    return Store(wire.url, pack_token(), store.prefix)


def put(store, key, value):
    store.commit([store.overwrite(key, value)])


# --- lost answers -------------------------------------------------------------------------------


def test_a_change_whose_answer_was_lost_is_not_made_twice(wire, behind, store):
    ledger = Ledger(behind, "shop")
    wire.lost_answers = 1
    ledger.commit([ledger.set("a", "1", None)], ledger.event("happened", message="it did"))
    assert wire.transactions == 2
    assert store.get("shop/a").value == "1"
    assert [event["type"] for event in shop(store).events.all()] == ["happened"]


def test_every_transition_of_a_delivery_may_lose_its_answer(wire, behind, store):
    application = Application(behind, "shop")

    def losing(change, *arguments, **options):
        wire.lost_answers = 1
        result = change(*arguments, **options)
        assert wire.lost_answers == 0
        return result

    assert losing(application.builds.start, COMMITS[0], "acme/shop", "main", "alice").new
    losing(application.builds.record_ci, COMMITS[0], {"queue_id": 1})
    assert losing(application.builds.finish, COMMITS[0], passed=True)
    losing(application.builds.packaging_failed, COMMITS[0], "no space")
    target = published(application, 2)
    rollout = losing(begun, application, "canary", target, [["node-1"]], "alice", "deploy")
    losing(application.rollouts.assign, rollout, ["node-1"])
    rollout = losing(application.rollouts.record_batch, rollout, {})
    assert losing(application.rollouts.settle, rollout).status == "live"
    losing(application.freezes.start, "olga")
    assert losing(application.freezes.end, "olga")
    assert [event["type"] for event in shop(store).events.all()] == [
        "build_started",
        "build_passed",
        "packaging_failed",
        "build_started",
        "build_passed",
        "release_published",
        "rollout_started",
        "batch_finished",
        "rollout_succeeded",
        "frozen",
        "unfrozen",
    ]


def test_a_change_that_did_not_arrive_before_somebody_elses_has_lost_the_race(wire, behind, store):
    """The first attempt lost its race and its answer; the second must not take that for success."""
    ledger = Ledger(behind, "shop")
    put(store, "shop/a", "somebody else's")
    wire.lost_answers = 1
    with pytest.raises(LostRace):
        ledger.commit([ledger.set("a", "1", None)], ledger.event("happened", message="it did not"))
    assert store.get("shop/a").value == "somebody else's"
    assert shop(store).events.all() == []


def test_a_lock_lost_meanwhile_is_not_taken_for_a_change_that_was_made(wire, behind, store):
    application = Application(behind, "shop")
    rollout = begun(application, "canary", published(application), [["node-1"]], "alice", "deploy")
    wire.lost_answers = 1
    wire.before_losing = lambda: store.sessions.close(rollout.session)
    with pytest.raises(LostRace):
        application.rollouts.assign(rollout, ["node-1"])


def test_answers_that_stay_lost_are_an_error_after_a_while(wire, behind, monkeypatch):
    monkeypatch.setattr(ledger_module, "ANSWER_PATIENCE_S", 0.3)
    ledger = Ledger(behind, "shop")
    wire.lost_answers = 10**9
    with pytest.raises(ConsulUnreachable, match="did not answer"):
        ledger.commit([ledger.set("a", "1", None)])


def test_two_changes_at_once_each_get_a_number(store):
    ledger, other = Ledger(store, "shop"), Ledger(store, "shop")
    look = ledger.event_ids

    def look_and_be_overtaken():
        ids = look()
        if not ids:
            other.commit([], other.event("first", message="I was faster"))
        return ids

    ledger.event_ids = look_and_be_overtaken
    ledger.commit([], ledger.event("second", message="I was not"))
    assert [event["type"] for event in shop(store).events.all()] == ["first", "second"]


# --- malformed records --------------------------------------------------------------------------

MALFORMED = ["", "garbage", "[]", "null", '"text"', "{}", '{"status": 7}', "{" * 2000]


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("stages/canary/state", "shop/stages/canary/state in Consul is malformed"),
        ("releases/1.0-1.aaaaaaa", "shop/releases/1.0-1.aaaaaaa in Consul is malformed"),
        ("freeze", "shop/freeze in Consul is malformed"),
        ("hosts/node-1", "its report is malformed"),
    ],
)
def test_a_malformed_record_is_told_and_stops_no_other_application(store, key, told):
    bad, good = shop(store), Application(store, "notes")
    for application in (bad, good):
        settled(application, "canary", published(application))
    for value in MALFORMED:
        put(store, f"shop/{key}", value)
        report = status(store, None)
        assert "next: !deploy promote notes" in report["text"], value
        assert "notes" in [each.name for each in candidates(store)], value
        assert told in json.dumps(report["applications"]), value


def test_a_malformed_stage_is_an_error_that_names_the_key(store):
    application = shop(store)
    settled(application, "canary", published(application))
    put(store, "shop/stages/canary/state", '{"status": "live"}')
    with pytest.raises(
        MalformedRecord,
        match=f"{store.prefix}/shop/stages/canary/state in Consul is malformed: target is not "
        "a JSON object; correct or delete it",
    ):
        application.stages.get("canary")


def test_a_malformed_event_is_passed_over_and_marked_as_seen(store):
    application = shop(store)
    application.builds.start(COMMITS[0], "acme/shop", "main", "alice")
    put(store, "shop/events/0000000002", "garbage")
    application.builds.finish(COMMITS[0], passed=True)
    published(Application(store, "notes"))
    unseen = [(each.name, event["type"]) for each, event in unseen_events(store, store.keys())]
    assert ("shop", "build_passed") in unseen
    assert ("notes", "release_published") in unseen
    put(store, "shop/events/0000000004", "{}")
    put(store, "shop/events/zzz", "{}")
    application.events.mark_seen("0000000003")
    list(unseen_events(store, store.keys()))
    assert application.events.seen() == "0000000004"


def test_keys_that_are_no_applications_are_passed_over(store):
    published(shop(store))
    put(store, "Not An App/events/0000000001", "{}")
    put(store, "doctor", "now")
    assert {each.name for each, _ in unseen_events(store, store.keys())} == {"shop"}
    assert [each["name"] for each in status(store, None)["applications"]] == ["shop"]


def test_a_malformed_build_does_not_hide_the_others(store):
    shop(store).builds.start(COMMITS[0], "acme/shop", "main", "alice")
    shop(store).builds.start(COMMITS[1], "acme/shop", "main", "alice")
    put(store, f"shop/builds/{COMMITS[0]}", "garbage")
    assert [build.commit for _, build in running_builds(store)] == [COMMITS[1]]


def test_a_malformed_report_of_a_host_is_no_report(store):
    put(store, "shop/hosts/node-1", "\x00garbage")
    report = shop(store).hosts.all()["node-1"]
    assert (report.version, report.status) == (None, "its report is malformed")
    assert f"{store.prefix}/shop/hosts/node-1" in report.reason


LIES = {
    "rollout_succeeded": {"version": "1.0-1.aaaaaaa", "deployment": "d"},
    "rollout_failed": {"stage": "canary", "version": "{{ x }}", "deployment": "d"},
    "build_passed": {},
}


@pytest.mark.parametrize("kind", LIES)
def test_an_event_without_what_its_type_has_is_malformed(store, kind):
    event = dict(LIES[kind], type=kind, message="m", at="2026-01-01T00:00:00Z")
    put(store, "shop/events/0000000001", json.dumps(event))
    assert shop(store).events.all() == []
    assert list(unseen_events(store, store.keys())) == []


def test_events_that_were_deleted_by_hand_do_not_hide_those_to_come(store):
    application = shop(store)
    published(application)
    application.events.mark_seen("0000000003")
    store.commit([store.delete_below("shop/events")])
    application.freezes.start("olga")
    assert [event["type"] for _, event in unseen_events(store, store.keys())] == ["frozen"]


@pytest.mark.parametrize("value", ["zzz", "7", ""])
def test_a_malformed_cursor_has_every_event_handed_over_again(store, value):
    published(shop(store))
    put(store, "shop/events_seen", value)
    assert len(list(unseen_events(store, store.keys()))) == 3


@pytest.mark.parametrize("value", ["", "{{ x }}", "9.9-9.fffffff", "garbage"])
def test_a_pointer_that_leads_nowhere_stops_no_release(store, value):
    application = shop(store)
    published(application)
    put(store, "shop/newest_release", value)
    put(store, "shop/releases/0.9-0.0000000", "garbage")
    assert application.releases.newest().version == "1.0-1.aaaaaaa"
    said = status(store, None)["text"]
    assert "1.0-1.aaaaaaa is published and has not reached the canary" in said
    assert application.releases.newest().version != published(application, 2).version
    assert application.releases.newest().build == 2


def test_a_release_that_cannot_be_read_stops_no_other_from_being_published(store):
    application = shop(store)
    published(application)
    put(store, "shop/releases/1.0-1.aaaaaaa", "garbage")
    with pytest.raises(MalformedRecord, match="releases/1.0-1.aaaaaaa in Consul is malformed"):
        application.releases.newest()
    assert application.releases.get(published(application, 2).version).build == 2
    assert application.releases.newest().build == 2


def test_texts_for_people_are_short_and_without_what_nobody_sees():
    assert plain("a\x1b[2Jb\x00c\u202ed {\x00{ e }}") == "a[2Jbcd ?  e ?".replace("  ", " ")
    assert len(plain("x" * 600000)) <= 2000


def test_a_record_that_is_too_large_is_said_to_be_so(store):
    ledger = Ledger(store, "shop")
    with pytest.raises(DeliveryError, match="the record is too large: shorten it") as caught:
        ledger.commit([ledger.set("a", "x" * 600000, None)])
    assert not isinstance(caught.value, ConsulUnreachable)


def test_many_pushes_at_once_are_all_recorded(store):
    commits = [f"{number:040x}" for number in range(24)]

    def push(commit):
        Application(Store(store.url, pack_token(), store.prefix), "shop").builds.start(
            commit, "acme/shop", "main", "alice"
        )

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(push, commits))
    numbers = sorted(shop(store).builds.get(commit).number for commit in commits)
    assert numbers == list(range(1, 25))
