"""What StackStorm's workflow engine does around Orquesta, and what packs rely on in Orquesta."""

from __future__ import annotations

import threading

import pytest
from patience import wait_for


def tasks(engine, execution):
    """Return (name, status) of a workflow's tasks in the order they started."""
    return [(child.task_name, child.status) for child in engine.children(execution.id)]


@pytest.fixture
def flow(pack, make_engine):
    """A function that runs the text of a workflow; returns (engine, execution)."""

    def run(text, given=None, parameters=None, **options):
        pack.workflow(text, parameters=parameters)
        engine = make_engine()
        return engine, engine.run("test.flow", given, **options)

    return run


def test_an_empty_with_list_succeeds(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          each:
            with: <% [] %>
            action: core.echo message=<% item() %>
            next:
              - when: <% succeeded() %>
                publish: done=<% result() %>
                do: after
          after:
            action: core.noop
        output:
          - done: <% ctx(done) %>
        """)
    assert execution.status == "succeeded"
    assert tasks(engine, execution) == [("after", "succeeded")]
    assert execution.result["output"] == {"done": []}


def test_a_failed_leaf_task_fails_the_workflow(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          break: {action: core.local cmd='exit 7'}
        """)
    assert execution.status == "failed"
    (error,) = execution.result["errors"]
    assert error["task_id"] == "break"
    assert error["message"] == "Execution failed. See result for details."
    assert error["result"]["return_code"] == 7


def test_a_failure_that_a_transition_catches_does_not_fail_the_workflow(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          break:
            action: core.local cmd='exit 1'
            next:
              - when: <% failed() %>
                do: repair
          repair: {action: core.noop}
        """)
    assert execution.status == "succeeded"
    assert tasks(engine, execution) == [("break", "failed"), ("repair", "succeeded")]


def test_do_cleanup_and_fail_still_fails(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          break:
            action: core.local cmd='exit 1'
            next:
              - when: <% failed() %>
                publish: reason='broken'
                do: [cleanup, fail]
          cleanup: {action: core.noop}
        output:
          - reason: <% ctx(reason) %>
        """)
    assert execution.status == "failed"
    assert execution.result["output"] == {"reason": "broken"}
    assert tasks(engine, execution) == [("break", "failed"), ("cleanup", "succeeded")]


def test_task_retry_reruns_all_items(flow, tmp_path):
    engine, execution = flow(
        """
        version: 1.0
        input: [directory]
        tasks:
          each:
            with: <% list(a, b) %>
            action: core.local
            input:
              cmd: >-
                echo x >> <% ctx(directory) %>/<% item() %>;
                test <% item() %> = a || test $(wc -l < <% ctx(directory) %>/b) -ge 2
            retry: {count: 2, delay: 0}
        """,
        {"directory": str(tmp_path)},
        {"directory": {"type": "string"}},
    )
    assert execution.status == "succeeded"
    assert (tmp_path / "a").read_text() == "x\nx\n"
    assert len(engine.children(execution.id)) == 4


def test_a_retry_that_is_used_up_fails_the_task(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          break:
            action: core.local cmd='exit 1'
            retry: {count: 2, delay: 0}
        """)
    assert execution.status == "failed"
    assert tasks(engine, execution) == [("break", "failed")] * 3


def test_a_concurrency_of_one_stops_at_the_first_failed_item(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          each:
            with: {items: '<% list(0, 1, 0) %>', concurrency: 1}
            action: core.local cmd="exit <% item() %>"
        """)
    assert execution.status == "failed"
    assert tasks(engine, execution) == [("each", "succeeded"), ("each", "failed")]


def test_a_concurrency_bounds_the_items_at_work(flow, tmp_path):
    engine, execution = flow(
        """
        version: 1.0
        input: [directory]
        tasks:
          each:
            with: {items: n in <% range(5) %>, concurrency: 2}
            action: core.local
            input:
              cmd: >-
                cd <% ctx(directory) %>; mkdir at-work-<% item(n) %>; ls -d at-work-* | wc -l;
                sleep 0.1; rmdir at-work-<% item(n) %>
            next:
              - publish: counts=<% result().stdout %>
        output:
          - counts: <% ctx(counts) %>
        """,
        {"directory": str(tmp_path)},
        {"directory": {"type": "string"}},
    )
    assert execution.status == "succeeded"
    assert len(execution.result["output"]["counts"]) == 5
    assert max(execution.result["output"]["counts"]) == 2


