"""The main job in the sandbox with the tools production is expected to use: FPM and Freight."""

from __future__ import annotations

import shutil

import pytest
from delivery_driver import Delivery

from delivery.configuration import Configuration
from delivery.packaging.fpm import Fpm
from delivery.repository.freight import Freight
from sandbox import fleet
from sandbox.world import World

for tool, installed_by in ((Fpm.name, Fpm.installed_by), (Freight.name, Freight.installed_by)):
    # The build host sees what the machine has installed.
    if not shutil.which(tool, path="/usr/local/bin:/usr/bin:/bin"):
        pytest.skip(f"{tool} is not installed: {installed_by}", allow_module_level=True)

LIBRARY = f"{fleet.REPOSITORY_HOME}/freight"
CONFIGURATION = Configuration({}).section("repository")["freight_conf"]
FREIGHT_CONF = f'VARLIB="{LIBRARY}"\nVARCACHE="{fleet.APTLY_ROOT}/public"\n'


@pytest.fixture(scope="module")
def production_tools(world: World) -> None:
    """Swaps the tools, each by its one line of the configuration."""
    file = world.config_dir / "cicd_canary.yaml"
    before = file.read_text()
    after = before.replace("tool: nfpm", "tool: fpm").replace("tool: aptly", "tool: freight")
    assert sum(one != other for one, other in zip(before.splitlines(), after.splitlines())) == 2
    file.write_text(after)
    world.repository_host.run(
        ["sh", "-c", 'printf %s "$1" > "$2"', "write", FREIGHT_CONF, CONFIGURATION]
    )


@pytest.fixture(scope="module")
def shop(production_tools, world: World, engine, tmp_path_factory) -> Delivery:
    return Delivery(world, engine, "shop", tmp_path_factory.mktemp("shop"))


def test_a_push_reaches_production_and_goes_back_again(shop: Delivery):
    first = shop.deploy()
    assert "production" in shop.say("!deploy promote shop")
    second = shop.deploy()
    shop.say("!deploy promote shop")
    assert shop.installed() == dict.fromkeys(shop.installed(), second)
    assert {shop.answers(host) for host in shop.installed()} == {second}

    shop.say("!deploy rollback shop stage=production")

    assert shop.answers("canary-1") == second
    assert {shop.answers(f"production-{number}") for number in (1, 2, 3)} == {first}
    kept = shop.world.repository_host.run(["ls", f"{LIBRARY}/apt/cicd/main"]).stdout.split()
    assert {name for name in kept if name.endswith(".deb")} == {
        f"shop_{version}_all.deb" for version in (first, second)
    }
