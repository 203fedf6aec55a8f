"""How many of an action run at once, and what is tried again."""

from __future__ import annotations

import pytest
from patience import wait_for

SLOW = {"cmd": {"type": "string", "default": "sleep 0.4"}, "app": {"type": "string"}}


def slow(pack, seconds=0.4):
    pack.python(
        "slow",
        f"import time; time.sleep({seconds})",
        {"app": {"type": "string", "default": "shop"}},
    )


def policy(pack, kind, resource="test.slow", **parameters):
    pack.metadata(
        "policies/p.yaml",
        name="test.p",
        resource_ref=resource,
        policy_type=kind,
        enabled=True,
        parameters=parameters,
    )


def start(engine, *givens):
    executions = [engine.start("test.slow", given) for given in givens]
    engine.wait_for_background()
    return [engine.execution(execution.id) for execution in executions]


def wait_for_status(engine, execution, status):
    wait_for(lambda: engine.execution(execution.id).status == status)


def most_at_once(executions):
    def running(moment):
        return sum(_began(one) <= moment < one.end_timestamp for one in executions)

    return max(running(_began(one)) for one in executions)


def _began(execution):
    return next(entry["timestamp"] for entry in execution.log if entry["status"] == "running")


def test_concurrency_delays_what_is_too_many(pack, make_engine):
    slow(pack)
    policy(pack, "action.concurrency", threshold=2)
    executions = start(make_engine(), {}, {}, {}, {})
    assert [one.status for one in executions] == ["succeeded"] * 4
    assert most_at_once(executions) == 2
    assert sum("delayed" in str(one.log) for one in executions) == 2


def test_what_is_delayed_runs_in_the_order_it_came(pack, make_engine):
    slow(pack)
    policy(pack, "action.concurrency", threshold=1)
    engine = make_engine()
    executions = []
    for _ in range(4):
        executions.append(engine.start("test.slow"))
        wait_for_status(engine, executions[-1], "delayed" if executions[1:] else "running")
    engine.wait_for_background()
    began = [_began(engine.execution(execution.id)) for execution in executions]
    assert began == sorted(began)


def test_concurrency_cancels_what_is_too_many(pack, make_engine):
    slow(pack)
    policy(pack, "action.concurrency", threshold=1, action="cancel")
    executions = start(make_engine(), {}, {})
    assert sorted(one.status for one in executions) == ["canceled", "succeeded"]


def test_concurrency_by_attribute_counts_equal_values_only(pack, make_engine):
    slow(pack)
    policy(pack, "action.concurrency.attr", threshold=1, attributes=["app"])
    executions = start(make_engine(), {"app": "shop"}, {"app": "notes"}, {"app": "shop"})
    assert most_at_once(executions) == 2
    shop = [executions[0], executions[2]]
    assert most_at_once(shop) == 1


def test_an_attribute_left_to_its_default_counts_everything(pack, make_engine):
    slow(pack)
    policy(pack, "action.concurrency.attr", threshold=1, attributes=["app"])
    engine = make_engine()
    first = engine.start("test.slow", {"app": "notes"})
    wait_for_status(engine, first, "running")
    (second,) = start(engine, {})
    assert _began(second) >= engine.execution(first.id).end_timestamp


def test_a_delayed_execution_can_be_canceled(pack, make_engine):
    slow(pack, 1)
    policy(pack, "action.concurrency", threshold=1)
    engine = make_engine()
    wait_for_status(engine, engine.start("test.slow"), "running")
    second = engine.start("test.slow")
    wait_for_status(engine, second, "delayed")
    engine.cancel(second.id)
    engine.wait_for_background()
    assert engine.execution(second.id).status == "canceled"


def test_processes_share_the_count(pack, make_engine):
    slow(pack)
    policy(pack, "action.concurrency", threshold=1)
    one, other = make_engine(), make_engine()
    executions = [engine.start("test.slow") for engine in (one, other)]
    one.wait_for_background()
    other.wait_for_background()
    assert most_at_once([one.execution(execution.id) for execution in executions]) == 1


def test_a_disabled_policy_does_nothing(pack, make_engine):
    slow(pack)
    policy(pack, "action.concurrency", threshold=1)
    with open(str(pack.path / "policies" / "p.yaml"), "a") as stream:
        stream.write("enabled: false\n".replace("enabled", "description"))
    pack.metadata(
        "policies/p.yaml",
        name="p",
        resource_ref="test.slow",
        enabled=False,
        policy_type="action.concurrency",
        parameters={"threshold": 1},
    )
    assert most_at_once(start(make_engine(), {}, {})) == 2


def failing(pack, tmp_path, **parameters):
    """Write an action that fails twice and then succeeds, and a retry policy for it."""
    pack.python(
        "flaky",
        """
        with open(given["file"], "a") as stream:
            stream.write("x")
        return len(open(given["file"]).read()) >= 3, "tried"
        """,
        {"file": {"type": "string"}},
    )
    policy(pack, "action.retry", "test.flaky", retry_on="failure", **parameters)
    return {"file": str(tmp_path / "tries")}


def test_retry_runs_a_failed_action_again(pack, make_engine, tmp_path):
    given = failing(pack, tmp_path, max_retry_count=3)
    engine = make_engine()
    first = engine.run("test.flaky", given)
    engine.wait_for_background()
    assert first.status == "failed"
    newest_first = engine.executions()
    assert [one.status for one in newest_first] == ["succeeded", "failed", "failed"]
    assert newest_first[0].context["policies"]["retry"] == {
        "applied_policy": "test.test.p",
        "retry_count": 2,
        "retried_liveaction_id": newest_first[1].id,
    }


def test_retry_gives_up_after_its_count(pack, make_engine, tmp_path):
    given = failing(pack, tmp_path, max_retry_count=1)
    engine = make_engine()
    engine.run("test.flaky", given)
    engine.wait_for_background()
    assert [one.status for one in engine.executions()] == ["failed", "failed"]


def test_retry_is_skipped_inside_workflows(pack, make_engine, tmp_path):
    given = failing(pack, tmp_path, max_retry_count=3)
    pack.workflow(
        """
        version: 1.0
        input: [file]
        tasks:
          one: {action: test.flaky file=<% ctx(file) %>}
        """,
        parameters={"file": {"type": "string"}},
    )
    engine = make_engine()
    execution = engine.run("test.flow", given)
    engine.wait_for_background()
    assert execution.status == "failed"
    assert len(engine.children(execution.id)) == 1


def test_retry_on_timeout_leaves_failures_alone(pack, make_engine):
    pack.action(
        "late",
        "local-shell-cmd",
        parameters={"cmd": {"default": "sleep 5"}, "timeout": {"default": 1}},
    )
    policy(pack, "action.retry", "test.late", retry_on="timeout", max_retry_count=1)
    engine = make_engine()
    engine.run("test.late", {"cmd": "exit 1"})
    engine.wait_for_background()
    assert len(engine.executions()) == 1
    engine.run("test.late")
    engine.wait_for_background()
    assert [one.status for one in engine.executions()] == ["timeout", "timeout", "failed"]


@pytest.mark.parametrize("waiting", [0.3])
def test_a_retry_may_wait(pack, make_engine, tmp_path, waiting):
    given = failing(pack, tmp_path, max_retry_count=1, delay=waiting)
    engine = make_engine()
    first = engine.run("test.flaky", given)
    engine.wait_for_background()
    assert _began(engine.executions()[0]) > first.end_timestamp
    assert "delayed" in str(engine.executions()[0].log)
