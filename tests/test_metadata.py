"""What a project's own files say of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from itertools import combinations

import pytest

from delivery import metadata
from delivery.metadata import MetadataError, debian_version, read
from delivery.settings import load

PLAIN = load(None, "shop")

FILES = {
    "pyproject.toml": b"""
[project]
name = "shop-py"
version = "1.1"
description = "Sells\\nthings"
license = {text = "MIT"}
authors = [{name = "Ada", email = "ada@example.org"}]
[project.urls]
Homepage = "https://py.example.org"
""",
    "setup.cfg": b"""
[metadata]
name = shop-cfg
version = 1.2
description = Sells 100% of things
license = BSD
author = Bob
author-email = bob@example.org
url = https://cfg.example.org
""",
    "Cargo.toml": b"""
[package]
name = "shop-rs"
version = "1.3.0"
description = "Sells"
license = "MIT OR Apache-2.0"
authors = ["Cleo <cleo@example.org>"]
homepage = "https://rs.example.org"
""",
    "go.mod": b"module github.com/acme/shop-go/v2\n\ngo 1.22\n",
    "composer.json": json.dumps(
        {
            "name": "acme/shop-php",
            "version": "1.4",
            "description": "Sells",
            "license": ["MIT", "GPL-2.0"],
            "authors": [{"name": "Dan"}],
            "homepage": "https://php.example.org",
        }
    ).encode(),
    "package.json": json.dumps(
        {
            "name": "shop-js",
            "version": "1.5.0",
            "description": "Sells",
            "license": {"type": "ISC"},
            "author": {"name": "Eve", "email": "eve@example.org"},
            "homepage": "https://js.example.org",
        }
    ).encode(),
    "debian/control": b"""# packaging
Source: shop-deb
Maintainer: Fay <fay@example.org>
Homepage: https://deb.example.org

Package: shop-deb
Description: sells things
 All of them.
 .
 Really.

Package: shop-doc
Description: documents
""",
    "VERSION": b"\n1.6\n",
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "pyproject.toml",
            {
                "name": "shop-py",
                "version": "1.1",
                "description": "Sells\nthings",
                "licence": "MIT",
                "maintainer": "Ada <ada@example.org>",
                "homepage": "https://py.example.org",
            },
        ),
        (
            "setup.cfg",
            {
                "name": "shop-cfg",
                "version": "1.2",
                "description": "Sells 100% of things",
                "licence": "BSD",
                "maintainer": "Bob <bob@example.org>",
                "homepage": "https://cfg.example.org",
            },
        ),
        (
            "Cargo.toml",
            {
                "name": "shop-rs",
                "version": "1.3.0",
                "description": "Sells",
                "licence": "MIT OR Apache-2.0",
                "maintainer": "Cleo <cleo@example.org>",
                "homepage": "https://rs.example.org",
            },
        ),
        ("go.mod", {"name": "shop-go", "homepage": "https://github.com/acme/shop-go"}),
        (
            "composer.json",
            {
                "name": "acme/shop-php",
                "version": "1.4",
                "description": "Sells",
                "licence": "MIT or GPL-2.0",
                "maintainer": "Dan",
                "homepage": "https://php.example.org",
            },
        ),
        (
            "package.json",
            {
                "name": "shop-js",
                "version": "1.5.0",
                "description": "Sells",
                "licence": "ISC",
                "maintainer": "Eve <eve@example.org>",
                "homepage": "https://js.example.org",
            },
        ),
        (
            "debian/control",
            {
                "name": "shop-deb",
                "maintainer": "Fay <fay@example.org>",
                "description": "sells things\nAll of them.\n\nReally.",
                "homepage": "https://deb.example.org",
            },
        ),
        ("VERSION", {"version": "1.6"}),
    ],
)
def test_each_file_says_what_it_has(path, expected):
    found = read({path: FILES[path]}, "", PLAIN)

    assert found["name"] == {
        "value": "shop",
        "from": "application",
        "also": {path: expected["name"]} if "name" in expected else {},
    }
    for key in set(expected) - {"name"}:
        assert found[key] == {"value": expected[key], "from": path, "also": {}}


def test_without_any_file_the_defaults_are_named_as_such():
    found = read({}, "", PLAIN)

    assert found["version"] == {"value": "0.0.0", "from": "default", "also": {}}
    assert found["description"]["value"] == "shop"
    assert found["licence"] == {"value": None, "from": "default", "also": {}}


@pytest.mark.parametrize(
    ("first", "second"),
    list(
        combinations(
            [path for path in metadata.FILES if path != "go.mod" and path != "debian/control"], 2
        )
    ),
)
def test_of_two_files_the_earlier_wins_and_the_other_is_listed(first, second):
    alone = {
        path: read({path: FILES[path]}, "", PLAIN)["version"]["value"] for path in (first, second)
    }

    found = read({second: FILES[second], first: FILES[first]}, "", PLAIN)

    assert found["version"] == {
        "value": alone[first],
        "from": first,
        "also": {second: alone[second]},
    }


def test_the_applications_settings_go_before_every_file():
    settings = load("package: {version: '2.0', maintainer: Gil <gil@example.org>}", "shop")

    found = read({"VERSION": b"1.1"}, "v1.0.0-3-gabcdef0", settings, "Ops <ops@example.org>")

    assert found["version"] == {
        "value": "2.0",
        "from": ".cicd.yaml",
        "also": {"VERSION": "1.1", "git describe": "v1.0.0"},
    }
    assert found["maintainer"] == {
        "value": "Gil <gil@example.org>",
        "from": ".cicd.yaml",
        "also": {"packaging.maintainer": "Ops <ops@example.org>"},
    }


def test_a_tag_gives_the_version_where_no_file_does():
    found = read({"go.mod": FILES["go.mod"]}, "v1.4.0-rc1-12-g0123abc\n", PLAIN)

    assert found["version"] == {"value": "1.4.0~rc1", "from": "git describe", "also": {}}


def test_poetry_and_maintainers_are_understood():
    found = read(
        {
            "pyproject.toml": b"""
