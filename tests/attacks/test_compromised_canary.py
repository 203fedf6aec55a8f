"""What root on a canary host can try in Consul, with all that the host has: each is refused, and
nothing of the application, of other hosts and of Consul itself has changed afterwards."""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from typing import Any

import pytest
from delivery_driver import Delivery
from waiting import wait_for

from sandbox.world import World

SERVER = "http://10.77.0.10:8500"
AGENT = "http://127.0.0.1:8500"
TOKEN = "/etc/cicd/consul-token"
APP = "kv/cicd/shop"
VERSION = "9.9.9-9.fffffff"
REST_S = 3
REAL = ["production-1", "production-2", "production-3"]

# With curl, and its token where the host may read it; prints the answer and, last, its status.
ASK = """
method=$1 url=$2 body=$3 header=$4
curl --silent --max-time 10 --request "$method" ${header:+--header "@$header"} \\
    ${body:+--data-binary "$body"} --write-out '\\n%{http_code}' "$url"
"""


class Canary:
    """Root on canary-1."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.host = world.host("canary-1")

    def ask(
        self, method: str, path: str, body: Any = "", at: str = SERVER, header: str = TOKEN
    ) -> tuple[int, str]:
        """What Consul says to it: the status, and the answer."""
        data = body if isinstance(body, str) else json.dumps(body)
        words = ["bash", "-c", ASK, "canary", method, f"{at}/v1/{path}", data, header]
        answer, _, status = self.host.run(words, check=True).stdout.rpartition("\n")
        return int(status), answer

    def registers_itself(self, *stages: str) -> None:
        """By its agent's configuration, which is its own."""
        tags = ["shop::app", *(f"shop::app_{stage}" for stage in stages), *stages]
        script = """
        file=/etc/consul.d/cicd-shop.json
        jq --argjson tags "$1" '.service.tags = $tags' $file > /tmp/new && cat /tmp/new > $file
        pkill -HUP -x consul
        """
        self.host.run(["bash", "-c", script, "canary", json.dumps(tags)], check=True)
        wait_for(lambda: set(tags) == set(self.registered()["canary-1"]["ServiceTags"]))

    def registered(self) -> dict[str, dict[str, Any]]:
        return {each["Node"]: each for each in self.world.consul("catalog/service/shop")}


def state(world: World) -> dict[str, Any]:
    """All that must not change: keys but what hosts say of themselves, who is there, and ACLs."""
    registered = {
        each["Node"]: (each["Address"], each["ServiceAddress"], sorted(each["ServiceTags"]))
        for each in world.consul("catalog/service/shop")
    }
    return {
        "keys": {
            each["Key"]: (each["Value"], each["ModifyIndex"], each.get("Session"))
            for each in world.consul("kv/?recurse")
            if "notes/hosts/" not in each["Key"] and not each["Key"].endswith("/hosts/canary-1")
        },
        "shop": registered,
        "services": sorted(world.consul("catalog/services")),
        "nodes": {each["Node"]: each["Address"] for each in world.consul("catalog/nodes")},
        "sessions": world.consul("session/list"),
        "tokens": sorted(each["AccessorID"] for each in world.consul("acl/tokens")),
        "policies": sorted(each["Hash"] for each in world.consul("acl/policies")),
    }


def is_at_rest(world: World) -> bool:
    """Whether all that the deliveries have caused is over."""
    before = state(world)
    time.sleep(REST_S)
    return state(world) == before


@pytest.fixture(scope="module")
def versions(shop: Delivery) -> tuple[str, str]:
    """Production runs the first, the canary the second."""
    first = shop.deploy()
    shop.say("!deploy promote shop")
    wait_for(lambda: shop.application.stages.get("production").status == "live")
    return first, shop.deploy()


@pytest.fixture(scope="module")
def canary(world: World, versions: tuple[str, str]) -> Canary:
    wait_for(lambda: is_at_rest(world))
    return Canary(world)


