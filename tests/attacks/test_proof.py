"""What somebody tries who holds the key of the APT repository, and may write to Consul: no host
runs a package whose provenance is not signed with the other key."""

from __future__ import annotations

import json
from typing import Iterator

import pytest
from delivery_driver import Delivery, serving
from waiting import wait_to_equal

from sandbox.fleet import REPOSITORY_KEY
from sandbox.world import World

WORLD = ["--canary", "1", "--production", "3"]
FORGED = "9.0-9.fffffff"

# Builds a package of shop, and publishes it signed with the repository's key. $1 is its version.
PUBLISH = f"""
set -e
cd "$(mktemp -d)"
mkdir -p tree/DEBIAN
cat > tree/DEBIAN/control <<END
Package: $2
Version: $1
Architecture: all
Maintainer: Mallory <m@example.org>
Description: forged
END
printf '#!/bin/sh\\ntouch /var/lib/forged\\n' > tree/DEBIAN/postinst
chmod 755 tree/DEBIAN/postinst
dpkg-deb --root-owner-group --build tree "$2_$1_all.deb" >&2
aptly repo add cicd-cicd-main "$2_$1_all.deb" >&2
aptly publish update -batch -gpg-key={REPOSITORY_KEY} -skip-contents cicd >&2
sha256sum "$2_$1_all.deb" | cut -d ' ' -f 1
"""


@pytest.fixture(scope="module")
def shop(world: World, tmp_path_factory) -> Iterator[Delivery]:
    with serving(world, tmp_path_factory.mktemp("engine")) as engine:
        delivery = Delivery(world, engine, "shop", tmp_path_factory.mktemp("shop"))
        delivery.deploy()
        delivery.say("!deploy promote shop")
        assert set(delivery.installed().values()) == {delivery.installed()["canary-1"]}
        yield delivery


@pytest.fixture(autouse=True)
def nothing_changes(shop: Delivery) -> Iterator[None]:
    before = shop.installed()
    yield
    assert shop.installed() == before
    for host in before:
        assert shop.world.host(host).run(["test", "-e", "/var/lib/forged"]).returncode == 1


