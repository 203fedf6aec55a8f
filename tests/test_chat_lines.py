"""Lines that a newcomer types, and what is answered: through the real matching of aliases.

The application shop has three releases: 1.0.0 and 2.0.0 were in production, 2.1.0 is on the canary.
The canary of notes has failed.
"""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import yaml
from consul_server import empty_store, register, section
from releases import failed, published, settled

from delivery.application import Application
from packengine import aliases

ROOT = Path(__file__).resolve().parent.parent
ALIASES = [
    aliases.Alias(yaml.safe_load(path.read_text(encoding="utf-8")))
    for path in sorted((ROOT / "aliases").glob("*.yaml"))
]
# The first step of each workflow does everything that can be refused.
FIRST_STEP = {
    "deploy_promote": "promotion_begin",
    "deploy_rollback": "rollback_begin",
    "deploy_canary": "canary_begin",
}
OLD, NOW, NEW = "1.0.0-1.aaaaaaa", "2.0.0-2.bbbbbbb", "2.1.0-3.ccccccc"
PROMOTE = f"the canary of shop runs {NEW}; type !deploy promote shop"
ONE_BACK = f"a rollback goes one step back: production of shop from {NOW} to {OLD}"


@pytest.fixture(scope="module")
def config():
    with empty_store() as store:
        shop, notes = Application(store, "shop"), Application(store, "notes")
        for number, upstream in enumerate(("1.0.0", "2.0.0", "2.1.0"), 1):
            target = published(shop, number, upstream)
            settled(shop, "canary", target)
            if number < 3:
                settled(shop, "production", target, kind="promote")
        failed(notes, "canary", published(notes))
        register(store.url, "host-0", "127.0.0.1", "shop", ["shop::app", "shop::app_canary"])
        yield {"consul": section(store)}


class Typed:
    """What becomes of a line of chat: its action, and with which parameters."""

    def __init__(self, line):
        found = aliases.match(line, ALIASES)
        self.name = found.alias.action_ref.split(".")[1]
        described = self._described(self.name)
        names = {"api_user": "olga", "user": "olga"}
        self.given = aliases.execution_parameters(found, described, names)
        self.given = {name: value for name, value in self.given.items() if value is not None}
        for name, value in self.given.items():
            pattern = described[name].get("pattern", "")
            assert re.search(pattern, str(value)), f"StackStorm refuses {name} of {line}"

    def answer(self, config):
        """Returns whether the action succeeded, and what it says."""
        step = FIRST_STEP.get(self.name, self.name)
        every = self._described(step)
        values = {name: each.get("default") for name, each in every.items() if name != "timeout"}
        values.update(chat_user="olga", stackstorm_user="st2", by="olga")
        values.update(self.given)
        values = {name: value for name, value in values.items() if name in every}
        module = importlib.import_module(step)
        action = getattr(module, "".join(word.capitalize() for word in step.split("_")))
        succeeded, result = action(config=config).run(**values)
        return succeeded, result["text" if succeeded else "error"]

    @staticmethod
    def _described(name):
        text = (ROOT / "actions" / f"{name}.yaml").read_text(encoding="utf-8")
        return yaml.safe_load(text)["parameters"]


