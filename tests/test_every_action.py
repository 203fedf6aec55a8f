"""Every Python action is named by a test of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

TESTS = Path(__file__).resolve().parent
ACTIONS = [
    yaml.safe_load(file.read_text(encoding="utf-8"))
    for file in sorted((TESTS.parent / "actions").glob("*.yaml"))
]
OURS = [action["name"] for action in ACTIONS if action["runner_type"] == "python-script"]


@pytest.mark.parametrize("name", OURS)
def test_the_action_has_a_test_of_its_own(name):
    file = TESTS / f"test_action_{name}.py"
    assert file.exists(), f"{name} has no test: write tests/{file.name}, as the others are"
    class_name = "".join(word.capitalize() for word in name.split("_"))
    assert f"action_cls = {class_name}" in file.read_text(encoding="utf-8")
