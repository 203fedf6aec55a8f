"""What a project's own files say of it."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from itertools import combinations

import pytest

from delivery import metadata
from delivery.metadata import MetadataError, debian_version
from delivery.settings import load
from delivery.workspace import Sources

PLAIN = load(None, "shop")
COMMIT = "0123abc" + "0" * 33


def read(files, describe="", settings=PLAIN, maintainer=None, commits=57):
    """What files of a commit of 2024-05-06 07:08:09 say."""
    sources = Sources(files, describe, 1714979289, commits)
    return metadata.read(sources, settings, COMMIT, "acme/shop", maintainer)


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
    "shop.gemspec": b"""# frozen_string_literal: true
require_relative "lib/shop/version"
Gem::Specification.new do |spec|
  spec.name          = "shop-rb"
  spec.version       = "1.31".freeze
  spec.authors       = ["Uma", "Vic"]
  spec.email         = ["uma@example.org"]
  spec.summary       = 'Sells Uma\\'s things'   # for now
  spec.description   = "At length"
  spec.homepage      = "https://rb.example.org"
  spec.license       = "MIT"
end
""",
    "lib/shop/version.rb": b"module Shop\n  VERSION = '1.32'\nend\n",
    "META.json": json.dumps(
        {
            "name": "Shop-Perl",
            "version": "v1.33",
            "abstract": "Sells",
            "license": ["perl_5", "mit"],
            "author": ["Wes <wes@example.org>"],
            "resources": {"homepage": "https://pl.example.org"},
            "meta-spec": {"version": 2},
        }
    ).encode(),
    "pom.xml": """<?xml version="1.0" encoding="ISO-8859-1"?>
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <parent><artifactId>parent</artifactId><version>9</version></parent>
  <artifactId>shop-java</artifactId>
  <version>${revision}${changelist}</version>
  <description>
    Sells für
    all
  </description>
  <url>https://java.example.org/${project.artifactId}</url>
  <properties><revision>1.34</revision><changelist/></properties>
  <licenses>
    <license><name>MIT</name></license>
    <license><name>ISC</name></license>
  </licenses>
  <developers><developer><name>Xia</name><email>xia@example.org</email></developer></developers>
  <dependencies><dependency><version>7</version></dependency></dependencies>
</project>
""".encode("latin-1"),
    "build.gradle.kts": b"""plugins {
    id("java")
    version "8"
}
/*
version = "7"
*/
// version = "6"
version = "1.35"
description = "Sells"
publishing { publications { version = "5" } }
""",
    "build.gradle": b"""plugins { id 'java' version '8' }
allprojects {
    group = 'org.example'
    version '1.36'
}
description = 'Sells'
""",
    "gradle.properties": b"# version=8\na.version=7\nversion = 1.37\ndescription=Sells\n",
    "mix.exs": b"""defmodule Shop.MixProject do
  use Mix.Project
  @version "1.38"

  def project do
    [
      app: :shop,
      version: @version,
      elixir: "~> 1.14",
      description: "Sells",
      package: [licenses: ["MIT"], links: %{"GitHub" => "https://github.com/acme/shop"}],
      source_url: "https://ex.example.org"
    ]
  end
  defp deps, do: [{:plug, "~> 1.0", version: "7"}]
end
""",
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
    "Chart.yaml": b"""apiVersion: v2
name: shop-chart
version: 1.50
appVersion: "7"
description: Sells
home: https://chart.example.org
maintainers: [{name: Yan, email: yan@example.org}]
""",
    "debian/control": b"""# packaging
Source: shop-deb
Maintainer: Fay <fay@example.org>
Homepage: https://deb.example.org
Build-Depends: debhelper-compat (= 13)

Package: shop-deb
Depends: ${misc:Depends}, python3 (>= 3.9), shop-doc (= ${source:Version}),
 default-jre | ${java:Runtime} |  java-runtime, adduser <!nocheck>, shop-doc
# the old one
Conflicts: shop-old (<< 2)
Replaces: shop-old (<< 2)
Description: sells things
 All of them.
 .
 Really.

Package: shop-doc
Description: documents
""",
    "debian/changelog": b"""shop-deb (2:1.55-0-3) unstable; urgency=medium

  * Sells.

 -- Fay <fay@example.org>  Mon, 06 May 2024 07:08:09 +0000

