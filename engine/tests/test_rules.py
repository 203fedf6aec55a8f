"""How criteria match, as StackStorm's operators do, and what a rule starts."""

from __future__ import annotations

import datetime

import pytest

from packengine import payload
from packengine.rule_records import TriggerInstance
from packengine.rules import RuleEngine, RuleError, matches


def fits(engine, value, kind, pattern, **more):
    criteria = {"trigger.x": dict({"type": kind, "pattern": pattern}, **more)}
    return matches(criteria, {"x": value, "other": 1}, engine.store.keys)


def ago(seconds):
    moment = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=seconds)
    return moment.isoformat()


@pytest.mark.parametrize(
    ("value", "kind", "pattern", "expected"),
    [
        ("a", "equals", "a", True),
        ("a", "eq", "A", False),
        (1, "equals", 1, True),
        ("a", "nequals", "b", True),
        ("a", "neq", "a", False),
        ("A", "iequals", "a", True),
        ("A", "ieq", "b", False),
        ("abc", "contains", "b", True),
        (["a", "b"], "contains", "b", True),
        ("ABC", "icontains", "b", True),
        ("abc", "ncontains", "x", True),
        ("ABC", "incontains", "b", False),
        ("abc", "startswith", "ab", True),
        ("ABC", "istartswith", "ab", True),
        ("abc", "endswith", "bc", True),
        ("ABC", "iendswith", "bc", True),
        (1, "lessthan", 2, True),
        (2, "lt", 2, False),
        (3, "greaterthan", 2, True),
        (2, "gt", 2, False),
        ("abc", "matchwildcard", "a*", True),
        ("abc", "matchregex", "b", False),
        ("a\nb", "matchregex", "a.b", True),
        ("abc", "regex", "b", True),
        ("a\nb", "regex", "a.b", False),
        ("ABC", "iregex", "b", True),
        ("a", "exists", True, True),
        (None, "exists", True, False),
        (None, "nexists", True, True),
        ("a", "nexists", True, False),
        ("a", "in", ["a", "b"], True),
        ("c", "inside", ["a", "b"], False),
        ("c", "nin", ["a", "b"], True),
        ("a", "ninside", ["a", "b"], False),
    ],
)
def test_operators(engine, value, kind, pattern, expected):
    assert fits(engine, value, kind, pattern) is expected


@pytest.mark.parametrize(
    ("age_s", "kind", "pattern", "expected"),
    [
        (5, "timediff_lt", 3600, True),
        (7200, "td_lt", 3600, False),
        (7200, "timediff_gt", 3600, True),
        (5, "td_gt", 3600, False),
    ],
)
def test_operators_of_age(engine, age_s, kind, pattern, expected):
    assert fits(engine, ago(age_s), kind, pattern) is expected


def test_in_with_a_string_pattern_is_a_substring_test(engine):
    assert fits(engine, "mast", "in", "master") is True
    assert fits(engine, "mast", "in", ["master"]) is False


@pytest.mark.parametrize("kind", ["regex", "contains", "startswith", "iequals", "lessthan"])
def test_an_operator_on_a_missing_key_raises(engine, kind):
    with pytest.raises(RuleError, match='criterion "trigger.nothing"'):
        matches({"trigger.nothing": {"type": kind, "pattern": "1"}}, {"x": 1}, engine.store.keys)


def test_regex_on_a_missing_key_raises_unless_exists_comes_first(engine):
    criteria = {
        "trigger.nothing": {"type": "exists", "pattern": True},
        "trigger.nothing#2": {"type": "regex", "pattern": "x"},
    }
    assert matches(criteria, {"x": 1}, engine.store.keys) is False


def test_equals_on_a_missing_key_is_false(engine):
    criteria = {"trigger.nothing": {"type": "equals", "pattern": "x"}}
    assert matches(criteria, {"x": 1}, engine.store.keys) is False


def test_all_criteria_must_match(engine):
    one = {"type": "equals", "pattern": 1}
    two = {"type": "equals", "pattern": 2}
    assert matches({"trigger.a": one, "trigger.b": two}, {"a": 1, "b": 2}, engine.store.keys)
    assert not matches({"trigger.a": one, "trigger.b": two}, {"a": 1, "b": 1}, engine.store.keys)


def test_criteria_never_match_an_empty_payload(engine):
    criteria = {"trigger.x": {"type": "nexists", "pattern": True}}
    assert matches(criteria, {}, engine.store.keys) is False
    assert matches({}, {}, engine.store.keys) is True


def test_a_pattern_may_be_a_template_and_keeps_its_type(engine):
    engine.store.keys.set("limit", "7")
    criteria = {"trigger.x": {"type": "equals", "pattern": "{{ trigger.y }}"}}
    assert matches(criteria, {"x": 5, "y": 5}, engine.store.keys) is True
    assert matches(criteria, {"x": "5", "y": 5}, engine.store.keys) is False
    criteria = {"trigger.x": {"type": "equals", "pattern": "{{ st2kv.system.limit }}"}}
    assert matches(criteria, {"x": "7"}, engine.store.keys) is True


