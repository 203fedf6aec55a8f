"""What root of a build host, and who serves old packages, try on the APT repository, which has a
host of its own here."""

from __future__ import annotations

import json
import re
from typing import Iterator

import pytest
import yaml
from delivery_driver import Delivery

from delivery import repository
from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.isolation import Isolation
from delivery.packaging import Package
from delivery.workspace import Workspace
from sandbox.fleet import APTLY_ROOT, REPOSITORY_HOME, REPOSITORY_KEY, REPOSITORY_USER
from sandbox.world import World

WORLD = ["--canary", "1", "--production", "3", "--repository-host"]
DISTRIBUTION = f"{APTLY_ROOT}/public/dists/cicd"
VERSION = "9.0-9.fffffff"
FILE = f"shop_{VERSION}_all.deb"

# $1 the workspace's directory, $2 a line of control data. Prints the package's SHA-256 and size.
MAKE = f"""
set -e
mkdir -p "$1/package/tree/DEBIAN"
cd "$1/package"
printf '%s\\n' "$2" > tree/DEBIAN/control
for field in 'Package: shop' 'Version: {VERSION}' 'Architecture: all' \\
    'Maintainer: Mallory <m@example.org>' 'Description: forged'; do
    grep -q "^${{field%%:*}}:" tree/DEBIAN/control || echo "$field" >> tree/DEBIAN/control
done
dpkg-deb --root-owner-group --build tree {FILE} >&2
sha256sum {FILE} | cut -d ' ' -f 1
stat -c %s {FILE}
"""

# What there is on the repository's host, and what runs there for its user.
STATE = f"""
cat {DISTRIBUTION}/InRelease
find {APTLY_ROOT}/public -name '*.deb'
ls -d /var/tmp/cicd-repository.* 2>/dev/null
pgrep -u {REPOSITORY_USER} -x 'sh|dpkg-deb|aptly|head'
"""

# $1 the date that the index is to be of. Signed with the repository's key, it is put in place.
REDATE = f"""
set -e
cd {DISTRIBUTION}
gpg --quiet --decrypt InRelease 2>/dev/null | sed "s/^Date: .*/Date: $1/" > "$HOME/Release"
gpg --batch --yes --clearsign --local-user {REPOSITORY_KEY} --output InRelease "$HOME/Release"
"""


@pytest.fixture(scope="module")
def delivered(shop: Delivery) -> Delivery:
    """A version that has come by this repository to all hosts."""
    version = shop.deploy()
    shop.say("!deploy promote shop")
    assert set(shop.installed().values()) == {version}
    return shop


@pytest.fixture(scope="module")
def configuration(world: World) -> Configuration:
    return Configuration(yaml.safe_load((world.config_dir / "cicd_canary.yaml").read_text()))


@pytest.fixture
def workspace(configuration: Configuration) -> Iterator[Workspace]:
    work = Workspace.create(
        configuration.build_ssh(), configuration.build_host(), Isolation.configured(configuration)
    )
    yield work
    work.remove()


def test_the_build_host_has_no_key_and_no_repository(delivered: Delivery):
    build = delivered.world.host("build")
    assert delivered.world.repository_host.name == "packages"
    assert build.run(["gpg", "--list-secret-keys"]).stdout == ""
    assert build.run(["id", REPOSITORY_USER]).returncode == 1
    assert build.run(["test", "-e", REPOSITORY_HOME]).returncode == 1


def test_no_other_user_of_a_host_can_hold_its_locks(delivered: Delivery):
    canary, keeper = delivered.world.host("canary-1"), delivered.world.repository_host
    for host, lock in (
        (canary, "/var/lib/cicd/shop.lock"),
        (canary, "/var/cache/cicd/lock"),
        (keeper, f"{APTLY_ROOT}/cicd-canary.lock"),
    ):
        assert host.run(["flock", "--nonblock", lock, "true"]).returncode == 0
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "flock"]
        ran = host.run([*nobody, "--nonblock", lock, "true"])
        assert ran.returncode != 0
        assert "Permission denied" in ran.stderr


