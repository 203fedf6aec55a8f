"""The names packs import from StackStorm behave as StackStorm's, where it is not installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from unittest import TestCase

import pytest

from packengine.run import SHIMS

st2tests = importlib.util.find_spec("st2tests")
if st2tests is None or not st2tests.origin.startswith(SHIMS):
    pytest.skip(
        "StackStorm itself is installed, so its own names are the ones imported",
        allow_module_level=True,
    )

from st2common.runners.base_action import Action  # noqa: E402
from st2reactor.sensor.base import PollingSensor, Sensor  # noqa: E402
from st2tests.base import BaseActionAliasTestCase, BaseActionTestCase, BaseSensorTestCase  # noqa: E402


class Greet(Action):
    def run(self, name):
        self.logger.info("greeting %s", name)
        return True, f"{self.config['greeting']}, {name}"


class Counter(PollingSensor):
    def setup(self):
        self.count = 0

    def poll(self):
        self.count += 1
        self.sensor_service.dispatch("demo.counted", {"count": self.count}, trace_tag="t")
        if self.count == 3:
            raise StopIteration

    def cleanup(self):
        pass

    add_trigger = update_trigger = remove_trigger = lambda self, trigger: None


class ActionsInTests(BaseActionTestCase):
    action_cls = Greet

    def test_an_action_has_its_configuration(self):
        action = self.get_action_instance({"greeting": "Hello"})
        self.assertEqual(action.run(name="Ada"), (True, "Hello, Ada"))

    def test_a_key_missing_in_the_configuration_is_named(self):
        with self.assertRaisesRegex(ValueError, 'missing key "greeting"'):
            self.get_action_instance({}).run(name="Ada")

    def test_a_key_may_be_missing_when_asked_for_with_get(self):
        self.assertEqual(self.get_action_instance().config.get("greeting", "Hi"), "Hi")

    def test_the_datastore_is_local_to_the_class_unless_said_otherwise(self):
        service = self.get_action_instance().action_service
        service.set_value("seen", "yes")
        service.set_value("pack_wide", "yes", local=False)
        self.assertEqual(service.get_value("seen"), "yes")
        self.assertIsNone(service.get_value("seen", local=False))
        self.assertEqual(service.get_value("tests.Greet:seen", local=False), "yes")
        self.assertEqual([pair.name for pair in service.list_values()], ["tests.Greet:seen"])
        self.assertEqual(
            [pair.value for pair in service.datastore_service.list_values(False, "pack_")], ["yes"]
        )
        self.assertTrue(service.delete_value("seen"))
        self.assertFalse(service.delete_value("seen"))

    def test_only_the_system_scope_can_be_reached(self):
        with self.assertRaisesRegex(ValueError, "Scope user is unsupported"):
            self.action_service.get_value("seen", scope="user")

    def test_fixtures_are_read_from_the_directory_of_fixtures(self):
        with self.assertRaisesRegex(FileNotFoundError, "tests/fixtures/nothing.json"):
            self.get_fixture_content("nothing.json")


class ActionsOfOldPacks(BaseActionTestCase):
    class action_cls(Action):
        def __init__(self, config):
            super().__init__(config)

        def run(self):
            return self.action_service.get_value("nothing")

    def test_an_action_whose_constructor_only_takes_config_still_gets_its_service(self):
        self.assertIsNone(self.get_action_instance({}).run())


class SensorsInTests(BaseSensorTestCase):
    sensor_cls = Counter

    def test_a_polling_sensor_polls_again_and_again(self):
        sensor = self.get_sensor_instance({"a": 1}, poll_interval=0.001)
        sensor.setup()
        with self.assertRaises(StopIteration):
            sensor.run()
        self.assertEqual(sensor.config, {"a": 1})
        self.assertEqual(len(self.get_dispatched_triggers()), 3)
        self.assertTriggerDispatched("demo.counted")
        self.assertTriggerDispatched("demo.counted", payload={"count": 2})
        self.assertEqual(self.get_last_dispatched_trigger()["trace_context"].trace_tag, "t")

    def test_a_trigger_that_was_not_dispatched_fails_the_assertion(self):
        self.get_sensor_instance().sensor_service.dispatch("demo.counted", {"count": 1})
        with self.assertRaises(AssertionError):
            self.assertTriggerDispatched("demo.counted", payload={"count": 2})
        with self.assertRaises(AssertionError):
            self.assertTriggerDispatched("demo.other")

    def test_the_poll_interval_is_five_seconds_unless_set(self):
        sensor = self.get_sensor_instance()
        self.assertEqual(sensor.get_poll_interval(), 5)
        sensor.set_poll_interval(30)
        self.assertEqual(sensor.get_poll_interval(), 30)

    def test_what_a_sensor_logged_can_be_asked(self):
        logger = self.get_sensor_instance().sensor_service.get_logger("any")
        logger.warning("careful")
        self.sensor_service.get_logger("other").warning.assert_called_once_with("careful")


class AliasesInTests(TestCase):
    def make_case(self, tmp_path):
        (tmp_path / "aliases").mkdir()
        (tmp_path / "aliases" / "status.yaml").write_text(
            "name: status\naction_ref: demo.status\n"
            "formats:\n  - display: status [app]\n"
            "    representation:\n      - status\n      - status {{ app }}\n"
        )

        class Case(BaseActionAliasTestCase):
            action_alias_name = "status"

            def _get_base_pack_path(self):
                return str(tmp_path)

            def runTest(self):
                pass

        return Case()

    @pytest.fixture(autouse=True)
    def _path(self, tmp_path):
        self.case = self.make_case(tmp_path)

    def test_an_alias_is_found_by_its_name(self):
        self.case.setUp()
        self.assertEqual(
            self.case.action_alias_db.get_format_strings(), ["status", "status {{ app }}"]
        )
        self.case.assertExtractedParametersMatch("status {{ app }}", "status shop", {"app": "shop"})

    def test_wrong_parameters_fail_the_assertion(self):
        self.case.setUp()
        with self.assertRaises(AssertionError):
            self.case.assertExtractedParametersMatch("status", "status", {"app": "shop"})

    def test_a_format_the_alias_does_not_have_is_an_error(self):
        self.case.setUp()
        with self.assertRaisesRegex(ValueError, "not available on the alias"):
            self.case.assertExtractedParametersMatch("other", "status", {})

    def test_a_command_must_match_one_format_and_only_one(self):
        self.case.assertCommandMatchesExactlyOneFormatString(["a {{ b }}", "c"], "a 1")
        with self.assertRaisesRegex(AssertionError, "didn't match any"):
            self.case.assertCommandMatchesExactlyOneFormatString(["a", "b"], "c")
        with self.assertRaisesRegex(AssertionError, "matched multiple"):
            self.case.assertCommandMatchesExactlyOneFormatString(["a", "{{ b }}"], "a")

    def test_an_alias_that_is_not_there_is_an_error(self):
        self.case.action_alias_name = "missing"
        with self.assertRaisesRegex(ValueError, '"missing" not found'):
            self.case.setUp()


def test_a_sensor_or_action_that_lacks_a_method_cannot_be_made():
    for incomplete in (Action, type("Deaf", (Sensor,), {})):
        with pytest.raises(TypeError):
            incomplete(None)


def test_an_action_logs_to_standard_error_and_imports_nothing_heavy():
    program = (
        "import sys\n"
        "from st2common.runners.base_action import Action\n"
        "import st2reactor.sensor.base\n"
        "class Quiet(Action):\n"
        "    def run(self): self.logger.info('done')\n"
        "Quiet({}).run()\n"
        "assert not {'yaml', 'jinja2', 'packengine', 'asyncio'} & set(sys.modules), sys.modules\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program],
        env=dict(os.environ, PYTHONPATH=str(SHIMS)),
        capture_output=True,
        check=True,
        text=True,
    )
    assert finished.stdout == ""
    assert finished.stderr == "actions.python.Quiet: INFO     done\n"
