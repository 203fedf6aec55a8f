"""A push that arrives without a signature: what the rule lets through, and what GitHub confirms."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from unittest import mock

import pytest
import yaml
from consul_server import section

from delivery import github
from delivery.application import Application
from sandbox.github import TOKEN, running_github

ROOT = Path(__file__).resolve().parent.parent
OLD, HEAD, ASIDE = "a" * 40, "b" * 40, "c" * 40
PAYLOAD = {
    "headers_lower": {"x-github-event": "push"},
    "body": {
        "ref": "refs/heads/main",
        "before": OLD,
        "after": HEAD,
        "deleted": False,
        "repository": {"full_name": "acme/shop", "default_branch": "main"},
        "sender": {"login": "alice"},
    },
}


@pytest.fixture(scope="module")
def rule():
    return yaml.safe_load((ROOT / "rules" / "push_webhook.yaml").read_text(encoding="utf-8"))


def lets_through(rule, payload):
    from packengine.rules import RuleError, matches

    try:
        return matches(rule["criteria"], payload, None)
    except RuleError:
        return False


def changed(path, value):
    """Returns the payload with another value at a path."""
    payload = copy.deepcopy(PAYLOAD)
    *parents, last = path.split(".")
    place = payload
    for name in parents:
        place = place[name]
    place[last] = value
    return payload


@pytest.fixture
def through(rule):
    pytest.importorskip("packengine.rules")
    with mock.patch("packengine.templates.datastore_context", return_value={"system": {}}):
        yield lambda payload: lets_through(rule, payload)


def test_the_rule_is_off_until_somebody_wants_it(rule):
    assert rule["enabled"] is False


def test_a_push_is_let_through(through):
    assert through(PAYLOAD)


@pytest.mark.parametrize(
    "path", ["body.ref", "body.after", "body.repository.full_name", "body.sender.login"]
)
@pytest.mark.parametrize(
    "value",
    [
        "{{ config_context.github.token }}",
        "<% ctx().st2 %>",
        "x\n",
        "; rm -rf /",
        "",
        None,
        7,
        ["refs/heads/main"],
    ],
)
def test_what_does_not_look_like_a_name_is_not_let_through(through, path, value):
    assert not through(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("headers_lower.x-github-event", "ping"),
        ("body.deleted", True),
        ("body.deleted", None),
        ("body.ref", "refs/tags/v1"),
        ("body.ref", "refs/heads/main\n"),
        ("body.after", "b" * 39),
        ("body.ref", "refs/heads/{{config_context.x}}"),
        ("body.repository", "acme/shop"),
        ("body", {}),
        ("body", "payload=%7B%7D"),
        ("headers_lower", {}),
    ],
)
def test_what_is_not_the_push_of_a_branch_is_not_let_through(through, path, value):
    assert not through(changed(path, value))


def test_everything_that_is_passed_on_has_a_criterion_with_a_strict_pattern(rule):
    for template in rule["action"]["parameters"].values():
        path = re.fullmatch(r"\{\{ (trigger\.body\.[a-z_.]+) \}\}", template).group(1)
        criterion = rule["criteria"][path]
        assert criterion["type"] == "regex"
        assert criterion["pattern"].startswith("^")
        assert criterion["pattern"].endswith("\\Z")


@pytest.fixture
def there(monkeypatch):
    monkeypatch.setattr(github, "PAUSES_S", dict.fromkeys(github.PAUSES_S, 0.0))
    with running_github() as double:
        double.add_repository("acme/shop", main=[OLD, HEAD], **{"feature/x": [OLD, ASIDE]})
        yield double


@pytest.fixture
def engine(there, store, tmp_path):
    try:
        from packengine.engine import Engine
        from packengine.workflows import orquesta

        orquesta()
    except ImportError as error:
        pytest.skip(f"the embedded engine cannot run here: {error}")
    (tmp_path / "cicd_canary.yaml").write_text(
        json.dumps(
            {
                "consul": section(store),
                "ci": {"tool": "build_host"},
                "github": {"api_url": there.url, "token": TOKEN},
            }
        )
    )
    with Engine([str(ROOT)], str(tmp_path), str(tmp_path / "data")) as engine:
        engine.shop = Application(store, "shop")
        yield engine


def pushed(engine, ref="refs/heads/main", commit=HEAD):
    return engine.run(
        "cicd_canary.push_webhook",
        {"repository": "acme/shop", "ref": ref, "commit": commit, "by": "alice"},
    )


def test_a_confirmed_push_is_built_like_any_other(engine):
    # No build host is registered here, so the build itself ends at once.
    assert "no service build in Consul" in pushed(engine).result["output"]["error"]
    build = engine.shop.builds.get(HEAD)
    assert (build.repository, build.branch, build.by) == ("acme/shop", "main", "alice")


def test_each_application_of_a_repository_is_built_and_one_that_fails_stops_no_other(
    engine, store, there, tmp_path
):
    from packengine.engine import Engine

    values = json.loads((tmp_path / "cicd_canary.yaml").read_text())
    values["applications"] = {"acme/shop": {"paths": {"api": {}, "services/web": {}}}}
    (tmp_path / "cicd_canary.yaml").write_text(json.dumps(values))
    with Engine([str(ROOT)], str(tmp_path), str(tmp_path / "again")) as fresh:
        execution = pushed(fresh)
    output = execution.result["output"]
    assert execution.status == "failed"
    assert "no service build in Consul" in output["error"]
    assert output["apps"] == ["api", "web"]
    assert Application(store, "api").builds.get(HEAD).path == "api"
    assert Application(store, "web").builds.get(HEAD).path == "services/web"


def test_a_build_that_is_refused_says_why(engine, there, store, tmp_path):
    from packengine.engine import Engine

    values = json.loads((tmp_path / "cicd_canary.yaml").read_text())
    values["applications"] = {"acme/shop": {"paths": {"api": {}}}}
    (tmp_path / "cicd_canary.yaml").write_text(json.dumps(values))
    push = {"repository": "acme/shop", "branch": "main", "commit": HEAD, "by": "alice"}
    with Engine([str(ROOT)], str(tmp_path), str(tmp_path / "again")) as fresh:
        execution = fresh.run("cicd_canary.ci", dict(push, app="apy"))
    assert execution.status == "failed"
    assert execution.result["output"]["error"] == "acme/shop has no application apy; nearest: api"


def test_a_push_that_github_does_not_confirm_is_red_and_records_nothing(engine):
    execution = pushed(engine, commit=ASIDE)
    assert execution.status == "failed"
    assert "does not contain ccccccc" in execution.result["output"]["error"]
    assert engine.shop.store.keys() == []


def test_a_push_to_a_branch_that_is_not_built_is_green_and_records_nothing(engine):
    execution = pushed(engine, "refs/heads/feature/x", ASIDE)
    assert execution.status == "succeeded"
    assert "not configured to be built" in execution.result["output"]["reason"]
    assert engine.shop.store.keys() == []
