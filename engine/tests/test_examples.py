"""Workflows such as StackStorm's examples pack has run here with the same results."""

from __future__ import annotations


def test_tasks_in_sequence_publish_to_each_other(engine):
    execution = engine.run("examples.orquesta-sequential", {"name": "Ada"})
    assert execution.status == "succeeded"
    assert execution.result == {"output": {"greeting": "HELLO, ADA!"}}


def test_a_task_runs_for_each_item(engine):
    members = ["ada", "grace", "joan", "mary", "radia"]
    execution = engine.run("examples.orquesta-with-items", {"members": members})
    assert execution.result == {"output": {"greetings": members}}
    children = engine.children(execution.id)
    assert [child.context["orquesta"]["item_id"] for child in children] == [0, 1, 2, 3, 4]


def test_branches_join_again(engine):
    execution = engine.run("examples.orquesta-join")
    assert execution.result == {"output": {"message": "left and right"}}
    assert len(engine.children(execution.id)) == 4


def test_a_repaired_failure_still_fails_the_workflow(engine):
    execution = engine.run("examples.orquesta-error-handling", {"cmd": "echo no >&2; exit 1"})
    assert execution.status == "failed"
    assert execution.result["output"] == {"result": "no", "repaired": "repaired"}
    assert [error["task_id"] for error in execution.result["errors"]] == ["work", "fail"]


def test_nothing_to_repair_succeeds(engine):
    execution = engine.run("examples.orquesta-error-handling", {"cmd": "echo yes"})
    assert execution.status == "succeeded"
    assert execution.result == {"output": {"result": "yes", "repaired": None}}


def test_a_workflow_is_a_task_of_another(engine):
    execution = engine.run("examples.orquesta-subworkflow")
    assert execution.result == {"output": {"greeting": "HELLO, STANLEY!"}}
    inner = [child for child in engine.children(execution.id) if child.runner == "orquesta"]
    assert [child.task_name for child in engine.children(inner[0].id)] == ["greet", "shout"]


def test_a_task_is_tried_again_until_it_succeeds(engine, tmp_path):
    execution = engine.run("examples.orquesta-jinja-retry", {"file": str(tmp_path / "tries")})
    assert execution.status == "succeeded"
    assert execution.result == {"output": {"tries": 3}}
