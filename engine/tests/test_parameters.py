"""How parameters are rendered, cast, validated and completed."""

from __future__ import annotations

import json

import pytest

from packengine.parameters import ParameterError


def give_back(engine, **given):
    result = engine.run("fixture.give_back", given).result["result"]
    return {name: result[name] for name in given}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, 'Parameter "name" of fixture.greet is required'),
        ({"name": "Ada"}, 'Parameter "name" of fixture.greet: .Ada. does not match'),
        ({"name": "Ada"}, r"does not match .* \(Whom to greet"),
        ({"name": "ada", "mood": "odd"}, 'Parameter "mood" of fixture.greet: .odd. is not one of'),
        ({"name": "ada", "times": 4}, 'Parameter "times" of fixture.greet: 4 is greater than'),
        ({"name": "ada", "times": 0}, 'Parameter "times" of fixture.greet: 0 is less than'),
        ({"name": "ada", "nam": "x"}, 'Parameter "nam" of fixture.greet is not known'),
        (
            {"name": "ada", "times": "many"},
            'cast value "many" .* parameter "times" of type "integer"',
        ),
        ({"name": 5}, 'parameter "name" of type "string"'),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_and_named(engine, given, message):
    before = len(engine.executions())
    with pytest.raises(ParameterError, match=message):
        engine.run("fixture.greet", given)
    assert len(engine.executions()) == before


def test_the_value_of_a_secret_parameter_is_not_in_the_error(pack, make_engine):
    pack.action(
        "secret",
        parameters={
            "pin": {"type": "string", "secret": True, "pattern": "^x$"},
            "count": {"type": "integer", "secret": True},
        },
    )
    engine = make_engine()
    with pytest.raises(ParameterError) as refused:
        engine.run("test.secret", {"pin": "hunter2"})
    assert "hunter2" not in str(refused.value)
    with pytest.raises(ParameterError) as refused:
        engine.run("test.secret", {"count": "hunter2"})
    assert "hunter2" not in str(refused.value)


def test_immutable_parameter_cannot_be_given(pack, make_engine):
    pack.action("fixed", parameters={"p": {"type": "string", "immutable": True, "default": "x"}})
    with pytest.raises(ParameterError, match='"p" of test.fixed is immutable'):
        make_engine().run("test.fixed", {"p": "x"})


def test_an_immutable_parameter_is_not_the_nearest_of_a_misspelt_one(pack, make_engine):
    fixed = {"type": "string", "immutable": True, "default": "x"}
    pack.action("fixed", parameters={"chat_user": fixed, "reason": {"type": "string"}})
    with pytest.raises(ParameterError, match="is not known$"):
        make_engine().run("test.fixed", {"chat_use": "x"})
    with pytest.raises(ParameterError, match="is not known, nearest: reason$"):
        make_engine().run("test.fixed", {"reson": "x"})


def test_an_immutable_parameter_has_its_default(pack, make_engine):
    pack.python(
        "fixed", "return given", {"p": {"type": "string", "immutable": True, "default": "x"}}
    )
    assert make_engine().run("test.fixed").result["result"] == {"p": "x"}


def test_a_runners_parameter_cannot_be_given_when_the_action_fixes_it(engine):
    with pytest.raises(ParameterError, match='"cmd" of core.echo is immutable'):
        engine.run("core.echo", {"message": "x", "cmd": "date"})


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("list", '["a", 1]', ["a", 1]),
        ("list", "['a', None]", ["a", None]),
        ("object", '{"a": true}', {"a": True}),
        ("number", "1.5", 1.5),
        ("flag", "true", True),
        ("flag", "False", False),
    ],
)
def test_texts_are_cast_to_the_parameters_type(engine, name, text, value):
    assert give_back(engine, **{name: text}) == {name: value}


def test_parameters_that_are_not_given_are_none(engine):
    result = engine.run("fixture.give_back", {"text": "x"}).result["result"]
    assert result == {"text": "x", "list": None, "object": None, "number": None, "flag": None}


def test_an_execution_keeps_only_what_was_given(engine):
    assert engine.run("fixture.greet", {"name": "ada"}).parameters == {"name": "ada"}


def test_none_may_be_given_for_an_optional_parameter(engine):
    assert give_back(engine, text=None) == {"text": None}


def test_a_given_template_is_rendered(engine):
    assert give_back(engine, text="{{ 1 + 1 }}", number="{{ 6 * 7 }}") == {
        "text": "2",
        "number": 42.0,
    }


def test_a_template_sees_other_parameters(engine):
    assert give_back(engine, text="{{ number }}", number=3) == {"text": "3", "number": 3.0}


def test_a_template_alone_in_a_structure_keeps_its_type(engine):
    given = {"object": {"n": "{{number}}", "t": "n={{number}}"}, "number": 3}
    assert give_back(engine, **given)["object"] == {"n": 3, "t": "n=3"}


def test_an_unknown_name_in_a_template_is_an_error(engine):
    with pytest.raises(ParameterError, match='Dependency unsatisfied in variable "nothing"'):
        engine.run("fixture.give_back", {"text": "{{ nothing }}"})


def test_parameters_that_need_each_other_are_an_error(engine):
    with pytest.raises(ParameterError, match="Cyclic dependency .* number, text"):
        engine.run("fixture.give_back", {"text": "{{ number }}", "number": "{{ text }}"})


