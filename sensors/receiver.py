"""Receives GitHub's webhooks on a port of its own, because only there is the raw body signed.

Jenkins' callbacks come in by the same door.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from st2reactor.sensor.base import Sensor

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "actions", "lib"))

from delivery_sensor import DeliverySensor

from delivery.ci.callback import BODY_LIMIT_BYTES as CALLBACK_LIMIT_BYTES
from delivery.ci.callback import JenkinsCallback
from delivery.errors import DeliveryError
from delivery.webhook import BODY_LIMIT_BYTES, Answer, GitHubWebhook

PATH = "/github"
CALLBACK_PATH = "/jenkins"
TRIGGER = "cicd_canary.push"
CALLBACK_TRIGGER = "cicd_canary.build_finished"
REQUEST_TIMEOUT_S = 10  # GitHub itself gives up after ten seconds
CONNECTIONS = 200  # at once; GitHub tries a refused delivery again on request
REMEMBERED_S = 60  # what comes again later was sent again by somebody who wants it
PATIENCE_S = 8  # for StackStorm to take a trigger, before the client is told
PAUSE_AFTER_ERROR_S = 2
WAITING = 1000  # triggers, while StackStorm does not take them
NOT_TAKEN = Answer(
    503,
    "StackStorm does not take it now, RabbitMQ may be away; it is handed over as soon as it "
    "does. Redeliver it if this sensor is restarted before",
)


class Receiver(DeliverySensor, Sensor):
    """Answers 202 once a push has been handed to StackStorm.

    A delivery that arrives twice within a minute is recognised here; a commit that arrives in two
    deliveries, or later again, is recognised where its build is recorded.
    """

    def __init__(self, sensor_service, config=None):
        super().__init__(sensor_service=sensor_service, config=config)
        self._logger = sensor_service.get_logger(name=self.__class__.__name__)
        self._seen = OrderedDict()
        self._lock = threading.Lock()
        self.server = None
        self.outbox = Outbox(self.hand_over, self._logger)

    def setup(self):
        config = self.config or {}
        try:
            self.webhook = GitHubWebhook(
                (config.get("github") or {}).get("webhook_secret"), config.get("applications") or {}
            )
        except DeliveryError as error:
            self._logger.error("The receiver does not start: %s", error)
            raise
        jenkins = (config.get("ci") or {}).get("jenkins") or {}
        self.callback = JenkinsCallback(jenkins.get("callback_secret"))
        receiver = config.get("receiver") or {}
        address = (receiver.get("host", "127.0.0.1"), receiver.get("port", 8095))
        self.server = Server(address, Handler)
        self.server.doors = {
            PATH: (self.receive, BODY_LIMIT_BYTES),
            CALLBACK_PATH: (self.call_back, CALLBACK_LIMIT_BYTES),
        }
        self.server.log = self._logger
        self._logger.info("Listening for GitHub on %s:%s%s", address[0], address[1], PATH)

    def run(self):
        threading.Thread(target=self.outbox.run, daemon=True).start()
        self.server.serve_forever()

    def cleanup(self):
        if self.server:
            self.server.server_close()
        self.outbox.close()

    def receive(self, headers, body):
        """Returns the Answer to one delivery, having handed over its push if it has one."""
        answer = self.webhook.answer(headers, body)
        if answer.push:
            answer = self._hand_over_once(answer)
        self._logger.info("%s %s", answer.status, answer.message)
        return answer

    def call_back(self, headers, body):
        """Returns the Answer to one callback of the CI server, having handed it over."""
        answer = self.callback.answer(headers, body)
        if answer.finished:
            taken = self.outbox.put(CALLBACK_TRIGGER, answer.finished)
            if not taken.wait(PATIENCE_S):
                answer = NOT_TAKEN
        self._logger.info("%s %s", answer.status, answer.message)
        return answer

    def _hand_over_once(self, answer):
        delivery = answer.push["delivery"]
        with self._lock:
            self._forget()
            again = delivery in self._seen
            if not again:
                self._seen[delivery] = (time.monotonic(), self.outbox.put(TRIGGER, answer.push))
            _, taken = self._seen[delivery]
        if not taken.wait(PATIENCE_S):
            return NOT_TAKEN
        return Answer(202, "ignored: this delivery has been accepted before") if again else answer

    def _forget(self):
        while self._seen:
            came, taken = next(iter(self._seen.values()))
            if not taken.is_set() or came > time.monotonic() - REMEMBERED_S:
                break
            self._seen.popitem(last=False)


class Outbox:
    """Triggers on their way to StackStorm, handed over in the order in which they came."""

    def __init__(self, hand_over, log):
        self._hand_over = hand_over
        self._log = log
        self._waiting = queue.Queue(WAITING)
        self._closed = threading.Event()

    def put(self, trigger, payload):
        """Returns an event that is set once StackStorm has taken the trigger.

        :raises queue.Full: when too many wait already.
        """
        taken = threading.Event()
        self._waiting.put_nowait((trigger, payload, taken))
        return taken

    def run(self):
        """Hands over whatever comes, until it is closed."""
        while not self._closed.is_set():
            try:
                trigger, payload, taken = self._waiting.get(timeout=1)
            except queue.Empty:
                continue
            while not (taken.is_set() or self._closed.is_set()):
                self._try(trigger, payload, taken)

    def close(self):
        self._closed.set()

    def _try(self, trigger, payload, taken):
        try:
            self._hand_over(trigger, payload, _trace_tag(payload))
            taken.set()
        except Exception as error:
            self._log.exception("Trying again in %s s: %s", PAUSE_AFTER_ERROR_S, error)
            self._closed.wait(PAUSE_AFTER_ERROR_S)


def _trace_tag(payload):
    return "{app}-{commit}".format(app=payload["app"], commit=payload["commit"][:12])


class Server(ThreadingHTTPServer):
    """Serves a bounded number of connections at once; more are closed unanswered."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, handler):
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request, client_address):
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request, client_address):
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request, client_address):
        self.log.warning("A client at %s went away: %s", client_address[0], sys.exc_info()[1])


