"""A client that sends steady requests through the load balancer."""

from __future__ import annotations

import http.client
import json
import re
import threading
import time
from collections import Counter
from typing import NamedTuple
from urllib.parse import urlsplit

TIMEOUT_S = 10
WORDS_LIMIT = 200  # characters of an error that are shown


class Reply(NamedTuple):
    """The outcome of a request; `problem` is empty after an answer of 200.

    `at` is when it was sent, and `after_s` how long its end took, in seconds.
    """

    at: float
    version: str
    host: str
    problem: str
    after_s: float = 0.0


def ask(balancer_url: str, application: str, canary: bool = False) -> Reply:
    """Sends one request through the load balancer, as a client of the application would."""
    at = time.monotonic()
    address = urlsplit(balancer_url)
    connection = http.client.HTTPConnection(
        address.hostname or "", address.port or 80, timeout=TIMEOUT_S
    )
    headers = {"Host": application}
    if canary:
        headers["X-Canary"] = "true"
    try:
        connection.request("GET", "/", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            return _failed(at, f"status {answer.status}: {_words(body)}")
        said = json.loads(body)
        return Reply(at, said["version"], said["host"], "")
    except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
        return _failed(at, f"{type(error).__name__}: {error}")
    finally:
        connection.close()


def _failed(at: float, problem: str) -> Reply:
    return Reply(at, "", "", problem, time.monotonic() - at)


def _words(body: bytes) -> str:
    """Returns what a page of an error says, without its markup."""
    words = re.sub(r"<[^>]*>", " ", body[:WORDS_LIMIT].decode("utf-8", "replace")).split()
    return " ".join(words)[:WORDS_LIMIT] or "no words"


class Traffic:
    """Requests at a steady rate from a few threads, until the block ends.

    :param per_second: requests a second, all clients together.
    """

    def __init__(
        self, balancer_url: str, application: str, per_second: int = 50, clients: int = 5
    ) -> None:
        self.balancer_url = balancer_url
        self.application = application
        self.pause_s = clients / per_second
        self.replies: list[Reply] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        due = time.monotonic()
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            due += self.pause_s
            self.replies.append(ask(self.balancer_url, self.application))

    @property
    def failed(self) -> list[Reply]:
        return [reply for reply in self.replies if reply.problem]

    def versions_since(self, at: float, host_prefix: str | None = None) -> dict[str, int]:
        """Returns how many answers each version gave, from hosts with that prefix."""
        return dict(
            Counter(
                reply.version
                for reply in self.replies
                if reply.at >= at and not reply.problem and reply.host.startswith(host_prefix or "")
            )
        )