WRITES = {
    "move the production version": ("stages/production/version", VERSION),
    "move its own stage's version": ("stages/canary/version", VERSION),
    "assign a version to a production host": ("stages/production/assigned/production-1", VERSION),
    "assign a version to itself": ("stages/canary/assigned/canary-1", VERSION),
    "have another host run a command": ("stages/production/version", "1$(touch /tmp/taken)"),
    "make the stage look live": ("stages/production/state", '{"status": "live"}'),
    "forge an event": ("events/9999999999", '{"type": "release_published"}'),
    "hide events from StackStorm": ("events_seen", "9999999999"),
    "forge a release": (f"releases/{VERSION}", "{}"),
    "forge the evidence of a release": (f"evidence/{VERSION}", "{}"),
    "name another newest release": ("newest_release", VERSION),
    "forge the report of another host": ("hosts/production-1", "{}"),
    "join production": ("members/canary-1", "production"),
    "take a host out of production": ("members/production-1", "canary"),
    "freeze": ("freeze", "{}"),
    "abort a rollout": ("stages/production/abort", "{}"),
    "take the lock": ("lock", "canary-1"),
    "forge a build": (f"builds/{'f' * 40}", '{"status": "passed"}'),
    "bind the application to its repository": ("repository", "eve/shop"),
    "write below its own report": ("hosts/canary-1/x", "x"),
}


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("at", [SERVER, AGENT])
def test_it_cannot(canary: Canary, what, at):
    key, value = WRITES[what]
    before = state(canary.world)
    for header in (TOKEN, ""):
        for method in ("PUT", "DELETE"):
            assert canary.ask(method, f"{APP}/{key}", value, at, header)[0] == 403
    operation = {"KV": {"Verb": "set", "Key": f"cicd/shop/{key}", "Value": "eA=="}}
    own = {"KV": {"Verb": "set", "Key": "cicd/shop/hosts/canary-1", "Value": "eA=="}}
    status, answer = canary.ask("PUT", "txn", [own, operation], at)
    assert (status, "Permission denied" in answer) in ((403, True), (409, True)), answer
    assert state(canary.world) == before


BUILD = {"ID": "build", "Name": "build", "Tags": ["build::host"], "Port": 22}
SERVICE = {"ID": "build", "Service": "build", "Tags": ["build::host"], "Port": 22}
SHOP = {"ID": "shop", "Service": "shop", "Tags": ["shop::app"], "Port": 8081}
REQUESTS = {
    "be a build host": (
        "PUT",
        "catalog/register",
        {"Node": "canary-1", "Address": "10.77.1.1", "Service": SERVICE},
    ),
    "be a build host by its agent": ("PUT", "agent/service/register", BUILD),
    "bring a host of its own": (
        "PUT",
        "catalog/register",
        {"Node": "evil", "Address": "10.77.1.1", "Service": SHOP},
    ),
    "move another host's address": (
        "PUT",
        "catalog/register",
        {"Node": "production-1", "Address": "10.77.1.1", "Service": SHOP},
    ),
    "take a host out of Consul": ("PUT", "catalog/deregister", {"Node": "production-1"}),
    "open a session": ("PUT", "session/create", {"Name": "x"}),
    "open a session on its own node": ("PUT", "session/create", {"Node": "canary-1"}),
    "fire an event": ("PUT", "event/fire/deploy", ""),
    "delete all keys": ("DELETE", "kv/cicd/?recurse", ""),
    "delete the application's keys": ("DELETE", "kv/cicd/shop/?recurse", ""),
    "read Consul's tokens": ("GET", "acl/tokens", ""),
    "read Consul's policies": ("GET", "acl/policies", ""),
    "make a token": ("PUT", "acl/token", {"Policies": [{"Name": "global-management"}]}),
    "become the first operator": ("PUT", "acl/bootstrap", ""),
    "save all that Consul holds": ("GET", "snapshot", ""),
    "see the servers": ("GET", "operator/raft/configuration", ""),
    "read the key of the gossip": ("GET", "operator/keyring", ""),
    "stop an agent": ("PUT", "agent/leave", ""),
    "reload an agent": ("PUT", "agent/reload", ""),
    "watch an agent's log": ("GET", "agent/monitor?loglevel=trace", ""),
    "read another stage's version": ("GET", f"{APP}/stages/production/version", ""),
    "read who is enrolled": ("GET", f"{APP}/members/production-1", ""),
    "read another application's keys": ("GET", "kv/cicd/notes/stages/production/version", ""),
    "read what is not the pack's": ("GET", "kv/secret", ""),
}


# What an agent does not do for anybody, or does for who has root on its host.
OF_SERVERS = ("read the key of the gossip", "watch an agent's log")


@pytest.mark.parametrize("what", REQUESTS)
def test_nor_can_it(canary: Canary, what):
    method, path, body = REQUESTS[what]
    before = state(canary.world)
    for at in (SERVER,) if what in OF_SERVERS else (SERVER, AGENT):
        for header in (TOKEN, ""):
            status, answer = canary.ask(method, path, body, at, header)
            assert status in (401, 403) or "denied" in answer, answer
            assert not any(each["Node"] == "evil" for each in canary.world.consul("catalog/nodes"))
    assert state(canary.world) == before