class Handler(BaseHTTPRequestHandler):
    """One request for a connection, read within a deadline."""

    timeout = REQUEST_TIMEOUT_S
    server_version = "cicd_canary"
    sys_version = ""

    def do_POST(self):
        if self.path not in self.server.doors:
            return self._answer(Answer(404, "nothing here: GitHub's webhooks go to " + PATH))
        receive, limit = self.server.doors[self.path]
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            return self._answer(Answer(411, "the header Content-Length is missing"))
        if int(length) > limit:
            return self._answer(Answer(413, f"the body is larger than {limit >> 20} MiB"))
        body = self._read(int(length))
        if body is None:
            return self._answer(Answer(408, "the body did not arrive in time"))
        try:
            answer = receive(self.headers, body)
        except Exception as error:
            self.server.log.exception("A delivery could not be handed over: %s", error)
            answer = Answer(503, "it could not be handed over: redeliver it")
        return self._answer(answer)

    def do_GET(self):
        if self.path == "/health":
            return self._answer(Answer(200, "listening"))
        return self._answer(Answer(404, "nothing here: GitHub's webhooks go to " + PATH))

    def _read(self, length):
        """Returns the body, or None when it does not arrive within the deadline."""
        deadline = time.monotonic() + REQUEST_TIMEOUT_S
        chunks = []
        while length:
            chunk = self.rfile.read1(min(length, 65536))
            if not chunk or time.monotonic() > deadline:
                return None
            chunks.append(chunk)
            length -= len(chunk)
        return b"".join(chunks)

    def _answer(self, answer):
        body = json.dumps({"message": answer.message}).encode("utf-8")
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """What matters is logged by the receiver, with its reason."""