[tool.poetry]
name = "x"
version = "3.1"
license = "MIT"
authors = ["Ada <ada@example.org>"]
maintainers = ["Bob <bob@example.org>"]
homepage = "https://example.org"
"""
        },
        "",
        PLAIN,
    )

    assert [found[key]["value"] for key in ("version", "licence", "maintainer", "homepage")] == [
        "3.1",
        "MIT",
        "Bob <bob@example.org>",
        "https://example.org",
    ]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("pyproject.toml", b'[project]\nname = "x"\ndynamic = ["version"]\n'),
        ("setup.cfg", b"[metadata]\nversion = attr: shop.__version__\n"),
        ("setup.cfg", b"[flake8]\nmax-line-length = 100\n"),
        ("package.json", b'{"private": true}'),
        ("VERSION", b"\n"),
    ],
)
def test_a_version_that_only_running_the_project_would_tell_is_not_there(path, content):
    assert read({path: content}, "", PLAIN)["version"]["from"] == "default"


def test_a_cargo_workspace_passes_its_version_on():
    found = read(
        {
            "Cargo.toml": b"""
[workspace.package]
version = "4.0.0"
[package]
name = "x"
version.workspace = true
"""
        },
        "",
        PLAIN,
    )

    assert found["version"]["value"] == "4.0.0"


@pytest.mark.parametrize(
    ("path", "content", "message"),
    [
        ("package.json", b'{\n"version": 1,,\n}', "package.json: .* line 2"),
        ("package.json", b"[]", "package.json: expected an object"),
        ("package.json", b'{"version": 1.0}', "package.json: version: expected text, got 1.0"),
        ("package.json", b"[" * 200000, "package.json: (nested too deeply|.*line)"),
        ("pyproject.toml", b"[project]\nversion = 1.\n", "pyproject.toml: .*line 2"),
        ("pyproject.toml", b"project = 3\n", "pyproject.toml: project: expected a table"),
        ("Cargo.toml", b"[package]\n[package]\n", "Cargo.toml: .*line 2"),
        ("setup.cfg", b"[metadata]\nversion = 1\nversion = 2\n", r"setup.cfg: .*line +3"),
        ("setup.cfg", b"x\n", "setup.cfg: .*line: 1"),
        ("go.mod", b"go 1.22\n", "go.mod: no module line"),
        ("debian/control", b"Source: x\nnonsense\n", "debian/control: line 2: expected a field"),
        ("composer.json", b"\xff", "composer.json: not UTF-8"),
    ],
)
def test_a_malformed_file_is_named_with_its_line_even_if_another_wins(path, content, message):
    settings = load("package: {version: '2.0'}", "shop")

    with pytest.raises(MetadataError, match=message) as refusal:
        read({path: content}, "", settings)

    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "content", [b"latest", b"MAJOR=1", b"1:2.0", b"1.0 beta", b"1.0;id", b"$(id)", b"-1"]
)
def test_a_version_that_cannot_be_debians_is_refused_with_the_file(content):
    with pytest.raises(
        MetadataError, match="^VERSION: .* is not a valid version; use one such as 1.2.0"
    ):
        read({"VERSION": content}, "", PLAIN)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v1.2.0", "1.2.0"),
        ("1.0.0-rc1", "1.0.0~rc1"),
        ("1.0.0-alpha-x.1", "1.0.0~alpha.x.1"),
        ("1.0.0+build-5", "1.0.0+build.5"),
        ("1.0.0-rc.1+5", "1.0.0~rc.1+5"),
        ("1.0rc1", "1.0~rc1"),
        ("1.0.dev3", "1.0~dev3"),
        ("1.0a1.dev2", "1.0~a1~dev2"),
        ("1.0.post1", "1.0.post1"),
        ("2024.05", "2024.05"),
        ("1.1.1a", "1.1.1a"),
        ("7", "7"),
        ("", None),
        ("v", None),
        ("vnext", None),
        ("1_0", None),
        ("9" * 62, None),
    ],
)
def test_a_version_becomes_debians_by_rule(text, version):
    assert debian_version(text) == version


@pytest.mark.skipif(not shutil.which("dpkg"), reason="dpkg is not installed")
@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("1.0.0-rc1", "1.0.0"),
        ("1.0rc1", "1.0"),
        ("1.0.dev3", "1.0rc1"),
        ("1.0a1.dev2", "1.0a1"),
        ("1.0a1", "1.0b1"),
        ("1.0.0-alpha", "1.0.0-beta"),
        ("1.0", "1.0.post1"),
    ],
)
def test_what_comes_before_a_release_sorts_before_it(earlier, later):
    assert (
        subprocess.run(
            [
                "dpkg",
                "--compare-versions",
                f"{debian_version(earlier)}-9.abc",
                "lt",
                f"{debian_version(later)}-1.abc",
            ]
        ).returncode
        == 0
    )


def test_free_text_cannot_add_fields_or_templates():
    found = read(
        {
            "package.json": json.dumps(
                {
                    "version": "1.0",
                    "description": "a\r\nX: y\x00\n\n{{ config_context.token }}",
                    "author": "Ada\nDepends: evil <a@b>",
                    "homepage": "http://x\ty\u2028z",
                }
            ).encode()
        },
        "",
        PLAIN,
    )

    assert found["description"]["value"] == "a\nX: y\n\n? config_context.token ?"
    assert found["maintainer"]["value"] == "Ada Depends: evil <a@b>"
    assert found["homepage"]["value"] == "http://x y z"
