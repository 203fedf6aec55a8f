"""What an application's .cicd.yaml may ask for."""

from __future__ import annotations

import dataclasses

import pytest
from releases import SETTINGS

from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.policy import AgainstPolicy
from delivery.releases import File, Release, Rules
from delivery.settings import load

RELEASE = Release(
    version="1.0-1.aaaaaaa",
    commit="a" * 40,
    branch="main",
    repository="acme/shop",
    build=1,
    by="alice",
    package=File("shop_1.0-1.aaaaaaa_all.deb", "0" * 64, 1),
    settings=SETTINGS,
    metadata={},
)


def policy(application="shop", **section):
    return Configuration({"policy": section}).policies.of(application)


def test_what_an_application_leaves_open_is_the_policys():
    chosen = policy(roles=["web", "app"]).apply(load("", "shop"))
    assert (chosen.stages, chosen.role) == (["canary", "production"], "web")


def test_what_is_allowed_is_kept():
    text = """
    role: app
    stages: [canary, production]
    rollout: {batch_size: 50%, failure_budget: 1, min_healthy_s: 0}
    """
    chosen = policy().apply(load(text, "shop"))
    assert dataclasses.astuple(chosen.rollout) == ("50%", 1, 60, 0)


@pytest.mark.parametrize(
    ("text", "section", "words"),
    [
        (
            "stages: [production]",
            {},
            r"stages: \[production\] is not allowed, but \[canary, production\]; .*"
            r"policy.applications.shop.stages in the pack's configuration",
        ),
        ("stages: [production, canary]", {}, "stages: .* is not allowed"),
        ("stages: [canary, edge, production]", {}, "stages: .* is not allowed"),
        ("stages: [canary]", {}, "stages: .* is not allowed"),
        ("role: web", {}, "role: web is not allowed, but one of app; .*shop.roles"),
        (
            "rollout: {batch_size: 100%}",
            {},
            "rollout.batch_size: 100% is not allowed, but at most 50%; .*shop.largest_batch",
        ),
        ("rollout: {batch_size: 51%}", {}, "rollout.batch_size: 51% is not allowed"),
        ("", {"largest_batch": "10%"}, "rollout.batch_size: 25% is not allowed, but at most 10%"),
        (
            "rollout: {failure_budget: 9}",
            {},
            "rollout.failure_budget: 9 is not allowed, but at most 1; .*largest_failure_budget",
        ),
        (
            "rollout: {min_healthy_s: 4}",
            {"least_min_healthy_s": 5},
            "rollout.min_healthy_s: 4 is not allowed, but at least 5; .*least_min_healthy_s",
        ),
    ],
)
def test_what_is_not_allowed_names_the_key_and_the_limit(text, section, words):
    with pytest.raises(AgainstPolicy, match=r"^\.cicd\.yaml: " + words):
        policy(**section).apply(load(text, "shop"))


def test_an_application_has_what_differs_from_all_others():
    section = {
        "largest_batch": "20%",
        "applications": {
            "shop": {"largest_failure_budget": 3, "stages": None, "roles": []},
            "notes": None,
        },
    }
    shop, notes = policy("shop", **section), policy("notes", **section)
    assert (shop.largest_batch, shop.largest_failure_budget) == ("20%", 3)
    assert (notes.largest_batch, notes.largest_failure_budget) == ("20%", 1)
    assert shop.stages == notes.stages == ["canary", "production"]


@pytest.mark.parametrize(
    ("hosts", "share", "most"),
    [(10, "50%", 5), (3, "50%", 1), (1, "1%", 1), (7, "100%", 7), (9, "34%", 3)],
)
def test_a_batch_is_never_larger_than_the_share(hosts, share, most):
    assert policy(largest_batch=share).largest_batch_of(hosts) == most


def test_a_release_of_a_looser_time_is_cut_to_what_is_allowed_now():
    limited = policy(least_min_healthy_s=5).limited(Rules("100%", 9, 30, 0))
    assert (limited.failure_budget, limited.min_healthy_s) == (1, 5)


@pytest.mark.parametrize(
    ("stage", "source", "words"),
    [
        ("production", None, "comes to production from the stage before it"),
        ("production", "production", "comes to production from the stage before it"),
        ("canary", "production", "comes to canary from the stage before it"),
        ("edge", "canary", "comes to edge from the stage before it"),
    ],
)
def test_no_stage_is_left_out(stage, source, words):
    with pytest.raises(AgainstPolicy, match=words):
        policy().require_order(RELEASE, stage, source)


def test_a_release_of_a_role_that_is_not_allowed_now_goes_nowhere():
    with pytest.raises(AgainstPolicy, match="for the role app; .* allows web: push again, or"):
        policy(roles=["web"]).require_order(RELEASE, "canary", None)


def test_a_release_goes_from_stage_to_stage():
    policy().require_order(RELEASE, "canary", None)
    policy().require_order(RELEASE, "production", "canary")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"stages": []}, r"policy.stages in .* at least one name, each once .* got '\[\]'"),
        ({"stages": ["canary", "canary"]}, r"policy.stages in .* got '\[canary, canary\]'"),
        ({"roles": ["Web"]}, r"policy.roles in .* got '\[Web\]'"),
        ({"applications": {"Shop": {}}}, "policy.applications in .* 'Shop' is no application's"),
        (
            {"applications": {"shop": {"stages": ["x"]}}},
            r"policy.applications.shop.stages in .* got '\[x\]'",
        ),
        (
            {"applications": {"shop": {"largest_batch": "0%"}}},
            "policy.applications.shop.largest_batch in .* got '0%'",
        ),
        ({"largest_bach": "5%"}, "policy.largest_bach in .* nearest: .*policy.largest_batch"),
    ],
)
def test_a_policy_that_is_none_is_refused_by_name(section, words):
    with pytest.raises(DeliveryError, match=words):
        policy(**section)
