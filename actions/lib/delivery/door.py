"""The HTTP server that webhooks come in by. It is open to everybody, so everything has a limit.

    server = Server(("0.0.0.0", 8095), {"/github": Door(answer, body_limit_bytes)}, log)
    server.serve_forever()

Limits: connections at once, in all and of one address; the time of a whole request, from its
connection to its last byte; the size of a body, and of all bodies in memory. A client that sends
slowly is cut off when its time is over; one beyond the number of connections is closed unanswered.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import socket
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Iterator, Mapping, NamedTuple, cast

from delivery.webhook import Answer

REQUEST_TIMEOUT_S = 10  # GitHub itself gives up after ten seconds
CONNECTIONS = 200  # at once; GitHub tries a refused delivery again on request
CONNECTIONS_OF_ONE = 50  # address; a proxy on this machine is not limited
SMALL_BODY_BYTES = 256 * 1024  # what CONNECTIONS of them take is always there
LARGE_BODIES_BYTES = 64 * 1024 * 1024  # of all larger ones together
BUSY = Answer(503, "busy with other large requests; redeliver it")


class Door(NamedTuple):
    """What is behind a path: what answers headers and body, and how large the body may be."""

    answer: Callable[[Mapping[str, str], bytes], Answer]
    body_limit_bytes: int


class Server(ThreadingHTTPServer):
    """
    :param address: to listen on; `::` is all addresses of IPv6 and IPv4.
    :param doors: by path.
    :param log: with `warning` and `exception`.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], doors: Mapping[str, Door], log: Any) -> None:
        self.doors = doors
        self.log = log
        self._lock = threading.Lock()
        self._arriving: dict[Any, float] = {}  # connections whose request is not all there, since
        self._of_address: Counter[str] = Counter()
        self._large_bodies_bytes = 0
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            admitted = self._may_enter(client_address[0])
            if admitted:
                self._arriving[request] = time.monotonic()
                self._of_address[client_address[0]] += 1
        if admitted:
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.has_arrived(request)
            with self._lock:
                self._of_address[client_address[0]] -= 1
                self._of_address += Counter()  # drops those at zero

    def service_actions(self) -> None:
        """Ends the connections whose time is over; called twice a second."""
        overdue = time.monotonic() - REQUEST_TIMEOUT_S
        with self._lock:
            late = [request for request, since in self._arriving.items() if since < overdue]
        for request in late:
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads

    def has_arrived(self, request: Any) -> None:
        """A request is all there, or will not be: its connection is not ended for being late."""
        with self._lock:
            self._arriving.pop(request, None)

    @contextlib.contextmanager
    def room_for(self, length: int) -> Iterator[bool]:
        """Yields whether there is room for a body of so many bytes, and keeps it meanwhile."""
        counted = length if length > SMALL_BODY_BYTES else 0
        with self._lock:
            fits = self._large_bodies_bytes + counted <= LARGE_BODIES_BYTES
            counted = counted if fits else 0
            self._large_bodies_bytes += counted
        try:
            yield fits
        finally:
            with self._lock:
                self._large_bodies_bytes -= counted

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.log.warning("Connection from %s failed: %s", client_address[0], sys.exc_info()[1])

    def _may_enter(self, address: str) -> bool:
        if sum(self._of_address.values()) >= CONNECTIONS:
            return False
        return self._of_address[address] < CONNECTIONS_OF_ONE or _is_this_machine(address)


class Handler(BaseHTTPRequestHandler):
    """One request for a connection."""

    server_version = "cicd_canary"
    sys_version = ""
    server: Server

    def do_POST(self) -> None:
        door = self.server.doors.get(self.path)
        if door is None:
            return self._answer(Answer(404, "unknown path; GitHub's webhooks go to /github"))
        lengths = self.headers.get_all("Content-Length") or []
        if not lengths:
            return self._answer(Answer(411, "the header Content-Length is missing"))
        if len(lengths) > 1 or not re.fullmatch("[0-9]{1,12}", lengths[0]):
            return self._answer(Answer(400, "the header Content-Length is malformed"))
        if self.headers.get("Transfer-Encoding"):
            return self._answer(Answer(400, "both Content-Length and Transfer-Encoding"))
        length = int(lengths[0])
        if length > door.body_limit_bytes:
            limit = f"{door.body_limit_bytes >> 20} MiB"
            return self._answer(Answer(413, f"the body exceeds {limit}"))
        with self.server.room_for(length) as fits:
            return self._answer(self._judge(door, length) if fits else BUSY)

    def do_GET(self) -> None:
        if self.path == "/health":
            return self._answer(Answer(200, "listening"))
        return self._answer(Answer(404, "unknown path; GitHub's webhooks go to /github"))

    def _judge(self, door: Door, length: int) -> Answer:
        body = bytearray(length)
        arrived = self.rfile.readinto(body)
        self.server.has_arrived(self.connection)
        if arrived < length:
            return Answer(400, "the body is shorter than Content-Length says")
        try:
            return door.answer(cast("Mapping[str, str]", self.headers), body)
        except Exception as error:
            self.server.log.exception("Could not dispatch a webhook: %s", error)
            return Answer(503, "the push could not be dispatched; redeliver it")

    def _answer(self, answer: Answer) -> None:
        body = json.dumps({"message": answer.message}).encode("utf-8")
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """What matters is logged by the receiver, with its reason."""


def _is_this_machine(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0].replace("::ffff:", "")).is_loopback
