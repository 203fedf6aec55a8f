"""The signed APT repository that hosts install from: one interface, one file per tool
(`delivery.tools`).

    repository = TOOLS.create(configuration)
    new = repository.add(host, workspace, package)
    repository.refresh(host)                            # a new date, before the index expires
    repository.remove(host, "shop", ["1.0-1.0123abc"])

Repository and signing key belong to a user of their own (`repository.user`), on the build host or
on another (`only_host`, `hosts`). A package gets there as bytes, and root runs none of this.

Whatever the tool: packages may be added at once, a version stays until it is removed (a rollback
needs it), the same package twice is fine, another one under a version that is taken is refused, and
what was published is read back: the signature, the index under it, the package's SHA-256 in that.
"""

from __future__ import annotations

import shlex
from abc import ABC
from typing import TYPE_CHECKING, Any, ClassVar, Mapping, Sequence

from delivery import names
from delivery.errors import DeliveryError
from delivery.names import shown
from delivery.packaging import Package
from delivery.remote import Host, Ssh
from delivery.repository import scripts
from delivery.settings import ARCHITECTURES
from delivery.tools import Registry, Tool
from delivery.workspace import Workspace

if TYPE_CHECKING:
    from delivery.configuration import Configuration

TIMEOUT_S = 300
LOCK_TIMEOUT_S = 120
REFRESHED_AFTER_S = 3 * 24 * 3600  # age of an index that the doctor speaks of; it is a day usually
MIB = 1 << 20