shop-deb (1.0-1) unstable; urgency=medium
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
                "depends": ["python3 (>= 3.9)", "default-jre | java-runtime", "adduser"],
                "conflicts": ["shop-old (<< 2)"],
                "replaces": ["shop-old (<< 2)"],
            },
        ),
        (
            "shop.gemspec",
            {
                "name": "shop-rb",
                "version": "1.31",
                "description": "Sells Uma's things",
                "licence": "MIT",
                "maintainer": "Uma <uma@example.org>",
                "homepage": "https://rb.example.org",
            },
        ),
        ("lib/shop/version.rb", {"version": "1.32"}),
        (
            "META.json",
            {
                "name": "Shop-Perl",
                "version": "1.33",
                "description": "Sells",
                "licence": "perl_5 or mit",
                "maintainer": "Wes <wes@example.org>",
                "homepage": "https://pl.example.org",
            },
        ),
        (
            "pom.xml",
            {
                "name": "shop-java",
                "version": "1.34",
                "description": "Sells für\nall",
                "licence": "MIT or ISC",
                "maintainer": "Xia <xia@example.org>",
                "homepage": "https://java.example.org/shop-java",
            },
        ),
        ("build.gradle.kts", {"version": "1.35", "description": "Sells"}),
        ("build.gradle", {"version": "1.36", "description": "Sells"}),
        ("gradle.properties", {"version": "1.37", "description": "Sells"}),
        (
            "mix.exs",
            {
                "version": "1.38",
                "description": "Sells",
                "licence": "MIT",
                "homepage": "https://ex.example.org",
            },
        ),
        (
            "Chart.yaml",
            {
                "name": "shop-chart",
                "version": "1.50",
                "description": "Sells",
                "maintainer": "Yan <yan@example.org>",
                "homepage": "https://chart.example.org",
            },
        ),
        ("debian/changelog", {"name": "shop-deb", "version": "1.55~0"}),
        ("VERSION", {"version": "1.6"}),
    ],
)
def test_each_file_says_what_it_has(path, expected):
    found = read({path: FILES[path]})

    assert found["name"] == {
        "value": "shop",
        "from": "application",
        "also": {path: expected["name"]} if "name" in expected else {},
    }
    for key in set(expected) - {"name"}:
        assert found[key] == {"value": expected[key], "from": path, "also": {}}


def test_every_file_that_is_looked_for_is_tried_here():
    assert [
        path.replace("*.gemspec", "shop.gemspec").replace("**", "shop") for path in metadata.FILES
    ] == list(FILES)


def test_without_any_file_the_version_is_the_commits_and_people_are_told():
    found = read({})

    assert found["version"] == {"value": "0.0.20240506.57", "from": "commit", "also": {}}
    assert metadata.warning(found) == (
        "No file names a version: 0.0.20240506.57 is the commit's date and count; add a VERSION "
        "file, or package.version to .cicd.yaml"
    )
    assert found["description"]["value"] == "shop, commit 0123abc of acme/shop"
    assert found["maintainer"]["value"] == "shop maintainers <root@localhost>"
    for key in ("licence", "homepage"):
        assert found[key] == {"value": None, "from": "default", "also": {}}
    assert found["depends"] == {"value": [], "from": "default", "also": {}}


def test_of_a_history_that_is_not_all_there_the_time_of_day_is_in_the_version():
    assert read({}, commits=None)["version"]["value"] == "0.0.20240506.070809"


def test_a_version_from_a_file_or_a_tag_is_no_reason_for_a_warning():
    for found in (read({"VERSION": b"1.0"}), read({}, "v1.0")):
        assert metadata.warning(found) == ""
        assert "commit" not in found["version"]["also"]


