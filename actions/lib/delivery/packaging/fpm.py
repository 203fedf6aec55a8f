"""Packages made by FPM (https://fpm.readthedocs.io), a Ruby gem."""

from __future__ import annotations

import re
from typing import Sequence

from delivery.packaging import Package, Packager, Recipe
from delivery.packaging.layout import config_paths, lay_out, pack
from delivery.settings import RELATIONS
from delivery.workspace import Workspace

# The arguments are FPM's. On stdin the control file, to which the size is added (in KiB).
PACKAGE = r"""
cat > package/control
{
    find package/tree ! -type d -printf '%s\n'
    gzip -9 --no-name < package/changelog | wc -c
} | awk '{ bytes += $1 } END { printf "Installed-Size: %d\n", bytes / 1024 }' >> package/control
mkdir package/work
env -u FPMOPTS SOURCE_DATE_EPOCH="$epoch" fpm "$@" >package/fpm.log 2>&1 ||
    fail "fpm: $(grep -m 1 -i error package/fpm.log || tail -n 1 package/fpm.log)"
"""

SCRIPT_OPTIONS = {
    "preinst": "before-install",
    "postinst": "after-install",
    "prerm": "before-remove",
    "postrm": "after-remove",
}


class Fpm(Packager):
    """The packager production is expected to use."""

    name = "fpm"
    programs = ("fpm", "dpkg-deb")
    installed_by = "apt-get install ruby binutils && gem install fpm"

    def build(self, workspace: Workspace, recipe: Recipe) -> Package:
        scripts = lay_out(workspace, recipe, self)
        return pack(
            workspace,
            recipe,
            PACKAGE,
            *arguments(recipe, scripts, workspace.path),
            stdin=control(recipe).encode(),
        )


def control(recipe: Recipe) -> str:
    """Returns the control file, but for the size. FPM's own template writes every field, and dpkg
    refuses one without a value."""
    fields = {
        "Package": recipe.name,
        "Version": recipe.version,
        "License": recipe.text("licence"),
        "Architecture": recipe.architecture,
        "Maintainer": recipe.text("maintainer"),
        **{kind.capitalize(): ", ".join(recipe.relations(kind)) for kind in RELATIONS},
        "Section": "misc",
        "Priority": "optional",
        "Homepage": recipe.text("homepage"),
        "Description": re.sub(
            r"\n(.*)", lambda line: f"\n {line.group(1) or '.'}", recipe.text("description")
        ),
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def arguments(recipe: Recipe, scripts: Sequence[str], directory: str) -> list[str]:
    """FPM's arguments; each value is in one argument with its option, so it is never one itself.

    :param scripts: names of those in `package/scripts` that there are.
    :param directory: absolute path of the workspace.
    """
    upstream, _, iteration = recipe.version.rpartition("-")
    options = [
        ("input-type", "dir"),
        ("output-type", "deb"),
        ("log", "error"),
        ("workdir", f"{directory}/package/work"),
        ("chdir", f"{directory}/package/tree"),
        ("package", f"{directory}/package/{recipe.file}"),
        ("name", recipe.name),
        ("version", upstream),
        ("iteration", iteration),
        ("architecture", recipe.architecture),
        ("deb-custom-control", f"{directory}/package/control"),
        *(("config-files", path) for path in config_paths(recipe)),
        *((SCRIPT_OPTIONS[name], f"{directory}/package/scripts/{name}") for name in scripts),
        ("deb-changelog", f"{directory}/package/changelog"),
        ("source-date-epoch-default", str(recipe.committed_at)),
    ]
    # Without the flag everything below /etc would be a configuration file.
    return [
        *(f"--{option}={value}" for option, value in options),
        "--deb-no-default-config-files",
        "--",
        ".",
    ]