# What is not done: the line, and the whole answer.
TOLD = [
    # promote
    ("promote shop 2.1.0", f"a promotion names no version: {PROMOTE}"),
    ("deploy promote shop 2.1.0", f"a promotion names no version: {PROMOTE}"),
    ("deploy promote 2.1.0", f"a promotion names no version: {PROMOTE}"),
    ("promote shop to 2.1.0", f"a promotion names no version: {PROMOTE}"),
    ("promote shop v2.1.0 to production", f"a promotion names no version: {PROMOTE}"),
    (
        "promote shop 2.0.0",
        f"a promotion names no version: {PROMOTE}; to bring {NOW} to the canary first: "
        f"!deploy canary shop {NOW}",
    ),
    ("promote shop 9.9", f"a promotion names no version: {PROMOTE}"),
    (
        "promote notes 1.0",
        "a promotion names no version: 1.0-1.aaaaaaa failed on canary of notes: "
        "node-1: is broken; push a fix, or retry with !deploy canary notes",
    ),
    ("promote shpo", "no application shpo; nearest: shop"),
    ("promote shpo 2.0.0", "no application shpo; nearest: shop"),
    ("PROMOTE SHPO", "no application shpo; nearest: shop"),
    ("promote production", "no application production; it is a stage of notes, shop"),
    (
        "promote shop now",
        "shop has no stage now; its stages: canary, production; to promote to the last: "
        "!deploy promote shop",
    ),
    (
        "promote shop to prodution",
        "shop has no stage prodution; its stages: canary, production; to promote to the last: "
        "!deploy promote shop",
    ),
    (
        "promote shop to canary",
        "the canary of shop gets every release by itself; to bring an older one there: !deploy "
        "canary shop <version>; to promote what it runs: !deploy promote shop",
    ),
    ("promote shop v2", f"a promotion names no version: {PROMOTE}"),
    ("promote “shop” “v2”", f"a promotion names no version: {PROMOTE}"),
    ("promote shop please now", PROMOTE),
    ("deploy shop to production", PROMOTE),
    ("deploy production", PROMOTE),
    ("deploy 2.1.0", f"a promotion names no version: {PROMOTE}"),
    ("deploy ship shop", f"'ship' read as promote: {PROMOTE}"),
    ("deploy release shop", f"'release' read as promote: {PROMOTE}"),
    ("deploy promot shop", f"'promot' read as promote: {PROMOTE}"),
    ("deploy shop promote", PROMOTE),
    # rollback
    ("rollback shop to 1.0.0", f"{ONE_BACK}; type !deploy rollback shop"),
    ("deploy rollback shop 1.0.0", f"{ONE_BACK}; type !deploy rollback shop"),
    (
        "rollback shop canary 1.0.0",
        f"a rollback goes one step back: canary of shop from {NEW} to {NOW}; type "
        f"!deploy rollback shop canary 2 times, to get to {OLD}",
    ),
    (
        "rollback shop to 0.9",
        f"{ONE_BACK}; production has not run 0.9 before; type !deploy rollback shop",
    ),
    (
        "rollback shop to 2.0.0",
        f"production of shop runs {NOW} already; {ONE_BACK}; type !deploy rollback shop",
    ),
    (
        "rollback",
        f"rollback needs an application: shop (production from {NOW} to {OLD}); type "
        "!deploy rollback shop",
    ),
    ("rollback shop to production", f"{ONE_BACK}; type !deploy rollback shop"),
    ("rollback notes", "production of notes has no previous version"),
    ("rollback shop now", "shop has no stage now; its stages: canary, production"),
    ("deploy undo shop", f"'undo' read as rollback: {ONE_BACK}; type !deploy rollback shop"),
    ("deploy revert shop", f"'revert' read as rollback: {ONE_BACK}; type !deploy rollback shop"),
    # canary
    ("deploy canary shop 9", f"shop has no release 9; nearest: {OLD}, {NOW}, {NEW}"),
    (
        "deploy canary shop 2",
        f"2 is the beginning of 2 releases of shop, the newest first: {NEW}, {NOW}; type one in "
        "full",
    ),
    ("deploy canary shop v2.0.0", f"type !deploy canary shop {NOW}"),
    ("deploy canary shop bbbbbbb", "type !deploy canary shop for the newest release, " + NEW),
    ("deploy canary shop latest please", f"type !deploy canary shop for the newest release, {NEW}"),
    ("deploy canary", "canary needs an application: notes, shop; such as !deploy canary notes"),
    # freeze
    (
        "deploy freeze shop for ever",
        "to freeze without an end leave the time out: type !deploy freeze shop",
    ),
    (
        "deploy freeze shop forever because of the sale",
        "to freeze without an end leave the time out: type !deploy freeze shop because the sale",
    ),
    ("deploy freeze for 2h shop", "type !deploy freeze shop for 2h"),
    ("deploy freeze shop 2 hrs", "type !deploy freeze shop for 2h"),
    (
        "deploy freeze shop until the sale ends",
        "a freeze has a length: type !deploy freeze shop for 3 days",
    ),
    ("deploy freeze shop the sale is on", "type !deploy freeze shop because the sale is on"),
    (
        "deploy freeze shop for 2 months",
        "a freeze lasts minutes, hours, days or weeks, whole ones and at most 9999: type "
        "!deploy freeze shop for 2h",
    ),
    (
        "deploy freeze shop for 1.5h",
        "a freeze lasts minutes, hours, days or weeks, whole ones and at most 9999: type "
        "!deploy freeze shop for 2h",
    ),
    (
        "deploy freeze shop for -1h",
        "a freeze lasts minutes, hours, days or weeks, whole ones and at most 9999: type "
        "!deploy freeze shop for 2h",
    ),
    (
        "deploy freeze shop because",
        "type !deploy freeze shop because ..., a reason without braces",
    ),
    (
        "deploy freeze shop for 2h because {{ x }}",
        "type !deploy freeze shop for 2h because ..., a reason without braces",
    ),
    ("deploy freeze shop because", "type !deploy freeze shop because ..., a reason without braces"),
    ("deploy freeze", "freeze needs an application: notes, shop; such as !deploy freeze notes"),
    ("deploy freeze shpo for ages", "no application shpo; nearest: shop"),
    ("deploy lock shop", "'lock' read as freeze: type !deploy freeze shop"),
    # unfreeze, abort
    ("deploy unfreeze", "nothing to unfreeze: no application is frozen"),
    ("deploy unlock shop", "'unlock' read as unfreeze: shop is not frozen"),
    ("deploy abort", "nothing to abort: no rollout is in progress"),
    ("deploy abort shop", "shop has no rollout in progress; nothing to abort"),
    ("deploy stop shop", "'stop' read as abort: shop has no rollout in progress; nothing to abort"),
    # questions without an answer
    ("deploy status shpo", "no application shpo; nearest: shop"),
    ("deploy history shpo", "no application shpo; nearest: shop"),
    ("deploy hosts shpo", "no application shpo; nearest: shop"),
    ("deploy status production", "no application production; it is a stage of notes, shop"),
    ("deploy history", "history needs an application: notes, shop; such as !deploy history notes"),
    ("deploy evidence for shop", "type !deploy evidence shop [version]"),
    ("deploy proof shop", "'proof' read as evidence: type !deploy evidence shop [version]"),
    ("deploy hosts", "hosts needs an application: notes, shop; such as !deploy hosts notes"),
    # others
    (
        "deploy shop",
        "say what to do with shop: !deploy status shop, !deploy promote shop, "
        "!deploy canary shop or another of !deploy help",
    ),
    ("deploy check", "'check' read as doctor: type !deploy doctor"),
    ("deploy xyzzy", "unknown command 'xyzzy'; !deploy help lists all commands"),
    ("deploy help promot", "unknown command 'promot'; nearest: !deploy promote [app] [to <stage>]"),
]

