"""The HTTP server that webhooks come in by. It is open to everybody, so everything has a limit.

    server = Server(("0.0.0.0", 8095), {"/github": Door(answer, body_limit_bytes)}, log)
    server.serve_forever()

Limits: connections at once, in all and of one address; the time of a whole request, from its
connection to its last byte; the size of a body, and of all bodies in memory. A client that sends
slowly is cut off when its time is over; one beyond the number of its address is closed unanswered.
Where all places are taken, a newcomer gets that of the connection which has waited longest of the
address that has most: a few addresses do not shut the door.
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
from typing import Any, Callable, Mapping, NamedTuple, cast

from delivery.webhook import Answer

REQUEST_TIMEOUT_S = 10  # GitHub itself gives up after ten seconds
CONNECTIONS = 200  # at once; GitHub tries a refused delivery again on request
CONNECTIONS_OF_ONE = 50  # address; a proxy on this machine is not limited
SMALL_BODY_BYTES = 256 * 1024  # what CONNECTIONS of them take is always there
LARGE_BODIES_BYTES = 64 * 1024 * 1024  # of what has arrived of all larger ones
CHUNK_BYTES = 64 * 1024
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
        # Connections whose request is not all there: since when, and of which place. Oldest first.
        self._arriving: dict[Any, tuple[float, str]] = {}
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
        place = _place(client_address[0])
        with self._lock:
            admitted = self._may_enter(client_address[0], place)
            if admitted:
                self._arriving[request] = time.monotonic(), place
                self._of_address[place] += 1
        if not admitted:
            return self.shutdown_request(request)
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started for it
            self._forget(request, client_address)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request, client_address)

    def service_actions(self) -> None:
        """Ends the connections whose time is over; called twice a second."""
        overdue = time.monotonic() - REQUEST_TIMEOUT_S
        with self._lock:
            late = [each for each, (since, _) in self._arriving.items() if since < overdue]
        for request in late:
            _end(request)

    def has_arrived(self, request: Any) -> None:
        """A request is all there, or will not be: its connection is not ended for being late."""
        with self._lock:
            self._arriving.pop(request, None)

    def take_room(self, size: int) -> bool:
        """Returns whether there is room for so many more bytes of large bodies, and keeps it."""
        with self._lock:
            fits = self._large_bodies_bytes + size <= LARGE_BODIES_BYTES
            self._large_bodies_bytes += size if fits else 0
        return fits

    def give_room_back(self, size: int) -> None:
        with self._lock:
            self._large_bodies_bytes -= size

    def handle_error(self, request: Any, client_address: Any) -> None:
        self.log.warning("Connection from %s failed: %s", client_address[0], sys.exc_info()[1])

    def _may_enter(self, address: str, place: str) -> bool:
        own = self._of_address[place]
        if own >= CONNECTIONS_OF_ONE and not _is_this_machine(address):
            return False
        too_many = sum(self._of_address.values()) - CONNECTIONS
        return too_many < 0 or self._make_place(own, too_many)

    def _make_place(self, own: int, on_their_way_out: int) -> bool:
        """Ends a connection for a newcomer whose address has `own`; returns whether there was one.

        It counts until its thread has seen that: so many are on their way out at most.
        """
        waiting = Counter(place for _, place in self._arriving.values())
        if not waiting or on_their_way_out >= CONNECTIONS:
            return False
        heaviest, most = waiting.most_common(1)[0]
        if most <= own:
            return False
        oldest = next(each for each, (_, place) in self._arriving.items() if place == heaviest)
        del self._arriving[oldest]
        _end(oldest)
        return True

    def _forget(self, request: Any, client_address: Any) -> None:
        self.has_arrived(request)
        with self._lock:
            self._of_address[_place(client_address[0])] -= 1
            self._of_address += Counter()  # drops those at zero


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
        return self._answer(self._judge(door, length))

    def do_GET(self) -> None:
        if self.path == "/health":
            return self._answer(Answer(200, "listening"))
        return self._answer(Answer(404, "unknown path; GitHub's webhooks go to /github"))

    def _judge(self, door: Door, length: int) -> Answer:
        body = bytearray()
        kept = 0
        try:
            while len(body) < length:
                chunk = self.rfile.read(min(CHUNK_BYTES, length - len(body)))
                if not chunk:
                    return Answer(400, "the body is shorter than Content-Length says")
                if length > SMALL_BODY_BYTES:
                    if not self.server.take_room(len(chunk)):
                        return BUSY
                    kept += len(chunk)
                body += chunk
            self.server.has_arrived(self.connection)
            return door.answer(cast("Mapping[str, str]", self.headers), body)
        except Exception as error:
            self.server.log.exception("Could not dispatch a webhook: %s", error)
            return Answer(503, "the push could not be dispatched; redeliver it")
        finally:
            self.server.give_room_back(kept)

    def _answer(self, answer: Answer) -> None:
        body = json.dumps({"message": answer.message}).encode("utf-8")
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """What matters is logged by the receiver, with its reason."""


def _end(request: Any) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads


def _place(address: str) -> str:
    """Returns what counts as one address: of IPv6 the network of which one client has all."""
    ip = _ip(address)
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


def _is_this_machine(address: str) -> bool:
    return _ip(address).is_loopback


def _ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip
