"""Jenkins' callbacks, through the receiver: what is taken, and what is not."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import unittest
from unittest import mock

import yaml
from receiver import Receiver
from st2tests.base import BaseSensorTestCase

from delivery.ci import callback_id, jenkins_job
from delivery.ci.callback import HEADER

SECRET = "a secret: \"with\" 'quotes' \\ and $signs"
COMMIT = "1" * 40
CALLBACK = callback_id("shop", COMMIT, "2026-01-01T00:00:00Z")
SENSOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "sensors", "builds.yaml")


def of_curl(**changes):
    return dict({"callback": CALLBACK, "number": 12}, **changes)


def of_plugin(**changes):
    """Returns what the Notification plugin sends (its JobState and BuildState, by Gson)."""
    build = {
        "full_url": "https://ci.example.org/job/team/job/shop/12/",
        "number": 12,
        "queue_id": 7,
        "timestamp": 1767225600000,
        "duration": 1500,
        "phase": "FINALIZED",
        "status": "SUCCESS",
        "url": "job/team/job/shop/12/",
        "scm": {},
        "log": "",
        "parameters": {"COMMIT": COMMIT, "CALLBACK": CALLBACK},
        "notes": "",
        "artifacts": {},
    }
    return {
        "name": "shop",
        "display_name": "shop",
        "url": "job/team/job/shop/",
        "build": dict(build, **changes),
    }


def basic(secret):
    return "Basic " + base64.b64encode(f"jenkins:{secret}".encode()).decode()


class CallbackTestCase(BaseSensorTestCase):
    sensor_cls = Receiver

    def setUp(self):
        super().setUp()
        self.listen({"callback_secret": SECRET})

    def listen(self, jenkins):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.sensor = self.get_sensor_instance(
            config={
                "github": {"webhook_secret": "x"},
                "ci": {"jenkins": jenkins},
                "receiver": {"host": "127.0.0.1", "port": self.port},
            }
        )
        self.sensor.setup()
        threading.Thread(target=self.sensor.run, daemon=True).start()
        self.addCleanup(self.sensor.cleanup)
        self.addCleanup(self.sensor.server.shutdown)

    def call_back(self, payload, headers=None):
        """Returns status and message of the answer."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        sent = {"Content-Type": "application/json;charset=UTF-8"}
        sent.update({HEADER: SECRET} if headers is None else headers)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.addCleanup(connection.close)
        connection.request("POST", "/jenkins", body, sent)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["message"]

    def dispatched(self):
        return [each["payload"] for each in self.get_dispatched_triggers()]

    def assert_refused(self, expected_status, expected_message, *arguments, **options):
        status, message = self.call_back(*arguments, **options)
        self.assertEqual(status, expected_status, message)
        self.assertRegex(message, expected_message)
        self.assertEqual(self.dispatched(), [])


