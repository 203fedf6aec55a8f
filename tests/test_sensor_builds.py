"""The builds sensor against a real Consul and a double of Jenkins."""

from __future__ import annotations

import json
import os
from unittest import mock

import yaml
from builds import Builds
from consul_server import WithConsul
from jenkins_double import API_TOKEN, USER, running_jenkins
from st2tests.base import BaseSensorTestCase

from delivery import ci
from delivery.application import Application
from delivery.ci import CiServer, Verdict, builds
from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.store import Store

COMMIT = "1" * 40
SENSOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "sensors", "builds.yaml")


class TestBuilds(WithConsul, BaseSensorTestCase):
    sensor_cls = Builds

    def setUp(self):
        super().setUp()
        running = running_jenkins()
        self.jenkins, url = running.__enter__()
        self.addCleanup(running.__exit__, None, None, None)
        self.config["ci"] = {
            "tool": "jenkins",
            "jenkins": {"url": url, "user": USER, "api_token": API_TOKEN},
        }
        self.sensor = self.start(self.config)

    def start(self, config):
        sensor = self.get_sensor_instance(config=config, poll_interval=30)
        sensor.setup()
        return sensor

    def begin(self, app="shop", commit=COMMIT):
        """Starts a build, as the workflow does."""
        application = Application(self.store, app)
        application.builds.start(commit, f"acme/{app}", "main", "alice")
        if app not in self.jenkins.jobs:
            self.jenkins.add_job(app)
        configuration = Configuration(self.config)
        job = builds.job_of(configuration, application, application.builds.get(commit))
        builds.begin(ci.TOOLS.create(configuration), application, job)
        return application

    def make_overdue(self, application):
        key = f"{application.name}/builds/{COMMIT}"
        record = self.store.get(key)
        old = dict(json.loads(record.value), started_at="2020-01-01T00:00:00Z")
        self.store.commit([self.store.set(key, json.dumps(old), record)])

    def found(self):
        self.sensor.poll()
        return [each["payload"]["app"] for each in self.get_dispatched_triggers()]

    def test_asks_every_30_seconds_so_that_a_lost_callback_costs_less_than_a_minute(self):
        with open(SENSOR) as metadata:
            self.assertEqual(yaml.safe_load(metadata)["poll_interval"], 30)

    def test_a_build_that_goes_on_is_no_news(self):
        self.begin()
        self.assertEqual(self.found(), [])

    def test_a_build_that_is_done_is_found_without_its_callback(self):
        self.begin("shop")
        self.begin("notes")
        self.jenkins.build("notes").end("FAILURE")
        self.assertEqual(self.found(), ["notes"])
        self.assertTriggerDispatched(
            trigger="cicd_canary.build_finished",
            payload={"app": "notes", "commit": COMMIT, "number": 0},
        )

    def test_a_build_that_was_deleted_cancelled_or_lost_is_found(self):
        self.begin("one")
        self.jenkins.delete_build("one")
        self.jenkins.executors = False
        self.begin("two")
        self.jenkins.cancel(2)
        self.assertEqual(self.found(), ["one", "two"])
        self.jenkins.crash()
        self.assertIn("two", self.found()[2:])

    def test_a_build_that_has_its_verdict_is_not_asked_about(self):
        self.begin().builds.finish(COMMIT, passed=True)
        self.jenkins.requests.clear()
        self.assertEqual(self.found(), [])
        self.assertEqual(self.jenkins.requests, [])

    def test_a_jenkins_that_is_away_is_asked_again_later(self):
        self.begin()
        self.jenkins.build("shop").end("SUCCESS")
        self.jenkins.starting = True
        self.assertEqual(self.found(), [])
        self.jenkins.starting = False
        self.assertEqual(self.found(), ["shop"])

    def test_a_build_whose_time_is_up_is_found_even_while_jenkins_is_away(self):
        self.begin("alpha")
        self.make_overdue(self.begin("beta"))
        self.jenkins.starting = True
        self.assertEqual(self.found(), ["beta"])

    def test_a_consul_that_is_away_does_not_end_the_sensor(self):
        self.begin()
        self.jenkins.build("shop").end("SUCCESS")
        self.sensor.store = Store("http://127.0.0.1:1")
        self.assertEqual(self.found(), [])
        self.sensor.store = self.store
        self.assertEqual(self.found(), ["shop"])

    def test_a_stackstorm_that_does_not_take_it_hears_of_it_again(self):
        def refuse(**_):
            raise RuntimeError("the message bus is away")

        self.begin()
        self.jenkins.build("shop").end("SUCCESS")
        dispatch = self.sensor.sensor_service.dispatch
        self.sensor.sensor_service.dispatch = refuse
        self.assertEqual(self.found(), [])
        self.sensor.sensor_service.dispatch = dispatch
        self.assertEqual(self.found(), ["shop"])

    def test_there_is_nothing_to_ask_where_the_build_host_builds(self):
        self.make_overdue(self.begin())
        self.sensor = self.start(dict(self.config, ci={"tool": "build_host"}))
        self.assertEqual(self.found(), [])

    def test_another_tool_is_asked_if_it_says_that_it_is_polled(self):
        class Toy(CiServer):
            name = "toy"
            polled = True

            def run(self, job):
                raise NotImplementedError

            def look(self, job, record, number=0):
                return Verdict("passed")

        known = mock.patch.dict(ci.TOOLS._registered, toy=Toy)
        known.start()
        self.addCleanup(known.stop)
        self.begin()
        self.sensor = self.start(dict(self.config, ci={"tool": "toy"}))
        self.assertEqual(self.found(), ["shop"])
        Toy.polled = False
        self.assertEqual(self.found(), ["shop"])

    def test_a_misspelt_key_of_the_configuration_is_refused(self):
        with self.assertRaisesRegex(DeliveryError, "ci.toool .* nearest: ci.tool"):
            self.start(dict(self.config, ci={"toool": "jenkins"}))

    def test_a_wrong_configuration_does_not_end_the_sensor(self):
        self.sensor = self.start(dict(self.config, ci={"tool": "jenkins"}))
        self.assertEqual(self.found(), [])
