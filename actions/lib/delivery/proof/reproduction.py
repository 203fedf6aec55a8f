"""The same package, made on a second build host: only what both make is published.

    second = second_host(hosts, first)                          # before anything is packaged
    agreed = reproduce(configuration, "shop", build, workspace, second)
    require_agreed(configuration, recipe, package, agreed)      # before anything is published

What one build host alone has changed, or what a build makes of its time or place, is refused. The
first host keeps its workspace; what both agreed on does not pass through it.
"""

from __future__ import annotations

import hashlib
import json
import random
from typing import TYPE_CHECKING, Iterator, Sequence

from delivery import packaging
from delivery.build_record import Build
from delivery.errors import DeliveryError
from delivery.isolation import Isolation
from delivery.names import cut, plain
from delivery.packaging import Package, Recipe, read_recipe
from delivery.remote import Host, RemoteError
from delivery.workspace import Workspace

if TYPE_CHECKING:
    from delivery.configuration import Configuration

LISTING_LIMIT = 16 * 1024 * 1024  # bytes; what comes later is not compared
LISTING_TIMEOUT_S = 300
PATH_LENGTH = 200  # characters of a path in a reason

# $1 the package's file, $2 bytes of the answer. Prints for each member of the package where it is,
# the SHA-256 of its content, mode, owner, size, day, time and path. Nothing is unpacked. What it
# installs comes first, because control data such as md5sums follow from that.
MEMBERS = r"""
file=$1 limit=$2
for part in fsys ctrl; do
    dpkg-deb "--$part-tarfile" "package/$file" | TZ=UTC tar --list --verbose --full-time \
        --numeric-owner --quoting-style=escape --file=- > package/members
    dpkg-deb "--$part-tarfile" "package/$file" |
        tar --extract --file=- --to-command='sha256sum | cut -c -64' > package/hashes
    awk -v part="$part" '{
        hash = "-"
        if (/^-/) getline hash < "package/hashes"
        print part, hash, $0
    }' package/members
done | head -c "$limit"
"""
CONTROL = "DEBIAN/"  # the control data, as dpkg-deb takes them
COLUMNS = ("content", "mode", "owner", "size", "time", "time")


def second_host(hosts: Sequence[Host], first: Host) -> Host:
    """Returns another build host than the first.

    :param hosts: the healthy ones.
    :raises DeliveryError: when there is none.
    """
    others = [each for each in hosts if _are_two(each, first)]
    if not others:
        raise DeliveryError(
            f"proof.builders is two, but {first.node} is the only healthy build host in Consul; "
            "bring up a second one, or set proof.builders to one"
        )
    return random.choice(others)


def reproduce(
    configuration: Configuration,
    application: str,
    build: Build,
    workspace: Workspace,
    second: Host,
) -> str:
    """Makes the package of a workspace on another host too, from the commit on.

    :returns: what `require_agreed` takes.
    :raises DeliveryError: when it is another one, with both hosts and the first file that differs.
    """
    if not _are_two(second, workspace.host):
        raise DeliveryError(f"{second.node} is no second build host beside {workspace.host.node}")
    other = Workspace.create(configuration.build_ssh(), second, Isolation.configured(configuration))
    try:
        other.check_out(
            configuration.clone_url(build.repository), build.commit, build.branch, build.path
        )
        read_recipe(configuration, application, build, other).leave_in(other)
        recipe = Recipe.found_in(other)
        _require_same_recipe(Recipe.found_in(workspace), recipe, workspace, other)
        package = packaging.TOOLS.create(configuration).build(other, recipe)
        package.require(recipe)
        _require_same_package(Package.found_in(workspace), package, workspace, other)
        return agreement(recipe, package)
    finally:
        other.remove()


def agreement(recipe: Recipe, package: Package) -> str:
    """Returns a SHA-256 of all that is published of a commit."""
    made = [recipe._asdict(), package._asdict()]
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()


def require_agreed(
    configuration: Configuration, recipe: Recipe, package: Package, agreed: str | None
) -> None:
    """
    :param agreed: from `reproduce`; None when no second host was asked.
    :raises DeliveryError: when this is not what both hosts have made, or one alone has made it and
        the configuration asks for two.
    """
    if not agreed and configuration.section("proof")["builders"] == "two":
        raise DeliveryError(
            "proof.builders is two, but no second build host has made this package; run "
            f"cicd_canary.package app={recipe.name} commit={recipe.commit}"
        )
    if agreed and agreed != agreement(recipe, package):
        raise DeliveryError(
            "the build host has another package, or other metadata, than when a second one made "
            "the same; look for who changed it there"
        )


def _are_two(one: Host, other: Host) -> bool:
    return one.node != other.node and one.address != other.address


def _require_same_recipe(first: Recipe, second: Recipe, one: Workspace, other: Workspace) -> None:
    for field in Recipe._fields:
        if getattr(first, field) != getattr(second, field):
            raise DeliveryError(
                f"{one.host.node} and {other.host.node} do not read the same of the commit: "
                f"{field} differ; compare git on both"
            )


def _require_same_package(
    first: Package, second: Package, one: Workspace, other: Workspace
) -> None:
    if first != second:
        raise DeliveryError(
            f"{one.host.node} and {other.host.node} do not make the same package: SHA-256 "
            f"{first.sha256} and {second.sha256}; {_difference(first, second, one, other)}"
        )


def _difference(first: Package, second: Package, one: Workspace, other: Workspace) -> str:
    """Returns in words where two packages begin to differ."""
    try:
        mine, theirs = dict(_members(one, first)), dict(_members(other, second))
    except RemoteError as error:
        return f"what differs is not known: {error}"
    paths = dict.fromkeys([*mine, *theirs])
    for path in sorted(paths, key=lambda path: path.startswith(CONTROL)):
        if path not in mine or path not in theirs:
            has = one if path in mine else other
            return f"{_shown(path)} is only in that of {has.host.node}"
        if mine[path][0] != theirs[path][0]:
            return f"the first difference is the {COLUMNS[0]} of {_shown(path)}"
    for path in mine:
        for column, is_one, is_other in zip(COLUMNS, mine[path], theirs[path]):
            if is_one != is_other:
                return f"the first difference is the {column} of {_shown(path)}"
    return "their files are the same: have both hosts use the same versions of the packager and tar"


def _members(workspace: Workspace, package: Package) -> Iterator[tuple[str, Sequence[str]]]:
    """Yields each member's path, with its target if it is a link, and its COLUMNS."""
    listed = workspace.shell(
        MEMBERS,
        package.file,
        str(LISTING_LIMIT),
        timeout_s=LISTING_TIMEOUT_S,
        what=f"list {package.file}",
    )
    for line in filter(str.strip, listed.text.splitlines()):
        part, *columns = line.split(None, len(COLUMNS) + 1)
        path = columns.pop() if len(columns) > len(COLUMNS) else ""
        path = path[len("./") :] if path.startswith("./") else path
        if path:  # some packagers have an entry for the directory itself
            yield path if part == "fsys" else CONTROL + path, columns


def _shown(path: str) -> str:
    return cut(plain(path), PATH_LENGTH)