@pytest.mark.parametrize(
    ("control", "then", "why"),
    [
        ("Package: notes", "", "contains notes 9.0-9.fffffff all, not shop"),
        ("Version: 9.1", "", "contains shop 9.1 all, not shop"),
        ("Architecture: amd64", "", "contains shop 9.0-9.fffffff amd64, not shop"),
        ("Source: ../../../../../root", "", "says in its control data what only the repository"),
        ("Filename: pool/main/s/shop/x.deb", "", "says in its control data what only"),
        ("Filename : pool/main/n/notes/x.deb", "", "says in its control data what only"),
        ("Section: x", f"printf x >> {FILE}", "has changed since it was made"),
        ("Section: x", f"truncate -s 100M {FILE}", "has changed since it was made"),
        ("Section: x", f"truncate -s 10 {FILE}", "10 of the [0-9]+ bytes"),
        ("Section: x", f"ln -sf /etc/shadow {FILE}", "bytes of .* have arrived|has changed since"),
        ("Section: x", f"rm {FILE}", "is missing in workspace"),
    ],
)
def test_only_the_package_that_the_pack_names_is_taken(
    delivered: Delivery,
    configuration: Configuration,
    workspace: Workspace,
    control: str,
    then: str,
    why: str,
):
    build, keeper = delivered.world.host("build"), delivered.world.repository_host
    made = build.run(["sh", "-c", MAKE, "make", workspace.path, control], check=True).stdout
    sha256, size = made.split()
    build.run(["sh", "-c", f"cd {workspace.path}/package; {then}"], check=True)
    before = keeper.run(["sh", "-c", STATE]).stdout
    host = repository.only_host(configuration)
    assert host and host.node == keeper.name

    with pytest.raises(DeliveryError, match=why):
        repository.TOOLS.create(configuration).add(
            host, workspace, Package(FILE, "shop", VERSION, "all", sha256, int(size))
        )

    assert keeper.run(["sh", "-c", STATE]).stdout == before


def test_a_build_host_cannot_pass_for_the_repositorys(delivered: Delivery):
    build = delivered.world.host("build")
    token = json.loads(build.run(["cat", "/etc/consul.d/build.json"]).stdout)["service"]["token"]
    body = json.dumps({"Name": "repository", "Tags": ["repository::host"], "Port": 22})
    said = build.run(
        [
            *("curl", "-sS", "-X", "PUT", "--header", f"X-Consul-Token: {token}", "-d", body),
            "http://127.0.0.1:8500/v1/agent/service/register",
        ]
    ).stdout
    assert "Permission denied" in said


@pytest.mark.parametrize("path", ["/etc/consul.d/repository.json", "/etc/shadow", "/root/.ssh"])
def test_who_signs_reads_nothing_of_root(delivered: Delivery, path: str):
    keeper = delivered.world.repository_host
    assert (
        "Permission denied"
        in keeper.run_as_repository_user(["find", path, "-exec", "cat", "{}", "+"]).stderr
    )


def test_a_frozen_index_is_refused_and_a_refreshed_one_is_good_again(delivered: Delivery):
    keeper, running = delivered.world.repository_host, delivered.installed()["production-1"]
    version = delivered.deploy()
    long_ago = keeper.run(["date", "-u", "-R", "-d", "15 days ago"]).stdout.strip()
    long_ago = long_ago.replace("+0000", "UTC")
    keeper.run_as_repository_user(["sh", "-c", REDATE, "redate", long_ago], check=True)

    said = delivered.say("!deploy promote shop")

    assert re.search(
        rf"could not download shop {version}: E: http://repository:8080/dists/cicd/"
        r"InRelease expired 1d \S+.* ago: an old one is served, or it was not refreshed",
        " ".join(said.split()),
    ), said
    assert delivered.installed()["production-1"] == running
    assert "the index is 15 days old" in " ".join(delivered.say("!deploy doctor").split())

    refreshed = delivered.engine.run("cicd_canary.repository_refresh")

    assert refreshed.status == "succeeded", refreshed.result
    assert "in production on 3 hosts" in delivered.say("!deploy promote shop")
    assert set(delivered.installed().values()) == {version}
    assert "everything is fine" in delivered.say("!deploy doctor")