class TestACallback(CallbackTestCase):
    def test_of_a_pipeline_is_dispatched(self):
        self.assertEqual(self.call_back(of_curl()), (202, "accepted: shop 1111111"))
        self.assertTriggerDispatched(
            trigger="cicd_canary.build_finished",
            payload={"app": "shop", "commit": COMMIT, "number": 12},
        )

    def test_of_a_pipeline_may_leave_out_the_number(self):
        self.call_back({"callback": CALLBACK})
        self.assertEqual(self.dispatched()[0]["number"], 0)

    def test_of_the_notification_plugin_is_dispatched(self):
        for phase in ("COMPLETED", "FINALIZED"):
            self.assertEqual(self.call_back(of_plugin(phase=phase))[0], 202)
        self.assertEqual(self.dispatched(), [{"app": "shop", "commit": COMMIT, "number": 12}] * 2)

    def test_fits_the_schema_of_its_trigger(self):
        """StackStorm drops a payload that does not, and says nothing."""
        self.call_back(of_curl())
        with open(SENSOR) as metadata:
            trigger_type = yaml.safe_load(metadata)["trigger_types"][0]
        properties = trigger_type["payload_schema"]["properties"]
        payload = self.dispatched()[0]
        self.assertEqual(set(payload), set(properties))
        for name in ("app", "commit"):
            pattern = properties[name]["pattern"].replace(r"\Z", "$")
            self.assertTrue(re.search(pattern, payload[name]))
        self.assertIsInstance(payload["number"], int)

    def test_before_the_end_of_a_build_is_ignored(self):
        for phase in ("QUEUED", "STARTED", None, "{{ x }}"):
            self.assert_refused(202, "ignored: phase", of_plugin(phase=phase))

    def test_for_a_build_that_was_not_started_here_is_ignored(self):
        for parameters in ({}, {"BRANCH": "main"}, None):
            self.assert_refused(202, "of another origin", of_plugin(parameters=parameters))

    def test_that_names_nothing_of_ours_is_refused(self):
        for callback in (
            "",
            "shop",
            f"shop-{COMMIT}",
            f"../x-{COMMIT}-20260101000000",
            1,
            None,
            CALLBACK + "\n",
            "{{config_context.x}}",
        ):
            self.assert_refused(400, "unknown callback", of_curl(callback=callback))

    def test_with_a_malformed_number_is_refused(self):
        for number in ("12", -1, 1.5, True, 10**30):
            self.assert_refused(400, "not a build number", of_curl(number=number))

    def test_that_is_not_an_object_is_refused(self):
        for body in (b"", b"not json", b"[]", b"\xff"):
            self.assert_refused(400, "JSON", body)
        self.assert_refused(400, "build is not an object", {"build": []})

    def test_with_a_body_of_more_than_one_mib_is_refused(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.addCleanup(connection.close)
        connection.putrequest("POST", "/jenkins")
        connection.putheader("Content-Length", str((1 << 20) + 1))
        connection.endheaders()
        self.assertEqual(connection.getresponse().status, 413)

    @mock.patch("receiver.PATIENCE_S", 0.2)
    def test_is_answered_so_that_jenkins_tries_again_when_stackstorm_does_not_take_it(self):
        def refuse(*_, **__):
            raise RuntimeError("the message bus is away")

        self.sensor.sensor_service.dispatch = refuse
        self.assertEqual(self.call_back(of_curl())[0], 503)


class TestTheSecret(CallbackTestCase):
    def test_may_be_the_password_of_basic_authentication_as_the_plugin_sends_it(self):
        self.assertEqual(
            self.call_back(of_plugin(), headers={"Authorization": basic(SECRET)})[0], 202
        )

    def test_that_is_missing_or_wrong_is_refused(self):
        for headers in (
            {},
            {HEADER: ""},
            {HEADER: "other"},
            {HEADER: SECRET + "x"},
            {"Authorization": basic("other")},
            {"Authorization": "Basic ###"},
            {"Authorization": "Basic"},
            {"Authorization": "Bearer " + SECRET},
            {"Authorization": "Basic " + base64.b64encode(b"\xff").decode()},
        ):
            self.assert_refused(
                401, "the secret in X-CICD-Secret is missing or wrong", of_curl(), headers=headers
            )

    def test_is_asked_for_before_the_body_is_read_as_json(self):
        self.assert_refused(401, "secret", b"not json", headers={})

    def test_that_is_not_configured_means_that_nothing_is_taken(self):
        for jenkins in ({}, {"callback_secret": ""}, {"callback_secret": None}):
            self.listen(jenkins)
            for headers in ({}, {HEADER: ""}, {HEADER: "None"}, {"Authorization": basic("")}):
                self.assert_refused(403, "callback_secret is not set", of_curl(), headers=headers)

    def test_is_compared_in_constant_time(self):
        import hmac

        import delivery.ci.callback

        compared = []

        class Spy:
            @staticmethod
            def compare_digest(one, other):
                compared.append((one, other))
                return hmac.compare_digest(one, other)

        original, delivery.ci.callback.hmac = delivery.ci.callback.hmac, Spy
        self.addCleanup(setattr, delivery.ci.callback, "hmac", original)
        self.call_back(of_curl(), headers={HEADER: "other"})
        self.assertEqual(compared, [(SECRET.encode(), b"other")])


@unittest.skipUnless(shutil.which("curl"), "curl is not installed: apt-get install curl")
class TestTheJobsOwnCallback(CallbackTestCase):
    def curl(self, **environment):
        """Runs the shell of the job's last step, as Jenkins does."""
        return subprocess.run(
            ["sh", "-xe", "-c", jenkins_job.CALL_BACK],
            capture_output=True,
            text=True,
            timeout=60,
            env=dict(
                os.environ,
                **dict(
                    {
                        "CALLBACK": CALLBACK,
                        "BUILD_NUMBER": "12",
                        "SECRET": SECRET,
                        "no_proxy": "*",
                        "CALLBACK_TO": f"http://127.0.0.1:{self.port}/jenkins",
                    },
                    **environment,
                ),
            ),
        )

    def test_is_taken(self):
        done = self.curl()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.dispatched(), [{"app": "shop", "commit": COMMIT, "number": 12}])

    def test_never_prints_the_secret(self):
        for secret in (SECRET, "other"):
            done = self.curl(SECRET=secret)
            self.assertNotIn(secret, done.stdout + done.stderr)

    def test_is_not_made_for_a_build_that_was_started_by_hand(self):
        self.assertEqual(self.curl(CALLBACK="").returncode, 0)
        self.assertEqual(self.dispatched(), [])

    def test_that_is_refused_fails_its_step(self):
        self.assertNotEqual(self.curl(SECRET="other").returncode, 0)
