"""An application's .cicd.yaml."""

from __future__ import annotations

import json

import pytest

from delivery.settings import SettingsError, load

EVERYTHING = """
name: shop
role: web
stages: [canary, staging, production]
package:
  version: 1.2.0-rc1
  description: |
    Sells things.
    Also on Sundays.
  licence: GPL-2.0+ OR (MIT)
  maintainer: Ada Lovelace <ada@example.org>
  homepage: https://example.org/shop?x=1
  depends: ["python3 (>= 3.9)", "default-jre | java-runtime", adduser, "libc6:amd64 (=2.36)"]
  conflicts: ["shop-old (<< 2.0)"]
  replaces: [shop-old]
  architecture: amd64
  build: script/package
  root: build/root
  prefix: /
  exclude: [tests, "*.pyc", docs/*.md, .github]
  config_files: [etc/shop.ini, .env]
rollout: {batch_size: 2, failure_budget: 1, healthy_deadline_s: 30, min_healthy_s: 5}
"""


@pytest.mark.parametrize("text", [None, b"", "", "# only a comment\n", "package:\n", "{}"])
def test_without_a_file_or_with_an_empty_one_everything_has_its_default(text):
    settings = load(text, "shop")

    assert settings.name == "shop"
    assert (settings.role, settings.stages) == (None, None), "the policy's"
    assert settings.package.prefix == "/opt/shop"
    assert settings.package.architecture == "all"
    assert (settings.rollout.batch_size, settings.rollout.failure_budget) == ("25%", 0)


def test_every_setting_arrives_and_survives_as_plain_data():
    settings = load(EVERYTHING, "shop").as_dict()

    assert json.loads(json.dumps(settings)) == settings
    assert settings["package"]["depends"][1] == "default-jre | java-runtime"
    assert settings["package"]["description"] == "Sells things.\nAlso on Sundays.\n"
    assert settings["rollout"] == {
        "batch_size": 2,
        "failure_budget": 1,
        "healthy_deadline_s": 30,
        "min_healthy_s": 5,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("package: {licens: MIT}", "package.licens: unknown key; expected one of version, "),
        ("package: {licens: MIT}", "nearest: package.licence"),
        ("Role: web", "nearest: role"),
        ("batch_size: 2", "nearest: rollout.batch_size"),
        (
            "zzzzzz: 2",
            "zzzzzz: unknown key; expected one of name, role, stages, depends_on, package, rollout",
        ),
        ("1: 2", "1: unknown key"),
        ("? [a, b]\n: 2", "unhashable"),
        ("'{{x}}': 2", r"\?x\?: unknown key"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(text, message):
    with pytest.raises(SettingsError, match=message):
        load(text, "shop")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("package: 3", "package: expected a mapping, got the number 3"),
        ("[a]", "the file: expected a mapping, got a list of length 1"),
        (
            "package: {version: 1.10}",
            "package.version: expected a version such as '1.2.0', in quotes, got the number 1.1",
        ),
        ("package: {version: 2024-01-01}", "got the date 2024-01-01"),
        (
            "package: {depends: python3}",
            r"package.depends: expected a list \(at most 200\), each a "
            r"Debian dependency .* got the text 'python3'",
        ),
        ("package: {depends: [a1, 3]}", r"package.depends\[1\]: expected a Debian dependency"),
        (
            "package: {architecture: {}}",
            "architecture: expected one of all, amd64, .* got a mapping",
        ),
        ("package: {architecture: any}", "architecture: expected one of all, amd64"),
        (
            "rollout: {batch_size: true}",
            "rollout.batch_size: expected a number of hosts, .* got true",
        ),
        ("rollout: {batch_size: 0}", "got the number 0"),
        ("rollout: {batch_size: 0%}", "got the text '0%'"),
        ("rollout: {batch_size: 101%}", "got the text '101%'"),
        ("rollout: {failure_budget: -1}", "a number of hosts, 0 or more, got the number -1"),
        (
            "rollout: {healthy_deadline_s: 1.5}",
            "healthy_deadline_s: expected seconds, .* number 1.5",
        ),
        ("role:", "role: expected a name .* got nothing"),
        (
            "name: blog",
            "name: expected shop, the application's name, got blog",
        ),
        ("stages: []", "stages: expected at least one stage"),
        ("stages: [canary, canary]", "each of them once"),
        (
            "package: {prefix: /}",
            "package.prefix: / would receive the whole checkout; set package.root",
        ),
    ],
)
def test_a_wrong_type_or_value_names_key_expected_and_found(text, message):
    with pytest.raises(SettingsError, match=message):
        load(text, "shop")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", "1.0; id"),
        ("version", "$(id)"),
        ("version", "latest"),
        ("version", "1.0\n"),
        ("maintainer", "Ada"),
        ("maintainer", "Ada\nX: y <a@b>"),
        ("homepage", "javascript:alert(1)"),
        ("homepage", "http://x y"),
        ("licence", "MIT\nX: y"),
        ("description", "bell\x07"),
        ("depends", ["a1, b1"]),
        ("depends", ["a1 (>= 1)\nX: y"]),
        ("depends", ["${shlibs:Depends}"]),
        ("prefix", "opt/shop"),
        ("prefix", "/opt/../etc"),
        ("prefix", "/opt//x"),
        ("prefix", "/opt/x/"),
        ("prefix", "/opt/$HOME"),
        ("root", ".git"),
        ("root", "a/.git/hooks"),
        ("root", "../x"),
        ("root", "/etc"),
        ("root", "a/../../b"),
        ("build", "/bin/sh"),
        ("build", "../x"),
        ("build", "script/x --y"),
        ("build", "-c"),
        ("exclude", ["/etc"]),
        ("exclude", ["../x"]),
        ("exclude", ["--x"]),
        ("exclude", ["a b"]),
        ("exclude", [".."]),
        ("config_files", ["/etc/passwd"]),
        ("config_files", ["a/../../b"]),
        ("config_files", ["a/./b"]),
        ("config_files", ["."]),
        ("config_files", [""]),
    ],
)
def test_a_value_that_could_mean_something_else_is_refused(key, value):
    with pytest.raises(SettingsError, match=rf"package\.{key}.*: (expected|special)|special"):
        load(json.dumps({"package": {key: value}}), "shop")


