"""A real Consul server for the tests, on ports of its own, in memory."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
import uuid

import pytest

from delivery.store import Store


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def put(url, path, body=""):
    data = body if isinstance(body, str) else json.dumps(body)
    request = urllib.request.Request(f"{url}/v1/{path}", data.encode(), method="PUT")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


@contextlib.contextmanager
def running_consul():
    """Yields the URL of a Consul that ends with the block."""
    if not shutil.which("consul"):
        pytest.skip("Consul is not installed: script/setup as root installs it")
    http, server, lan, wan = (free_port() for _ in range(4))
    url = f"http://127.0.0.1:{http}"
    with tempfile.TemporaryDirectory() as home:
        agent = subprocess.Popen(
            [
                "consul",
                "agent",
                "-dev",
                "-bind=127.0.0.1",
                f"-http-port={http}",
                f"-server-port={server}",
                f"-serf-lan-port={lan}",
                f"-serf-wan-port={wan}",
                "-dns-port=-1",
                "-grpc-port=-1",
                "-log-level=err",
            ],
            cwd=home,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for_a_leader(url)
            yield url
        finally:
            agent.kill()
            agent.wait()


class WithConsul:
    """Comes before the base class of a test case: a real Consul, and of it `self.store`, empty for
    each test, which `self.config`, the pack's configuration, leads to.
    """

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls._consul = running_consul()
        cls.url = cls._consul.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls._consul.__exit__(None, None, None)
        super().tearDownClass()

    def setUp(self):
        super().setUp()
        prefix = "test-" + uuid.uuid4().hex
        self.store = Store(self.url, prefix=prefix)
        self.config = {"consul": {"url": self.url, "kv_prefix": prefix}}


def _wait_for_a_leader(url):
    """Waits until it has also met itself; then it strikes nodes off that it has not met."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(f"{url}/v1/health/state/passing", timeout=2) as answer:
                if json.load(answer):
                    time.sleep(0.1)
                    return
        time.sleep(0.1)
    raise AssertionError("Consul has no leader after 20 s")


def register(url, node, address, service, tags, passing=True, agent=False):
    """Registers a service on a node as that node's agent would, with its check.

    Without the check of its agent (`serfHealth`) unless asked for: once a minute Consul strikes off
    nodes with one that are not really members, in the middle of somebody's test.
    """
    agents = [{"Node": node, "CheckID": "serfHealth", "Name": "Serf", "Status": "passing"}]
    put(
        url,
        "catalog/register",
        {
            "Node": node,
            "Address": address,
            "Service": {"ID": service, "Service": service, "Tags": tags, "Port": 80},
            "Checks": (agents if agent else [])
            + [
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


def take_down(url, node):
    """Makes a node look as it does when its agent has gone."""
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
