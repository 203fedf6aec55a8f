"""Which applications a repository holds, where in it, and from which branches they are built.

    sources = Sources(configuration.section("applications"))
    sources.of("acme/tools")                # one Source for each application
    sources.pushed("acme/tools", branch, default_branch)
    sources.of_application("api", "acme/tools").path     # services/api

Section `applications` of the configuration has the exceptions: a repository that it does not name
holds one application, of the repository's own name, built from the default branch.
"""

from __future__ import annotations

import fnmatch
from typing import Any, Mapping, NamedTuple, Sequence

from delivery.errors import DeliveryError
from delivery.names import PATTERNS, matches, nearest, shown


class Source(NamedTuple):
    """Where an application comes from.

    `path` is its directory in the repository, empty when the repository is all its own; `branches`
    are patterns of what is built, empty for the default branch.
    """

    app: str
    repository: str
    path: str
    branches: Sequence[str]

    def built(self, default_branch: str) -> Sequence[str]:
        """Returns patterns of the branches that are built."""
        return self.branches or [default_branch]

    def is_built(self, branch: str, default_branch: str) -> bool:
        """Returns whether pushes to this branch are built."""
        return any(fnmatch.fnmatchcase(branch, each) for each in self.built(default_branch))

    @property
    def place(self) -> str:
        return f"{self.repository} {self.path}" if self.path else self.repository


class Sources:
    """
    :param applications: the configuration's section, by owner/name.
    :raises DeliveryError: for a repository or a path that is none, and for two applications of one
        name.
    """

    def __init__(self, applications: Mapping[str, Any]) -> None:
        # GitHub's names are the same in capitals.
        self._applications = {name.lower(): each for name, each in applications.items()}
        self._sources: dict[str, Source] = {}
        for repository, settings in applications.items():
            if not matches("repository", repository):
                raise DeliveryError(
                    f"applications in the pack's configuration: {shown(repository)} is no "
                    "repository; write owner/name, such as acme/shop"
                )
            for source in _configured(repository, settings or {}):
                other = self._sources.setdefault(source.app, source)
                if other.place != source.place:
                    raise DeliveryError(
                        "applications in the pack's configuration: "
                        f"{other.place} and {source.place} are both called {source.app}; give one "
                        "of them another name"
                    )

    def of(self, repository: str) -> Sequence[Source]:
        """Returns the applications of a repository.

        :raises DeliveryError: when it is no repository's name, and when the name of an application
            cannot be one, or is that of an application which the configuration has elsewhere.
        """
        if not matches("repository", repository):
            raise DeliveryError(f"{shown(repository)} is no repository, which is owner/name")
        found = list(_configured(repository, self._settings(repository)))
        for source in found:
            _check_name(source)
            self._refuse_another(source.app, repository)
        return found

    def of_application(self, app: str, repository: str) -> Source:
        """Returns an application of a repository.

        :raises DeliveryError: when the repository holds others, or the configuration has the
            application elsewhere.
        """
        self._refuse_another(app, repository)
        found = self.of(repository)
        for source in found:
            if source.app == app:
                return source
        known = [source.app for source in found]
        raise DeliveryError(
            f"{repository} has no application {app}; nearest: {', '.join(nearest(app, known))}"
        )

    def refuse_stranger(self, app: str, repository: str, before: str) -> None:
        """Refuses a repository that would take an application over because of its name.

        :param before: the repository that the application comes from.
        :raises DeliveryError: when it is another, and the configuration does not name this one.
        """
        moved = repository.lower() != before.lower()
        if moved and repository.lower() not in self._applications:
            raise DeliveryError(
                f"{app} comes from {before}, not from {repository}; if it has moved, set "
                f"applications.{repository}.name to {app} in the pack's configuration"
            )

    def _refuse_another(self, app: str, repository: str) -> None:
        known = self._sources.get(app)
        if known and known.repository.lower() != repository.lower():
            raise DeliveryError(
                f"{repository} is not {app}, which is {known.place} in the pack's configuration; "
                f"set applications.{repository}.name to another name there"
            )

    def _settings(self, repository: str) -> Mapping[str, Any]:
        return self._applications.get(repository.lower()) or {}


def _configured(repository: str, settings: Mapping[str, Any]) -> Sequence[Source]:
    """Returns what the configuration makes of a repository; the names are not checked yet."""
    paths = settings.get("paths")
    branches = settings.get("branches") or ()
    if not paths:
        name = settings.get("name") or repository.rpartition("/")[2]
        return [Source(name, repository, "", branches)]
    where = f"applications.{repository} in the pack's configuration"
    if settings.get("name"):
        raise DeliveryError(f"{where}: both name and paths; give each of its paths a name")
    sources = []
    for path, own in paths.items():
        if not matches("path", path):
            raise DeliveryError(
                f"{where}: paths: {shown(path)} is not a directory in the repository; use one such "
                "as services/api"
            )
        own = own or {}
        name = own.get("name") or path.rpartition("/")[2]
        sources.append(Source(name, repository, path, own.get("branches") or branches))
    return sources


def _check_name(source: Source) -> None:
    """:raises DeliveryError: when it cannot be an application's; says where to set another."""
    if matches("application", source.app):
        return
    setting = '{"name": "..."}'
    if source.path:
        setting = f'{{"paths": {{"{source.path}": {setting}}}}}'
    raise DeliveryError(
        f"{source.app} is not a valid Debian package name ({PATTERNS['application']}); set another "
        f'in the pack\'s configuration, applications: {{"{source.repository}": {setting}}}'
    )