def test_it_ends_no_session_of_another(canary: Canary):
    world = canary.world
    request = urllib.request.Request(
        f"{SERVER}/v1/session/create",
        b'{"TTL": "60s"}',
        {"X-Consul-Token": world.consul_token},
        method="PUT",
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        session = json.load(answer)["ID"]
    for verb in ("destroy", "renew"):
        assert canary.ask("PUT", f"session/{verb}/{session}")[0] == 403
    assert session in [each["ID"] for each in world.consul("session/list")]


def test_it_learns_no_key_but_its_own(canary: Canary):
    status, answer = canary.ask("GET", "kv/?keys")
    assert status == 200
    allowed = (
        "cicd/shop/releases/",
        "cicd/shop/evidence/",
        "cicd/shop/stages/canary/",
        "cicd/notes/releases/",
        "cicd/notes/evidence/",
        "cicd/notes/stages/canary/",
        "cicd/shop/hosts/canary-1",
        "cicd/notes/hosts/canary-1",
    )
    assert [key for key in json.loads(answer) if not key.startswith(allowed)] == []
    assert canary.ask("GET", "kv/?keys", header="") in ((404, ""), (200, "[]"))


def test_it_runs_nothing_on_others_by_consul(canary: Canary):
    command = 'CONSUL_HTTP_TOKEN=$(sed "s/.*: //" /etc/cicd/consul-token) consul exec touch /tmp/x'
    assert canary.host.run(["sh", "-c", command], timeout=60).returncode != 0
    assert canary.world.host("production-1").run(["test", "-e", "/tmp/x"]).returncode != 0


def test_no_other_user_of_the_host_has_a_token(canary: Canary):
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    read = "cat /etc/cicd/consul-token /etc/consul.d/*.json /etc/consul.d/tls/*-key.pem"
    assert canary.host.run([*as_nobody, "sh", "-c", f"{read} 2>/dev/null"]).stdout == ""
    ask = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}"]
    for path in ("agent/self", "kv/cicd/shop/stages/canary/version"):
        asked = canary.host.run([*as_nobody, *ask, f"{AGENT}/v1/{path}"])
        assert asked.stdout == "403"
    maintenance = [*ask, "-X", "PUT", f"{AGENT}/v1/agent/service/maintenance/shop?enable=true"]
    assert canary.host.run([*as_nobody, *maintenance]).stdout == "403"


def test_a_promotion_takes_the_enrolled_hosts_whatever_it_registers(
    canary: Canary, shop: Delivery, versions
):
    second = versions[1]
    # Consul lets a host of a service rewrite the service's registration on other hosts.
    forged = dict(SHOP, Tags=["shop::app", "production"], Address="10.77.1.1")
    there = {"Node": "production-3", "SkipNodeUpdate": True, "Service": forged}
    assert canary.ask("PUT", "catalog/register", there)[0] == 200
    assert canary.registered()["production-3"]["ServiceAddress"] == "10.77.1.1"
    canary.registers_itself("production")
    try:
        listed = shop.say("!deploy hosts shop")
        assert "canary-1 (production): " in listed and "left out: is enrolled for canary" in listed
        shop.say("!deploy promote shop")
        wait_for(lambda: shop.application.stages.get("production").version == second)
        rollout = shop.application.stages.get("production").rollout
        assert sorted(rollout.hosts) == REAL
        installed = shop.installed()
        assert {name: installed[name] for name in REAL} == dict.fromkeys(REAL, second)
        assert "canary-1" in shop.say("!deploy doctor")
    finally:
        canary.registers_itself("canary")


def test_as_a_server_it_is_sent_nothing(canary: Canary):
    """Without TLS among Consul's agents it would have every token within seconds."""
    settings = {
        "server": True,
        "node_name": f"server-{uuid.uuid4().hex[:6]}",
        "bind_addr": "10.77.1.1",
        "data_dir": "/tmp/server",
        "retry_join": ["10.77.0.10:8301"],
        "performance": {"raft_multiplier": 1},
        "ports": {"http": 8510, "dns": -1, "serf_lan": 8311, "serf_wan": -1, "server": 8310},
        "acl": {"enabled": True, "default_policy": "deny"},
        "ca_file": "/etc/consul.d/tls/ca.pem",
        "cert_file": "/etc/consul.d/tls/client.pem",
        "key_file": "/etc/consul.d/tls/client-key.pem",
        "verify_outgoing": True,
    }
    write = ["install", "-D", "/dev/stdin", "/tmp/server.json"]
    canary.host.run(write, input=json.dumps(settings), check=True)
    start = ["timeout", "20", "consul", "agent", "-config-file=/tmp/server.json"]
    said = canary.host.run(start).stdout
    assert "serf: EventMemberJoin: consul" in said, said
    secrets = [canary.world.consul_token]
    secrets += [
        canary.world.host(name).run(["sh", "-c", "cat /etc/cicd/consul-token"]).stdout.split()[-1]
        for name in REAL
    ]
    for secret in secrets:
        found = canary.host.run(["grep", "-rlaF", secret, "/tmp/server"])
        assert found.stdout == ""
    assert canary.world.consul("status/leader") == "10.77.0.10:8300"