class Repository(Tool, ABC):
    """An APT repository.

    A tool is its programs, of which the first is its command, and shell functions. They find
    $distribution, $component, $key and $architectures as they are below, and $name, $version,
    $architecture and $file of the package in question:

    - `locate`, whose arguments are `tool_values`, sets root, which is locked, and public, which
      apt is served from;
    - `taken_by` prints the SHA-256 of the package that has the version, or nothing;
    - `store` takes $file in, `drop` takes the package out, and `publish` makes public, signed anew,
      what is in; `tidy` may remove what nothing refers to any more.

    :param config: section `repository` of the configuration.
    :param ssh: the way to its hosts.
    :param largest_bytes: of a package.
    :raises DeliveryError: for an architecture that is none.
    """

    role = "repository"
    required: ClassVar[Mapping[str, str]] = {
        "gpg_key": "set it to the signing key of repository.user"
    }
    functions: ClassVar[str]

    def __init__(self, config: Mapping[str, Any], ssh: Ssh, largest_bytes: int) -> None:
        self.distribution: str = config["distribution"]
        self.architectures: list[str] = list(config["architectures"])
        self._config = config
        self._ssh = ssh
        self._largest_bytes = largest_bytes
        for architecture in self.architectures:
            if architecture == "all" or architecture not in ARCHITECTURES:
                raise DeliveryError(
                    f"repository.architectures: unknown architecture {shown(architecture)}; "
                    f"expected some of {', '.join(ARCHITECTURES[1:])}"
                )

    @classmethod
    def configured(cls, configuration: Configuration) -> Repository:
        largest_mib = configuration.section("build")["limits"]["disk_mib"]
        return cls(cls.section(configuration), configuration.build_ssh(), largest_mib * MIB)

    @classmethod
    def tool_values(cls, config: Mapping[str, Any]) -> list[str]:
        """Returns the arguments of `locate`."""
        return []

    @classmethod
    def check_of_host(cls, section: Mapping[str, Any]) -> str:
        if cls.missing(section):
            return ""
        check = cls._as_user(section, scripts.CHECK, "doctor", str(REFRESHED_AFTER_S))
        return f"{scripts.AS_USER}\nas_user {shlex.join(check)} 2>&1 || :"

    def add(self, host: Host, workspace: Workspace, package: Package) -> bool:
        """Adds a package of the workspace, publishes it and reads it back.

        :param host: has the repository.
        :returns: whether it was added now; false when this very package was there already.
        :raises DeliveryError: for a package that is none, or too large.
        :raises RemoteError: when another package has this version (with both SHA-256), the tool
            is missing or fails, or what was published is not what was added.
        """
        self._require(package)
        what = f"add {package.file} to {self.distribution}"
        done = workspace.send(
            package.file,
            host,
            self._command(
                scripts.ADD,
                what,
                " ".join(self._architectures_of(package)),
                package.file,
                package.name,
                package.version,
                package.architecture,
                package.sha256,
                str(package.size_bytes),
            ),
            timeout_s=TIMEOUT_S,
            what=what,
        )
        return done.text.strip() == "added"

    def remove(self, host: Host, name: str, versions: Sequence[str]) -> None:
        """Removes exactly these versions of a package from the index and the pool, and looks that
        they are gone; fine when they are gone already.

        :param host: has the repository.
        :raises RemoteError: when the tool is missing or fails, or one is still there.
        """
        names.check("application", name)
        for version in versions:
            names.check("version", version)
        if versions:
            self._run(host, scripts.REMOVE, f"remove versions of {name}", name, " ".join(versions))

    def refresh(self, host: Host) -> str | None:
        """Publishes what there is anew, with the date of now: hosts refuse an old index.

        :param host: has the repository.
        :returns: the date, ISO 8601 in UTC; None when nothing has been published there.
        :raises RemoteError: when the tool is missing or fails, or the index is still an old one.
        """
        return self._run(host, scripts.REFRESH, f"refresh the index of {self.distribution}") or None

    def _run(self, host: Host, script: str, what: str, *values: str) -> str:
        command = self._command(script, what, *values)
        return self._ssh.run(host, command, timeout_s=TIMEOUT_S, what=what).text.strip()

    def _command(self, script: str, what: str, *values: str) -> list[str]:
        """Returns what root runs on the repository's host: the script, as the repository's user."""
        user, *rest = self._as_user(self._config, script, what, *values)
        return ["sh", "-c", f'{scripts.AS_USER}\nas_user "$@"', "as_user", user, *rest]

    @classmethod
    def _as_user(cls, config: Mapping[str, Any], script: str, what: str, *values: str) -> list[str]:
        """Returns the arguments of `as_user`.

        :param what: the script in words.
        :param values: its own arguments.
        """
        return [
            config["user"],
            scripts.START + cls.functions + scripts.FUNCTIONS + script,
            what,
            " ".join(cls.programs),
            cls.installed_by,
            config["distribution"],
            config["component"],
            config["gpg_key"],
            " ".join(config["architectures"]),
            str(LOCK_TIMEOUT_S),
            *values,
            *cls.tool_values(config),
        ]

    def _require(self, package: Package) -> None:
        """
        :raises DeliveryError: unless the build host has said what a package can be.
        """
        names.check("application", package.name)
        names.check("version", package.version)
        names.check("sha256", package.sha256)
        file = f"{package.name}_{package.version}_{package.architecture}.deb"
        if package.architecture not in ARCHITECTURES or package.file != file:
            raise DeliveryError(f"{shown(package.file)} is not the name of a package of ours")
        size = package.size_bytes
        if not isinstance(size, int) or not 0 < size <= self._largest_bytes:
            raise DeliveryError(
                f"{package.file} has {shown(size)} bytes; build.limits.disk_mib allows "
                f"{self._largest_bytes}"
            )

    def _architectures_of(self, package: Package) -> list[str]:
        """The architectures in whose index the package has to be found."""
        if package.architecture == "all":
            return self.architectures
        if package.architecture not in self.architectures:
            raise DeliveryError(
                f"{package.file} is for {package.architecture}, not one of "
                f"repository.architectures ({', '.join(self.architectures)})"
            )
        return [package.architecture]


TOOLS = Registry(Repository, __name__)


def only_host(configuration: Configuration) -> Host | None:
    """Returns the host of the repository; None when each build host has one of its own.

    :raises NoHosts: when there is none that is healthy, or more than one.
    """
    section = configuration.section("repository")
    if not section.get("service"):
        return None
    return configuration.discovery().only_host(section["service"], section["tag"])


def hosts(configuration: Configuration) -> list[Host]:
    """Returns the hosts that have a repository: one, or the healthy build hosts.

    :raises NoHosts: when there is none.
    """
    only = only_host(configuration)
    if only:
        return [only]
    return configuration.discovery().service_hosts(
        configuration.build_service(), configuration.build_tag()
    )
