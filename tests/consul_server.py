"""A real Consul server for the tests: one for the whole run, on ports of its own, in memory.

    class TestSomething(WithConsul, BaseActionTestCase):    # self.store, self.url, self.config
    def test_something(store): ...                          # the same for pytest, by conftest.py

It starts when the first test asks for it. Each test has a prefix of keys of its own, and what is
registered during a test is gone after it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import shutil
import socket
import subprocess
import unittest
import urllib.request
import uuid
from typing import Any, Iterator

from waiting import wait_for

from delivery.store import Store

NODE = "consul"
# The shell waits for the end of its standard input, a pipe from the tests: it ends with them, also
# when they are killed, and Consul ends with it.
AS_LONG_AS_THE_TESTS = '"$@" & cat; kill -KILL $!'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def put(url: str, path: str, body: Any = "") -> bytes:
    """Sends a PUT below /v1/; a body that is not text is sent as JSON. Returns the answer."""
    data = body if isinstance(body, str) else json.dumps(body)
    request = urllib.request.Request(f"{url}/v1/{path}", data.encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def get(url: str, path: str) -> Any:
    """What Consul answers to a GET below /v1/."""
    with urllib.request.urlopen(f"{url}/v1/{path}", timeout=10) as answer:
        return json.load(answer)


@functools.lru_cache(maxsize=None)
def shared_consul() -> str:
    """The URL of the Consul of this run. It ends with this process."""
    if not shutil.which("consul"):
        raise unittest.SkipTest("Consul is not installed: script/setup as root installs it")
    http, server, lan, wan = (free_port() for _ in range(4))
    url = f"http://127.0.0.1:{http}"
    agent = subprocess.Popen(
        [
            "sh",
            "-c",
            AS_LONG_AS_THE_TESTS,
            "sh",
            "consul",
            "agent",
            "-dev",
            f"-node={NODE}",
            "-bind=127.0.0.1",
            f"-http-port={http}",
            f"-server-port={server}",
            f"-serf-lan-port={lan}",
            f"-serf-wan-port={wan}",
            "-dns-port=-1",
            "-grpc-port=-1",
            "-log-level=err",
        ],
        cwd="/",
        start_new_session=True,  # a Ctrl+C in the terminal is for the tests
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(agent.communicate)

    def has_met_itself() -> bool:
        """Before that it has no leader, or strikes off nodes that it has not met."""
        assert agent.poll() is None, "Consul ended as soon as it was started"
        with contextlib.suppress(OSError):
            return bool(get(url, "health/state/passing"))
        return False

    wait_for(has_met_itself)
    return url


@contextlib.contextmanager
def empty_store() -> Iterator[Store]:
    """An empty part of the run's Consul. When the block ends, no node but Consul is registered."""
    url = shared_consul()
    try:
        yield Store(url, prefix="test-" + uuid.uuid4().hex)
    finally:
        for node in get(url, "catalog/nodes"):
            if node["Node"] != NODE:
                put(url, "catalog/deregister", {"Node": node["Node"]})


class WithConsul:
    """Comes before the base class of a test case: `self.store`, empty for each test, `self.url` of
    its Consul, and `self.config`, the pack's configuration, which leads to it.
    """

    def setUp(self):
        super().setUp()
        consul = empty_store()
        self.store = consul.__enter__()
        self.addCleanup(consul.__exit__, None, None, None)
        self.url = self.store.url
        self.config = {"consul": {"url": self.url, "kv_prefix": self.store.prefix}}


def register(
    url: str, node: str, address: str, service: str, tags: list[str], passing: bool = True
) -> None:
    """Registers a service on a node as that node's agent would, with its check.

    Without the check of its agent (`serfHealth`): once a minute Consul strikes off nodes with one
    that are not really members, in the middle of somebody's test.
    """
    put(
        url,
        "catalog/register",
        {
            "Node": node,
            "Address": address,
            "Service": {"ID": service, "Service": service, "Tags": tags, "Port": 80},
            "Checks": [
                {
                    "Node": node,
                    "CheckID": f"service:{service}",
                    "Name": f"{service} answers",
                    "ServiceID": service,
                    "Status": "passing" if passing else "critical",
                }
            ],
        },
    )


def take_down(url: str, node: str) -> None:
    """Makes a node look as it does when its agent has gone. Look at once: see `register`."""
    put(
        url,
        "catalog/register",
        {
            "Node": node,
            "Address": "10.0.0.1",
            "SkipNodeUpdate": True,
            "Check": {"Node": node, "CheckID": "serfHealth", "Name": "Serf", "Status": "critical"},
        },
    )
