"""What is registered in StackStorm is what this pack has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from stackstorm import ApiError, StackStorm, skip_module_without_stackstorm

PROJECT = Path(__file__).resolve().parents[2]
PACK = "cicd_canary"

skip_module_without_stackstorm()


def files(directory: str) -> list[dict[str, Any]]:
    return [yaml.safe_load(path.read_text()) for path in (PROJECT / directory).glob("*.yaml")]


@pytest.mark.parametrize(
    ("directory", "kind", "name"),
    [
        ("actions", "actions", "name"),
        ("rules", "rules", "name"),
        ("sensors", "sensortypes", "class_name"),
        ("aliases", "actionalias", "name"),
        ("policies", "policies", "name"),
    ],
)
def test_everything_in_the_pack_is_registered_and_nothing_else(
    stackstorm: StackStorm, directory: str, kind: str, name: str
):
    there = {(each["name"], each["enabled"]) for each in stackstorm.content(kind, PACK)}
    assert there == {(each[name], each.get("enabled", True)) for each in files(directory)}


def test_every_trigger_type_is_there_with_its_schema(stackstorm: StackStorm):
    there = {
        each["name"]: each["payload_schema"] for each in stackstorm.content("triggertypes", PACK)
    }
    assert there == {
        each["name"]: each["payload_schema"]
        for sensor in files("sensors")
        for each in sensor["trigger_types"]
    }


def code(pack: Path) -> dict[str, bytes]:
    """What runs of a pack, by its path in the pack."""
    return {
        str(path.relative_to(pack)): path.read_bytes()
        for directory in ("actions", "host", "sensors")
        for path in (pack / directory).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_the_version_and_the_code_are_these(stackstorm: StackStorm):
    installed = stackstorm.get(f"packs/{PACK}")
    assert installed["version"] == yaml.safe_load((PROJECT / "pack.yaml").read_text())["version"]
    there, here = code(Path(installed["path"])), code(PROJECT)
    different = sorted(name for name in {*there, *here} if there.get(name) != here.get(name))
    assert not different, "another state of this pack is installed: commit this one, install it"


def test_parameters_are_registered_as_written(stackstorm: StackStorm):
    there = {each["name"]: each["parameters"] for each in stackstorm.content("actions", PACK)}
    for action in files("actions"):
        assert there[action["name"]] == action.get("parameters", {})


def test_a_wrong_configuration_is_refused_by_name(stackstorm: StackStorm):
    with pytest.raises(ApiError, match="receiver.port"):
        stackstorm.call("PUT", f"configs/{PACK}", {"receiver": {"port": "many"}})


def test_without_a_key_nothing_is_told(stackstorm: StackStorm):
    with pytest.raises(ApiError) as refused:
        StackStorm(stackstorm.url, "").get("executions")
    assert refused.value.status == 401