@pytest.mark.parametrize("role", ["app_canary", "A", "a::b", "a b", "{{x}}"])
def test_a_role_that_would_break_a_tag_is_refused(role):
    with pytest.raises(SettingsError, match="role: expected a name"):
        load(json.dumps({"role": role}), "shop")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("role: a\nrole: b", "line 2: duplicate key role"),
        ("package: {root: a, root: b}", "line 1: duplicate key root"),
        ("a: &x [1]\nb: *x", "line 1: anchors and aliases are not supported"),
        ("role: [", "line 1: "),
        ("role: a\n\tx: b", "line 2: "),
        ("--- a\n--- b", "line 2: "),
        ("role: !!python/object/apply:os.system [id]", "line 1: could not determine a constructor"),
        ("[" * 20000, "nested too deeply"),
        ("#" * 65537, "65537 bytes; the limit is 65536"),
        (b"role: \xff", "not UTF-8"),
        ("package: {version: 2024-13-45}", "month must be in 1..12"),
        ("role: a\x00b", "special characters are not allowed"),
    ],
)
def test_a_file_that_is_not_plain_yaml_is_refused_with_its_line(text, message):
    with pytest.raises(SettingsError, match=message) as refusal:
        load(text, "shop")

    assert str(refusal.value).startswith(".cicd.yaml:")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("spelling", ["licence", "license"])
def test_both_spellings_of_the_licence_are_accepted(spelling):
    settings = load(f"package: {{{spelling}: MIT}}", "shop")
    assert settings.package.licence == "MIT"
    assert settings.as_dict()["package"]["licence"] == "MIT"


@pytest.mark.parametrize(
    "text", ["{licence: MIT, license: MIT}", "{license: MIT, licence: Apache-2.0}"]
)
def test_both_spellings_at_once_are_an_error(text):
    with pytest.raises(SettingsError, match=r"package\.licen[cs]e: same setting as package\.licen"):
        load(f"package: {text}", "shop")


def test_a_wrong_license_is_named_as_it_was_written():
    with pytest.raises(SettingsError, match=r"package\.license: expected a licence"):
        load("package: {license: 3}", "shop")
