"""What FPM is told, by its arguments; no FPM is needed for these."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from delivery.packaging import Recipe
from delivery.packaging.fpm import Fpm, arguments
from delivery.settings import load
from delivery.workspace import Workspace

from .local_host import LocalShell
from .repositories import Repository

COMMIT = "0123abc" + "0" * 33
METADATA = {
    "maintainer": "Ada <ada@example.org>",
    "description": "Sells things.",
    "licence": None,
    "homepage": None,
}

# Stands in for FPM: writes down its arguments and makes a package of nothing but a name and a
# version. It leaves out everything else that FPM does.
STAND_IN = """#!{python} -I
import json, os, subprocess, sys
options = dict(argument[2:].split("=", 1) for argument in sys.argv[1:] if "=" in argument)
control = os.path.join(options["workdir"], "tree", "DEBIAN")
os.makedirs(control)
with open(os.path.join(control, "control"), "w") as file:
    file.write("Package: {{name}}\\nVersion: {{version}}-{{iteration}}\\n"
               "Architecture: {{architecture}}\\nMaintainer: Ada <ada@example.org>\\n"
               "Description: nothing\\n".format(**options))
subprocess.run(["dpkg-deb", "--build", os.path.dirname(control), options["package"]], check=True)
with open({record!r}, "w") as file:
    json.dump([sys.argv[1:], dict(os.environ)], file)
"""


def recipe(settings="", commit=COMMIT, **metadata):
    return Recipe(
        "shop",
        "1.2.0-7.0123abc",
        commit,
        "main",
        1700000000,
        {
            key: {"value": value, "from": "default", "also": {}}
            for key, value in {**METADATA, **metadata}.items()
        },
        load(settings, "shop").as_dict(),
    )


def test_everything_the_settings_say_is_an_argument():
    told = arguments(
        recipe(
            """package:
        {depends: [python3 (>= 3.9), a1 | b1], conflicts: [old1], replaces: [old1 (<< 2)],
         config_files: [shop.ini], architecture: amd64}""",
            licence="MIT",
            homepage="https://example.org",
        ),
        ["postinst", "postrm", "preinst", "prerm"],
        "/w",
    )

    assert told == [
        "--input-type=dir",
        "--output-type=deb",
        "--log=error",
        "--workdir=/w/package/work",
        "--chdir=/w/package/tree",
        "--package=/w/package/shop_1.2.0-7.0123abc_amd64.deb",
        "--name=shop",
        "--version=1.2.0",
        "--iteration=7.0123abc",
        "--architecture=amd64",
        "--maintainer=Ada <ada@example.org>",
        "--vendor=",
        "--category=misc",
        "--deb-priority=optional",
        "--description=Sells things.",
        "--license=MIT",
        "--url=https://example.org",
        "--depends=python3 (>= 3.9)",
        "--depends=a1 | b1",
        "--conflicts=old1",
        "--replaces=old1 (<< 2)",
        "--config-files=/opt/shop/shop.ini",
        "--after-install=/w/package/scripts/postinst",
        "--after-remove=/w/package/scripts/postrm",
        "--before-install=/w/package/scripts/preinst",
        "--before-remove=/w/package/scripts/prerm",
        "--deb-changelog=/w/package/changelog",
        "--source-date-epoch-default=1700000000",
        "--deb-no-default-config-files",
        "--",
        ".",
    ]


@pytest.mark.parametrize(
    ("key", "option"),
    [
        ("description", "description"),
        ("licence", "license"),
        ("maintainer", "maintainer"),
        ("homepage", "url"),
    ],
)
@pytest.mark.parametrize(
    "text",
    ["--template-scripts", "-e", "--", "a=b", "$(touch x) `id`; ${HOME} 'a' \"b\" \\ *", "ä\nb"],
)
def test_a_text_is_one_argument_and_never_an_option(key, option, text):
    told = arguments(recipe(**{key: text}), [], "/w")

    assert f"--{option}={text}" in told
    assert len(told) == len(arguments(recipe(), [], "/w"))
    assert [argument for argument in told if not argument.startswith("--")] == ["."]


def test_fpm_gets_the_arguments_as_they_are_without_a_shell_between(tmp_path):
    text = "--edit $(touch hacked) `id` ${HOME} 'a' \"b\" \\ * ;\n\n-x"
    record = tmp_path / "record.json"
    program = tmp_path / "bin" / "fpm"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable, record=str(record)))
    program.chmod(0o755)
    ssh = LocalShell(PATH=f"{program.parent}:{os.environ['PATH']}", FPMOPTS="--template-scripts")
    repository = Repository(tmp_path / "shop.git")
    commit = repository.commit({"script/post-inst": "#!/bin/sh\n"}, executable=["script/post-inst"])
    workspace = Workspace.create(ssh, ssh.host)
    try:
        workspace.check_out(repository.url, commit, "main")
        wanted = recipe(commit=commit, description=text)
        package = Fpm().build(workspace, wanted)
        assert Path(workspace.path, "package", package.file).exists()
    finally:
        workspace.remove()

    told, environment = json.loads(record.read_text())
    assert told == arguments(wanted, ["postinst"], workspace.path)
    assert f"--description={text}" in told
    assert environment["SOURCE_DATE_EPOCH"] == "1700000000"
    assert "FPMOPTS" not in environment
