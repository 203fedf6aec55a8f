"""What makes a Debian package of a workspace's checkout: one interface, one file per tool
(`delivery.tools`).

    recipe = read_recipe(configuration, "shop", build, workspace)
    recipe.leave_in(workspace)                          # by the step that reads the metadata
    package = TOOLS.create(configuration).build(workspace, Recipe.found_in(workspace))
    Package.found_in(workspace)                         # by the steps after that

Whatever the tool: the tree below the settings' `root` without `exclude` goes to `prefix`, owned by
root, with its modes but setuid and write access for all; `script/post-inst` is what dpkg runs after
installing (`script/pre-inst`, `script/pre-rm` and `script/post-rm` where they exist); a systemd
unit the settings name is installed, started and restarted; every time in it is the commit's, so
that the same commit packaged twice is the same file. All tools make the same of it, because they
only pack what `layout.py` lays out.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple

from delivery import metadata, settings
from delivery.build_record import Build
from delivery.releases import package_version
from delivery.tools import Registry, Tool
from delivery.workspace import RefusedSource, Workspace

if TYPE_CHECKING:
    from delivery.configuration import Configuration

RECIPE_FILE = "metadata.json"
PACKAGE_FILE = "package.json"
ORIGIN_FILE = "origin.json"


def leave_origin(workspace: Workspace, build: Build) -> None:
    """Leaves for the steps after it what was checked out."""
    workspace.write(ORIGIN_FILE, json.dumps(build.origin).encode())


def require_origin(workspace: Workspace, build: Build) -> None:
    """
    :raises RefusedSource: when another repository, branch, commit or path was checked out than the
        build's record has now.
    """
    if json.loads(workspace.read(ORIGIN_FILE)) != build.origin:
        raise RefusedSource(
            f"the record of build {build.number} was changed after the check-out, so that what is "
            "packaged is not what it says; push a new commit"
        )


class Recipe(NamedTuple):
    """All a package is made from besides the checkout.

    `metadata` is what `metadata.read` found, `settings` the application's as plain data,
    `committed_at` in seconds since 1970.
    """

    name: str
    version: str
    commit: str
    branch: str
    committed_at: int
    metadata: dict[str, dict[str, Any]]
    settings: dict[str, Any]

    @property
    def architecture(self) -> str:
        return str(self.settings["package"]["architecture"])

    @property
    def file(self) -> str:
        """The package's file name."""
        return f"{self.name}_{self.version}_{self.architecture}.deb"

    def text(self, key: str) -> str:
        """Returns a value of the metadata; empty if nothing is known, and then its field is left
        out: dpkg refuses one without a value."""
        return self.metadata[key]["value"] or ""

    def relations(self, kind: str) -> list[str]:
        """Returns what the package depends on, conflicts with or replaces.

        :param kind: one of `settings.RELATIONS`.
        """
        return list(self.metadata[kind]["value"])

    def leave_in(self, workspace: Workspace) -> None:
        workspace.write(RECIPE_FILE, json.dumps(self._asdict()).encode())

    @classmethod
    def found_in(cls, workspace: Workspace) -> Recipe:
        return cls(**json.loads(workspace.read(RECIPE_FILE)))


def read_recipe(
    configuration: Configuration, application: str, build: Build, workspace: Workspace
) -> Recipe:
    """Returns what a package of the commit that is checked out is made from.

    :raises DeliveryError: naming what is wrong in `.cicd.yaml` or in the project's own files.
    """
    own = workspace.read_sources([settings.FILE], build.path)
    asked_for = settings.load(own.files.get(settings.FILE), application)
    chosen = configuration.policies.of(application).apply(asked_for)
    if chosen.depends_on:
        workspace.require_paths(chosen.depends_on)
    sources = workspace.read_sources(metadata.paths(chosen), build.path)
    found = metadata.read(
        sources,
        chosen,
        build.commit,
        build.repository,
        configuration.section("packaging").get("maintainer"),
    )
    return Recipe(
        application,
        package_version(found["version"]["value"], build.number, build.commit),
        build.commit,
        build.branch,
        sources.committed_at,
        found,
        chosen.as_dict(),
    )


class Package(NamedTuple):
    """A package in the workspace; `file` is its name there, below `package/`."""

    file: str
    name: str
    version: str
    architecture: str
    sha256: str
    size_bytes: int

    def as_dict(self) -> dict[str, Any]:
        return dict(self._asdict())

    @classmethod
    def found_in(cls, workspace: Workspace) -> Package:
        return cls(**json.loads(workspace.read(PACKAGE_FILE)))

    def require(self, recipe: Recipe) -> None:
        """
        :raises RefusedSource: when it is another package than the recipe's.
        """
        wanted = (recipe.file, recipe.name, recipe.version, recipe.architecture)
        if self[:4] != wanted:
            raise RefusedSource(f"the package is {' '.join(self[:4])}, not {' '.join(wanted)}")


class Packager(Tool, ABC):
    """Makes packages on the build host that the workspace is on."""

    role = "packaging"

    @abstractmethod
    def build(self, workspace: Workspace, recipe: Recipe) -> Package:
        """Makes the package and leaves it, and what `Package.found_in` reads, in the workspace.

        :raises RefusedSource: when something in the repository has to change.
        :raises RemoteError: when the tool is missing or fails.
        """


TOOLS = Registry(Packager, __name__)  # type: ignore[type-abstract]  # it makes none itself
