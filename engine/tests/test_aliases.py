"""Aliases mean here what they mean in StackStorm."""

from __future__ import annotations

import time

import pytest

from packengine.aliases import (
    Alias,
    NoMatch,
    SeveralMatches,
    Unsupported,
    acknowledgement,
    execution_parameters,
    extract_parameters,
    match,
    result_message,
)


def alias(name="deploy_status", formats=("deploy status {{ app }}",), **metadata):
    return Alias(
        {
            "name": name,
            "pack": "demo",
            "action_ref": f"demo.{name}",
            "formats": list(formats),
            **metadata,
        }
    )


def parameters_of(found, schema=None, context=None):
    return execution_parameters(found, schema or {}, context or {"user": "alice"})


EXECUTION = {
    "id": "5e9f",
    "status": "succeeded",
    "elapsed_seconds": 65.2,
    "action": {"ref": "demo.deploy_status"},
    "parameters": {"app": "shop"},
    "result": {"result": {"message": "shop 1.2.0 is live"}, "exit_code": 0},
    "context": {"user": "alice"},
}


@pytest.mark.parametrize(
    ("format_string", "command", "parameters"),
    [
        ("deploy status", "deploy status", {}),
        ("deploy status {{ app }}", "deploy status shop", {"app": "shop"}),
        ("deploy status {{app}}", "  deploy status shop  ", {"app": "shop"}),
        ("deploy status {{ app }}", "deploy status shop and more", {"app": "shop and more"}),
        ("move {{ a }} to {{ b }}", "move x to y to z", {"a": "x", "b": "y to z"}),
        ("say {{ text }} twice", "say 'hello there' twice", {"text": "hello there"}),
        ("say {{ text }}", 'say "hello there"', {"text": "hello there"}),
        ("set {{ value }}", 'set {"a": 1, "b": 2}', {"value": '{"a": 1, "b": 2}'}),
        ("deploy {{ app=shop }}", "deploy", {"app": "shop"}),
        ("deploy {{ app=shop }}", "deploy notes", {"app": "notes"}),
        ("deploy {{ app = 'the shop' }} now", "deploy now", {"app": "the shop"}),
        ("deploy {{ app='' }}", "deploy", {"app": ""}),
        ("(deploy|ship) {{ app }}", "ship shop", {"app": "shop"}),
        ("deploy( status)? of {{ app }}", "deploy of shop", {"app": "shop"}),
    ],
)
def test_a_format_gives_these_parameters(format_string, command, parameters):
    assert extract_parameters(format_string, command) == parameters


@pytest.mark.parametrize(
    ("command", "parameters"),
    [
        ("deploy shop count=3", {"app": "shop", "count": "3"}),
        (
            "deploy shop a=1 b='two words' c={\"d\": 4}",
            {"app": "shop", "a": "1", "b": "two words", "c": '{"d": 4}'},
        ),
        ("deploy shop app=notes", {"app": "notes"}),
        ("deploy a=b shop", {"app": "a=b shop"}),
        ("deploy shop url=http://x/?y=z", {"app": "shop", "url": "http://x/?y=z"}),
        ('deploy shop note=""', {"app": "shop", "note": ""}),
    ],
)
def test_pairs_at_the_end_of_a_command_become_parameters_as_text(command, parameters):
    assert extract_parameters("deploy {{ app }}", command) == parameters


@pytest.mark.parametrize(
    ("format_string", "command"),
    [
        ("deploy status", "deploy status shop"),
        ("deploy status {{ app }}", "deploy status"),
        ("deploy status {{ app }}", "please deploy status shop"),
        ("deploy {{ app }}", "deploy app=shop"),
        ("deploy {{ app }}", ""),
    ],
)
def test_a_format_must_match_the_whole_command(format_string, command):
    with pytest.raises(NoMatch):
        extract_parameters(format_string, command)


def test_a_format_with_anchors_of_its_own_gets_no_others():
    assert extract_parameters("^ deploy {{ app }} $", "deploy shop") == {"app": "shop"}
    assert extract_parameters("status of (\\S+)( please|$)", "status of shop please ") == {}


def test_a_line_that_defeats_backtracking_is_answered_at_once():
    started = time.monotonic()
    with pytest.raises(NoMatch):
        extract_parameters("deploy {{ app }}", "a=b   " * 200 + "! !")
    assert time.monotonic() - started < 1


def test_a_format_may_be_shown_otherwise_than_it_is_matched():
    several = alias(
        formats=[
            {
                "display": "deploy status [app]",
                "representation": ["deploy status", "deploy status {{ app }}"],
            }
        ]
    )
    assert several.displays() == ["deploy status [app]"]
    assert match("deploy status", [several]).parameters == {}
    assert match("deploy status shop", [several]).parameters == {"app": "shop"}
    assert several.get_format_strings() == ["deploy status", "deploy status {{ app }}"]


def test_a_format_without_display_is_matched_and_not_listed():
    hidden = alias(formats=[{"representation": ["secret handshake"]}])
    assert hidden.displays() == []
    assert match("secret handshake", [hidden]).alias is hidden


def test_a_command_nobody_knows_is_told_the_nearest():
    aliases = [
        alias(formats=["deploy status {{ app }}"]),
        alias("promote", formats=["deploy promote {{ app }}"]),
        alias("weather", formats=["weather in {{ city }}"]),
    ]
    with pytest.raises(NoMatch) as failure:
        match("deploy statsu shop", aliases)
    assert str(failure.value).startswith(
        'No command matches "deploy statsu shop". Did you mean: deploy status {{ app }}'
    )
    assert "weather" not in str(failure.value)