@pytest.mark.parametrize(
    ("first", "second"),
    list(
        combinations([path for path in FILES if path != "go.mod" and path != "debian/control"], 2)
    ),
)
def test_of_two_files_the_earlier_wins_and_the_other_is_listed(first, second):
    alone = {path: read({path: FILES[path]})["version"]["value"] for path in (first, second)}

    found = read({second: FILES[second], first: FILES[first]})

    assert (found["version"]["value"], found["version"]["from"]) == (alone[first], first)
    assert {other: debian_version(text) for other, text in found["version"]["also"].items()} == {
        second: alone[second]
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
    found = read({"go.mod": FILES["go.mod"]}, "v1.4.0-rc1-12-g0123abc\n")

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
        ("x.gemspec", b"spec.version = Shop::VERSION\nspec.name = 'x'\n"),
        ("x.gemspec", b's.version = "1.#{minor}"\n# s.version = "1.0"\n'),
        ("x.gemspec", b's.version = "1" + ".0"\n'),
        ("lib/x/version.rb", b"VERSION = [1, 2].join('.')\n"),
        ("META.json", b'{"version": 3}'),
        ("META.json", b"[]"),
        ("pom.xml", b"<project><version>${revision}</version></project>"),
        (
            "pom.xml",
            b"<project><version>${a}</version><properties><a>${a}</a></properties></project>",
        ),
        ("pom.xml", b"<project/>"),
        (
            "build.gradle",
            b"version = project.findProperty('v')\ndependencies {\n  version = '1'\n}\n",
        ),
        ("build.gradle.kts", b'version = "$major.0"\n'),
        ("gradle.properties", b"kotlin.version=1.0\n"),
        ("mix.exs", b'[version: File.read!("V"), elixir: "~> 1.14"]'),
        ("Chart.yaml", b"name: shop\n"),
        ("package.json", b'{"private": true}'),
        ("VERSION", b"\n"),
    ],
)
def test_a_version_that_only_running_the_project_would_tell_is_not_there(path, content):
    assert read({path: content})["version"]["from"] == "commit"


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
        (
            "debian/control",
            b"Source: x\n\nPackage: x\nPackage: y\n",
            "line 4: Package is there twice",
        ),
        ("debian/changelog", b"nonsense\n", "debian/changelog: expected an entry such as shop"),
        ("META.json", b'{"meta-spec": {}', "META.json: .*line 1"),
        (
            "META.json",
            b'{"meta-spec": {}, "resources": 3}',
            "META.json: resources: expected a table",
        ),
        ("pom.xml", b"<project>\n<version>", "pom.xml: .*line 2"),
        (
            "pom.xml",
            b"<project><version><a/></version></project>",
            "pom.xml: version: expected text",
        ),
        (
            "pom.xml",
            b'<!DOCTYPE x [<!ENTITY a "b">]><project><version>&a;</version></project>',
            "pom.xml: a DOCTYPE is not supported",
        ),
        ("pom.xml", b'<?xml version="1.0" encoding="x-none"?><project/>', "pom.xml: unknown enc"),
        ("pom.xml", b"<project>" + b"<a>" * 99999, "pom.xml: "),
        ("Chart.yaml", b"a: b\n c: d: e\n", "Chart.yaml: line 2"),
        ("Chart.yaml", b"- a\n", "Chart.yaml: expected a mapping"),
        ("Chart.yaml", b"version: [1]\n", "Chart.yaml: version: expected text"),
        ("Chart.yaml", b"#" * 65537, "Chart.yaml: 65537 bytes; the limit is 65536"),
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
        read({"VERSION": content})


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
    )

    assert found["description"]["value"] == "a\nX: y\n\n? config_context.token ?"
    assert found["maintainer"]["value"] == "Ada Depends: evil <a@b>"
    assert found["homepage"]["value"] == "http://x y z"


def test_below_the_root_of_the_package_a_file_goes_before_all_of_the_others():
    settings = load("package: {root: dist/app}", "shop")
    files = {
        "pyproject.toml": b'[project]\nversion = "1.0"\ndescription = "Sells"\n',
        "dist/app/VERSION": b"2.0",
        "dist/app/package.json": b'{"version": "3.0"}',
    }

    found = read(files, settings=settings)

    assert found["version"] == {
        "value": "3.0",
        "from": "dist/app/package.json",
        "also": {"dist/app/VERSION": "2.0", "pyproject.toml": "1.0"},
    }
    assert found["description"]["from"] == "pyproject.toml"
    assert metadata.paths(settings) == [
        *(f"dist/app/{path}" for path in metadata.FILES),
        *metadata.FILES,
    ]


def test_a_broken_file_below_the_root_of_the_package_is_named_with_its_path():
    with pytest.raises(MetadataError, match="^dist/package.json: .*line 1"):
        read({"dist/package.json": b"{"}, settings=load("package: {root: dist}", "shop"))


