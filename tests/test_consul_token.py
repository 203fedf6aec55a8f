"""What the tokens of host/cicd-consul-token can do and cannot, on a real Consul with ACLs."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import uuid

import pytest
from consul_server import CONSUL_TOKEN, NODE, OPERATOR, get, make_token, put, shared_consul

from delivery.discovery import Discovery
from delivery.store import Store

APP, OTHER = "shop", "notes"


@pytest.fixture
def place():
    """A prefix of keys and a node's name, for one test."""
    return f"acl-{uuid.uuid4().hex[:12]}", f"web-{uuid.uuid4().hex[:8]}.example"


@pytest.fixture
def url():
    return shared_consul()


def run(url, *arguments, **environment):
    return subprocess.run(
        [str(CONSUL_TOKEN), *arguments],
        env={
            "PATH": os.environ["PATH"],
            "CONSUL_HTTP_ADDR": url,
            "CONSUL_HTTP_TOKEN": OPERATOR,
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )


def host_token(url, place, *more):
    prefix, node = place
    return make_token(
        url, "host", "--prefix", prefix, "--node", node, "--app", APP, "--stage", "canary", *more
    )


def may_write(url, token, path, body=""):
    try:
        return put(url, path, body, token) != b"false"
    except urllib.error.HTTPError as error:
        assert error.code == 403, error.read()
        return False


def may_read(url, token, key):
    try:
        get(url, f"kv/{key}", token)
    except urllib.error.HTTPError as error:
        return error.code == 404
    return True


def registration(node, service, **more):
    service = {"ID": service, "Service": service, "Port": 80}
    return {"Node": node, "Address": "10.9.9.9", "Service": service, **more}


def test_a_host_writes_its_own_report_and_registration_and_reads_its_own_stage(url, place):
    prefix, node = place
    token = host_token(url, place)
    assert may_write(url, token, f"kv/{prefix}/{APP}/hosts/{node}", "{}")
    for key in (
        "stages/canary/version",
        f"stages/canary/assigned/{node}",
        "releases/1.0",
        "evidence/1.0",
    ):
        assert may_read(url, token, f"{prefix}/{APP}/{key}")
    assert may_write(url, token, "catalog/register", registration(node, APP))
    put(url, "catalog/deregister", {"Node": node})


@pytest.mark.parametrize(
    "key",
    [
        "shop/hosts/web-0",
        "shop/hosts/NODE0",
        "shop/hosts/NODE/x",
        "shop/members/NODE",
        "shop/stages/canary/version",
        "shop/stages/production/version",
        "shop/releases/1.0",
        "shop/newest_release",
        "shop/repository",
        "shop/events/0000000001",
        "shop/events_seen",
        "shop/lock",
        "shop/freeze",
        "shop/builds/x",
        "notes/hosts/NODE",
        "doctor",
    ],
)
def test_a_host_writes_no_other_key(url, place, key):
    prefix, node = place
    token = host_token(url, place)
    assert not may_write(url, token, f"kv/{prefix}/{key.replace('NODE', node)}", "x")


def test_a_host_does_nothing_else(url, place):
    prefix, node = place
    token = host_token(url, place)
    for key in (f"{prefix}/{APP}/stages/production/version", f"{prefix}/{OTHER}/releases/1"):
        assert not may_read(url, token, key)
    put(url, "catalog/register", {"Node": f"{node}-2", "Address": "10.9.9.8"})
    for path, body in (
        ("catalog/register", registration(node, "build")),
        ("catalog/register", registration(f"{node}-2", APP)),  # another address for it
        ("catalog/register", registration(f"{node}-3", APP)),
        ("catalog/deregister", {"Node": f"{node}-2"}),
        ("session/create", {"Node": node}),
        ("session/create", {}),
        ("event/fire/x", ""),
        ("acl/token", {"Policies": [{"Name": "global-management"}]}),
        ("agent/leave", ""),
    ):
        assert not may_write(url, token, path, body), (path, body)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(url, "acl/tokens", token)
    put(url, "catalog/deregister", {"Node": f"{node}-2"})


def test_no_token_gets_nothing(url, place):
    host_token(url, place)
    prefix, node = place
    assert not may_read(url, "", f"{prefix}/{APP}/members/{node}")
    assert not may_write(url, "", f"kv/{prefix}/{APP}/hosts/{node}")
    assert get(url, "catalog/nodes", "") == []


def test_a_repeated_call_keeps_the_token_and_adds_the_application(url, place):
    prefix, node = place
    token = host_token(url, place)
    again = make_token(
        url, "host", "--prefix", prefix, "--node", node, "--app", OTHER, "--stage", "production"
    )
    assert again == token
    assert may_read(url, token, f"{prefix}/{APP}/stages/canary/version")
    assert may_read(url, token, f"{prefix}/{OTHER}/stages/production/version")
    store = Store(url, OPERATOR, prefix)
    assert Discovery(store).enrolment(APP) == {node: "canary"}
    assert Discovery(store).enrolment(OTHER) == {node: "production"}


def test_another_stage_replaces_the_one_before(url, place):
    prefix = place[0]
    token = host_token(url, place)
    host_token(url, place, "--stage", "production")
    assert may_read(url, token, f"{prefix}/{APP}/stages/production/version")
    assert not may_read(url, token, f"{prefix}/{APP}/stages/canary/version")


def test_a_new_token_ends_the_old_one(url, place):
    prefix, node = place
    token = host_token(url, place)
    fresh = host_token(url, place, "--new")
    assert fresh != token
    assert may_write(url, fresh, f"kv/{prefix}/{APP}/hosts/{node}", "{}")
    assert not may_write(url, token, f"kv/{prefix}/{APP}/hosts/{node}", "{}")


def test_a_host_that_is_revoked_can_do_nothing_more(url, place):
    prefix, node = place
    token = host_token(url, place, "--app", OTHER, "--stage", "canary")
    revoke = ("revoke", "--prefix", prefix, "--node", node)
    assert run(url, *revoke, "--app", OTHER).returncode == 0
    assert not may_read(url, token, f"{prefix}/{OTHER}/stages/canary/version")
    assert may_read(url, token, f"{prefix}/{APP}/stages/canary/version")
    assert run(url, *revoke).returncode == 0
    assert not may_read(url, token, f"{prefix}/{APP}/stages/canary/version")
    with pytest.raises(urllib.error.HTTPError, match="404"):
        get(url, f"kv/{prefix}/?keys")


def test_the_pack_writes_its_keys_and_sessions_and_registers_nothing(url, place):
    prefix, node = place
    token = make_token(url, "pack", "--prefix", prefix, "--node", NODE)
    assert may_write(url, token, f"kv/{prefix}/{APP}/freeze", "{}")
    session = json.loads(put(url, "session/create", {"Name": "x"}, token))["ID"]
    put(url, f"session/destroy/{session}", "", token)
    for path, body in (
        (f"kv/{prefix}x", "x"),
        ("session/create", {"Node": node}),
        ("catalog/register", registration(node, APP)),
        ("event/fire/x", ""),
    ):
        assert not may_write(url, token, path, body), (path, body)


@pytest.mark.parametrize("kind", ["build", "repository"])
def test_a_build_or_repository_host_registers_itself_and_has_no_key(url, place, kind):
    prefix, node = place
    token = make_token(url, kind, "--prefix", prefix, "--node", node)
    assert may_write(url, token, "catalog/register", registration(node, kind))
    other = {"build": "repository", "repository": "build"}[kind]
    assert not may_write(url, token, "catalog/register", registration(node, other))
    assert not may_write(url, token, "catalog/register", registration("another", kind))
    assert not may_write(url, token, f"kv/{prefix}/{APP}/freeze")
    assert not may_write(url, token, "catalog/register", registration(node, APP))
    assert not may_read(url, token, f"{prefix}/{APP}/freeze")
    put(url, "catalog/deregister", {"Node": node})


def test_what_answers_dns_only_reads_the_catalog(url, place):
    token = make_token(url, "dns", "--prefix", place[0])
    assert NODE in [each["Node"] for each in get(url, "catalog/nodes", token)]
    assert not may_write(url, token, "catalog/register", registration(place[1], APP))
    assert not may_read(url, token, f"{place[0]}/{APP}/freeze")


def test_consul_that_has_lost_its_data_gets_the_tokens_that_hosts_have(url, place):
    known = str(uuid.uuid4())
    made = run(url, "dns", "--prefix", place[0], CICD_CONSUL_TOKEN=known)
    assert made.stdout == known + "\n"
    other = run(url, "dns", "--prefix", place[0], CICD_CONSUL_TOKEN=str(uuid.uuid4()))
    assert (other.returncode, other.stdout) == (1, "")
    assert "has another token than CICD_CONSUL_TOKEN; replace it with --new" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name what the token is for"),
        (["host"], "--node is missing"),
        (["host", "--node", "web 1"], "--node web 1: use a node name"),
        (["host", "--node", 'w"', "--app", "shop"], "use a node name"),
        (["host", "--node", "w", "--app", 'x" {}'], "--app x"),
        (["host", "--node", "w", "--app", "shop"], "--app shop: name its --stage after it"),
        (["host", "--node", "w", "--stage", "canary"], "name its --app before it"),
        (["host", "--node", "never-seen"], "never-seen is enrolled for nothing"),
        (["dns", "--prefix", "/"], "--prefix /: use consul.kv_prefix"),
        (["dns", "--foo"], "unknown option --foo"),
    ],
)
def test_a_wrong_call_makes_nothing(url, arguments, said):
    before = len(get(url, "acl/policies"))
    ran = run(url, *arguments)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert said in ran.stderr
    assert len(get(url, "acl/policies")) == before


@pytest.mark.parametrize("address", ["same", "http://127.0.0.1:9"])
def test_what_consul_refuses_changes_nothing(url, place, address):
    token = host_token(url, place)
    before = len(get(url, "acl/tokens"))
    ran = run(
        url if address == "same" else address,
        *("host", "--new", "--prefix", place[0], "--node", place[1]),
        CONSUL_HTTP_TOKEN=token,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "cicd-consul-token: Consul at http://127.0.0.1:" in ran.stderr
    assert len(get(url, "acl/tokens")) == before