def test_a_failed_item_fails_the_task_after_all_items_have_run(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          each:
            with: <% list(1, 0, 0) %>
            action: core.local cmd="exit <% item() %>"
        """)
    assert execution.status == "failed"
    assert sorted(tasks(engine, execution)) == [
        ("each", "failed"),
        ("each", "succeeded"),
        ("each", "succeeded"),
    ]


def test_task_input_is_rendered_twice(flow):
    engine, execution = flow(
        """
        version: 1.0
        tasks:
          say:
            action: core.echo
            input:
              message: "<% '{' + '{ action_context.user }' + '}' %>"
            next:
              - publish: said=<% result().stdout %>
        output:
          - said: <% ctx(said) %>
        """,
        user="alice",
    )
    assert execution.result["output"] == {"said": "alice"}


def test_an_undefined_name_in_a_task_input_fails_the_workflow(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          say:
            action: core.echo
            input:
              message: "<% '{' + '{ nothing }' + '}' %>"
            next:
              - when: <% failed() %>
                do: repair
          repair: {action: core.noop}
        """)
    assert execution.status == "failed"
    (error,) = execution.result["errors"]
    assert error["task_id"] == "say"
    assert 'Dependency unsatisfied in variable "nothing"' in error["message"]
    assert tasks(engine, execution) == []


def test_a_task_input_of_the_wrong_type_fails_the_workflow(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          say:
            action: core.echo message=<% 5 %>
        """)
    assert execution.status == "failed"
    assert "message" in execution.result["errors"][0]["message"]


def test_a_failing_publish_fails_the_workflow(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          one:
            action: core.noop
            next:
              - publish: x=<% result().nothing.more %>
                do: two
          two: {action: core.noop}
        """)
    assert execution.status == "failed"
    assert tasks(engine, execution) == [("one", "succeeded")]


def test_a_failing_output_fails_the_workflow(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          one: {action: core.noop}
        output:
          - good: 1
          - bad: <% 1 / 0 %>
        """)
    assert execution.status == "failed"
    assert execution.result["output"] == {"good": 1}


def test_a_failing_input_fails_the_workflow_before_its_output_is_rendered(flow):
    engine, execution = flow("""
        version: 1.0
        vars:
          - bad: <% 1 / 0 %>
        tasks:
          one: {action: core.noop}
        output:
          - also: <% ctx(bad) %>
        """)
    assert execution.status == "failed"
    assert execution.result["output"] is None
    assert len(execution.result["errors"]) == 1
    assert tasks(engine, execution) == []


def test_ctx_st2_has_stackstorms_keys(flow):
    engine, execution = flow(
        """
        version: 1.0
        tasks:
          one: {action: core.noop}
        output:
          - st2: <% ctx(st2) %>
          - parent: <% ctx(parent) %>
        """,
        user="alice",
        context={"api_user": "bob", "source_channel": "dev"},
    )
    st2 = execution.result["output"]["st2"]
    assert st2.pop("workflow_execution_id")
    assert st2 == {
        "action_execution_id": execution.id,
        "api_url": "http://127.0.0.1:9101/api/v1",
        "user": "alice",
        "pack": "test",
        "action": "test.flow",
        "runner": "orquesta",
        "api_user": "bob",
        "source_channel": "dev",
    }
    assert execution.result["output"]["parent"] == execution.context


def test_a_task_knows_its_workflow_by_its_context(flow):
    engine, execution = flow(
        """
        version: 1.0
        tasks:
          one: {action: core.echo message="x"}
        """,
        user="alice",
    )
    (child,) = engine.children(execution.id)
    assert child.parent == execution.id
    assert child.context["user"] == "alice"
    assert child.context["pack"] == "core"
    assert child.context["parent"] == {
        "execution_id": execution.id,
        "user": "alice",
        "pack": "test",
    }
    assert set(child.context["orquesta"]) == {
        "workflow_execution_id",
        "task_execution_id",
        "task_name",
        "task_id",
        "task_route",
    }


def test_the_task_function_gives_result_and_status(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          one:
            action: core.echo message="x"
            next:
              - do: two
          two:
            action: core.noop
            next:
              - publish:
                  - text: <% task(one).result.stdout %>
                  - status: "{{ task('one').status }}"
        output:
          - text: <% ctx(text) %>
          - status: <% ctx(status) %>
        """)
    assert execution.result["output"] == {"text": "x", "status": "succeeded"}


