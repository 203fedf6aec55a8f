"""What every packager packages: the files at their places, and what dpkg runs, in `package/`.

scripts = lay_out(workspace, recipe, self)          # self is the packager
# package/tree        the files below their prefix, without what is excluded
# package/scripts/    what dpkg runs, by its name there: preinst, postinst, prerm, postrm
# package/changelog   which commit it is
package = pack(workspace, recipe, PACKAGE, *arguments)      # a tool makes package/$file of it
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from email.utils import format_datetime

from delivery.packaging import PACKAGE_FILE, Package, Packager, Recipe
from delivery.workspace import RefusedSource, Workspace

BUILD_TIMEOUT_S = 1200
LAY_OUT_TIMEOUT_S = 300
PACK_TIMEOUT_S = 600

# The build has ended: what it left stands still. Its links are packaged as what they are, and root
# follows none. Of a sparse file, or one of many names, a copy may need more than the build could
# write.
# $1 programs of the packager, $2 what installs it, $3 root, $4 name, $5 prefix, $6 configuration
# files, $7 systemd unit or nothing, then options for tar that exclude. On stdin the changelog.
# Prints the names of the scripts that dpkg runs.
LAY_OUT = r"""
programs=$1 installed_by=$2 root=$3 name=$4 prefix=${5%/} config_files=$6 unit=$7
shift 7
for program in $programs; do
    command -v "$program" >/dev/null || fail "$program is not installed; run $installed_by"
done
require_source
read -r uid memory_mib processes disk_mib rest < isolation
directory=$(realpath -e "source/$root" 2>/dev/null) && [ -d "$directory" ] ||
    refuse "package.root: the checkout has no directory $root"
case $directory/ in
    */.git/*) refuse "package.root: $root is git's own directory" ;;
    "$top/"*) ;;
    *) refuse "package.root: $root points outside the repository" ;;
esac

size_mib=$(find "$directory" -name .git -prune -o -type f -printf '%s\n' |
    awk '{ all += $1 } END { print int(all / 1048576) }')
[ "$size_mib" -le "$disk_mib" ] ||
    refuse "package.root: $root has $size_mib MiB; build.limits.disk_mib is $disk_mib"

rm -rf package
mkdir -p package/scripts "package/tree$prefix"
cat > package/changelog

# A copy, so that what is excluded is gone, and nothing is run as or written by just anybody.
tar -C "$directory" --create --mode=a-s,o-w --hard-dereference "$@" --file=package/tree.tar .
tar -C "package/tree$prefix" --extract --preserve-permissions --file=package/tree.tar 2>tar.log ||
    refuse "package.root: $(head -n 1 tar.log)"
packaged=package/tree$prefix
newline='
'
strange=$(find "$packaged" \( -name "*$newline*" -o -lname "*$newline*" \) -printf '%P' -quit |
    tr '\n' '?')
[ -z "$strange" ] || refuse "$strange has a line break in its name or target; exclude it"
strange=$(find "$packaged" ! -type f ! -type d ! -type l -print -quit)
[ -z "$strange" ] || refuse "${strange#$packaged/} is neither a file nor a link; exclude it"
[ "$(tar --list --file=package/tree.tar | wc -l)" -gt 1 ] ||
    refuse "package.root: nothing to package in $root"
for path in $config_files; do
    [ "$(realpath -e "$packaged/$path" 2>/dev/null)" = "$(pwd -P)/$packaged/$path" ] &&
        [ -f "$packaged/$path" ] ||
        refuse "package.config_files: $path is not a file in the package"
done

# Beside what is packaged, which could have a link in the way.
own_directory() {       # a path in the package
    [ "$(realpath --canonicalize-missing "package/tree/$1")" = "$(pwd -P)/package/tree/$1" ] ||
        refuse "package.root: a link is where the package has its $1"
    mkdir -p "package/tree/$1"
}
own_directory "usr/share/doc/$name"
if [ -n "$unit" ]; then
    [ "$(realpath -e "source/$unit" 2>/dev/null)" = "$(realpath source)/$unit" ] &&
        [ -f "source/$unit" ] ||
        refuse "package.systemd_unit: $unit is not a file in the checkout"
    own_directory usr/lib/systemd/system
    rm -rf "package/tree/usr/lib/systemd/system/${unit##*/}"
    install --mode=644 "source/$unit" package/tree/usr/lib/systemd/system/
fi
for own in "changelog.gz" "changelog.Debian.gz"; do
    [ ! -L "package/tree/usr/share/doc/$name/$own" ] ||
        refuse "package.root: a link is where the package has its usr/share/doc/$name/$own"
done

for script in pre-inst:preinst post-inst:postinst pre-rm:prerm post-rm:postrm; do
    path=script/${script%:*}
    [ -e "source/$path" ] || [ "$path" = script/post-inst ] || continue
    require_script "$path"
    cp "source/$path" "package/scripts/${script#*:}"
done

