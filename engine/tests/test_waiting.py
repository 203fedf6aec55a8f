"""Pausing and resuming workflows, and inquiries, which wait for a person."""

from __future__ import annotations

import pytest
from patience import wait_for

ASK = """
    version: 1.0
    tasks:
      ask:
        action: core.ask
        input:
          route: managers
          users: {users}
          schema:
            type: object
            properties:
              approved: {{type: boolean, required: true}}
              pin: {{type: string, secret: true}}
            additionalProperties: false
        next:
          - when: <% succeeded() and result().response.approved %>
            do: go
          - when: <% succeeded() and not result().response.approved %>
            do: fail
      go: {{action: core.echo message="going"}}
    """


def tasks(engine, execution):
    return [(child.task_name, child.status) for child in engine.children(execution.id)]


@pytest.fixture
def asked(pack, make_engine):
    """An engine with a workflow that waits for a response: (engine, workflow, inquiry)."""
    pack.workflow(ASK.format(users="[alice]"))
    engine = make_engine()
    execution = engine.run("test.flow")
    (inquiry,) = engine.children(execution.id)
    return engine, execution, inquiry


def test_an_inquiry_pauses_its_workflow(asked):
    engine, execution, inquiry = asked
    assert (execution.status, inquiry.status) == ("paused", "pending")
    assert inquiry.result["route"] == "managers"
    assert inquiry.result["ttl"] == 1440
    assert engine.store.rules.instances()[0].payload == {"id": inquiry.id, "route": "managers"}


def test_a_response_lets_the_workflow_go_on(asked):
    engine, execution, inquiry = asked
    engine.respond(inquiry.id, {"approved": True}, "alice")
    engine.wait_for_background()
    assert engine.execution(execution.id).status == "succeeded"
    assert tasks(engine, execution) == [("ask", "succeeded"), ("go", "succeeded")]
    assert engine.execution(inquiry.id).result["response"] == {"approved": True}


def test_a_response_can_make_the_workflow_fail(asked):
    engine, execution, inquiry = asked
    engine.respond(inquiry.id, {"approved": False}, "alice")
    engine.wait_for_background()
    assert engine.execution(execution.id).status == "failed"


def test_another_process_responds_after_the_first_is_gone(asked, make_engine):
    engine, execution, inquiry = asked
    other = make_engine()
    other.respond(inquiry.id, {"approved": True}, "alice")
    other.wait_for_background()
    assert engine.execution(execution.id).status == "succeeded"


@pytest.mark.parametrize(
    ("response", "user", "message"),
    [
        ({"approved": "x"}, "alice", "does not fit: approved"),
        ({}, "alice", "approved is required"),
        ({"approved": True, "more": 1}, "alice", "more is not known"),
        ({"approved": True}, "bob", 'User "bob" may not respond .* ask alice'),
    ],
)
def test_a_wrong_response_is_refused(asked, response, user, message):
    engine, execution, inquiry = asked
    with pytest.raises(ValueError, match=message):
        engine.respond(inquiry.id, response, user)
    assert engine.execution(inquiry.id).status == "pending"


def test_an_inquiry_is_answered_once(asked):
    engine, execution, inquiry = asked
    engine.respond(inquiry.id, {"approved": True}, "alice")
    with pytest.raises(ValueError, match="already been responded to"):
        engine.respond(inquiry.id, {"approved": True}, "alice")


def test_only_an_inquiry_can_be_answered(engine):
    with pytest.raises(ValueError, match="is not an inquiry"):
        engine.respond(engine.run("core.noop").id, {})


def test_a_secret_in_a_response_is_masked(asked):
    engine, execution, inquiry = asked
    engine.respond(inquiry.id, {"approved": True, "pin": "1234"}, "alice")
    shown = engine.masked(engine.execution(inquiry.id))
    assert shown.result["response"] == {"approved": True, "pin": "********"}


def test_roles_are_refused_by_name(engine):
    execution = engine.run("core.ask", {"roles": ["admin"]})
    assert execution.status == "failed"
    assert "has no roles" in execution.result["error"]


