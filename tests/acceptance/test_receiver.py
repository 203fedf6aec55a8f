"""The receiver as StackStorm's sensor container runs it, and clients that mean no good."""

from __future__ import annotations

import http.client
import json
import resource
import socket
from typing import Any

import pytest
from driver import Delivery, skip_module_without_sandbox
from stackstorm import eventually, now

from sandbox.fleet import MACHINE_ADDRESS, WEBHOOK_PORT
from sandbox.world import World

skip_module_without_sandbox()

ADDRESS = (MACHINE_ADDRESS, WEBHOOK_PORT)
MANY = 1000
HALF_A_REQUEST = b"POST /github HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"


def is_healthy() -> bool:
    connection = http.client.HTTPConnection(*ADDRESS, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def is_of_a_branch(world: World, hook: int, delivery: dict[str, Any]) -> bool:
    if delivery["event"] != "push":
        return False
    request = world.github.delivery("acme/shop", hook, delivery["id"])["request"]
    return request["payload"]["ref"].startswith("refs/heads/")


def redeliver(world: World) -> int:
    """Has the newest push to a branch delivered again; returns the answer's status.

    Tags that the pack moves are pushes too.
    """
    hook = world.github.hooks("acme/shop")[0]["id"]
    before = world.github.deliveries("acme/shop", hook)
    push = next(each for each in before if is_of_a_branch(world, hook, each))
    world.github.redeliver("acme/shop", hook, push["id"])
    after: list[dict[str, Any]] = eventually(
        lambda: (lambda found: found if len(found) > len(before) else None)(
            world.github.deliveries("acme/shop", hook)
        ),
        "the delivery",
        20,
    )
    return after[0]["status_code"]


@pytest.fixture(scope="module")
def pushed(shop: Delivery) -> Delivery:
    """An application that has been pushed."""
    if not shop.commit:
        shop.deploy()
    return shop


@pytest.fixture
def many_files_may_be_open():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2 * MANY, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_clients_that_hang_are_thrown_out(pushed: Delivery, many_files_may_be_open):
    hanging = []
    for _ in range(MANY):
        try:
            client = socket.create_connection(ADDRESS, timeout=5)
            client.sendall(HALF_A_REQUEST)
            hanging.append(client)
        except OSError:
            continue
    eventually(is_healthy, "the receiver to answer again", 60)
    for client in hanging:
        client.close()
    assert redeliver(pushed.world) == 202


def test_a_client_that_closes_half_way_is_told_or_left(configured: Any):
    with socket.create_connection(ADDRESS, timeout=30) as client:
        client.sendall(HALF_A_REQUEST)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(100)[:12] in (b"HTTP/1.0 400", b"")
    assert is_healthy()


def test_a_body_that_is_too_large_is_refused_unread(configured: Any):
    connection = http.client.HTTPConnection(*ADDRESS, timeout=30)
    connection.putrequest("POST", "/github")
    connection.putheader("Content-Length", str(26 * 1024 * 1024))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413, json.loads(answer.read())
    connection.close()


def test_it_keeps_its_port_when_restarted_and_builds_nothing_twice(pushed: Delivery):
    since = now()
    pushed.stackstorm.enable_sensors("cicd_canary", False)
    try:
        eventually(lambda: not is_healthy(), "the receiver to stop", 30)
    finally:
        pushed.stackstorm.enable_sensors("cicd_canary", True)
    eventually(is_healthy, "the receiver to listen again", 60)
    assert redeliver(pushed.world) == 202
    eventually(lambda: pushed.executions("ci", since) or None, "the workflow of the push", 60)
    assert pushed.executions("ci_build", since) == []