# Has a script end with a command for the unit, after the application's own in a subshell.
also() {    # the script, which word of dpkg's the command is for, the command
    script=package/scripts/$1
    [ -e "$script" ] || echo '#!/bin/sh' > "$script"
    first_line=$(head -n 1 "$script")
    case $first_line in
        '#!/bin/sh'* | '#!/bin/bash'* | '#!/usr/bin/env bash') ;;
        *) refuse "script for $1: expected #!/bin/sh or #!/bin/bash in its first line, because of \
package.systemd_unit" ;;
    esac
    {
        printf '%s\n(\n:\n' "$first_line"
        tail -n +2 "$script"
        printf '\n)\nstatus=$?\n[ $status = 0 ] || exit $status\n'
        printf 'if [ "$1" = %s ] && [ -d /run/systemd/system ]; then\n    %s\nfi\n' "$2" "$3"
    } > package/script.new
    mv package/script.new "$script"
}
if [ -n "$unit" ]; then
    unit=${unit##*/}
    also postinst configure "systemctl daemon-reload && systemctl --quiet enable $unit &&
        systemctl restart $unit"
    also prerm remove "systemctl --quiet disable --now $unit"
    also postrm remove "systemctl daemon-reload"
fi
chmod 755 package/scripts/*
ls package/scripts
"""

# What makes the package goes between these two. It finds its own arguments in "$@".
BEGIN = r"""
file=$1 name=$2 version=$3 architecture=$4 epoch=$5
shift 5
"""

# Prints Package as JSON.
DESCRIBE = r"""
is=$(dpkg-deb --show --showformat='${Package} ${Version} ${Architecture}' "package/$file")
[ "$is" = "$name $version $architecture" ] || fail "$file contains $is"

sha256=$(sha256sum "package/$file")
printf '{"file": "%s", "name": "%s", "version": "%s", "architecture": "%s", "sha256": "%s"' \
    "$file" "$name" "$version" "$architecture" "${sha256%% *}" > package.json
printf ', "size_bytes": %s}\n' "$(stat --format=%s "package/$file")" >> package.json
cat package.json
"""
assert PACKAGE_FILE in DESCRIBE


def lay_out(workspace: Workspace, recipe: Recipe, packager: Packager) -> list[str]:
    """Runs the script the settings name in `package.build`, and lays out what is packaged.

    :param packager: whose programs have to be there.
    :returns: the names of the scripts that dpkg runs.
    :raises RefusedSource: when something in the repository has to change.
    """
    settings = recipe.settings["package"]
    if settings["build"]:
        run_build_script(workspace, recipe)
    made = workspace.shell(
        LAY_OUT,
        " ".join(packager.programs),
        packager.installed_by,
        settings["root"],
        recipe.name,
        settings["prefix"],
        "\n".join(settings["config_files"]),
        settings["systemd_unit"] or "",
        *tar_excludes(settings["exclude"]),
        stdin=changelog(recipe).encode(),
        timeout_s=LAY_OUT_TIMEOUT_S,
        what=f"package {recipe.name} {recipe.version}",
    )
    return made.text.split()


def pack(
    workspace: Workspace, recipe: Recipe, script: str, *arguments: str, stdin: bytes = b""
) -> Package:
    """Has a tool make the package of what is laid out, and leaves what it is in the workspace.

    :param script: what makes package/$file of $name, $version and $architecture, with every time
        in it $epoch.
    :param arguments: of the script.
    :raises RemoteError: when the tool fails.
    """
    made = workspace.shell(
        BEGIN + script + DESCRIBE,
        recipe.file,
        recipe.name,
        recipe.version,
        recipe.architecture,
        str(recipe.committed_at),
        *arguments,
        stdin=stdin,
        timeout_s=PACK_TIMEOUT_S,
        what=f"package {recipe.name} {recipe.version}",
    )
    return Package(**json.loads(made.text))


def run_build_script(workspace: Workspace, recipe: Recipe) -> None:
    """Runs the script the settings name in `package.build`, before anything is packaged."""
    path = recipe.settings["package"]["build"]
    try:
        workspace.require_scripts([path])
    except RefusedSource as refused:
        raise RefusedSource(f"package.build: {refused}") from None
    run = workspace.run_script(
        path,
        {
            "CICD_COMMIT": recipe.commit,
            "CICD_BRANCH": recipe.branch,
            "CICD_VERSION": recipe.version,
            "SOURCE_DATE_EPOCH": str(recipe.committed_at),
        },
        BUILD_TIMEOUT_S,
    )
    failure = run.failure(BUILD_TIMEOUT_S)
    if failure:
        raise RefusedSource(f"package.build: {failure}")


def tar_excludes(patterns: list[str]) -> list[str]:
    """Options of GNU tar: a pattern with a slash is a path below root, one without is a name
    anywhere. `.git` always goes."""
    options = ["--no-wildcards-match-slash", "--no-anchored", "--exclude=.git"]
    for pattern in (pattern.rstrip("/") for pattern in patterns):
        options += (
            ["--anchored", f"--exclude=./{pattern}"]
            if "/" in pattern
            else ["--no-anchored", f"--exclude={pattern}"]
        )
    return options


def changelog(recipe: Recipe) -> str:
    """A Debian changelog whose one entry names the commit."""
    committed = datetime.fromtimestamp(recipe.committed_at, timezone.utc)
    return (
        f"{recipe.name} ({recipe.version}) unstable; urgency=medium\n\n"
        f"  * Commit {recipe.commit} of branch {recipe.branch}.\n\n"
        f" -- {recipe.metadata['maintainer']['value']}  {format_datetime(committed)}\n"
    )


def config_paths(recipe: Recipe) -> list[str]:
    """Where the configuration files will be on a host."""
    settings = recipe.settings["package"]
    return [f"{settings['prefix'].rstrip('/')}/{path}" for path in settings["config_files"]]
