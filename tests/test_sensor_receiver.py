"""The receiver: what GitHub may send, and what anybody else might."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import re
import socket
import threading
import time
import uuid
from unittest import mock

import yaml
from receiver import Receiver
from st2tests.base import BaseSensorTestCase
from waiting import wait_for

from delivery import ci
from delivery.ci import CiServer
from delivery.ci.callback import HEADER, Callback
from delivery.errors import DeliveryError
from delivery.webhook import BODY_LIMIT_BYTES

SECRET = "a secret"
COMMIT = "1" * 40
SENSOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "sensors", "receiver.yaml")


def push(**changes):
    """Returns the fields of a push that the receiver reads, as GitHub sends them."""
    payload = {
        "ref": "refs/heads/main",
        "before": "0" * 40,
        "after": COMMIT,
        "deleted": False,
        "repository": {"full_name": "acme/shop", "name": "shop", "default_branch": "main"},
        "pusher": {"name": "alice"},
        "sender": {"login": "alice"},
    }
    for path, value in changes.items():
        target, names = payload, path.split("__")
        for name in names[:-1]:
            target = target[name]
        if value is None:
            del target[names[-1]]
        else:
            target[names[-1]] = value
    return payload


def signature(body, secret=SECRET):
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


class ReceiverTestCase(BaseSensorTestCase):
    sensor_cls = Receiver

    def give_requests(self, seconds):
        """So much time to arrive."""
        given = mock.patch("delivery.door.REQUEST_TIMEOUT_S", seconds)
        given.start()
        self.addCleanup(given.stop)

    def listen(self, ci=None, host="127.0.0.1", previous_secret=None, **applications):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.sensor = self.get_sensor_instance(
            config={
                "github": {
                    "webhook_secret": SECRET,
                    "previous_webhook_secret": previous_secret,
                },
                "applications": applications,
                "ci": ci or {},
                "receiver": {"host": host, "port": self.port},
            }
        )
        self.sensor.setup()
        thread = threading.Thread(target=self.sensor.run, daemon=True)
        thread.start()
        self.addCleanup(self.sensor.cleanup)
        self.addCleanup(self.sensor.server.shutdown)

    @contextlib.contextmanager
    def stackstorm_away(self):
        """Nothing can be dispatched while the block runs."""
        with mock.patch.object(
            self.sensor.sensor_service,
            "dispatch",
            side_effect=RuntimeError("the message bus is away"),
        ):
            yield

    def deliver(self, payload, event="push", delivery=None, sign=signature, body=None, headers=()):
        """Returns status and message of the answer to one delivery."""
        body = json.dumps(payload).encode() if body is None else body
        sent = {
            "Content-Type": "application/json",
            "X-GitHub-Event": event,
            "X-GitHub-Delivery": delivery or str(uuid.uuid4()),
        }
        if sign:
            sent["X-Hub-Signature-256"] = sign(body)
        sent.update(headers)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.addCleanup(connection.close)
        connection.request("POST", "/github", body, sent)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())["message"]

    def assert_refused(self, expected_status, expected_message, *arguments, **options):
        status, message = self.deliver(*arguments, **options)
        self.assertEqual(status, expected_status, message)
        self.assertRegex(message, expected_message)
        self.assertEqual(self.get_dispatched_triggers(), [])


class TestAPushToABranchThatIsBuilt(ReceiverTestCase):
    def test_is_dispatched_with_what_the_workflow_needs(self):
        self.listen()
        status, message = self.deliver(push(), delivery="d-1")
        self.assertEqual((status, message), (202, "accepted: shop 1111111 on main"))
        self.assertTriggerDispatched(
            trigger="cicd_canary.push",
            payload={
                "app": "shop",
                "repository": "acme/shop",
                "branch": "main",
                "commit": COMMIT,
                "by": "alice",
                "delivery": "d-1",
            },
        )

    def test_fits_the_schema_of_its_trigger(self):
        """StackStorm drops a payload that does not, and says nothing."""
        self.listen()
        self.deliver(push())
        with open(SENSOR) as metadata:
            trigger_type = yaml.safe_load(metadata)["trigger_types"][0]
        properties = trigger_type["payload_schema"]["properties"]
        payload = self.get_dispatched_triggers()[0]["payload"]
        self.assertEqual(set(payload), set(properties))
        for name, value in payload.items():
            self.assertTrue(re.search(properties[name]["pattern"].replace(r"\Z", "$"), value), name)

    def test_is_dispatched_once_when_the_delivery_comes_twice(self):
        self.listen()
        self.deliver(push(), delivery="d-1")
        status, message = self.deliver(push(), delivery="d-1")
        self.assertEqual(status, 202)
        self.assertIn("accepted before", message)
        self.assertEqual(len(self.get_dispatched_triggers()), 1)

    def test_is_dispatched_again_when_somebody_redelivers_it_later(self):
        self.listen()
        self.deliver(push(), delivery="d-1")
        with mock.patch("receiver.REMEMBERED_S", 0):
            self.deliver(push(), delivery="d-1")
        self.assertEqual(len(self.get_dispatched_triggers()), 2)

    def test_may_be_on_a_feature_branch_that_is_configured(self):
        self.listen(**{"acme/shop": {"branches": ["feature/*"]}})
        self.deliver(push(ref="refs/heads/feature/x"))
        self.assertEqual(self.get_dispatched_triggers()[0]["payload"]["branch"], "feature/x")

    def test_gets_the_configured_name_of_the_application(self):
        self.listen(**{"acme/Web_Shop": {"name": "web-shop"}})
        self.deliver(push(repository__full_name="acme/Web_Shop"))
        self.assertEqual(self.get_dispatched_triggers()[0]["payload"]["app"], "web-shop")


class TestASignature(ReceiverTestCase):
    def test_that_is_wrong_is_refused(self):
        self.listen()
        self.assert_refused(401, "signature", push(), sign=lambda body: signature(body, "other"))

    def test_that_is_missing_is_refused(self):
        self.listen()
        self.assert_refused(401, "signature", push(), sign=None)

    def test_that_is_malformed_is_refused(self):
        self.listen()
        for malformed in ("sha256=", "sha1=abc", "x" * 5000, "sha256=\u00e9"):
            self.assert_refused(401, "signature", push(), sign=lambda body: malformed)

    def test_of_the_secret_before_is_taken_while_it_is_changed(self):
        self.listen(previous_secret="the old one")
        for secret, status in ((SECRET, 202), ("the old one", 202), ("another", 401)):
            answer = self.deliver(push(), sign=lambda body, secret=secret: signature(body, secret))
            self.assertEqual(answer[0], status)

    def test_is_asked_for_before_the_body_is_read_as_json(self):
        self.listen()
        self.assert_refused(401, "signature", None, body=b"not json", sign=None)

    def test_is_compared_in_constant_time(self):
        import delivery.webhook

        compared = []

        class Spy:
            @staticmethod
            def compare_digest(one, other):
                compared.append((one, other))
                return hmac.compare_digest(one, other)

            new = staticmethod(hmac.new)

        self.listen()
        original, delivery.webhook.hmac = delivery.webhook.hmac, Spy
        self.addCleanup(setattr, delivery.webhook, "hmac", original)
        self.deliver(push())
        self.assertEqual(len(compared), 1)

    def test_cannot_be_checked_without_a_secret_so_the_receiver_does_not_start(self):
        for config in ({}, {"github": {"webhook_secret": ""}}):
            sensor = self.get_sensor_instance(config=config)
            with self.assertRaisesRegex(DeliveryError, "github.webhook_secret is not set"):
                sensor.setup()


class TestTheConfiguration(ReceiverTestCase):
    def refused(self, words, **config):
        sensor = self.get_sensor_instance(config={"github": {"webhook_secret": SECRET}, **config})
        log = mock.Mock()
        sensor._logger = log
        with self.assertRaisesRegex(DeliveryError, words):
            sensor.setup()
        self.assertRegex(" ".join(map(str, log.error.call_args[0])), words)

    def test_is_refused_for_a_misspelt_key_and_the_log_says_which(self):
        self.refused("receiver.prot .* nearest: receiver.port", receiver={"prot": 1})

    def test_is_refused_for_a_tool_that_is_not_there(self):
        self.refused("ci.tool .* unknown tool 'jenkin'; nearest: jenkins", ci={"tool": "jenkin"})


class TestAnAddress(ReceiverTestCase):
    def refused(self, host, port):
        receiver = {"host": host, "port": port}
        sensor = self.get_sensor_instance(
            config={"github": {"webhook_secret": SECRET}, "receiver": receiver}
        )
        with self.assertRaises(DeliveryError) as refused:
            sensor.setup()
        return str(refused.exception)

    def test_that_is_taken_is_refused_with_who_has_it_and_the_setting(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            reason = self.refused("127.0.0.1", port)
        self.assertRegex(
            reason,
            rf"^cannot listen on 127.0.0.1:{port}: \S+ \(process {os.getpid()}\) listens there; "
            "stop what is there, or set receiver.host and receiver.port in the pack's",
        )

    def test_of_another_machine_is_refused(self):
        self.assertIn("this machine does not have that address", self.refused("192.0.2.1", 8095))


class TestACallback(ReceiverTestCase):
    """The doors for callbacks are those of the configured tool."""

    def listen_for(self, *callbacks, tool="toy"):
        class Toy(CiServer):
            name = "toy"

            @classmethod
            def callbacks(cls, configuration):
                return callbacks

            def run(self, job):
                raise NotImplementedError

        known = mock.patch.dict(ci.TOOLS._registered, toy=Toy)
        known.start()
        self.addCleanup(known.stop)
        self.listen(ci={"tool": tool})

    def call_back(self, path, payload, secret="hush", **more):
        headers = {"Content-Type": "application/json", HEADER: secret, **more}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.addCleanup(connection.close)
        connection.request("POST", path, json.dumps(payload), headers)
        return connection.getresponse().status

    def test_of_another_tool_is_taken_at_its_path(self):
        self.listen_for(Callback("/toy", "hush", "ci.toy.secret", body_limit_bytes=1 << 20))
        payload = {"callback": f"shop-{COMMIT}-20260101000000", "number": 7}
        self.assertEqual(self.call_back("/toy", payload, secret="guess"), 401)
        self.assertEqual(self.call_back("/jenkins", payload), 404)
        too_long = {"Content-Length": str((1 << 20) + 1)}
        self.assertEqual(self.call_back("/toy", payload, **too_long), 413)
        self.assertEqual(self.call_back("/toy", payload), 202)
        self.assertTriggerDispatched(
            trigger="cicd_canary.build_finished",
            payload={"app": "shop", "commit": COMMIT, "number": 7},
        )

    def test_cannot_take_the_door_of_github(self):
        self.listen_for(Callback("/github", "hush", "ci.toy.secret"))
        self.assertEqual(self.deliver(push())[0], 202)

    def test_is_not_taken_for_a_tool_that_has_none(self):
        self.listen(ci={"tool": "build_host"})
        self.assertEqual(self.call_back("/jenkins", {}), 404)


class TestABody(ReceiverTestCase):
    def test_over_25_mib_is_refused_before_it_is_read(self):
        self.listen()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.addCleanup(connection.close)
        connection.putrequest("POST", "/github")
        connection.putheader("Content-Length", str(BODY_LIMIT_BYTES + 1))
        connection.endheaders()
        self.assertEqual(connection.getresponse().status, 413)

    def test_whose_length_is_missing_or_malformed_is_refused(self):
        self.listen()
        for headers, status in (
            ([], 411),
            ([("Transfer-Encoding", "chunked")], 411),
            ([("Content-Length", "5"), ("Transfer-Encoding", "chunked")], 400),
            ([("Content-Length", "5"), ("Content-Length", "6")], 400),
            *(([("Content-Length", each)], 400) for each in ("", "x", "-1", "+5", "1_0", "5, 5")),
            ([("Content-Length", "9" * 13)], 400),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
            self.addCleanup(connection.close)
            connection.putrequest("POST", "/github")
            for header in headers:
                connection.putheader(*header)
            connection.endheaders()
            self.assertEqual(connection.getresponse().status, status, headers)

    def test_that_is_not_json_is_refused(self):
        self.listen()
        for body in (b"not json", b"\xff\xfe", b"[" * 100000, b""):
            self.assert_refused(400, "not JSON", None, body=body)

    def test_that_is_no_object_is_refused(self):
        self.listen()
        self.assert_refused(400, "not a JSON object", [1])

    def test_of_another_content_type_is_refused(self):
        self.listen()
        self.assert_refused(
            415,
            "application/json",
            push(),
            headers={"Content-Type": "application/x-www-form-urlencoded"},
        )

    def test_that_lacks_a_field_is_refused_with_its_name(self):
        self.listen()
        for path in (
            "ref",
            "after",
            "deleted",
            "repository__full_name",
            "sender__login",
            "repository__default_branch",
        ):
            field = path.replace("__", ".")
            self.assert_refused(400, "the field " + field + " is missing", push(**{path: None}))

    def test_with_a_field_of_another_type_is_refused_with_its_name(self):
        self.listen()
        self.assert_refused(400, "the field ref is int, expected text", push(ref=1))
        self.assert_refused(400, "the field repository.full_name is missing", push(repository=[]))
        self.assert_refused(
            400, "the field deleted is str, expected true or false", push(deleted="no")
        )

    def test_that_ends_early_is_refused(self):
        self.listen()
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            client.sendall(b"POST /github HTTP/1.0\r\nContent-Length: 100\r\n\r\nx")
            client.shutdown(socket.SHUT_WR)
            self.assertIn(b" 400 ", client.recv(1000))

    def test_that_does_not_arrive_is_given_up(self):
        self.give_requests(seconds=1)
        self.listen()
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as client:
            client.sendall(b"POST /github HTTP/1.0\r\nContent-Length: 100\r\n\r\nx")
            began = time.monotonic()
            while client.recv(1000):
                pass
            self.assertLess(time.monotonic() - began, 8)
        self.assertEqual(self.deliver(push())[0], 202)


class TestAnEvent(ReceiverTestCase):
    def test_that_is_a_ping_is_answered(self):
        self.listen()
        self.assertEqual(self.deliver({"zen": "Keep it simple."}, event="ping"), (200, "pong"))

    def test_other_than_a_push_is_ignored_and_says_so(self):
        self.listen()
        self.assert_refused(202, "ignored: event 'issues', only push", {}, event="issues")

    def test_without_a_delivery_id_is_refused(self):
        self.listen()
        self.assert_refused(400, "X-GitHub-Delivery", push(), headers={"X-GitHub-Delivery": "a b"})


class TestARef(ReceiverTestCase):
    def test_that_is_a_tag_is_ignored(self):
        self.listen()
        self.assert_refused(202, "is not a branch", push(ref="refs/tags/v1"))

    def test_that_was_deleted_is_ignored(self):
        self.listen()
        self.assert_refused(202, "was deleted", push(deleted=True, after="0" * 40))

    def test_that_is_not_built_is_ignored(self):
        self.listen()
        self.assert_refused(202, "is not configured to be built", push(ref="refs/heads/feature/x"))

    def test_that_could_do_harm_is_refused_even_where_every_branch_is_built(self):
        self.listen(**{"acme/shop": {"branches": ["*"]}})
        for branch in ("\u00fcn\u00ef", "{{config_context.x}}", "; rm -rf /", "../x", "a b", "x\n"):
            self.assert_refused(422, "is not a valid branch", push(ref="refs/heads/" + branch))

    def test_never_puts_a_template_into_the_answer(self):
        self.listen()
        _, message = self.deliver(push(ref="refs/heads/{{config_context.x}}"))
        self.assertNotIn("{{", message)
        for name in ("acme/{{config_context.x}}", "<%ctx().x%>/shop"):
            status, message = self.deliver(push(repository__full_name=name))
            self.assertEqual(status, 422)
            self.assertNotRegex(message, "{{|<%")
            self.assertIn("is no repository", message)


class TestARepository(ReceiverTestCase):
    def test_that_is_no_package_name_is_refused_and_told_how_to_map_it(self):
        self.listen()
        for name in ("Web_Shop", "UPPER", "x", "a.b"):
            self.assert_refused(
                422,
                "is not a valid Debian package name.*applications:",
                push(repository__full_name="acme/" + name),
            )

    def test_with_several_applications_is_a_trigger_for_each(self):
        self.listen(
            **{
                "acme/shop": {
                    "paths": {
                        "services/api": {},
                        "web": {"name": "front"},
                        "old": {"branches": []},
                    },
                    "branches": ["main"],
                }
            }
        )
        status, message = self.deliver(push(), delivery="d-1")
        self.assertEqual((status, message), (202, "accepted: api, front, old 1111111 on main"))
        dispatched = [each["payload"] for each in self.get_dispatched_triggers()]
        self.assertEqual([each["app"] for each in dispatched], ["api", "front", "old"])
        self.assertEqual({each["delivery"] for each in dispatched}, {"d-1"})
        self.assertEqual(
            self.deliver(push(), delivery="d-1"),
            (202, "ignored: this delivery was accepted before"),
        )
        self.assertEqual(len(self.get_dispatched_triggers()), 3)

    def test_starts_only_the_applications_whose_branch_it_is(self):
        paths = {"api": {}, "web": {"branches": ["release/*"]}}
        self.listen(**{"acme/shop": {"paths": paths}})
        _, message = self.deliver(push(ref="refs/heads/release/1"))
        self.assertEqual(message, "accepted: web 1111111 on release/1")
        _, message = self.deliver(push(ref="refs/heads/other"))
        self.assertIn("built: 'main', 'release/*'", message)


class TestTheServer(ReceiverTestCase):
    def test_answers_where_it_has_nothing(self):
        self.listen()
        for method, path, expected in (
            ("GET", "/", 404),
            ("POST", "/other", 404),
            ("GET", "/health", 200),
            ("DELETE", "/github", 501),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            connection.request(method, path, "")
            self.assertEqual(connection.getresponse().status, expected)
            connection.close()

    @mock.patch("receiver.PATIENCE_S", 0.3)
    @mock.patch("receiver.PAUSE_AFTER_ERROR_S", 0.05)
    def test_says_when_stackstorm_does_not_take_the_push_and_hands_it_over_later(self):
        self.listen()
        with self.stackstorm_away():
            self.assertEqual(self.deliver(push(), delivery="d-1")[0], 503)
            self.assertEqual(self.deliver(push(), delivery="d-1")[0], 503)
        wait_for(self.get_dispatched_triggers)
        status, message = self.deliver(push(), delivery="d-1")
        self.assertEqual(status, 202)
        self.assertIn("accepted before", message)
        self.assertEqual(len(self.get_dispatched_triggers()), 1)

    @mock.patch("receiver.PATIENCE_S", 0.3)
    @mock.patch("receiver.PAUSE_AFTER_ERROR_S", 0.05)
    def test_begins_anew_with_stackstorm_after_it_did_not_take_a_push(self):
        class Dispatcher:
            def __init__(self, logger):
                self._logger = logger

        self.listen()
        first = Dispatcher("the logger")
        self.sensor.sensor_service._trigger_dispatcher_service = first
        with self.stackstorm_away():
            self.deliver(push())
        renewed = self.sensor.sensor_service._trigger_dispatcher_service
        self.assertIsInstance(renewed, Dispatcher)
        self.assertIsNot(renewed, first)
        self.assertEqual(renewed._logger, "the logger")

    @mock.patch("receiver.PATIENCE_S", 0.1)
    @mock.patch("receiver.WAITING", 2)
    def test_takes_no_more_than_it_can_keep(self):
        self.listen()
        with self.stackstorm_away():
            answers = [self.deliver(push()) for _ in range(4)]
        self.assertEqual([status for status, _ in answers], [503] * 4)
        self.assertIn("redeliver it", answers[-1][1])

    def test_keeps_answering_while_many_clients_hang(self):
        self.listen()
        clients = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(150)]
        for client in clients:
            self.addCleanup(client.close)
            client.sendall(b"POST /github HTTP/1.0\r\n")
        self.assertEqual(self.deliver(push())[0], 202)


class TestTheDoor(ReceiverTestCase):
    """Many clients, slow clients, large bodies, and other addresses."""

    def connect(self, source="127.0.0.1", sent=b"POST /github HTTP/1.0\r\n"):
        client = socket.create_connection(
            ("127.0.0.1", self.port), timeout=20, source_address=(source, 0)
        )
        self.addCleanup(client.close)
        client.sendall(sent)
        return client

    def is_closed(self, client):
        client.settimeout(0.01)
        try:
            return client.recv(1) == b""
        except socket.timeout:
            return False
        except OSError:
            return True

    def test_a_client_that_sends_a_byte_now_and_then_is_ended(self):
        self.give_requests(seconds=1)
        self.listen()
        slow = [self.connect() for _ in range(200)]
        began = time.monotonic()
        while not all(map(self.is_closed, slow)):
            for client in slow:
                with contextlib.suppress(OSError):
                    client.sendall(b"X")
            time.sleep(0.05)
            self.assertLess(time.monotonic() - began, 30)
        self.assertEqual(self.deliver(push())[0], 202)

    def test_one_address_does_not_take_all_places(self):
        self.listen()
        with mock.patch("delivery.door._is_this_machine", return_value=False):
            clients = [self.connect("127.0.0.2") for _ in range(60)]
            wait_for(lambda: sum(map(self.is_closed, clients)) >= 10, what="ten to be refused")
            self.assertEqual(sum(map(self.is_closed, clients)), 10)
            self.assertEqual(self.deliver(push())[0], 202)
        for client in clients:
            client.close()
        wait_for(lambda: not self.sensor.server._of_address["127.0.0.2"], what="their end")

    def test_a_few_addresses_do_not_take_all_places(self):
        self.give_requests(seconds=120)
        self.listen()
        server = self.sensor.server
        with mock.patch("delivery.door._is_this_machine", return_value=False):
            clients = [self.connect(f"127.0.0.{2 + number % 4}") for number in range(240)]
            wait_for(lambda: sum(map(self.is_closed, clients)) >= 40, what="forty to be refused")
            for _ in range(5):
                self.assertEqual(self.deliver(push())[0], 202)
                self.assertLessEqual(sum(server._of_address.values()), 210)
            # It costs those who have most one each, and nobody else.
            self.assertLessEqual(sum(map(self.is_closed, clients)), 45)
            one = self.connect("127.0.0.9")
            self.connect("127.0.0.2")
            self.assertFalse(self.is_closed(one))

    def test_a_proxy_on_this_machine_may_have_more(self):
        self.listen()
        clients = [self.connect("127.0.0.2") for _ in range(60)]
        wait_for(lambda: self.sensor.server._of_address["127.0.0.2"] == 60, what="all of them")
        self.assertFalse(any(map(self.is_closed, clients)))

    def test_who_says_that_much_will_come_takes_no_room_with_it(self):
        self.listen()
        head = f"POST /github HTTP/1.0\r\nContent-Length: {BODY_LIMIT_BYTES}\r\n\r\n".encode()
        for _ in range(10):
            self.connect(sent=head + b"x")
        body = json.dumps(push(padding="x" * 1024 * 1024)).encode()
        self.assertEqual(self.deliver(None, body=body)[0], 202)

    def test_one_network_of_ipv6_is_one_address(self):
        from delivery.door import _place

        self.assertEqual(_place("2001:db8::1"), _place("2001:db8::ffff:2"))
        self.assertNotEqual(_place("2001:db8::1"), _place("2001:db8:0:1::1"))
        self.assertEqual(_place("::ffff:192.0.2.1"), "192.0.2.1")

    def test_a_connection_without_a_thread_takes_no_place(self):
        self.listen()
        server = self.sensor.server
        with mock.patch("threading.Thread.start", side_effect=RuntimeError("can't start")):
            for _ in range(3):
                with self.assertRaisesRegex(RuntimeError, "can't start"):
                    server.process_request(mock.Mock(), ("192.0.2.1", 1))
        self.assertEqual((dict(server._of_address), server._arriving), ({}, {}))

    def test_large_bodies_have_room_only_for_so_many(self):
        self.listen()
        head = f"POST /github HTTP/1.0\r\nContent-Length: {BODY_LIMIT_BYTES}\r\n\r\n".encode()
        answers = []

        def send(client):
            try:
                client.sendall(b"x" * 20 * 1024 * 1024)
                answers.append(client.recv(12))
            except OSError:  # it was answered and closed before all was sent
                answers.append(b"closed")

        large = [self.connect(sent=head) for _ in range(5)]
        for client in large:
            threading.Thread(target=send, args=(client,), daemon=True).start()
        wait_for(lambda: len(answers) >= 2, what="two of five to be refused")
        self.assertLessEqual(set(answers[:2]), {b"HTTP/1.0 503", b"closed"})
        self.assertLessEqual(self.sensor.server._large_bodies_bytes, 64 * 1024 * 1024)
        self.assertEqual(self.deliver(push())[0], 202)
        for client in large:
            client.close()
        wait_for(lambda: not self.sensor.server._large_bodies_bytes, what="the room to be free")

    def test_all_addresses_are_listened_on(self):
        self.listen(host="::")
        self.assertEqual(self.deliver(push())[0], 202)
        with socket.create_connection(("::1", self.port), timeout=20) as client:
            client.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            self.assertIn(b"listening", b"".join(iter(lambda: client.recv(4096), b"")))