def test_expressions_read_the_datastore(pack, make_engine):
    pack.workflow("""
        version: 1.0
        tasks:
          one:
            action: core.noop
            next:
              - publish:
                  - plain: <% st2kv('system.plain') %>
                  - secret: "{{ st2kv('system.secret', decrypt=true) }}"
                  - default: <% st2kv('system.nothing', default => 'none') %>
                  - own: <% st2kv('own') %>
        output:
          - all: <% [ctx(plain), ctx(secret), ctx(default), ctx(own)] %>
        """)
    engine = make_engine()
    engine.store.keys.set("plain", "a")
    engine.store.keys.set("secret", "b", secret=True)
    engine.store.keys.set("alice:own", "c", scope="user")
    execution = engine.run("test.flow", user="alice")
    assert execution.result["output"] == {"all": ["a", "b", "none", "c"]}


def test_stackstorms_functions_work_in_expressions(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          one: {action: core.noop}
        output:
          - parsed: <% from_json_string('[1]') %>
          - text: <% to_json_string({'a' => [1]}) %>
          - yaml: <% to_yaml_string({'a' => [1]}) %>
          - found: <% regex_search('abc', 'b') %>
          - name: <% basename('/a/b') %>
        """)
    assert execution.result["output"] == {
        "parsed": [1],
        "text": '{"a": [1]}',
        "yaml": "a:\n- 1\n",
        "found": True,
        "name": "b",
    }


def test_a_task_without_an_action_succeeds(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          decide:
            next:
              - publish: x=<% 1 %>
                do: after
          after: {action: core.noop}
        output:
          - x: <% ctx(x) %>
        """)
    assert execution.result["output"] == {"x": 1}
    assert tasks(engine, execution) == [("after", "succeeded")]


def test_a_loop_goes_back_to_an_earlier_task(flow):
    engine, execution = flow("""
        version: 1.0
        vars: [n: 0]
        tasks:
          begin:
            next:
              - do: step
          step:
            action: core.noop
            next:
              - when: <% succeeded() and ctx(n) < 2 %>
                publish: n=<% ctx(n) + 1 %>
                do: step
        output:
          - n: <% ctx(n) %>
        """)
    assert execution.status == "succeeded"
    assert tasks(engine, execution) == [("step", "succeeded")] * 3


