"""Two build hosts make each package: what both make is published, and what one of them adds, or a
build makes anew each time, is not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Iterator

import pytest
import yaml
from delivery_driver import Delivery, changed, serving
from waiting import wait_for

from delivery import packaging
from delivery.build_record import Build
from delivery.configuration import Configuration
from delivery.isolation import Isolation
from delivery.packaging import Recipe, read_recipe
from delivery.proof.reproduction import reproduce
from delivery.proof.told import told
from delivery.workspace import Workspace
from delivery.zones import Zone
from sandbox import templates
from sandbox.fleet import APPLICATIONS, SAMPLES, SERVICE_PATH
from sandbox.repositories import Checkout
from sandbox.world import World

WORLD = ["--canary", "1", "--production", "0", "--second-build-host"]
HOSTS = ("build", "build-2")
OVER = ("release_published", "packaging_failed", "build_failed")
NOT_DETERMINISTIC = "#!/bin/sh\ndate +%N > now\n"

# A packager that adds something of its own to every package.
TAMPERING = """#!/bin/sh
echo '* * * * * root id' > package/tree/opt/shop/added
exec /usr/local/bin/nfpm.real "$@"
"""


@pytest.fixture(scope="module")
def shop(world: World, tmp_path_factory) -> Iterator[Delivery]:
    file = world.config_dir / "cicd_canary.yaml"
    values = yaml.safe_load(file.read_text())
    values["proof"]["builders"] = "two"
    file.write_text(yaml.safe_dump(values))
    with serving(world, tmp_path_factory.mktemp("engine")) as engine:
        yield Delivery(world, engine, "shop", tmp_path_factory.mktemp("shop"))


def in_repository(world: World) -> str:
    found = world.repository_host.run(["find", "/var/lib/cicd-repository", "-name", "*.deb"])
    assert found.returncode == 0, found.stderr
    return found.stdout


def refused(shop: Delivery) -> str:
    """Returns why a push comes to nothing; it changes nothing, in Consul or in the repository."""
    before = shop.application.releases.versions(), in_repository(shop.world)
    event = shop.push_and_wait(*OVER)
    assert event["type"] == "packaging_failed", event
    assert (shop.application.releases.versions(), in_repository(shop.world)) == before
    reason = shop.application.builds.get(event["commit"]).packaging_error
    assert reason in event["message"]
    assert reason in " ".join(shop.say("!deploy history shop").split())
    for name in HOSTS:
        host = shop.world.host(name)
        if host.pid:
            find = ["find", "/var/tmp/cicd-canary", "-mindepth", "1", "-maxdepth", "1"]
            wait_for(lambda host=host: not host.run(find).stdout)
    return reason


def test_what_both_make_is_published_and_the_evidence_names_both(shop: Delivery):
    version = shop.deploy()
    text = told(shop.application, version, None, Zone("UTC"))["text"]
    made = next(line for line in text.splitlines() if "made on" in line)
    assert made.strip() in {
        f"made on {one} and, the same to the byte, on {other}"
        for one, other in (HOSTS, HOSTS[::-1])
    }


def test_a_build_that_differs_each_time_is_not_published(shop: Delivery):
    script = shop.checkout.directory / "script/package"
    settings = "package: {build: script/package, depends: [python3]}\n"
    with changed(shop, ".cicd.yaml", settings), changed(shop, "script/package", NOT_DETERMINISTIC):
        script.chmod(0o755)
        reason = refused(shop)
    assert reason.endswith("; the first difference is the content of opt/shop/now")
    assert all(f"{name} " in reason for name in HOSTS)


@pytest.mark.parametrize("name", HOSTS)
def test_what_one_compromised_host_adds_is_not_published(shop: Delivery, name: str):
    host = shop.world.host(name)
    replace = 'cd /usr/local/bin; mv nfpm nfpm.real; printf %s "$1" > nfpm; chmod 755 nfpm'
    host.run(["sh", "-c", replace, "replace", TAMPERING], check=True)
    try:
        reason = refused(shop)
    finally:
        host.run(["mv", "/usr/local/bin/nfpm.real", "/usr/local/bin/nfpm"], check=True)
    assert reason.endswith(f"; opt/shop/added is only in that of {name}")


def test_with_one_host_alone_nothing_is_packaged(shop: Delivery):
    second = shop.world.host("build-2")
    second.stop()
    try:
        wait_for(lambda: not any(second.name == each for each in passing(shop.world)))
        reason = refused(shop)
        assert reason == (
            "proof.builders is two, but build is the only healthy build host in Consul; bring up "
            "a second one, or set proof.builders to one"
        )
    finally:
        second.start()
        wait_for(lambda: second.name in passing(shop.world))


def passing(world: World) -> list[str]:
    return [each["Node"]["Node"] for each in world.consul("health/service/build?passing")]


# --- the sample applications --------------------------------------------------------------------

KINDS = [(kind, "") for kind in APPLICATIONS] + [
    (kind, path)
    for kind, template in templates.TEMPLATES.items()
    for path in (template.parts or {"": ""}).values()
]
SAMPLE = "acme/sample"  # nobody is told of pushes to it


@pytest.fixture(scope="module")
def repository(world: World) -> None:
    world.github.create_repository(SAMPLE)


@pytest.mark.parametrize("tool", ["nfpm", "fpm"])
@pytest.mark.parametrize(("kind", "path"), KINDS)
def test_each_sample_application_is_the_same_on_both(
    world: World, repository: None, tmp_path: Path, kind: str, path: str, tool: str
):
    if tool == "fpm" and not shutil.which(tool, path=SERVICE_PATH):
        pytest.skip(f"fpm is not installed: {packaging.TOOLS.find('fpm').installed_by}")
    checkout = sample(world, tmp_path / "work", kind)
    commit = checkout.commit("As ever")
    checkout.push("--force", "HEAD:refs/heads/main")
    values: dict[str, Any] = yaml.safe_load((world.config_dir / "cicd_canary.yaml").read_text())
    values["packaging"]["tool"] = tool
    configuration = Configuration(values)
    build = Build(commit, 1, "passed", SAMPLE, "main", "dana", "", path=path)
    first = Workspace.create(
        configuration.build_ssh(),
        configuration.discovery().host("build", "build"),
        Isolation.configured(configuration),
    )
    try:
        url = configuration.clone_url(build.repository)
        first.check_out(url, commit, "main", path)
        read_recipe(configuration, "sample", build, first).leave_in(first)
        packaging.TOOLS.create(configuration).build(first, Recipe.found_in(first))
        second = configuration.discovery().host("build", "build-2")
        assert reproduce(configuration, "sample", build, first, second)
    finally:
        first.remove()


def sample(world: World, directory: Path, kind: str) -> Checkout:
    """Returns a check-out of SAMPLE with a sample application in it."""
    if kind in APPLICATIONS:
        checkout = Checkout(directory, f"{world.github_url}/{SAMPLE}.git")
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(SAMPLES / kind, directory, ignore=ignored, dirs_exist_ok=True)
        return checkout
    template = templates.find(kind)
    if template.missing():
        pytest.skip(f"{kind} needs {' '.join(template.missing())}")
    checkout = Checkout(directory, f"{world.github_url}/{SAMPLE}.git")
    template.put(directory, "sample", 9000)
    return checkout
