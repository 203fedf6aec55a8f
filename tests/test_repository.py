"""A signed APT repository on a build host: with real Freight, aptly, gpg and apt.

Each test runs for each tool that there is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from delivery import repository
from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.packaging import Package
from delivery.remote import RemoteError
from delivery.repository import VERIFY
from delivery.repository.aptly import Aptly
from delivery.repository.freight import Freight
from delivery.workspace import Workspace

from .local_host import ISOLATION, LocalShell

TOOLS = {"freight": Freight.installed_by, "aptly": Aptly.installed_by}


def created(section):
    """Returns what section repository of the configuration names."""
    return repository.TOOLS.create(Configuration({"repository": section}))


OTHERS = ("gpg", "gpgv", "flock", "dpkg-deb", "apt-get")
KEY = "packages@acme.example"

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
    subprocess.run(
        [
            "gpg",
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
    yield home
    subprocess.run(["gpgconf", "--kill", "all"], env=environment)
    shutil.rmtree(str(home))


class AptRepository:
    """A fresh repository, and workspaces whose packages are added to it."""

    def __init__(self, home, root, tool):
        self.home = home
        self.ssh = LocalShell(HOME=str(home))
        self.tool = tool
        self.public = root / "public"
        self.freight_conf = root.parent / "freight.conf"
        self.workspaces = []
        (self.home / ".aptly.conf").write_text(
            json.dumps({"rootDir": str(root), "gpgProvider": "gpg"})
        )
        self.freight_conf.write_text(
            f'VARLIB="{root}/library"\nVARCACHE="{root}/public"\nGPG="nobody@acme.example"\n'
        )

    def package(self, name="shop", version="1.0-1.0123abc", content="x", architecture="all"):
        """Makes a small package in a workspace of its own; returns both.

        Its homepage is empty, as FPM writes one that is not known.
        """
        workspace = Workspace.create(self.ssh, self.ssh.host, ISOLATION)
        self.workspaces.append(workspace)
        tree = Path(workspace.path, "package", "tree")
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n"
            f"Maintainer: Ada <ada@example.org>\nHomepage: \nDescription: {content}\n"
        )
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

    def add(self, workspace, package, **config):
        config = {
            "tool": self.tool,
            "gpg_key": KEY,
            "architectures": ["amd64"],
            "freight_conf": str(self.freight_conf),
            **config,
        }
        return created(config).add(workspace, package)

    def add_without_publishing(self, workspace, package):
        deb = f"{workspace.path}/package/{package.file}"
        subprocess.run(
            {
                "aptly": ["aptly", "repo", "add", "cicd-cicd-main", deb],
                "freight": ["freight", "add", "-c", str(self.freight_conf), deb, "apt/cicd/main"],
            }[self.tool],
            check=True,
            env={**os.environ, "HOME": str(self.home)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def index(self, architecture="amd64", component="main", distribution="cicd"):
        return (
            self.public / "dists" / distribution / component / f"binary-{architecture}" / "Packages"
        ).read_text()


@pytest.fixture(params=[pytest.param(tool, marks=needs(tool)) for tool in TOOLS])
def apt(request, home):
    # Below /tmp itself here too: Freight has gpg make a keyring, and start an agent, below it.
    root = Path(tempfile.mkdtemp(dir="/tmp"))
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
        VERIFY + 'verify "$@" || :',
        str(apt.public),
        "cicd",
        KEY,
        "main",
        "amd64",
        package.name,
        package.version,
        package.architecture,
        package.sha256,
        what="verify",
    )

    assert problem in done.text


def test_a_key_that_is_not_there_is_named(apt):
    workspace, package = apt.package()

    with pytest.raises(RemoteError, match="no secret key nobody@acme.example on this host"):
        apt.add(workspace, package, gpg_key="nobody@acme.example")


@pytest.mark.parametrize(
    ("tool", "installed_by"),
    [
        ("freight", "apt-get install freight .*github.com/freight-team/freight"),
        ("aptly", "apt-get install aptly"),
    ],
)
def test_a_missing_tool_is_named_with_what_installs_it(tool, installed_by, home, tmp_path):
    for other in ("gpg", "gpgv", "flock", "sh", "timeout", "grep"):
        (tmp_path / other).symlink_to(shutil.which(other))
    made = AptRepository(home, tmp_path / "repository", tool)
    workspace, package = made.package()
    bare = Workspace(LocalShell(PATH=str(tmp_path)), workspace.host, workspace.id)
    try:
        with pytest.raises(RemoteError, match=f"{tool} is not installed; run {installed_by}"):
            made.add(bare, package)
    finally:
        workspace.remove()


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
        ({"gpg_key": KEY, "tool": "aptyl"}, "unknown tool 'aptyl'; nearest: aptly"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_by_key(config, message):
    with pytest.raises(DeliveryError, match=message):
        created(config)
