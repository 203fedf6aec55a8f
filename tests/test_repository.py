"""A signed APT repository on a build host: with real Freight, aptly, gpg and apt.

Each test runs for each tool that there is.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from unittest import mock

import pytest
from waiting import wait_for

from delivery import repository
from delivery.clock import now, parsed
from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.packaging import Package
from delivery.remote import RemoteError
from delivery.repository import scripts
from delivery.repository.aptly import Aptly
from delivery.repository.freight import Freight
from delivery.workspace import Workspace

from .local_host import ISOLATION, LocalShell

TOOLS = {"freight": Freight.installed_by, "aptly": Aptly.installed_by}


def created(section, ssh=None):
    """Returns what section repository of the configuration names."""
    configuration = Configuration({"repository": section})
    with mock.patch.object(configuration, "build_ssh", return_value=ssh):
        return repository.TOOLS.create(configuration)


OTHERS = ("gpg", "gpgv", "flock", "dpkg-deb", "apt-get", "setpriv", "unshare")
KEY = "packages@acme.example"
USER, UID = "cicd-test", 63999  # known to nobody but the commands that are run for it

pytestmark = pytest.mark.skipif(
    not all(shutil.which(tool) for tool in OTHERS),
    reason=f"needs {', '.join(OTHERS)}: apt-get install gnupg gpgv",
)


def needs(tool):
    return pytest.mark.skipif(
        not shutil.which(tool), reason=f"{tool} is not installed: {TOOLS[tool]}"
    )


@pytest.fixture(scope="module")
def home():
    """A home directory whose user has a secret key without a passphrase."""
    # Below /tmp itself: the path of an agent's socket has to be short.
    home = Path(tempfile.mkdtemp(dir="/tmp"))
    environment = {**os.environ, "HOME": str(home)}
    (home / ".gnupg").mkdir(mode=0o700)
    for directory in (home, home / ".gnupg"):
        os.chown(str(directory), UID, UID)
    home.chmod(0o755)
    subprocess.run(
        [
            *("setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "gpg"),
            "--batch",
            "--quiet",
            "--passphrase",
            "",
            "--quick-generate-key",
            KEY,
            "ed25519",
            "sign",
            "never",
        ],
        check=True,
        env=environment,
    )
    users = Path("/etc/passwd").read_text() + f"{USER}:x:{UID}:{UID}::{home}:/bin/sh\n"
    (home / "users").write_text(users)
    yield home
    subprocess.run(["gpgconf", "--kill", "all"], env=environment)
    shutil.rmtree(str(home))


class AptRepository:
    """A fresh repository, and workspaces whose packages are added to it."""

    def __init__(self, home, root, tool):
        self.home = home
        self.ssh = LocalShell(users=home / "users")
        self.tool = tool
        self.public = root / "public"
        self.freight_conf = root.parent / "freight.conf"
        root.mkdir(parents=True)
        os.chown(str(root), UID, UID)
        self.workspaces = []
        (self.home / ".aptly.conf").write_text(
            json.dumps({"rootDir": str(root), "gpgProvider": "gpg"})
        )
        self.freight_conf.write_text(
            f'VARLIB="{root}/library"\nVARCACHE="{root}/public"\nGPG="nobody@acme.example"\n'
        )

    def package(
        self,
        name="shop",
        version="1.0-1.0123abc",
        content="x",
        architecture="all",
        control="",
    ):
        """Makes a small package in a workspace of its own; returns both.

        Its homepage is empty, as FPM writes one that is not known.

        control: a field that it has as well, or in place of the right one.
        """
        workspace = Workspace.create(self.ssh, self.ssh.host, ISOLATION)
        self.workspaces.append(workspace)
        tree = Path(workspace.path, "package", "tree")
        (tree / "DEBIAN").mkdir(parents=True)
        text = (
            f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n"
            f"Maintainer: Ada <ada@example.org>\nHomepage: \nDescription: {content}\n"
        )
        if control:
            key = control.split(":")[0]
            kept = [line for line in text.splitlines() if not line.startswith(f"{key}:")]
            text = "".join(f"{line}\n" for line in [control, *kept])
        (tree / "DEBIAN" / "control").write_text(text)
        deb = tree.parent / f"{name}_{version}_{architecture}.deb"
        subprocess.run(
            ["dpkg-deb", "--build", "--root-owner-group", str(tree), str(deb)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        sha256 = subprocess.run(
            ["sha256sum", str(deb)], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.split()[0]
        return workspace, Package(deb.name, name, version, architecture, sha256, deb.stat().st_size)

    def repository(self, **config):
        config = {
            "tool": self.tool,
            "user": USER,
            "gpg_key": KEY,
            "architectures": ["amd64"],
            "freight_conf": str(self.freight_conf),
            **config,
        }
        return created(config, self.ssh)

    def add(self, workspace, package, **config):
        return self.repository(**config).add(self.ssh.host, workspace, package)

    def remove(self, name, *versions):
        self.repository().remove(self.ssh.host, name, versions)

    def add_without_publishing(self, workspace, package):
        deb = self.home / package.file
        shutil.copy(f"{workspace.path}/package/{package.file}", str(deb))
        self.as_user(
            {
                "aptly": ["aptly", "repo", "add", "cicd-cicd-main", str(deb)],
                "freight": [
                    *("freight", "add", "-c", str(self.freight_conf), str(deb)),
                    "apt/cicd/main",
                ],
            }[self.tool]
        )

    def as_user(self, command):
        """Runs what somebody may do by hand who owns the repository; returns what it prints."""
        return subprocess.run(
            ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", *command],
            check=True,
            env={**os.environ, "HOME": str(self.home)},
            cwd=str(self.home),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ).stdout

    def index(self, architecture="amd64", component="main", distribution="cicd"):
        return (
            self.public / "dists" / distribution / component / f"binary-{architecture}" / "Packages"
        ).read_text()


@pytest.fixture(params=[pytest.param(tool, marks=needs(tool)) for tool in TOOLS])
def apt(request, home):
    # Below /tmp itself here too: Freight has gpg make a keyring, and start an agent, below it.
    root = Path(tempfile.mkdtemp(dir="/tmp"))
    root.chmod(0o755)
    made = AptRepository(home, root / "repository", request.param)
    yield made
    shutil.rmtree(str(root))
    for workspace in made.workspaces:
        workspace.remove()


def test_the_first_package_makes_a_signed_repository(apt):
    workspace, package = apt.package(version="1.0~rc1+x-1.0123abc")

    assert apt.add(workspace, package) is True

    assert f"SHA256: {package.sha256}" in apt.index()
    assert (
        subprocess.run(
            ["gpg", "--verify", str(apt.public / "dists/cicd/InRelease")],
            env={**os.environ, "HOME": str(apt.home)},
            stderr=subprocess.DEVNULL,
        ).returncode
        == 0
    )


def test_apt_itself_takes_the_package_from_it(apt, tmp_path):
    workspace, package = apt.package()
    apt.add(workspace, package)
    keyring = tmp_path / "cicd.gpg"
    keyring.write_bytes(
        subprocess.run(
            ["gpg", "--batch", "--export", KEY],
            env={**os.environ, "HOME": str(apt.home)},
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    )
    state = tmp_path / "apt"
    for directory in ("lists/partial", "archives/partial", "etc"):
        (state / directory).mkdir(parents=True)
    (state / "etc/cicd.list").write_text(
        f"deb [arch=amd64 signed-by={keyring}] file:{apt.public} cicd main\n"
    )
    (state / "status").touch()
    options = [
        f"Dir::Etc::SourceList={state}/etc/cicd.list",
        "Dir::Etc::SourceParts=-",
        f"Dir::State={state}",
        f"Dir::State::Lists={state}/lists",
        f"Dir::State::Status={state}/status",
        f"Dir::Cache={state}",
        "APT::Architecture=amd64",
        "APT::Sandbox::User=root",
    ]
    apt_get = ["apt-get", "--quiet", *(part for option in options for part in ("-o", option))]

    subprocess.run([*apt_get, "update"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(
        [*apt_get, "download", f"shop={package.version}"],
        check=True,
        cwd=str(state),
        stdout=subprocess.DEVNULL,
    )

    deb = next(state.glob("shop_*.deb"))
    assert (
        subprocess.run(["sha256sum", str(deb)], stdout=subprocess.PIPE, text=True).stdout.split()[0]
        == package.sha256
    )


def test_every_version_stays(apt):
    for number in (1, 2, 3):
        apt.add(*apt.package(version=f"1.0-{number}.0123abc"))

    assert [f"Version: 1.0-{number}.0123abc" in apt.index() for number in (1, 2, 3)] == [True] * 3


def test_the_same_package_again_changes_nothing(apt):
    workspace, package = apt.package()
    apt.add(workspace, package)
    release = apt.public / "dists/cicd/InRelease"
    before = release.stat().st_mtime_ns

    assert apt.add(workspace, package) is False
    assert release.stat().st_mtime_ns == before


def test_a_package_that_was_added_and_not_published_is_published(apt):
    workspace, package = apt.package()
    apt.add(workspace, package)
    later_workspace, later = apt.package(version="1.1-2.0123abc")
    apt.add_without_publishing(later_workspace, later)

    assert apt.add(later_workspace, later) is False
    assert f"SHA256: {later.sha256}" in apt.index()


def test_another_package_under_a_version_that_is_taken_is_refused_with_both_hashes(apt):
    workspace, package = apt.package()
    apt.add(workspace, package)
    other_workspace, other = apt.package(content="y")

    with pytest.raises(
        RemoteError,
        match=(
            f"shop 1.0-1.0123abc exists with SHA-256 {package.sha256}; "
            f"this package has {other.sha256}"  # both, so that people can compare
        ),
    ):
        apt.add(other_workspace, other)

    assert f"SHA256: {package.sha256}" in apt.index()


def test_removed_versions_leave_index_and_pool_and_the_others_stay(apt):
    made = [apt.package(version=f"1.0-{number}.0123abc") for number in (1, 2, 3)]
    made.append(apt.package("shop-data", "1.0-1.0123abc"))
    for each in made:
        apt.add(*each)

    apt.remove("shop", "1.0-1.0123abc", "1.0-3.0123abc", "9-9.0123abc")

    kept = [made[1][1], made[3][1]]
    assert sorted(package.sha256 for package in kept) == sorted(
        line.split()[1] for line in apt.index().splitlines() if line.startswith("SHA256: ")
    )
    everywhere = [path.name for path in apt.public.parent.rglob("*.deb")]  # aptly adds a sum
    assert {name[name.index("shop") :] for name in everywhere} == {each.file for each in kept}
    apt.remove("shop", "1.0-1.0123abc")  # fine when it is gone already


def test_a_version_that_only_compares_equal_is_not_removed(apt):
    workspace, package = apt.package(version="1.0-1.a")
    apt.add(workspace, package)

    apt.remove("shop", "1.00-1.a")

    assert package.sha256 in apt.index()


def test_the_last_package_can_be_removed_and_another_one_added(apt):
    apt.add(*apt.package())

    apt.remove("shop", "1.0-1.0123abc")

    assert not list(apt.public.rglob("*.deb"))
    assert apt.add(*apt.package(version="1.1-2.0123abc")) is True


def test_where_nothing_was_published_nothing_is_removed_or_refreshed(apt):
    apt.remove("shop", "1.0-1.0123abc")

    assert apt.repository().refresh(apt.ssh.host) is None
    assert not (apt.public / "dists").exists()


def test_a_refresh_signs_the_same_index_with_the_date_of_now(apt):
    workspace, package = apt.package()
    apt.add(workspace, package)
    before = now()
    time.sleep(1)  # a date has no fractions of a second

    at = apt.repository().refresh(apt.ssh.host)

    assert before < at <= now()
    release = (apt.public / "dists/cicd/InRelease").read_text()
    date = re.search(r"(?m)^Date: (.*)$", release)[1]
    assert parsedate_to_datetime(date).replace(tzinfo=timezone.utc) == parsed(at)
    assert package.sha256 in apt.index()


def test_packages_added_at_once_are_all_published(apt):
    made = [
        apt.package(name, version)
        for name in ("shop", "notes")
        for version in ("1.0-1.0123abc", "1.0-2.0123abc")
    ]

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(lambda pair: apt.add(*pair), made)) == [True] * 4

    for _, package in made:
        assert f"SHA256: {package.sha256}" in apt.index()


def test_components_and_distributions_are_published_by_themselves(apt):
    made = [
        (*apt.package(version=f"1.0-{number}.0123abc"), place)
        for number, place in enumerate([{}, {"component": "extra"}, {"distribution": "next"}])
    ]

    if apt.tool == "aptly":
        made.pop(1)  # publishes one component of a distribution
    for workspace, package, place in made:
        assert apt.add(workspace, package, **place) is True

    for _, package, place in made:
        for _, other, _ in made:
            assert (other.sha256 in apt.index(**place)) is (other is package)


def test_a_package_for_all_is_in_the_index_of_every_architecture(apt):
    workspace, package = apt.package()

    apt.add(workspace, package, architectures=["amd64", "arm64"])

    assert package.sha256 in apt.index("amd64")
    assert package.sha256 in apt.index("arm64")


def test_a_package_for_an_architecture_that_is_not_served_is_refused(apt):
    workspace, package = apt.package(architecture="arm64")

    with pytest.raises(DeliveryError, match=r"is for arm64, not one of repository.architectures"):
        apt.add(workspace, package)


@pytest.mark.parametrize(
    ("path", "old", "new", "problem"),
    [
        ("dists/cicd/InRelease", b"Codename: cicd", b"Codename: evil", "is not signed with"),
        (
            "dists/cicd/main/binary-amd64/Packages",
            b"Ada",
            b"Eve",
            "does not list the current main/binary-amd",
        ),
        (
            "pool/**/shop_1.0-1.0123abc_all.deb",
            b"debian-binary",
            b"debian-binarx",
            "shop_1.0-1.0123abc_all.deb has SHA-256",
        ),
    ],
)
def test_what_was_tampered_with_after_publishing_is_found(apt, path, old, new, problem):
    workspace, package = apt.package()
    apt.add(workspace, package)
    (file,) = apt.public.glob(path)
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content.replace(old, new))

    done = workspace.shell(
        f"export HOME=$1 scratch=$workspace key={KEY}; shift"
        + scripts.FUNCTIONS
        + scripts.VERIFY
        + 'verify "$@" || :',
        str(apt.home),
        str(apt.public),
        "cicd",
        "main",
        "amd64",
        package.name,
        package.version,
        package.architecture,
        package.sha256,
        what="verify",
    )

    assert problem in done.text


@pytest.mark.parametrize(
    ("user", "problem"),
    [
        ("nosuch", "no user nosuch on this host; run useradd --system --create-home --home-dir"),
        ("root", "the repository must not belong to root; correct repository.user"),
    ],
)
def test_who_cannot_own_the_repository_is_named(apt, user, problem):
    with pytest.raises(RemoteError, match=problem):
        apt.add(*apt.package(), user=user)


def test_nothing_of_it_is_left_and_nothing_of_it_is_roots(apt):
    before = set(Path("/var/tmp").glob("cicd-repository.*"))
    apt.add(*apt.package())

    # Those of tests at the same time end as well.
    new = set(Path("/var/tmp").glob("cicd-repository.*")) - before
    wait_for(lambda: not any(each.exists() for each in new), what="the directory to be gone")
    owners = {path.lstat().st_uid for path in apt.public.parent.rglob("*")}
    assert owners == {UID}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sha256": "0" * 64}, "has changed since it was made"),
        ({"size_bytes": 10**6}, "of the 1000000 bytes of .* have arrived"),
        ({"version": "2.0", "file": "shop_2.0_all.deb"}, "is missing in workspace"),
    ],
)
def test_other_bytes_than_those_that_were_announced_are_refused(apt, change, problem):
    workspace, package = apt.package()

    with pytest.raises(DeliveryError, match=problem):
        apt.add(workspace, package._replace(**change))

    assert not (apt.public / "dists").exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"size_bytes": 10**12}, "build.limits.disk_mib allows"),
        ({"size_bytes": 0}, "build.limits.disk_mib allows"),
        ({"size_bytes": "7 || id"}, "has '7 .. id' bytes"),
        ({"file": "../shop_1.0_all.deb"}, "is not the name of a package"),
        ({"file": "x.deb"}, "is not the name of a package"),
        ({"architecture": "x86"}, "is not the name of a package"),
        ({"name": "../x"}, "is not a valid application"),
        ({"version": "$(id)"}, "is not a valid version"),
        ({"sha256": "x"}, "is not a valid sha256"),
    ],
)
def test_what_a_build_host_says_of_its_package_has_to_be_possible(change, problem):
    package = Package("shop_1.0_all.deb", "shop", "1.0", "all", "0" * 64, 7)

    with pytest.raises(DeliveryError, match=problem):
        created({"gpg_key": KEY}).add(None, None, package._replace(**change))


@pytest.mark.parametrize(
    ("control", "problem"),
    [
        ("Package: notes", "contains notes 1.0-1.0123abc all, not shop"),
        ("Version: 2.0", "contains shop 2.0 all, not shop"),
        ("Architecture: amd64", "contains shop 1.0-1.0123abc amd64, not shop"),
        ("Source: ../../../etc", "what only the repository can"),
        ("Filename: /etc/shadow", "what only the repository can"),
        ("sha256: 0", "what only the repository can"),
        ("Filename : /etc/shadow", "what only the repository can"),
        ("Source\t: ../../../etc", "what only the repository can"),
        ("X-Shop: a\rFilename: /etc/shadow", "what only the repository can"),
    ],
)
def test_a_package_that_is_another_one_inside_is_refused(apt, control, problem):
    workspace, package = apt.package(control=control)

    with pytest.raises(RemoteError, match=problem):
        apt.add(workspace, package)

    assert not (apt.public / "dists").exists()


def test_a_key_that_is_not_there_is_named(apt):
    workspace, package = apt.package()

    with pytest.raises(RemoteError, match=f"{USER} has no secret key nobody@acme.example on this"):
        apt.add(workspace, package, gpg_key="nobody@acme.example")


@pytest.mark.parametrize(
    ("tool", "installed_by"),
    [
        ("freight", "apt-get install freight .*github.com/freight-team/freight"),
        ("aptly", "apt-get install aptly"),
    ],
)
def test_a_missing_tool_is_named_with_what_installs_it(tool, installed_by, home, tmp_path):
    programs = Path(tempfile.mkdtemp(dir="/tmp"))
    programs.chmod(0o755)
    for directory in ("/usr/bin", "/usr/sbin"):
        for other in Path(directory).iterdir():
            if other.name != tool and not (programs / other.name).exists():
                (programs / other.name).symlink_to(other)
    made = AptRepository(home, tmp_path / "repository", tool)
    made.ssh = LocalShell(users=home / "users", PATH=str(programs))
    workspace, package = made.package()
    try:
        with pytest.raises(RemoteError, match=f"{tool} is not installed; run {installed_by}"):
            made.add(workspace, package)
    finally:
        workspace.remove()
        shutil.rmtree(str(programs))


@needs("freight")
def test_freights_configuration_that_is_not_there_is_named(home, tmp_path):
    made = AptRepository(home, tmp_path / "repository", "freight")
    workspace, package = made.package()
    try:
        with pytest.raises(RemoteError, match="Freight's configuration /nowhere is missing"):
            made.add(workspace, package, freight_conf="/nowhere")
    finally:
        workspace.remove()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "repository.gpg_key is not set"),
        ({"gpg_key": "--x"}, "repository.gpg_key in .* got '--x'"),
        ({"gpg_key": KEY, "distribution": "a/../b"}, "repository.distribution in .* expected"),
        ({"gpg_key": KEY, "component": "a b"}, "repository.component in .* expected"),
        (
            {"gpg_key": KEY, "architectures": ["all"]},
            "repository.architectures: unknown architecture 'all'",
        ),
        (
            {"gpg_key": KEY, "freight_conf": "/etc/a b"},
            "repository.freight_conf in .* got '/etc/a b'",
        ),
        (
            {"gpg_key": KEY, "freight_conf": "freight.conf"},
            "repository.freight_conf in .* got 'freight.conf'",
        ),
        ({"gpg_key": KEY, "user": "a b"}, "repository.user in .* got 'a b'"),
        ({"gpg_key": KEY, "tool": "aptyl"}, "unknown tool 'aptyl'; nearest: aptly"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_by_key(config, message):
    with pytest.raises(DeliveryError, match=message):
        created(config)