STATUS = f"shop\n  canary      {NEW} live"
EVENT = r"\d\d-\d\d \d\d:\d\d  "
# Questions: the line, and what the answer begins with, as a regular expression.
ANSWERED = [
    ("deploy status", "notes\n  canary      nothing; 1.0-1.aaaaaaa failed"),
    ("Deploy Status SHOP", STATUS),
    ("deploy status of shop", STATUS),
    ("deploy status all", "notes\n  canary"),
    ("deploy status “shop”", STATUS),
    ("deploy status shop=", STATUS),
    ("deploy status shop notes", STATUS + "(.*\n)+notes\n  canary"),
    ("deploy list", "notes\n  canary"),
    ("deploy show shop", STATUS),
    ("deploy versions shop", f"{NEW} \\(canary\\)\n{NOW} \\(production\\)\n{OLD}\nTo deploy one: "),
    ("deploy releases notes", "1.0-1.aaaaaaa\nTo deploy one: !deploy canary notes 1.0-1.aaaaaaa"),
    ("deploy history shop", f"{EVENT}shop: canary runs {NEW}"),
    ("deploy history shop 3", f"{EVENT}shop: canary runs {NEW}"),
    ("deploy history shop all", f"{EVENT}shop: canary runs {NEW}[^\n]*\n{EVENT}shop: canary batch"),
    ("deploy history shop 9999", f"200 events are kept; the newest 200:\n{EVENT}shop: "),
    ("deploy history shop 0", f"from 1 to 200 events can be shown; the newest 10:\n{EVENT}shop: "),
    ("deploy history shop x", f"'x' is not a number of events; the newest 10:\n{EVENT}shop: "),
    ("deploy history of shop", f"{EVENT}shop: canary runs {NEW}"),
    ("deploy log shop", f"{EVENT}shop: canary runs {NEW}"),
    ("deploy hosts Shop", r"host-0 \(canary\): nothing, no report yet"),
    ("deploy servers shop", r"host-0 \(canary\): nothing, no report yet"),
    ("deploy", "!deploy abort <app>\n"),
    ("deploy help", "!deploy abort <app>\n"),
    ("deploy help promote", r"!deploy promote \[app\]"),
    ("deploy commands", "!deploy abort <app>\n"),
    ("deploy help me promote", "!deploy abort <app>\n"),
    ("deploy {{ config_context.consul.token }}", "!deploy abort <app>\n"),
]

