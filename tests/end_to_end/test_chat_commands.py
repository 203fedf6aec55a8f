"""Conversations with the embedded engine and a real Consul. No host can be reached."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from consul_server import register, section
from releases import begun, published, settled

from delivery.application import Application
from packengine import chat
from packengine.engine import Engine

PROJECT = Path(__file__).resolve().parents[2]


class Conversation:
    """An application of its own, and a chat about it."""

    def __init__(self, store, directory, **configuration):
        self.application = Application(store, "shop")
        values = dict(
            {
                "consul": section(store),
                "ssh": {"connect_timeout_s": 1},
            },
            **configuration,
        )
        (directory / "configs").mkdir()
        (directory / "configs" / "cicd_canary.yaml").write_text(json.dumps(values))
        self.engine = Engine(
            packs=[str(PROJECT)],
            config_dir=str(directory / "configs"),
            data_dir=str(directory / "data"),
        )
        for number, tags in enumerate((["shop::app", "shop::app_canary"], ["shop::app"])):
            register(store.url, f"host-{number}", "127.0.0.1", "shop", tags)

    def say(self, line, user="olga"):
        """Types a line; returns all that is answered, on one line."""
        out = io.StringIO()
        chat.handle(self.engine, user, line, out)
        return " ".join(out.getvalue().split())


@pytest.fixture
def talk(store, tmp_path):
    return Conversation(store, tmp_path)


def test_a_promotion_that_fails_says_why_in_one_line_and_claims_nothing_before(talk):
    target = published(talk.application)
    settled(talk.application, "canary", target)
    answer = talk.say("!Promote shop to production")
    assert re.fullmatch(
        rf"Not promoted: {target.version} failed on production: host-1: .*; "
        r"production of shop has no previous version; not yet reverted: host-1",
        answer,
    )
    assert talk.application.stages.get("production").rollout.by == "olga"


def test_what_is_pinned_cannot_be_typed(talk):
    settled(talk.application, "canary", published(talk.application))
    for line in (
        "!deploy promote shop by=alice",
        "!deploy rollback shop by=alice",
        "!deploy canary shop by_hand=false",
        "!deploy freeze shop by=alice",
    ):
        assert talk.say(line).startswith("Immutable arguments cannot be overriden: by"), line
    assert "stackstorm_user" in talk.say("!deploy freeze shop stackstorm_user=alice")
    assert [event["type"] for event in talk.application.events.all()][-1] == "rollout_succeeded"


@pytest.mark.parametrize(
    ("user", "by"),
    [("@Alice.B {{ x }}", "Alice.Bx"), ("deployments/olga", "olga"), ("%%", "somebody")],
)
def test_a_user_with_a_strange_name_is_still_a_user(talk, user, by):
    published(talk.application)
    assert f"shop is frozen by {by}." in talk.say("!deploy freeze shop", user=user)


def test_a_freeze_is_seen_by_everybody_until_it_ends(talk):
    settled(talk.application, "canary", published(talk.application))
    assert "shop is frozen by olga: the sale is on" in talk.say(
        "!deploy freeze shop because the sale is on"
    )
    assert "frozen by olga: the sale is on" in talk.say("!deploy status")
    answer = talk.say("!deploy promote", user="bob")
    assert answer == (
        "Not promoted: shop is frozen by olga: the sale is on; to end the freeze: "
        "!deploy unfreeze shop"
    )
    assert talk.say("!deploy unfreeze shop") == (
        "shop is no longer frozen. Next: !deploy promote shop"
    )


def test_who_is_not_on_the_list_is_told_who_is(store, tmp_path):
    talk = Conversation(store, tmp_path, permissions={"chat_users": ["alice"]})
    settled(talk.application, "canary", published(talk.application))
    for line, what in (
        ("!promote shop", "promote"),
        ("!rollback shop", "roll back"),
        ("!deploy freeze shop", "freeze"),
        ("!deploy abort shop", "abort"),
        ("!deploy unfreeze shop", "unfreeze"),
    ):
        answer = talk.say(line)
        assert answer.endswith(f": sorry, olga may not {what}; allowed in chat: alice"), answer
        assert answer.startswith("Not "), answer
    for user in ("alice", "@alice"):  # As some bots write it.
        assert "shop is frozen by alice" in talk.say("!deploy freeze shop", user=user)


def test_a_rollout_that_a_dead_process_has_left_is_aborted(talk):
    rollout = begun(
        talk.application, "canary", published(talk.application), [["host-0"]], "alice", "deploy"
    )
    assert "stops after the current batch" in talk.say("!deploy abort shop")
    talk.application.store.sessions.close(rollout.session)
    assert "was aborted: orphaned rollout reverted" in talk.say("!deploy abort shop")


def test_a_canary_by_hand_takes_the_newest_release(talk):
    target = published(talk.application)
    answer = talk.say("!deploy canary shop")
    assert answer.startswith(f"Not deployed: {target.version} failed on canary: host-0: ")
    settled(talk.application, "canary", target)
    assert f"Nothing to do: canary of shop runs {target.version} already." in talk.say(
        "!deploy canary shop"
    )


def test_a_line_that_is_no_command_gets_what_it_needs(talk):
    target = published(talk.application)
    settled(talk.application, "canary", target)
    promote = f"the canary of shop runs {target.version}; type !deploy promote shop"
    assert talk.say("!promote shop 2.0.0") == f"a promotion names no version: {promote}"
    assert talk.say("!deploy promot shop") == f"'promot' read as promote: {promote}"
    assert talk.say("!deploy history shop 9999").startswith("200 events are kept; the newest 200: ")


def test_capitals_make_no_difference(talk):
    target = published(talk.application)
    settled(talk.application, "canary", target)
    assert talk.say("!PROMOTE SHOP TO PRODUCTION").startswith(
        f"Not promoted: {target.version} failed on production: host-1: "
    )
    assert talk.say("!Deploy Canary Shop 1.0") == (
        f"Nothing to do: canary of shop runs {target.version} already."
    )


def test_what_can_be_refused_at_once_is_one_line_without_an_id(talk):
    published(talk.application)
    nearest = "no application shpo; nearest: shop"
    for line in ("!deploy status shpo", "!deploy history shpo", "!deploy hosts shpo"):
        assert talk.say(line) == nearest, line
    for line, what in (
        ("!promote shpo", "promoted"),
        ("!rollback shpo", "rolled back"),
        ("!deploy canary shpo", "deployed"),
        ("!deploy freeze shpo", "frozen"),
        ("!deploy unfreeze shpo", "unfrozen"),
        ("!deploy abort shpo", "aborted"),
    ):
        assert talk.say(line) == f"Not {what}: {nearest}", line


def test_hosts_are_listed_with_what_they_run(talk):
    published(talk.application)
    assert talk.say("!deploy hosts shop") == (
        "host-0 (canary): nothing, no report yet host-1 (production): nothing, no report yet"
    )