def test_parallel_tasks_run_at_once(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          start:
            next:
              - do: left, right
          left: {action: core.local cmd='sleep 1'}
          right: {action: core.local cmd='sleep 1'}
        """)
    assert execution.status == "succeeded"
    left, right = (child for child in engine.children(execution.id) if child.action == "core.local")
    assert left.start_timestamp < right.end_timestamp
    assert right.start_timestamp < left.end_timestamp


def test_a_task_delay_puts_its_action_off(flow):
    engine, execution = flow("""
        version: 1.0
        tasks:
          late: {delay: 1, action: core.noop}
        """)
    (child,) = engine.children(execution.id)
    assert [entry["status"] for entry in child.log][:2] == ["requested", "delayed"]
    assert execution.elapsed_seconds >= 1


def test_an_action_reference_may_be_an_expression(flow):
    engine, execution = flow(
        """
        version: 1.0
        input: [action]
        tasks:
          one: {action: <% ctx(action) %>}
        """,
        {"action": "core.noop"},
        {"action": {"type": "string"}},
    )
    assert execution.status == "succeeded"


def test_an_expression_that_names_no_action_fails_the_workflow(flow):
    engine, execution = flow(
        """
        version: 1.0
        input: [action]
        tasks:
          one: {action: <% ctx(action) %>}
        """,
        {"action": "core.nothing"},
        {"action": {"type": "string"}},
    )
    assert execution.status == "failed"
    assert "core.nothing" in execution.result["errors"][0]["message"]


def test_a_failed_subworkflow_fails_its_task(pack, make_engine):
    pack.workflow(
        """
        version: 1.0
        tasks:
          break: {action: core.local cmd='exit 1'}
        """,
        name="inner",
    )
    pack.workflow("""
        version: 1.0
        tasks:
          sub: {action: test.inner}
        """)
    engine = make_engine()
    execution = engine.run("test.flow")
    assert execution.status == "failed"
    assert tasks(engine, execution) == [("sub", "failed")]


def test_a_workflows_parameters_are_validated(pack, make_engine):
    pack.workflow(
        """
        version: 1.0
        input: [n]
        tasks:
          one: {action: core.noop}
        """,
        parameters={"n": {"type": "integer", "required": True}},
    )
    with pytest.raises(ValueError, match='"n" of test.flow is required'):
        make_engine().run("test.flow")


def test_a_secret_in_a_task_input_is_masked(pack, make_engine):
    pack.python("use", "return 'used'", {"key": {"type": "string", "secret": True}})
    pack.workflow(
        """
        version: 1.0
        input: [key]
        tasks:
          one: {action: test.use key=<% ctx(key) %>}
        """,
        parameters={"key": {"type": "string", "secret": True}},
    )
    engine = make_engine()
    execution = engine.run("test.flow", {"key": "swordfish"})
    (child,) = engine.children(execution.id)
    assert child.parameters == {"key": "swordfish"}
    assert "swordfish" not in str([engine.masked(execution), engine.masked(child)])


def test_a_workflow_that_fails_inspection_fails_as_in_stackstorm(pack, make_engine):
    pack.workflow("""
        version: 1.0
        tasks:
          one:
            action: core.echo
            next:
              - when: <% succeeded( %>
                do: nowhere
          two: {action: core.nothing}
          three: {action: core.echo message="x" mesage="y"}
          four: {action: nothing}
        output:
          - x: <% ctx(never) %>
        """)
    engine = make_engine()
    execution = engine.run("test.flow")
    assert execution.status == "failed"
    assert execution.result["output"] is None
    assert engine.children(execution.id) == []
    errors = execution.result["errors"]
    assert [(error["type"], error["spec_path"]) for error in errors] == [
        ("content", "tasks.two.action"),
        ("content", "tasks.four.action"),
        ("content", "tasks.one.input"),
        ("content", "tasks.three.input.mesage"),
        ("context", "output[0]"),
        ("expression", "tasks.one.next[0].when"),
        ("semantic", "tasks.one.next[0].do"),
    ]
    assert errors[0] == {
        "type": "content",
        "message": 'The action "core.nothing" is not registered in the database.',
        "spec_path": "tasks.two.action",
        "schema_path": r"properties.tasks.patternProperties.^\w+$.properties.action",
    }
    messages = "\n".join(error["message"] for error in errors)
    assert 'Action "core.echo" is missing required input "message".' in messages
    assert 'Action "core.echo" has unexpected input "mesage".' in messages
    assert 'The action reference "nothing" is not formatted correctly.' in messages


def test_a_workflow_that_is_not_there_fails_and_names_its_file(pack, make_engine):
    pack.action("flow", "orquesta", entry_point="workflows/flow.yaml")
    execution = make_engine().run("test.flow")
    assert execution.status == "failed"
    assert execution.result["error"].endswith("workflows/flow.yaml: No such file or directory")


def test_a_workflow_that_names_a_task_twice_fails(run_workflow):
    execution = run_workflow("version: 1.0\ntasks:\n  a: {}\n  a: {}\n")
    assert execution.status == "failed"
    assert "the key 'a' is there twice" in execution.result["errors"][0]["message"]


FAILING_KEY = """
    version: 1.0
    input: [key, decrypt]
    tasks:
      one: {action: core.echo, input: {message: "<% st2kv(ctx(key), decrypt => ctx(decrypt)) %>"}}
    output:
      - said: <% task(one).result.stdout %>
    """


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"key": "system.nothing", "decrypt": False}, 'The key "nothing" does not exist in the'),
        ({"key": "system.plain", "decrypt": True}, 'The key "plain" is not secret, so it cannot'),
    ],
)
def test_a_key_that_cannot_be_had_fails_the_task_and_what_the_output_takes_of_it(
    pack, make_engine, given, message
):
    pack.workflow(
        FAILING_KEY, parameters={"key": {"type": "string"}, "decrypt": {"type": "boolean"}}
    )
    engine = make_engine()
    engine.store.keys.set("plain", "p")
    execution = engine.run("test.flow", given)
    assert execution.status == "failed"
    first, second = execution.result["errors"]
    assert first["task_id"] == "one"
    assert message in first["message"]
    assert 'Unable to find task execution for "one".' in second["message"]


def test_a_workflow_is_inspected_again_when_it_has_changed(pack, make_engine):
    flow = "version: 1.0\ntasks:\n  one: {action: core.noop}\n"
    pack.workflow(flow)
    engine = make_engine()
    assert engine.run("test.flow").status == "succeeded"
    pack.workflow(flow + "  two: {action: test.nothing}\n")
    assert engine.run("test.flow").status == "failed"


def test_a_task_whose_action_the_engine_does_not_have_fails_when_it_is_reached(run_workflow):
    execution = run_workflow("""
        version: 1.0
        tasks:
          one: {action: core.noop, next: [{do: two}]}
          two: {action: core.sendmail}
        """)
    assert execution.status == "failed"
    (error,) = execution.result["errors"]
    assert error["task_id"] == "two"
    assert "the engine does not have this action; run it on StackStorm" in error["message"]


def test_canceling_a_workflow_lets_running_actions_end_and_starts_no_more(pack, make_engine):
    pack.workflow("""
        version: 1.0
        tasks:
          first:
            action: core.local cmd='sleep 0.6; echo done'
            next:
              - do: second
          second: {action: core.noop}
        """)
    engine = make_engine()
    execution = engine.start("test.flow")
    wait_for(lambda: tasks(engine, execution) == [("first", "running")])
    engine.cancel(execution.id)
    wait_for(lambda: engine.execution(execution.id).status == "canceling")
    engine.wait_for_background()
    assert engine.execution(execution.id).status == "canceled"
    (first,) = engine.children(execution.id)
    assert (first.status, first.result["stdout"]) == ("succeeded", "done")


def test_canceling_a_workflow_cancels_subworkflows_and_delayed_tasks(pack, make_engine):
    pack.workflow(
        """
        version: 1.0
        tasks:
          late: {delay: 60, action: core.noop}
        """,
        name="inner",
    )
    pack.workflow("""
        version: 1.0
        tasks:
          sub: {action: test.inner}
        """)
    engine = make_engine()
    execution = engine.start("test.flow")
    wait_for(
        lambda: [child.status for child in engine.executions(status="delayed", top_level=False)]
    )
    engine.cancel(execution.id)
    engine.wait_for_background()
    statuses = {one.action: one.status for one in engine.executions(top_level=False)}
    assert statuses == {"test.flow": "canceled", "test.inner": "canceled", "core.noop": "canceled"}


def test_canceling_a_subworkflow_cancels_the_workflow_above(pack, make_engine, tmp_path):
    done = tmp_path / "done"
    pack.workflow(
        """
        version: 1.0
        tasks:
          late: {delay: 60, action: core.noop}
        """,
        name="inner",
    )
    pack.workflow(f"""
        version: 1.0
        tasks:
          sub: {{action: test.inner}}
          work: {{action: core.local, input: {{cmd: 'until test -e {done}; do sleep 0.05; done'}}}}
        """)
    engine = make_engine()
    execution = engine.start("test.flow")
    wait_for(lambda: engine.executions(status="delayed", top_level=False))
    # Work that has not begun is not begun any more, and there is nothing to wait for.
    wait_for(lambda: engine.executions(action="core.local", status="running", top_level=False))
    (inner,) = engine.executions(action="test.inner", top_level=False)
    engine.cancel(inner.id)
    wait_for(lambda: engine.execution(execution.id).status == "canceling")
    done.touch()
    engine.wait_for_background()
    assert engine.execution(execution.id).status == "canceled"


def test_another_process_can_cancel_a_workflow(pack, make_engine):
    pack.workflow("""
        version: 1.0
        tasks:
          late: {delay: 60, action: core.noop}
        """)
    owner, other = make_engine(), make_engine()
    execution = owner.start("test.flow")
    wait_for(lambda: other.executions(status="delayed", top_level=False))
    other.cancel(execution.id)
    owner.wait_for_background()
    assert other.execution(execution.id).status == "canceled"


def test_many_workflows_run_at_once(engine):
    threads, executions = [], []

    def run(number):
        executions.append(engine.run("examples.orquesta-sequential", {"name": f"n{number}"}))

    for number in range(8):
        threads.append(threading.Thread(target=run, args=(number,)))
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert {one.result["output"]["greeting"] for one in executions} == {
        f"HELLO, N{number}!" for number in range(8)
    }
