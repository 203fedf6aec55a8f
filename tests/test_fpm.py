"""What FPM is told, by its arguments; no FPM is needed for these."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from delivery.packaging import Recipe
from delivery.packaging.fpm import Fpm, arguments, control
from delivery.settings import RELATIONS, load
from delivery.workspace import Workspace

from .local_host import ISOLATION, LocalShell
from .repositories import Repository

COMMIT = "0123abc" + "0" * 33
METADATA = {
    "maintainer": "Ada <ada@example.org>",
    "description": "Sells things.",
    "licence": None,
    "homepage": None,
}

# Stands in for FPM: writes down its arguments and makes a package of nothing but the control file.
# It leaves out everything else that FPM does.
STAND_IN = """#!{python} -I
import json, os, shutil, subprocess, sys
options = dict(argument[2:].split("=", 1) for argument in sys.argv[1:] if "=" in argument)
control = os.path.join(options["workdir"], "tree", "DEBIAN")
os.makedirs(control)
shutil.copy(options["deb-custom-control"], os.path.join(control, "control"))
subprocess.run(["dpkg-deb", "--build", os.path.dirname(control), options["package"]], check=True)
with open({record!r}, "w") as file:
    json.dump([sys.argv[1:], dict(os.environ)], file)
"""


def recipe(text="", commit=COMMIT, **metadata):
    settings = load(text, "shop").as_dict()
    relations = {kind: settings["package"][kind] or [] for kind in RELATIONS}
    return Recipe(
        "shop",
        "1.2.0-7.0123abc",
        commit,
        "main",
        1700000000,
        {
            key: {"value": value, "from": "default", "also": {}}
            for key, value in {**METADATA, **relations, **metadata}.items()
        },
        settings,
    )


def test_everything_the_settings_say_is_an_argument_or_a_field():
    everything = recipe(
        """package:
        {depends: [python3 (>= 3.9), a1 | b1], conflicts: [old1], replaces: [old1 (<< 2)],
         config_files: [shop.ini], architecture: amd64}""",
        description="Sells things.\n\nAll of them.",
        licence="MIT",
        homepage="https://example.org",
    )

    assert arguments(everything, ["postinst", "postrm", "preinst", "prerm"], "/w") == [
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
        "--deb-custom-control=/w/package/control",
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
    assert control(everything).splitlines() == [
        "Package: shop",
        "Version: 1.2.0-7.0123abc",
        "License: MIT",
        "Architecture: amd64",
        "Maintainer: Ada <ada@example.org>",
        "Depends: python3 (>= 3.9), a1 | b1",
        "Conflicts: old1",
        "Replaces: old1 (<< 2)",
        "Section: misc",
        "Priority: optional",
        "Homepage: https://example.org",
        "Description: Sells things.",
        " .",
        " All of them.",
    ]


def test_what_is_not_known_is_no_field():
    fields = [line.partition(": ") for line in control(recipe()).splitlines()]

    assert {name for name, _, _ in fields}.isdisjoint(
        {"License", "Homepage", "Depends", "Conflicts", "Replaces"}
    )
    assert all(value for _, _, value in fields)


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
    workspace = Workspace.create(ssh, ssh.host, ISOLATION)
    try:
        workspace.check_out(repository.url, commit, "main")
        wanted = recipe(commit=commit, description=text)
        package = Fpm().build(workspace, wanted)
        described = subprocess.run(
            ["dpkg-deb", "--field", str(Path(workspace.path, "package", package.file))],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
    finally:
        workspace.remove()

    told, environment = json.loads(record.read_text())
    assert told == arguments(wanted, ["postinst"], workspace.path)
    assert described == control(wanted) + "Installed-Size: 0\n"
    assert (
        "Description: --edit $(touch hacked) `id` ${HOME} 'a' \"b\" \\ * ;\n .\n -x\n" in described
    )
    assert environment["SOURCE_DATE_EPOCH"] == "1700000000"
    assert "FPMOPTS" not in environment
