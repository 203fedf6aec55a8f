"""A real Consul server for the tests: one for the whole run, on ports of its own, in memory.

    class TestSomething(WithConsul, BaseActionTestCase):    # self.store, self.url, self.config
    def test_something(store): ...                          # the same for pytest, by conftest.py

It starts when the first test asks for it. Each test has a prefix of keys of its own, and what is
registered during a test is gone after it.

Its ACLs deny what no token allows. The store has the pack's token, made by host/cicd-consul-token;
`put`, `get` and what registers hosts have an operator's.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import unittest
import urllib.request
import uuid
from pathlib import Path
from typing import Any, Iterator

from waiting import wait_for

from delivery.store import Store

NODE = "consul"
PREFIX = "cicd-tests"
OPERATOR = str(uuid.uuid4())  # the token that may do everything
CONSUL_TOKEN = Path(__file__).resolve().parent.parent / "host/cicd-consul-token"
ACLS = f"""
acl {{
    enabled = true
    default_policy = "deny"
    tokens {{ master = "{OPERATOR}", agent = "{OPERATOR}" }}
}}
"""
# The shell waits for the end of its standard input, a pipe from the tests: it ends with them, also
# when they are killed, and Consul ends with it.
AS_LONG_AS_THE_TESTS = '"$@" & cat; kill -KILL $!'


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def put(url: str, path: str, body: Any = "", token: str = OPERATOR) -> bytes:
    """Sends a PUT below /v1/; a body that is not text is sent as JSON. Returns the answer."""
    data = body if isinstance(body, str) else json.dumps(body)
    request = urllib.request.Request(
        f"{url}/v1/{path}", data.encode(), {"X-Consul-Token": token}, method="PUT"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def get(url: str, path: str, token: str = OPERATOR) -> Any:
    """What Consul answers to a GET below /v1/."""
    request = urllib.request.Request(f"{url}/v1/{path}", headers={"X-Consul-Token": token})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def make_token(url: str, *arguments: str) -> str:
    """The token that host/cicd-consul-token makes with these arguments."""
    return subprocess.run(
        [str(CONSUL_TOKEN), *arguments],
        env={"PATH": os.environ["PATH"], "CONSUL_HTTP_ADDR": url, "CONSUL_HTTP_TOKEN": OPERATOR},
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
    ).stdout.strip()


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
            f"-hcl={ACLS}",
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


@functools.lru_cache(maxsize=None)
def pack_token() -> str:
    """The pack's token in this run."""
    return make_token(shared_consul(), "pack", "--node", NODE, "--prefix", PREFIX)


_prefixes: list[str] = []  # of the tests that are running: one


@contextlib.contextmanager
def empty_store() -> Iterator[Store]:
    """An empty part of the run's Consul. When the block ends, no node but Consul is registered."""
    url = shared_consul()
    _prefixes.append(f"{PREFIX}/{uuid.uuid4().hex}")
    try:
        yield Store(url, pack_token(), _prefixes[-1])
    finally:
        _prefixes.pop()
        for node in get(url, "catalog/nodes"):
            if node["Node"] != NODE:
                put(url, "catalog/deregister", {"Node": node["Node"]})


def section(store: Store) -> dict[str, str]:
    """Section `consul` of a configuration that leads to this store."""
    return {"url": store.url, "kv_prefix": store.prefix, "token": pack_token()}


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
        self.config = {"consul": section(self.store)}


def register(
    url: str,
    node: str,
    address: str,
    service: str,
    tags: list[str],
    passing: bool = True,
    enrolled: str | None = "",
) -> None:
    """Registers a service on a node as that node's agent would, with its check, and enrols the node
    as an operator would.

    enrolled: for which stage, None for none; by default the one that the tags tell of.
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
    if enrolled == "":
        stages = [tag.rpartition("_")[2] for tag in tags if tag.startswith(f"{service}::")]
        enrolled = next((stage for stage in stages if "::" not in stage), "production")
    if enrolled and _prefixes:
        put(url, f"kv/{_prefixes[-1]}/{service}/members/{node}", enrolled)


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
