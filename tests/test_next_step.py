"""The command that promotes what a stage runs follows from the application's stages."""

from __future__ import annotations

from delivery.next_step import promote_command


def test_the_last_stage_is_meant_without_its_name():
    assert promote_command("shop", "canary", ["canary", "production"]) == "!deploy promote shop"


def test_a_stage_in_between_is_named():
    stages = ["staging", "edge", "production"]
    assert promote_command("shop", "staging", stages) == "!deploy promote shop to edge"
    assert promote_command("shop", "edge", stages) == "!deploy promote shop"


def test_from_the_last_stage_there_is_no_promotion():
    assert promote_command("shop", "production", ["canary", "production"]) == ""
    assert promote_command("shop", "production", ["production"]) == ""


def test_a_stage_that_is_gone_has_no_next_one():
    assert promote_command("shop", "edge", ["canary", "production"]) == ""
