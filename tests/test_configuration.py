"""The pack's configuration is refused by the name of what is wrong in it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from delivery.configuration import Configuration
from delivery.errors import DeliveryError

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"consull": {}},
            "consull in the pack's configuration: there is no such key; nearest: consul",
        ),
        ({"consul": {"urll": "x"}}, "consul.urll in .* no such key; nearest: consul.url"),
        ({"url": "http://x"}, "url in .* no such key; nearest: consul.url"),
        ({"ssh": {"gpg_key": "x"}}, "ssh.gpg_key in .* no such key; nearest: repository.gpg_key"),
        ({"{{ config_context.x }}": {}}, r"^\? config_context.x \? in .* no such key"),
        ({"consul": "http://x"}, "consul in .* expected keys with values, got 'http://x'"),
        (
            {"ssh": {"connect_timeout_s": "10"}},
            "ssh.connect_timeout_s in .* a whole number, got '10'",
        ),
        (
            {"ssh": {"connect_timeout_s": True}},
            "ssh.connect_timeout_s in .* a whole number, got True",
        ),
        (
            {"ssh": {"connect_timeout_s": 0}},
            "ssh.connect_timeout_s in .* expected 1 or more, got 0",
        ),
        ({"receiver": {"port": 70000}}, "receiver.port in .* expected from 1 to 65535, got 70000"),
        ({"repository": {"tool": "apt"}}, "repository.tool in .* no tool 'apt'; nearest: aptly"),
        ({"ci": {"tool": "jenkin"}}, "ci.tool in .* there is no tool 'jenkin'; nearest: jenkins"),
        ({"ci": {"tool": "Jenkins"}}, "ci.tool in .* expected .*, got 'Jenkins'"),
        ({"ci": {"jenkin": {}}}, "ci.jenkin in .* no such key; nearest: ci.jenkins"),
        ({"ci": {"builds": {}}}, "ci.builds in .* no such key"),
        ({"consul": {"kv_prefix": "/a b"}}, r"consul.kv_prefix in .* expected .*, got '/a b'"),
        (
            {"applications": {"acme/shop": {"branch": []}}},
            "applications.acme/shop.branch in .* no such key; nearest: .*branches",
        ),
        (
            {"applications": {"acme/shop": {"branches": ["main", 2]}}},
            r"applications.acme/shop.branches\[1\] in .* expected text, got 2",
        ),
    ],
)
def test_what_is_wrong_is_named(values, words):
    with pytest.raises(DeliveryError, match=words):
        Configuration(values)


def test_a_secret_of_the_wrong_type_is_not_shown():
    with pytest.raises(DeliveryError, match="consul.token in .* expected text, got something else"):
        Configuration({"consul": {"token": 12345}})


def test_an_empty_configuration_is_one():
    assert Configuration(None).build_service() == "build"
    assert Configuration({"consul": None, "ssh": {"key_file": None}}).build_tag() == "build::host"


def test_the_example_is_accepted():
    Configuration(yaml.safe_load((ROOT / "cicd_canary.yaml.example").read_text()))