# Lines in other words that mean a command: the line, the action and the parameters.
TAKEN = [
    ("Promote Shop", "deploy_promote", {"app": "Shop"}),
    ("PROMOTE SHOP TO PRODUCTION", "deploy_promote", {"app": "SHOP", "stage": "PRODUCTION"}),
    ("deploy promote shop production", "deploy_promote", {"app": "shop", "stage": "production"}),
    ("Roll back Shop", "deploy_rollback", {"app": "Shop"}),
    ("rollback shop in canary", "deploy_rollback", {"app": "shop", "stage": "canary"}),
    ("deploy canary shop 2.0.0", "deploy_canary", {"app": "shop", "version": "2.0.0"}),
]


@pytest.mark.parametrize(("line", "answer"), TOLD, ids=[line for line, _ in TOLD])
def test_a_line_that_changes_nothing_says_what_is_needed(line, answer, config):
    succeeded, text = Typed(line).answer(config)
    assert not succeeded
    assert text == answer


@pytest.mark.parametrize(("line", "beginning"), ANSWERED, ids=[line for line, _ in ANSWERED])
def test_a_question_is_answered_as_it_was_meant(line, beginning, config):
    succeeded, text = Typed(line).answer(config)
    assert succeeded
    assert re.match(beginning, text), text


@pytest.mark.parametrize(("line", "name", "given"), TAKEN, ids=[line for line, *_ in TAKEN])
def test_a_command_in_other_words_is_taken(line, name, given):
    typed = Typed(line)
    assert typed.name == name
    assert {key: typed.given[key] for key in typed.given if key not in ("by", "by_hand")} == given


@pytest.mark.parametrize("day", ["monday", "Sunday", "tomorrow"])
def test_a_freeze_until_a_day_is_told_in_hours(day, config):
    _, text = Typed(f"deploy freeze shop until {day}").answer(config)
    assert re.fullmatch(
        r"a freeze has a length; for one until [A-Z][a-z]+day 00:00 UTC type "
        r"!deploy freeze shop for [1-9][0-9]*h",
        text,
    ), text
