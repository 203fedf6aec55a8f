"""Nothing secret is shown, and no name makes StackStorm's templates tell a secret.

The file comes last: what is looked through at its end is all that the other tests have caused.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from typing import Any

import pytest
from driver import TEMPLATE, Delivery, log_files, post, skip_module_without_sandbox
from stackstorm import ApiError, StackStorm, eventually

from sandbox.world import World

skip_module_without_sandbox()

LONG_ENOUGH_TO_BE_NO_WORD = 20


@pytest.fixture(scope="module")
def secrets(world: World, configured: dict[str, Any]) -> list[str]:
    private_key = (world.directory / "ssh" / "id_ed25519").read_text().splitlines()[2]
    jenkins = configured["ci"]["jenkins"]
    found = [
        configured["github"]["webhook_secret"],
        configured["consul"]["token"],
        private_key,
        jenkins["api_token"],
        jenkins["callback_secret"],
    ]
    assert all(len(secret) > LONG_ENOUGH_TO_BE_NO_WORD for secret in found)
    return found


def newest_delivery(world: World) -> dict[str, Any]:
    hook = world.github.hooks("acme/shop")[0]["id"]
    number = world.github.deliveries("acme/shop", hook)[0]["id"]
    return world.github.delivery("acme/shop", hook, number)


def wait_for_delivery(world: World, ref: str) -> dict[str, Any]:
    def delivered() -> Any:
        newest = newest_delivery(world)
        return newest if newest["request"]["payload"].get("ref") == ref else None

    return eventually(delivered, f"the delivery of {ref}", 20)


# --- names that are templates ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "status"),
    [
        (f"refs/heads/{TEMPLATE}", 422),
        ("refs/heads/<%ctx().config_context%>", 422),
        ("refs/heads/feature/{%set_config_context%}", 422),
        (f"refs/tags/{TEMPLATE}", 202),
    ],
)
def test_a_branch_or_tag_starts_nothing(
    shop: Delivery, world: World, began: str, ref: str, status: int
):
    shop.checkout.push("--force", f"HEAD:{ref}")
    delivery = wait_for_delivery(world, ref)
    assert delivery["status_code"] == status, delivery["response"]
    assert_not_pushed(shop.stackstorm, began)


@pytest.mark.parametrize(
    "name", [f"acme/{TEMPLATE}", "<%ctx().config_context%>/shop", "acme/shop{%set_config_context%}"]
)
def test_a_repository_starts_nothing(
    stackstorm: StackStorm, configured: dict[str, Any], began: str, name: str
):
    body = json.dumps(
        {
            "ref": "refs/heads/main",
            "after": "1" * 40,
            "deleted": False,
            "sender": {"login": "dana"},
            "repository": {"full_name": name, "default_branch": "main"},
        }
    ).encode()
    secret = configured["github"]["webhook_secret"].encode()
    status, said = post(
        "/github",
        body,
        {
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-Hub-Signature-256": "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest(),
        },
    )
    assert status == 422
    assert "{{" not in said
    assert_not_pushed(stackstorm, began)


def assert_not_pushed(stackstorm: StackStorm, began: str) -> None:
    pushed = stackstorm.everything(
        "triggerinstances", trigger="cicd_canary.push", timestamp_gt=began
    )
    assert all("config_context" not in json.dumps(each["payload"]) for each in pushed)


def test_a_committer_a_message_and_a_description_are_text(shop: Delivery, secrets: list[str]):
    git = shop.checkout.git
    settings = shop.checkout.directory / ".cicd.yaml"
    before = settings.read_text()
    settings.write_text(f'package: {{description: "{TEMPLATE}"}}\n')
    git("add", "--all")
    git(
        "-c",
        f"user.name={TEMPLATE}",
        "-c",
        f"user.email={TEMPLATE}@acme.example",
        "commit",
        "--quiet",
        "--message",
        f"{TEMPLATE} {{{{ st2kv.system.x }}}} <% ctx().st2 %>",
    )
    version = shop.deploy()
    settings.write_text(before)
    shown = (
        shop.world.host("canary-1")
        .run(["dpkg-query", "--show", "--showformat", "${Description}", "shop"])
        .stdout
    )
    assert "config_context.github.webhook_secret" in shown
    assert shop.answers("canary-1") == version


def test_a_version_is_refused_and_told_without_its_template(shop: Delivery):
    project = shop.checkout.directory / "pyproject.toml"
    before = project.read_text()
    project.write_text(before.replace(f'version = "{shop.number}.0.0"', f'version = "{TEMPLATE}"'))
    commit = shop.checkout.commit("A version that is a template")
    known = len(shop.application.events.all())
    shop.checkout.push("--force", "HEAD:refs/heads/main")
    event = eventually(
        lambda: next(
            (
                each
                for each in shop.application.events.all()[known:]
                if each["type"] in ("packaging_failed", "release_published")
            ),
            None,
        ),
        "packaging",
    )
    project.write_text(before)
    assert (event["type"], event["commit"]) == ("packaging_failed", commit)
    assert "{{" not in event["message"]


@pytest.mark.parametrize(
    "command",
    [
        f"deploy status {TEMPLATE}",
        f"deploy promote app={TEMPLATE}",
        f"deploy rollback shop stage={TEMPLATE}",
        f"deploy freeze shop because x reason={TEMPLATE}",
    ],
)
def test_chat_renders_nothing(shop: Delivery, secrets: list[str], command: str):
    try:
        answer = shop.say(command)
    except ApiError as refused:
        answer = refused.reason
    assert answer
    assert not [secret for secret in secrets if secret in answer]


# --- what StackStorm shows ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "executions",
        "triggerinstances",
        "traces",
        "ruleenforcements",
        "rules",
        "actions",
        "sensortypes",
        "keys",
    ],
)
def test_nothing_secret_is_in_what_the_api_lists(
    stackstorm: StackStorm, secrets: list[str], began: str, path: str
):
    query = {"timestamp_gt": began} if path in ("executions", "triggerinstances") else {}
    listed = list(stackstorm.everything(path, **query))
    assert listed or path == "keys"
    for each in listed:
        text = json.dumps(each)
        assert not [secret for secret in secrets if secret in text], each.get("id")


def test_nothing_secret_is_in_a_single_execution_and_its_output(
    stackstorm: StackStorm, secrets: list[str], began: str
):
    seen = 0
    for execution in stackstorm.everything("executions", timestamp_gt=began):
        if not execution["action"]["ref"].startswith("cicd_canary."):
            continue
        for child in stackstorm.get(f"executions/{execution['id']}/children"):
            shown = json.dumps(stackstorm.execution(child["id"])) + stackstorm.text(
                f"executions/{child['id']}/output"
            )
            assert not [secret for secret in secrets if secret in shown], child["id"]
            seen += 1
    assert seen


def test_the_configuration_is_shown_without_its_secrets(stackstorm: StackStorm, secrets: list[str]):
    shown = json.dumps(stackstorm.get("configs/cicd_canary"))
    assert not [secret for secret in secrets if secret in shown]
    assert "********" in shown


def test_nothing_secret_is_in_the_logs(secrets: list[str]):
    for path in log_files():
        for line in path.read_text(errors="replace").splitlines():
            if any(secret in line for secret in secrets):
                where = " ".join(line.split()[:5])
                pytest.fail(
                    f"a secret is in {path}: {where} ... (at the level DEBUG StackStorm's "
                    "config_loader writes every pack's configuration: log at INFO)"
                )