def published(shop: Delivery, version: str, package: str = "shop") -> str:
    """Returns the SHA-256 of a package that a thief of the repository's key has published."""
    ran = shop.world.repository_host.run_as_repository_user(
        ["sh", "-c", PUBLISH, "publish", version, package]
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def recorded(shop: Delivery, version: str, sha256: str, evidence: object = None) -> None:
    """Writes a release of it to Consul, as of the one that production runs."""
    store, running = shop.application.store, shop.installed()["production-1"]
    release = json.loads(store.get(f"shop/releases/{running}").value)
    release.update(version=version, package=dict(release["package"], sha256=sha256))
    operations = [store.overwrite(f"shop/releases/{version}", json.dumps(release))]
    if evidence is not None:
        operations.append(store.overwrite(f"shop/evidence/{version}", json.dumps(evidence)))
    store.commit(operations)


def cached(version: str) -> str:
    """Returns where a host keeps a package of shop."""
    return f"/var/cache/cicd/shop/shop_{version}.deb"


def ordered(shop: Delivery, version: str, host: str = "production-1") -> str:
    """Has a host told to run a version; returns why it does not."""
    store = shop.application.store
    key = f"shop/stages/production/assigned/{host}"
    store.commit([store.overwrite(key, version)])
    try:
        ran = shop.world.host(host).run(["/usr/local/sbin/cicd-converge", "shop"])
        assert ran.returncode == 1, ran.stdout
        return str(json.loads(ran.stdout)["reason"])
    finally:
        store.commit([store.delete(key)])
        ran = shop.world.host(host).run(["/usr/local/sbin/cicd-converge", "shop"])
        assert ran.returncode == 0, ran.stdout


def test_a_package_of_a_stolen_repository_key_has_no_evidence(shop: Delivery):
    recorded(shop, FORGED, published(shop, FORGED))
    assert ordered(shop, FORGED) == (
        f"not proven: shop {FORGED}: it has no evidence: it was published without a signing key"
    )
    assert shop.answers("production-1") == shop.installed()["production-1"]


def test_the_evidence_of_another_release_proves_nothing(shop: Delivery):
    running = shop.installed()["production-1"]
    evidence = json.loads(shop.application.store.get(f"shop/evidence/{running}").value)
    recorded(shop, "9.3-9.fffffff", published(shop, "9.3-9.fffffff"), evidence)
    assert "its evidence is that of another package" in ordered(shop, "9.3-9.fffffff")


def test_an_older_release_is_not_taken_for_a_new_one(shop: Delivery):
    store, running = shop.application.store, shop.installed()["production-1"]
    sha256 = json.loads(store.get(f"shop/releases/{running}").value)["package"]["sha256"]
    evidence = json.loads(store.get(f"shop/evidence/{running}").value)
    # The repository holds the old package's bytes under the new version's name.
    recorded(shop, "9.1-9.fffffff", sha256, evidence)
    published(shop, "9.1-9.fffffff")
    assert "is not the published package: its SHA-256 differs" in ordered(shop, "9.1-9.fffffff")


def test_nobody_installs_it_by_hand(shop: Delivery):
    published(shop, "9.4-9.fffffff")
    host = shop.world.host("production-1")
    for command in (
        ["apt-get", "install", "--yes", "shop"],
        ["apt-get", "install", "--yes", "shop=9.4-9.fffffff"],
        ["apt-get", "upgrade", "--yes"],
        ["apt-get", "dist-upgrade", "--yes"],
    ):
        host.run(["apt-get", "update"], check=True)
        ran = host.run(command)
        assert ran.returncode == 100, ran.stdout + ran.stderr
        assert "shop 9.4-9.fffffff: it has no evidence" in ran.stdout + ran.stderr


def test_what_is_proven_can_be_installed_by_hand(shop: Delivery):
    host, running = shop.world.host("production-1"), shop.installed()["production-1"]
    again = ["apt-get", "install", "--yes", "--reinstall", "--allow-downgrades"]
    ran = host.run([*again, f"shop={running}"])
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_our_source_brings_no_other_package(shop: Delivery):
    published(shop, "99:1.0", "coreutils")
    published(shop, "1.0", "not-of-this-host")
    host = shop.world.host("production-1")
    host.run(["apt-get", "update"], check=True)
    said = host.run(["apt-cache", "policy", "coreutils"]).stdout
    assert "Candidate: 99:1.0" not in said
    assert "99:1.0 -1" in said
    ran = host.run(["apt-get", "install", "--yes", "not-of-this-host"])
    assert ran.returncode == 100, ran.stdout


def test_a_revoked_release_and_a_revoked_key_are_refused(shop: Delivery):
    running = shop.installed()["production-1"]
    host = shop.world.host("production-1")
    check = ["/usr/local/sbin/cicd-verify", "shop", running, cached(running)]
    assert host.run(check).returncode == 0
    host.run(["sh", "-c", f"echo 'shop {running}' > /etc/cicd/revoked"], check=True)
    assert "it is revoked in /etc/cicd/revoked" in host.run(check).stderr
    host.run(["rm", "/etc/cicd/revoked"], check=True)
    host.run(["mv", "/etc/cicd/keys/sandbox.pem", "/root"], check=True)
    assert "signed by none of the keys" in host.run(check).stderr
    host.run(["mv", "/root/sandbox.pem", "/etc/cicd/keys"], check=True)
    assert host.run(check).returncode == 0


def test_two_hundred_times_what_is_proven_is_taken(shop: Delivery):
    running = shop.installed()["production-1"]
    loop = (
        f"for _ in $(seq 200); do /usr/local/sbin/cicd-verify shop {running} {cached(running)} "
        "|| echo refused; done"
    )
    ran = shop.world.host("production-1").run(["sh", "-c", loop])
    assert (ran.stdout, ran.stderr) == ("", "")


def test_the_evidence_says_what_became_of_a_release(shop: Delivery):
    running = shop.installed()["production-1"]
    wait_to_equal(lambda: len(shop.application.evidence.of(running)), 3)