def test_a_missing_part_of_a_name_in_a_template_is_an_error(engine):
    with pytest.raises(ParameterError, match='Failed to render parameter "text"'):
        engine.run("fixture.give_back", {"text": "{{ action_context.nothing }}"})


def test_text_that_is_no_valid_template_is_taken_as_it_is(engine):
    assert give_back(engine, text="{{ this is not") == {"text": "{{ this is not"}


def test_a_default_template_sees_action_context_and_configuration(pack, make_engine):
    pack.metadata("config.schema.yaml", place={"type": "string"})
    pack.config("place: here")
    pack.python(
        "look",
        "return given",
        {
            "user": {"type": "string", "default": "{{ action_context.user }}"},
            "place": {"type": "string", "default": "{{ config_context.place }}"},
            "length": {"type": "integer", "default": "{{ place | length }}"},
        },
    )
    execution = make_engine().run("test.look", user="alice")
    assert execution.result["result"] == {"user": "alice", "place": "here", "length": 4}
    assert execution.parameters == execution.result["result"]


def test_a_default_template_wins_over_a_given_template(pack, make_engine):
    pack.python("look", "return given", {"p": {"type": "string", "default": "{{ 'default' }}"}})
    engine = make_engine()
    assert engine.run("test.look", {"p": "given"}).result["result"] == {"p": "given"}
    assert engine.run("test.look", {"p": "{{ 'given' }}"}).result["result"] == {"p": "default"}


def test_templates_read_the_datastore(engine):
    engine.store.keys.set("colour", "blue")
    engine.store.keys.set("a.b", "dotted")
    engine.store.keys.set("alice:own", "mine", scope="user")
    engine.store.keys.set("hidden", "plain", secret=True)
    text = (
        "{{ st2kv.system.colour }} {{ st2kv.system.a.b }} {{ st2kv.user.own }} "
        "{{ st2kv.system.hidden | decrypt_kv }} [{{ st2kv.system.nothing }}]"
    )
    execution = engine.run("fixture.give_back", {"text": text}, user="alice")
    assert execution.result["result"]["text"] == "blue dotted mine plain []"


def test_a_secret_key_is_not_readable_without_decrypting(engine):
    engine.store.keys.set("hidden", "plain", secret=True)
    assert "plain" not in give_back(engine, text="{{ st2kv.system.hidden }}")["text"]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ {'a': 1} | to_json_string }}", '{"a": 1}'),
        ("{{ '[1, 2]' | from_json_string | length }}", "2"),
        ("{{ 'a: 1' | from_yaml_string | to_json_string }}", '{"a": 1}'),
        ("{{ 'abc' | regex_match('b') }}", "False"),
        ("{{ 'abc' | regex_search('B', ignorecase=True) }}", "True"),
        ("{{ 'abc' | regex_replace('b', 'x') }}", "axc"),
        ("{{ 'v1.2' | regex_substring('[0-9]', 1) }}", "2"),
        ("{{ 3725 | to_human_time_from_seconds }}", "1h2m5s"),
        ("{{ '1.2.3' | version_bump_minor }}", "1.3.0"),
        ("{{ '1.2.3' | version_compare('1.10.0') }}", "-1"),
        ("{{ '1.0.0-rc.2' | version_less_than('1.0.0-rc.10') }}", "True"),
        ("{{ '1.0.0-rc.1' | version_less_than('1.0.0') }}", "True"),
        ("{{ '1.0.0+b1' | version_equal('1.0.0+b2') }}", "True"),
        ("{{ '1.2.3' | version_match('>=1.2.0') }}", "True"),
        (
            "{{ {'a': [{'b': 1}, {'b': 2}]} | jsonpath_query('$.a[*].b') | to_json_string }}",
            "[1,2]",
        ),
        ("{{ '/a/b.txt' | basename }}", "b.txt"),
        ("{{ 'a\"b' | json_escape }}", 'a\\"b'),
    ],
)
def test_stackstorms_filters(engine, template, text):
    assert give_back(engine, text=template) == {"text": text}


def test_use_none_makes_a_template_give_none(engine):
    assert give_back(engine, text="{{ none | use_none }}") == {"text": None}


def test_templates_are_sandboxed(engine):
    with pytest.raises(ParameterError, match="unsafe"):
        engine.run("fixture.give_back", {"text": "{{ ''.__class__.__mro__ }}"})


def test_nested_schemas_are_checked_and_the_place_is_named(pack, make_engine):
    pack.action(
        "nested",
        parameters={
            "o": {
                "type": "object",
                "properties": {"n": {"type": "integer", "required": True}},
                "additionalProperties": False,
            }
        },
    )
    engine = make_engine()
    with pytest.raises(ParameterError, match=r'"o" of test.nested \(at n\) is required'):
        engine.run("test.nested", {"o": {}})
    with pytest.raises(ParameterError, match=r'"o" of test.nested \(at m\) is not known'):
        engine.run("test.nested", {"o": {"n": 1, "m": 2}})


def test_large_parameters_reach_the_action(engine):
    text = json.dumps(list(range(100000)))
    assert give_back(engine, text=text) == {"text": text}
