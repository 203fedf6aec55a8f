"""The embedded engine gives the same results as StackStorm 3.9; the tables beside say which.

Each case runs on the embedded engine and, where ST2_API_URL names one, on a running StackStorm,
for which the pack of the cases is installed and removed again. Where they differ, the embedded
engine is wrong.

    ST2_API_URL=http://127.0.0.1:9101/v1 ST2_API_KEY=... pytest engine/tests/parity

That StackStorm has to run on this machine, with authentication on, and with sudo and pkill on its
action runner's path; the key has to be an administrator's. What is missing is said before the first
test (needs.py). It takes ten minutes.
"""

from __future__ import annotations

import re
import shutil
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
import yaml
from engines import PACK, REFUSED, UNMATCHED, Embedded, Outcome, Real
from stackstorm import NOT_GIVEN, PATIENCE_S, Json, StackStorm, eventually

HERE = Path(__file__).resolve().parent


def table(name: str) -> Any:
    return yaml.safe_load((HERE / f"{name}.yaml").read_text())


def named(cases: list[Json]) -> list[Any]:
    return [pytest.param(case, id=case["case"].replace(" ", "_")) for case in cases]


def ref_name(case: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", case.lower())


ACTIONS, WORKFLOWS, RULES, ALIASES = map(table, ("actions", "workflows", "rules", "aliases"))
OPERATORS = table("operators")
PAYLOAD = {
    "text": "a 'b' \"c\"",
    "plain": "plain text",
    "number": 5,
    "nothing": None,
    "list": [1, "a", None],
    "mapping": {"a": {"b": True}},
    "template": "{{ config_context.token }}",
}


# --- the pack of the cases ------------------------------------------------------------------------


def make_pack(directory: Path, workflows: list[Json]) -> Path:
    """Makes the pack with the workflows, rules and aliases of the tables."""
    pack = directory / PACK
    shutil.copytree(HERE / "pack", pack)
    for case in workflows:
        write_workflow(pack, case)
    for number, (operator, pattern, _, _) in enumerate(OPERATORS):
        name = f"operator_{number}"
        criteria = {"trigger.body.value": {"type": operator, "pattern": pattern}}
        write_rule(pack, name, f"{PACK}_{name}", criteria, "core.noop", {})
    for case in RULES:
        name = f"renders_{ref_name(case['case'])}"
        parameters = dict(case["parameters"], city=case["case"])
        write_rule(pack, name, f"{PACK}_renders", {}, f"{PACK}.take", parameters)
    for number, case in enumerate(ALIASES):
        write(
            pack / f"aliases/alias_{number}.yaml",
            {
                "name": f"{PACK}_{number}",
                "pack": PACK,
                "description": case["case"],
                "action_ref": f"{PACK}.{case.get('action', 'take')}",
                "formats": [in_alias(number, case["format"])],
            },
        )
    return pack


def write(path: Path, content: Json) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def write_workflow(pack: Path, case: Json) -> None:
    name = ref_name(case["case"])
    write(
        pack / f"actions/{name}.yaml",
        {
            "name": name,
            "description": case["case"],
            "runner_type": "orquesta",
            "entry_point": f"workflows/{name}.yaml",
            "parameters": case.get("parameters", {}),
        },
    )
    write(pack / f"actions/workflows/{name}.yaml", dict({"version": 1.0}, **case["workflow"]))


def write_rule(
    pack: Path, name: str, hook: str, criteria: Json, action: str, parameters: Json
) -> None:
    write(
        pack / f"rules/{name}.yaml",
        {
            "name": name,
            "pack": PACK,
            "description": name,
            "enabled": True,
            "trigger": {"type": "core.st2.webhook", "parameters": {"url": hook}},
            "criteria": criteria,
            "action": {"ref": action, "parameters": parameters},
        },
    )


def in_alias(number: int, text: str) -> str:
    """Puts a word of the case's own before a format or command."""
    anchor = "^" if text.startswith("^") else ""
    return f"{anchor}parity{number} {text[len(anchor) :]}"


# --- the engines ----------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine" in metafunc.fixturenames:
        engines = ["embedded", "stackstorm"] if StackStorm.given() else ["embedded"]
        metafunc.parametrize("engine", engines, indirect=True, scope="module")


@pytest.fixture(scope="module")
def engine(request: pytest.FixtureRequest, tmp_path_factory) -> Iterator[Any]:
    directory = tmp_path_factory.mktemp("parity")
    if request.param == "embedded":
        found = Embedded(make_pack(directory, WORKFLOWS), directory / "data")
    else:
        found = Real(StackStorm.given(), make_pack(directory, WORKFLOWS))
    yield found
    found.close()


def test_a_running_stackstorm_is_compared():
    if not StackStorm.given():
        pytest.skip(NOT_GIVEN)


@pytest.fixture(scope="module")
def outcome_of(engine: Any) -> Callable[[Json], Outcome]:
    """What became of a case of a table; all of them run at once, which is quicker."""
    started = {}
    for case in ACTIONS + WORKFLOWS:
        if case in WORKFLOWS:
            for value in case.get("with", {}).values():
                engine.delete_key(value)
        started[case["case"]] = engine.start(
            case.get("run") or f"{PACK}.{ref_name(case['case'])}", case.get("with", {})
        )

    def outcome(case: Json) -> Outcome:
        identifier = started[case["case"]]
        if not identifier:
            return Outcome(REFUSED)
        return engine.wait(identifier, tasks=len(case.get("tasks", [])))

    return outcome


def run(engine: Any, action: str, parameters: Json) -> Outcome:
    return engine.wait(engine.start(action, parameters))


# --- the tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", named(ACTIONS))
def test_action(outcome_of: Callable[[Json], Outcome], case: Json):
    outcome = outcome_of(case)
    expected = case.get("status", "succeeded")
    assert outcome.status == expected, outcome.result
    if "gives" in case:
        assert_holds(outcome.result["result"], case["gives"])
    if "takes" in case:
        assert_holds(outcome.parameters, case["takes"])
    for key in ("stdout", "stderr"):
        if key in case:
            assert outcome.result[key] == case[key]
    if "error" in case:
        assert case["error"] in outcome.result["error"]
    if "exit_code" in case:
        assert (
            outcome.result.get("exit_code", outcome.result.get("return_code")) == case["exit_code"]
        )


def assert_holds(found: Any, expected: Any) -> None:
    """Compares; of a mapping only what is expected of it."""
    if isinstance(found, dict) and isinstance(expected, dict):
        found = {key: found[key] for key in expected}
    assert found == expected
    assert repr(found) == repr(expected), "1 is not true, and 2 is not 2.0"


@pytest.mark.parametrize("case", named(WORKFLOWS))
def test_workflow(outcome_of: Callable[[Json], Outcome], case: Json):
    outcome = outcome_of(case)
    assert outcome.status == case.get("status", "succeeded"), outcome.result
    if "gives" in case:
        assert_holds(outcome.result["output"], case["gives"])
    if "fails" in case:
        errors = outcome.result.get("errors", [])
        assert sorted({each["task_id"] for each in errors if "task_id" in each}) == case["fails"]
    if "tasks" in case:
        assert list(outcome.tasks) == case["tasks"]
    assert outcome.seconds >= case.get("takes_s", 0)


@pytest.fixture(scope="module")
def matched(engine: Any) -> list[str]:
    """The rules that matched after every payload of the table of operators was sent."""
    for number, (_, _, value, _) in enumerate(OPERATORS):
        body = {}
        if value != "MISSING":
            body["value"] = datetime.now(timezone.utc).isoformat() if value == "NOW" else value
        engine.post(f"{PACK}_operator_{number}", body, {})
    expected = sum(1 for line in OPERATORS if line[3])
    deadline = time.monotonic() + PATIENCE_S
    while len(engine.rules_that_ran()) < expected and time.monotonic() < deadline:
        time.sleep(0.2)
    return engine.rules_that_ran()


@pytest.mark.parametrize(
    "number",
    range(len(OPERATORS)),
    ids=lambda number: "_".join(str(part).replace(" ", "") for part in OPERATORS[number]),
)
def test_operator(matched: list[str], number: int):
    assert (f"{PACK}.operator_{number}" in matched) == OPERATORS[number][3]


@pytest.fixture(scope="module")
def rendered(engine: Any) -> dict[str, Json]:
    """What each rule's action was run with, by the case."""
    engine.post(f"{PACK}_renders", PAYLOAD, {"X-Parity": "yes it is"})
    expected = sum(1 for case in RULES if case["gives"] is not None)

    def ran() -> dict[str, Json]:
        return {
            each.parameters["city"]: each.parameters
            for each in engine.executions(f"{PACK}.take")
            if each.status == "succeeded" and (each.parameters or {}).get("city") in cases
        }

    cases = {case["case"] for case in RULES}
    deadline = time.monotonic() + PATIENCE_S
    while len(ran()) < expected and time.monotonic() < deadline:
        time.sleep(0.2)
    return ran()


@pytest.mark.parametrize("case", named(RULES))
def test_rule(rendered: dict[str, Json], case: Json):
    if case["gives"] is None:
        assert case["case"] not in rendered
    else:
        assert_holds(rendered[case["case"]], case["gives"])


def commands() -> Iterator[Any]:
    for number, case in enumerate(ALIASES):
        for command, gives in case["commands"].items():
            yield pytest.param(in_alias(number, command), gives, id=command.replace(" ", "_"))


@pytest.mark.parametrize(("command", "gives"), commands())
def test_alias(engine: Any, command: str, gives: Any):
    outcome = engine.hear(command)
    if gives is None:
        assert outcome.status == UNMATCHED
    elif gives == REFUSED:
        assert outcome.status == REFUSED
    else:
        assert outcome.status == "succeeded", outcome.result
        assert_holds(outcome.parameters, gives)


# --- what takes more than one request -------------------------------------------------------------


def test_a_retry_policy_runs_a_failed_action_again(engine: Any):
    action, name = f"{PACK}.attempt_with_retry", "cicd_parity_policy"
    engine.delete_key(name)
    first = run(engine, action, {"name": name, "succeeds_at": 3})
    assert first.status == "failed"
    eventually(lambda: len(ended(engine, action)) == 3, "three attempts", 120)
    assert sorted(each.status for each in ended(engine, action)) == [
        "failed",
        "failed",
        "succeeded",
    ]


def ended(engine: Any, action: str) -> list[Outcome]:
    return [
        each
        for each in engine.executions(action)
        if each.status in ("succeeded", "failed", "canceled")
    ]


def test_a_concurrency_policy_delays_the_second(engine: Any):
    started = time.monotonic()
    both = [engine.start(f"{PACK}.one_at_a_time", {}) for _ in range(2)]
    assert [engine.wait(each).status for each in both] == ["succeeded", "succeeded"]
    assert time.monotonic() - started >= 4


def test_a_concurrency_policy_cancels_the_second(engine: Any):
    first = engine.start(f"{PACK}.one_or_none", {})
    engine.wait(first, "running")
    second = engine.start(f"{PACK}.one_or_none", {})
    assert engine.wait(second).status == "canceled"
    assert engine.wait(first).status == "succeeded"


def test_a_canceled_workflow_starts_nothing_more(engine: Any):
    identifier = engine.start(f"{PACK}.long", {})
    child = eventually(lambda: next(iter(engine.children(identifier)), None), "its first task")
    engine.wait(child, "running")
    engine.cancel(identifier)
    outcome = engine.wait(identifier)
    assert (outcome.status, outcome.tasks) == ("canceled", ("first",))


def test_a_paused_workflow_goes_on_when_resumed(engine: Any):
    identifier = engine.start(f"{PACK}.long", {})
    eventually(lambda: engine.children(identifier) or None, "its first task")
    engine.pause(identifier)
    paused = engine.wait(identifier, "paused")
    assert (paused.status, paused.tasks) == ("paused", ("first",))
    engine.resume(identifier)
    outcome = engine.wait(identifier)
    assert (outcome.status, outcome.tasks) == ("succeeded", ("first", "second"))


def test_an_inquiry_waits_for_a_response_that_fits(engine: Any):
    identifier = engine.start(f"{PACK}.question", {})
    assert engine.wait(identifier, "paused").status == "paused"
    asked = engine.children(identifier)[0]
    assert engine.wait(asked, "pending").status == "pending"
    assert not engine.respond(asked, {"continue": "perhaps"})
    assert engine.respond(asked, {"continue": True})
    outcome = engine.wait(identifier)
    assert outcome.status == "succeeded"
    assert outcome.result["output"] == {"answer": True}
    assert not engine.respond(asked, {"continue": True})
