"""Receives GitHub's webhooks on a port of its own, because only there is the raw body signed.

The callbacks of the CI server come in there too, each at a path of its own.
"""

from __future__ import annotations

import functools
import os
import queue
import sys
import threading
import time
from collections import OrderedDict
from typing import Any, Callable, Mapping

from st2reactor.sensor.base import Sensor

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "actions", "lib"))

from delivery_sensor import DeliverySensor

from delivery import ci, ports
from delivery.ci.callback import Callback
from delivery.door import Door, Server
from delivery.errors import DeliveryError
from delivery.webhook import BODY_LIMIT_BYTES, Answer, GitHubWebhook

PATH = "/github"
TRIGGER = "cicd_canary.push"
CALLBACK_TRIGGER = "cicd_canary.build_finished"
REMEMBERED_S = 60  # what comes again later was sent again by somebody who wants it
PATIENCE_S = 8  # for StackStorm to take a trigger, before the client is told
PAUSE_AFTER_ERROR_S = 2
WAITING = 1000  # triggers, while StackStorm does not take them
NOT_TAKEN = Answer(
    503,
    "queued: StackStorm does not accept triggers now, perhaps because RabbitMQ is down. Redeliver "
    "only if this sensor restarts first",
)


class Receiver(DeliverySensor, Sensor):
    """Answers 202 once a push has been handed to StackStorm.

    A delivery that arrives twice within a minute is recognised here; a commit that arrives in two
    deliveries, or later again, is recognised where its build is recorded.
    """

    def __init__(self, sensor_service: Any, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(sensor_service=sensor_service, config=config)
        self._logger = sensor_service.get_logger(name=self.__class__.__name__)
        self._seen: OrderedDict[str, tuple[float, list[threading.Event]]] = OrderedDict()
        self._lock = threading.Lock()
        self.server: Server | None = None
        self.outbox = Outbox(self.hand_over, self._logger)

    def setup(self) -> None:
        configuration = self.configuration()
        try:
            github = configuration.section("github")
            self.webhook = GitHubWebhook(
                github.get("webhook_secret"),
                configuration.sources(),
                github.get("previous_webhook_secret"),
            )
        except DeliveryError as error:
            self._logger.error("Receiver not started: %s", error)
            raise
        receiver = configuration.section("receiver")
        address = (receiver["host"], receiver["port"])
        doors = {PATH: Door(self.receive, BODY_LIMIT_BYTES)}
        for callback in ci.TOOLS.chosen(configuration).callbacks(configuration):
            doors.setdefault(
                callback.path,
                Door(functools.partial(self.call_back, callback), callback.body_limit_bytes),
            )
        try:
            self.server = Server(address, doors, self._logger)
        except OSError as error:
            where = f"{address[0]}:{address[1]}"
            problem = (
                f"cannot listen on {where}: {ports.reason(error, address[1])}; stop what is there, "
                "or set receiver.host and receiver.port in the pack's configuration"
            )
            self._logger.error("Receiver not started: %s", problem)
            raise DeliveryError(problem) from error
        self._logger.info("Listening for GitHub on %s:%s%s", address[0], address[1], PATH)

    def run(self) -> None:
        threading.Thread(target=self.outbox.run, daemon=True).start()
        assert self.server, "StackStorm calls setup before run"
        self.server.serve_forever()

    def cleanup(self) -> None:
        if self.server:
            self.server.server_close()
        self.outbox.close()

    def receive(self, headers: Mapping[str, str], body: bytes) -> Answer:
        """Returns the Answer to one delivery, having handed over what it starts."""
        answer = self.webhook.answer(headers, body)
        if answer.pushes:
            answer = self._hand_over_once(answer)
        self._logger.info("%s %s", answer.status, answer.message)
        return answer

    def call_back(self, callback: Callback, headers: Mapping[str, str], body: bytes) -> Answer:
        """Returns the Answer to one callback of the CI server, having handed it over."""
        answer = callback.answer(headers, body)
        if answer.finished:
            taken = self.outbox.put(CALLBACK_TRIGGER, answer.finished)
            if not taken.wait(PATIENCE_S):
                answer = NOT_TAKEN
        self._logger.info("%s %s", answer.status, answer.message)
        return answer

    def _hand_over_once(self, answer: Answer) -> Answer:
        delivery = answer.pushes[0]["delivery"]
        with self._lock:
            self._forget()
            again = delivery in self._seen
            if not again:
                waiting = [self.outbox.put(TRIGGER, push) for push in answer.pushes]
                self._seen[delivery] = (time.monotonic(), waiting)
            _, waiting = self._seen[delivery]
        deadline = time.monotonic() + PATIENCE_S
        if not all(taken.wait(max(0, deadline - time.monotonic())) for taken in waiting):
            return NOT_TAKEN
        return Answer(202, "ignored: this delivery was accepted before") if again else answer

    def _forget(self) -> None:
        while self._seen:
            came, waiting = next(iter(self._seen.values()))
            if (
                not all(taken.is_set() for taken in waiting)
                or came > time.monotonic() - REMEMBERED_S
            ):
                break
            self._seen.popitem(last=False)


class Outbox:
    """Triggers on their way to StackStorm, handed over in the order in which they came."""

    def __init__(self, hand_over: Callable[..., None], log: Any) -> None:
        self._hand_over = hand_over
        self._log = log
        self._waiting: queue.Queue[tuple[str, dict[str, Any], threading.Event]] = queue.Queue(
            WAITING
        )
        self._closed = threading.Event()

    def put(self, trigger: str, payload: dict[str, Any]) -> threading.Event:
        """Returns an event that is set once StackStorm has taken the trigger.

        :raises queue.Full: when too many wait already.
        """
        taken = threading.Event()
        self._waiting.put_nowait((trigger, payload, taken))
        return taken

    def run(self) -> None:
        """Hands over whatever comes, until it is closed."""
        while not self._closed.is_set():
            try:
                trigger, payload, taken = self._waiting.get(timeout=1)
            except queue.Empty:
                continue
            while not (taken.is_set() or self._closed.is_set()):
                self._try(trigger, payload, taken)

    def close(self) -> None:
        self._closed.set()

    def _try(self, trigger: str, payload: dict[str, Any], taken: threading.Event) -> None:
        try:
            self._hand_over(trigger, payload, _trace_tag(payload))
            taken.set()
        except Exception as error:
            self._log.exception("Trying again in %s s: %s", PAUSE_AFTER_ERROR_S, error)
            self._closed.wait(PAUSE_AFTER_ERROR_S)


def _trace_tag(payload: Mapping[str, Any]) -> str:
    return f"{payload['app']}-{payload['commit'][:12]}"