def test_of_several_gemspecs_the_applications_is_read_else_the_first():
    files = {f"{name}.gemspec": f"s.version = '{name}'".encode() for name in ("2b", "1a", "3c")}
    versions = {
        "lib/shop/core/version.rb": b"VERSION = '1'",
        "lib/other/version.rb": b"VERSION = '2'",
    }

    assert read(files)["version"]["from"] == "1a.gemspec"
    assert read({**files, "shop.gemspec": b"s.version = '4'"})["version"]["from"] == "shop.gemspec"
    assert read(versions)["version"]["from"] == "lib/shop/core/version.rb"


def test_a_file_is_not_read_under_a_name_that_could_not_be_shown():
    assert read({"a b\u202e.gemspec": b"s.version = '1'"})["version"]["from"] == "commit"


def test_a_parents_version_counts_where_a_pom_has_none():
    pom = b"<project><parent><version>2.0-SNAPSHOT</version></parent></project>"

    assert read({"pom.xml": pom})["version"]["value"] == "2.0~SNAPSHOT"


def test_properties_that_would_grow_without_end_are_not_filled_in():
    properties = "".join(f"<p{n}>{f'${{p{n + 1}}}' * 20}</p{n}>" for n in range(9))
    pom = f"<project><version>${{p0}}</version><properties>{properties}</properties></project>"

    assert read({"pom.xml": pom.encode()})["version"]["from"] == "commit"


def test_what_says_that_nothing_is_known_is_nothing():
    meta = {"version": "1.02_01", "abstract": "unknown", "author": ["unknown"], "meta-spec": {}}

    found = read({"META.json": json.dumps(meta).encode(), "package.json": b'{"description": " "}'})

    assert found["version"]["value"] == "1.0201"
    assert {found[key]["from"] for key in ("description", "maintainer")} == {"default"}


def test_a_block_of_text_in_elixir_is_a_description():
    mix = b'''[
      description: """
      Sells
      things.
      """,
      version: "1.0"
    ]'''

    assert read({"mix.exs": mix})["description"]["value"] == "Sells\nthings."


def test_a_program_is_read_whatever_its_encoding():
    found = read({"x.gemspec": b"# \xe4\r\ns.version = '1.0'\r\n"})

    assert found["version"]["value"] == "1.0"


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("x.gemspec", b"s.licenses=["),
        ("x.gemspec", b's.name="'),
        ("mix.exs", b"[   version: "),
        ("build.gradle", b"/* "),
        ("build.gradle", b"allprojects {\n"),
        ("debian/changelog", b"a (1) "),
        ("debian/control", b"A: b\n c\n d\n\n"),
        ("debian/control", b"Package: x\nDepends: ${x},,|  |\n\n"),
        ("gradle.properties", b"version "),
        ("mix.exs", b" "),
        ("mix.exs", b"[ "),
        ("mix.exs", b"licenses: ["),
        ("package.json", b" "),
        ("pyproject.toml", b"[a]\n"),
        ("pyproject.toml", b"a = 1.2.3\n"),
        ("pyproject.toml", b'"'),
        ("pyproject.toml", b'\\"'),
        ("setup.cfg", b"a\n"),
    ],
)
def test_a_file_that_is_made_to_take_long_does_not(path, unit):
    assert_quick(path, unit * (1024 * 1024 // len(unit)))


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("build.gradle", b"version" + b" " * 1048000),
        ("gradle.properties", b"version=" + b" " * 500000 + b"x" + b" " * 500000 + b"y"),
        ("mix.exs", b"@version" + b" " * 1000000),
        ("pyproject.toml", b"a" + b".a" * 500000 + b"=1"),
        ("pyproject.toml", b"a." * 500000),
        ("pyproject.toml", b'"a"' + b' . "a"' * 100000 + b"=1"),
        ("pyproject.toml", b"[[a" + b".'b\\'" * 100000 + b"]]"),
        ("pyproject.toml", b'"\\"a"' + b'."\\"a"' * 100000 + b"=1"),
        ("Cargo.toml", (b"a" + b".a" * 1000 + b"=1\n") * 500),
        ("setup.cfg", b"[metadata]\na" + b" " * 60000 + b"b"),
        ("setup.cfg", b"[metadata]\na" + "\u3000".encode() * 20000 + b"b"),
        ("pom.xml", b"<p><developers>" + b"<a/>" * 250000 + b"</developers></p>"),
        ("x.gemspec", b"s.name" + b" " * 1000000),
        ("go.mod", b"module" + b" " * 1000000),
        ("debian/control", b"Source: x\nDepends: a" + b" " * 1000000 + b"x"),
        ("debian/changelog", b" " * 1000000),
    ],
    ids=lambda value: str(value[:12]),
)
def test_a_line_that_is_made_to_take_long_does_not(path, content):
    assert_quick(path, content)