def test_a_command_like_no_other_gets_no_suggestion():
    with pytest.raises(NoMatch) as failure:
        match("xyzzy", [alias()])
    assert str(failure.value) == 'No command matches "xyzzy". !help lists all commands.'


def test_a_command_that_means_two_things_is_refused_and_both_are_named():
    aliases = [alias(formats=["deploy {{ app }}"]), alias("status", formats=["deploy status"])]
    with pytest.raises(SeveralMatches) as failure:
        match("deploy status", aliases)
    assert '"deploy {{ app }}" of demo.deploy_status' in str(failure.value)
    assert '"deploy status" of demo.status' in str(failure.value)


def test_a_disabled_alias_does_not_match():
    with pytest.raises(NoMatch):
        match("deploy status shop", [alias(enabled=False)])


def test_matching_several_times_in_one_line_is_refused_by_name():
    with pytest.raises(Unsupported, match="demo.deploy_status: match_multiple"):
        alias(formats=[{"representation": ["x"], "match_multiple": True}])


def test_immutable_parameters_are_passed_and_rendered():
    pinned = alias(immutable_parameters={"by": "{{ api_user }}", "force": False, "tries": 3})
    found = match("deploy status shop", [pinned])
    assert parameters_of(found, context={"api_user": "bob"}) == {
        "app": "shop",
        "by": "bob",
        "force": False,
        "tries": 3,
    }


def test_chat_cannot_set_an_immutable_parameter():
    found = match("deploy status shop by=mallory", [alias(immutable_parameters={"by": "alice"})])
    with pytest.raises(ValueError, match="Immutable arguments cannot be overriden: by"):
        parameters_of(found)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("integer", "3", 3),
        ("number", "0.5", 0.5),
        ("boolean", "true", True),
        ("boolean", "False", False),
        ("array", "a, b,c", ["a", "b", "c"]),
        ("object", '{"a": 1}', {"a": 1}),
        ("object", "{'a': 1}", {"a": 1}),
        ("string", "3", "3"),
    ],
)
def test_text_from_chat_is_cast_to_the_type_the_action_wants(kind, text, value):
    found = match(
        f"deploy status '{text}'"
        if '"' not in text and "'" not in text
        else f"deploy status {text}",
        [alias()],
    )
    assert parameters_of(found, {"app": {"type": kind}}) == {"app": value}


@pytest.mark.parametrize(
    ("kind", "text"), [("integer", "three"), ("boolean", "maybe"), ("object", "{oops}")]
)
def test_text_that_cannot_be_cast_is_refused_with_its_name(kind, text):
    found = match(f"deploy status {text}", [alias()])
    with pytest.raises(ValueError, match=f'"{text}" for parameter "app" of type "{kind}"'):
        parameters_of(found, {"app": {"type": kind}})


def test_the_acknowledgement_is_rendered_with_the_execution_in_scope():
    asked = alias(
        ack={
            "format": "Looking at {{ execution.parameters.app }} with "
            "{{ actionalias.action_ref }}.",
            "append_url": False,
        }
    )
    assert acknowledgement(asked, EXECUTION).text == "Looking at shop with demo.deploy_status."


def test_an_acknowledgement_without_format_names_the_action_and_the_execution():
    assert acknowledgement(alias(), EXECUTION).text == (
        "Started demo.deploy_status. (execution 5e9f)"
    )


def test_a_disabled_acknowledgement_is_silence():
    assert acknowledgement(alias(ack={"enabled": False, "format": "x"}), EXECUTION) is None


def test_a_template_error_in_an_acknowledgement_is_said_in_its_place():
    broken = alias(ack={"format": "{{ execution.nobody.knows }}"})
    assert 'Cannot render "format" in field "ack"' in acknowledgement(broken, EXECUTION).text


def test_the_extra_of_a_message_is_rendered_too():
    extra = {"slack": {"color": "{{ execution.status }}", "attachments": [1]}}
    shown = alias(result={"format": "done", "extra": extra}, ack={"extra": extra})
    expected = {"slack": {"color": "succeeded", "attachments": [1]}}
    assert result_message(shown, EXECUTION).extra == expected
    assert acknowledgement(shown, EXECUTION).extra == expected


def test_the_result_is_rendered_with_the_execution_in_scope():
    shown = alias(
        result={
            "format": "{{ execution.result.result.message }}{~} "
            "in {{ execution.elapsed_seconds }} s"
        }
    )
    assert result_message(shown, EXECUTION).text == "shop 1.2.0 is live\n in 65.2 s"


def test_what_a_result_lacks_renders_as_nothing():
    shown = alias(result={"format": "[{{ execution.result.nothing }}]"})
    assert result_message(shown, EXECUTION).text == "[]"


def test_a_disabled_result_is_silence():
    assert result_message(alias(result={"enabled": False}), EXECUTION) is None


def test_a_result_without_format_lists_status_and_result():
    text = result_message(alias(), EXECUTION).text
    assert text.splitlines()[:4] == [
        "Action demo.deploy_status completed.",
        "status : succeeded",
        "execution: 5e9f",
        "Took 1m5s to complete.",
    ]
    assert "message: shop 1.2.0 is live" in text