def test_an_inquiry_in_a_subworkflow_pauses_and_resumes_both(pack, make_engine):
    pack.workflow(ASK.format(users="[]"), name="inner")
    pack.workflow("""
        version: 1.0
        tasks:
          sub:
            action: test.inner
            next:
              - when: <% succeeded() %>
                do: after
          after: {action: core.noop}
        """)
    engine = make_engine()
    execution = engine.run("test.flow")
    assert execution.status == "paused"
    (inner,) = engine.children(execution.id)
    assert inner.status == "paused"
    (inquiry,) = engine.children(inner.id)
    engine.respond(inquiry.id, {"approved": True})
    engine.wait_for_background()
    assert engine.execution(execution.id).status == "succeeded"
    assert tasks(engine, execution) == [("sub", "succeeded"), ("after", "succeeded")]


def test_other_branches_run_on_while_one_waits(pack, make_engine):
    pack.workflow("""
        version: 1.0
        tasks:
          start:
            next:
              - do: ask, work
          ask: {action: core.ask}
          work:
            action: core.local cmd='sleep 0.3'
            next:
              - do: more
          more: {action: core.noop}
        """)
    engine = make_engine()
    execution = engine.start("test.flow")
    inquiry = wait_for(lambda: engine.executions(status="pending", top_level=False))[0]
    engine.respond(inquiry.id, {"continue": True})
    engine.wait_for_background()
    assert engine.execution(execution.id).status == "succeeded"
    assert sorted(tasks(engine, execution)) == [
        ("ask", "succeeded"),
        ("more", "succeeded"),
        ("work", "succeeded"),
    ]


def test_two_inquiries_at_once_are_answered_one_by_one(pack, make_engine):
    pack.workflow("""
        version: 1.0
        tasks:
          start:
            next:
              - do: one, two
          one: {action: core.ask}
          two: {action: core.ask}
        """)
    engine = make_engine()
    execution = engine.run("test.flow")
    assert execution.status == "paused"
    for inquiry in engine.children(execution.id):
        engine.respond(inquiry.id, {"continue": True})
    engine.wait_for_background()
    wait_for(lambda: engine.execution(execution.id).status == "succeeded")


def test_canceling_a_paused_workflow_cancels_what_waits(asked):
    engine, execution, inquiry = asked
    engine.cancel(execution.id)
    assert engine.execution(execution.id).status == "canceled"
    assert engine.execution(inquiry.id).status == "canceled"


def test_canceling_an_inquiry_cancels_its_workflow(asked):
    engine, execution, inquiry = asked
    engine.cancel(inquiry.id)
    engine.wait_for_background()
    assert engine.execution(execution.id).status == "canceled"


PAUSABLE = """
    version: 1.0
    tasks:
      first:
        action: core.local cmd='sleep 0.5'
        next:
          - do: second
      second: {action: core.noop}
    """


def test_a_workflow_pauses_between_tasks_and_resumes(pack, make_engine):
    pack.workflow(PAUSABLE)
    engine = make_engine()
    execution = engine.start("test.flow")
    wait_for(lambda: tasks(engine, execution) == [("first", "running")])
    engine.pause(execution.id)
    wait_for(lambda: engine.execution(execution.id).status == "pausing")
    engine.wait_for_background()
    assert engine.execution(execution.id).status == "paused"
    assert tasks(engine, execution) == [("first", "succeeded")]
    engine.resume(execution.id)
    engine.wait_for_background()
    assert engine.execution(execution.id).status == "succeeded"
    assert tasks(engine, execution) == [("first", "succeeded"), ("second", "succeeded")]


def test_pausing_and_resuming_reach_subworkflows(pack, make_engine):
    pack.workflow(PAUSABLE, name="inner")
    pack.workflow("""
        version: 1.0
        tasks:
          sub: {action: test.inner}
        """)
    engine = make_engine()
    execution = engine.start("test.flow")
    inner = wait_for(lambda: engine.children(execution.id))[0]
    wait_for(lambda: tasks(engine, inner) == [("first", "running")])
    engine.pause(execution.id)
    engine.wait_for_background()
    assert {one.action: one.status for one in engine.executions(top_level=False)} == {
        "test.flow": "paused",
        "test.inner": "paused",
        "core.local": "succeeded",
    }
    engine.resume(execution.id)
    engine.wait_for_background()
    assert engine.execution(execution.id).status == "succeeded"
    assert tasks(engine, inner) == [("first", "succeeded"), ("second", "succeeded")]


def test_only_a_paused_workflow_resumes(engine):
    execution = engine.run("examples.orquesta-join")
    with pytest.raises(ValueError, match="is not paused"):
        engine.resume(execution.id)
    with pytest.raises(ValueError, match="is not a workflow that runs"):
        engine.pause(execution.id)