def assert_quick(path, content):
    started = time.process_time()
    with contextlib.suppress(MetadataError):
        read({path: content})
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    "key", [b"a" + b".a" * 30, b'"a"' + b" . 'a'" * 30, b'"\\"."' + b'."\\"."' * 30]
)
@pytest.mark.parametrize("form", [b"%s = 1", b"[%s]", b"x = {%s = 1}"])
def test_a_key_of_too_many_parts_is_refused_with_the_file(form, key):
    with pytest.raises(MetadataError, match="^Cargo.toml: a key has more than 20 parts"):
        read({"Cargo.toml": form % key})


@pytest.mark.parametrize("value", ["*a9", "[*a9]", "{x: *a9}"])
def test_an_alias_in_a_chart_is_refused_with_its_line(value):
    lines = [
        "a0: &a0 x",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)),
    ]
    chart = "\n".join(["name: shop", *lines, f"version: {value}"])
    with pytest.raises(MetadataError, match="^Chart.yaml: line 2: anchors and aliases are not"):
        read({"Chart.yaml": chart.encode()})


@pytest.mark.parametrize("path", ["composer.json", "package.json"])
@pytest.mark.parametrize("depth", [900, 100000])
def test_a_licence_that_is_nested_too_deeply_is_refused_with_the_file(path, depth):
    content = b'{"license": ' + b"[" * depth + b"]" * depth + b"}"
    with pytest.raises(MetadataError, match=f"^{path}: nested too deeply; simplify it"):
        read({path: content})


def test_half_a_character_is_no_text():
    found = read({"package.json": b'{"version": "1.0", "description": "a\\ud800b"}'})
    assert found["description"]["value"] == "ab"


CONTROL = b"Package: shop\nDepends: a1, b1 (>= 1:2) [amd64 arm64], c1 [!amd64], d1 <stage1>\n"


@pytest.mark.parametrize(
    ("architecture", "depends"),
    [
        ("amd64", ["a1", "b1 (>= 1:2)"]),
        ("arm64", ["a1", "b1 (>= 1:2)", "c1"]),
        ("i386", ["a1", "c1"]),
    ],
)
def test_relations_hold_for_the_packages_architecture(architecture, depends):
    settings = load(f"package: {{architecture: {architecture}}}", "shop")

    assert read({"debian/control": CONTROL}, settings=settings)["depends"]["value"] == depends


def test_relations_of_some_architectures_want_to_know_the_packages():
    with pytest.raises(
        MetadataError,
        match=r"^debian/control: Depends: b1 .* set package.architecture, or package.depends in",
    ):
        read({"debian/control": CONTROL})


def test_relations_in_the_settings_win_even_when_there_are_none():
    settings = load("package: {depends: [], conflicts: [a1]}", "shop")

    found = read({"debian/control": FILES["debian/control"]}, settings=settings)

    assert found["depends"]["value"] == []
    assert found["depends"]["also"]["debian/control"][0] == "python3 (>= 3.9)"
    assert (found["conflicts"]["value"], found["conflicts"]["from"]) == (["a1"], ".cicd.yaml")
    assert found["replaces"]["from"] == "debian/control"


@pytest.mark.parametrize(
    "depends", ["a b", "a1 (> 1)", "A", "a1 (>= 1) x", "a1\n (b", "{{ x }}", "a1, " * 200 + "b1"]
)
def test_a_relation_that_cannot_be_read_is_named(depends):
    control = f"Package: shop\nDepends: {depends}\n".encode()

    with pytest.raises(MetadataError, match=r"^debian/control: Depends: .* set package.depends"):
        read({"debian/control": control})