@pytest.mark.parametrize(
    ("condition", "expected"), [("any", True), ("all", False), ("all2any", True), ("any2any", True)]
)
def test_search_looks_into_a_list(engine, condition, expected):
    items = [{"name": "a", "size": 1}, {"name": "b", "size": 1}]
    pattern = {
        "item.name": {"type": "equals", "pattern": "a"},
        "item.size": {"type": "equals", "pattern": 1},
    }
    assert fits(engine, items, "search", pattern, condition=condition) is expected


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("trigger.a", {"b-c": [1, {"d": 2}]}),
        ("trigger.a.b-c[0]", 1),
        ("trigger.a.b-c[1].d", 2),
        ("trigger.a['b-c'][-1].d", 2),
        ("trigger.'x y'", 3),
        ("trigger.a.b-c[*]", 1),
        ("trigger.nothing", None),
        ("trigger.a.b-c[9]", None),
        ("trigger.'x y'.deeper", None),
    ],
)
def test_paths_find_values_in_the_payload(path, value):
    context = {"trigger": {"a": {"b-c": [1, {"d": 2}]}, "x y": 3}}
    assert payload.find(path, context) == value


def instance(trigger="test.thing", content=None, parameters=None, trace_tag=None):
    return TriggerInstance(
        "i1",
        trigger,
        parameters or {},
        content or {"x": 1},
        trace_tag,
        "2024-01-31T00:00:00.000000Z",
        "pending",
    )


@pytest.fixture
def handle(pack, make_engine):
    """A function that lets rules handle an instance; returns (engine, executions)."""
    pack.metadata("triggers/thing.yaml", name="thing")

    def run(*arguments, **options):
        engine = make_engine()
        executions = RuleEngine(engine).handle(instance(*arguments, **options))
        engine.wait_for_background()
        return engine, [engine.execution(execution.id) for execution in executions]

    return run


def test_a_rule_starts_its_action_with_rendered_parameters(pack, handle):
    pack.rule("r", "test.thing", "core.echo", parameters={"message": "x={{ trigger.x }}"})
    engine, (execution,) = handle(trace_tag="t1")
    assert execution.status == "succeeded"
    assert execution.result["stdout"] == "x=1"
    assert execution.context == {
        "user": "stanley",
        "pack": "core",
        "trace_context": {"trace_tag": "t1"},
        "rule": {"id": "test.r", "name": "r"},
        "trigger_instance": {"id": "i1", "name": None},
    }
    assert engine.store.rules.enforcements()[0]["execution"] == execution.id


def test_a_rule_is_disabled_unless_it_says_otherwise(pack, handle):
    pack.metadata(
        "rules/r.yaml", name="r", trigger={"type": "test.thing"}, action={"ref": "core.noop"}
    )
    assert handle()[1] == []


def test_a_rule_that_was_disabled_stays_so(pack, handle, make_engine):
    pack.rule("r", "test.thing", "core.noop")
    make_engine().enable_rule("test.r", False)
    assert handle()[1] == []


def test_rules_of_other_triggers_and_parameters_do_not_match(pack, handle):
    pack.rule("other", "core.st2.generic.actiontrigger", "core.noop")
    pack.rule("hook", {"type": "core.st2.webhook", "parameters": {"url": "a"}}, "core.noop")
    engine, executions = handle("core.st2.webhook", parameters={"url": "b"})
    assert executions == []


def test_a_backstop_rule_runs_only_when_no_other_matches(pack, handle):
    pack.rule("stop", "test.thing", "core.noop", type={"ref": "backstop"})
    pack.rule(
        "r",
        "test.thing",
        "core.echo",
        {"trigger.x": {"type": "equals", "pattern": 1}},
        {"message": "x"},
    )
    assert [execution.action for execution in handle()[1]] == ["core.echo"]
    assert [execution.action for execution in handle(content={"x": 2})[1]] == ["core.noop"]


def test_a_rule_whose_criteria_cannot_be_tried_is_recorded_and_does_not_match(pack, handle):
    pack.rule("r", "test.thing", "core.noop", {"trigger.y": {"type": "regex", "pattern": "x"}})
    engine, executions = handle()
    assert executions == []
    assert 'Failed to match rule "test.r"' in engine.store.rules.enforcements()[0]["failure_reason"]


@pytest.mark.parametrize(
    ("action", "parameters", "reason"),
    [
        ("core.nothing", {}, "cannot be found"),
        ("core.echo", {}, "is required"),
        ("core.echo", {"message": "{{ trigger.nothing }}"}, "Failed to render parameter"),
    ],
)
def test_a_rule_that_cannot_start_its_action_is_recorded(pack, handle, action, parameters, reason):
    pack.rule("r", "test.thing", action, parameters=parameters)
    engine, executions = handle()
    assert executions == []
    assert reason in engine.store.rules.enforcements()[0]["failure_reason"]
