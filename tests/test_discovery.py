"""Finding hosts, against a real Consul."""

from __future__ import annotations

import uuid

import pytest
from consul_server import put, register, take_down

from delivery.discovery import Discovery, NoHosts
from delivery.errors import DeliveryError
from delivery.store import Store

STAGES = ["canary", "production"]


@pytest.fixture
def discovery(store):
    return Discovery(store)


@pytest.fixture
def app(consul_url):
    """An application with a canary host and two production hosts; a name for each test."""
    name = "app-" + uuid.uuid4().hex[:8]
    register(
        consul_url,
        f"{name}-c1",
        "10.0.0.1",
        name,
        [f"{name}::app", f"{name}::app_canary", "canary"],
    )
    for number in (1, 2):
        register(
            consul_url,
            f"{name}-p{number}",
            f"10.0.1.{number}",
            name,
            [f"{name}::app", "production"],
        )
    return name


def nodes(hosts):
    return [host.node for host in hosts]


def test_canary_hosts_are_those_with_the_canary_tag(discovery, app):
    hosts = discovery.stage_hosts(app, "app", "canary", STAGES)
    assert nodes(hosts.up) == [f"{app}-c1"]
    assert hosts.up[0].address == "10.0.0.1"


def test_production_hosts_are_those_without_another_stages_tag(discovery, app):
    assert nodes(discovery.stage_hosts(app, "app", "production", STAGES).up) == [
        f"{app}-p1",
        f"{app}-p2",
    ]


def test_a_host_of_the_last_stage_may_carry_its_tag(discovery, app, consul_url):
    tags = [f"{app}::app", f"{app}::app_production", "production"]
    register(consul_url, f"{app}-p3", "10.0.0.4", app, tags)
    assert f"{app}-p3" in nodes(discovery.stage_hosts(app, "app", "production", STAGES).up)
    assert nodes(discovery.stage_hosts(app, "app", "production", [*STAGES, "late"]).up) == [
        f"{app}-p3"
    ]


@pytest.mark.parametrize(
    ("node", "address"),
    [("odd_name", "10.0.0.9"), ("-oProxyCommand=x", "10.0.0.9"), ("p9", "$(id)")],
)
def test_a_host_that_has_no_proper_name_or_address_is_left_out(
    discovery, app, consul_url, node, address, caplog
):
    register(consul_url, node, address, app, [f"{app}::app"])
    assert nodes(discovery.stage_hosts(app, "app", "production", STAGES).up) == [
        f"{app}-p1",
        f"{app}-p2",
    ]
    assert "Left out: invalid " in caplog.text
    put(consul_url, "catalog/deregister", {"Node": node})


def test_a_host_that_only_claims_a_stage_is_left_out_by_name(discovery, app, consul_url, caplog):
    tags = [f"{app}::app", f"{app}::app_production", "production"]
    register(consul_url, f"{app}-new", "10.0.0.8", app, tags, enrolled=None)
    register(consul_url, f"{app}-c1", "10.0.0.1", app, tags, enrolled="canary")

    assert nodes(discovery.stage_hosts(app, "app", "production", STAGES).up) == [
        f"{app}-p1",
        f"{app}-p2",
    ]
    command = f"run cicd-consul-token host --node {app}-new --app {app} --stage production"
    for said in (
        f"{app}-new is not enrolled, but carries the tags of production; if they are right, "
        + command,
        f"{app}-c1 is enrolled for canary, but carries the tags of production",
    ):
        assert f"Left out of the production hosts of {app}: {said}" in caplog.text
    with pytest.raises(NoHosts, match=f"no host of {app} carries the tag {app}::app_canary"):
        discovery.stage_hosts(app, "app", "canary", STAGES)
    left_out = discovery.left_out(app, "app", STAGES)
    assert sorted(left_out) == [f"{app}-c1", f"{app}-new"]


def test_a_stage_whose_hosts_all_only_claim_it_is_an_error(discovery, consul_url):
    name = "app-" + uuid.uuid4().hex[:8]
    register(consul_url, f"{name}-1", "10.0.0.1", name, [f"{name}::app"], enrolled=None)
    with pytest.raises(
        NoHosts, match=f"every host with the tags of production is left out: {name}-1 is not enr"
    ):
        discovery.stage_hosts(name, "app", "production", STAGES)


def test_an_enrolled_host_that_is_not_there_is_named(discovery, app, consul_url):
    register(consul_url, f"{app}-p1", "10.0.1.1", app, [f"{app}::other"], enrolled="production")
    put(consul_url, "catalog/deregister", {"Node": f"{app}-c1"})
    do = "; run cicd-host-setup there"
    assert discovery.left_out(app, "app", STAGES) == {
        f"{app}-c1": f"is enrolled for canary, but has no service {app}{do}",
        f"{app}-p1": f"is enrolled for production, but carries other tags{do}",
    }


def test_a_malformed_enrolment_stops_no_other(discovery, store, app, caplog):
    for key, value in ((f"{app}-p1", "$(id)"), ("a_b", "production"), ("a/b", "production")):
        store.commit([store.overwrite(f"{app}/members/{key}", value)])
    assert nodes(discovery.stage_hosts(app, "app", "production", STAGES).up) == [f"{app}-p2"]
    assert f"/{app}/members/{app}-p1 in Consul is '$(id)', no enrolment" in caplog.text


def test_without_a_token_tags_are_all_there_is(store, app, consul_url):
    without = Store("http://127.0.0.1:1", prefix=store.prefix, client=store.client)
    register(consul_url, f"{app}-new", "10.0.0.8", app, [f"{app}::app"], enrolled=None)
    hosts = Discovery(without).stage_hosts(app, "app", "production", STAGES)
    assert nodes(hosts.up) == [f"{app}-new", f"{app}-p1", f"{app}-p2"]
    assert Discovery(without).left_out(app, "app", STAGES) == {}


def test_the_address_is_the_nodes_not_what_a_host_of_the_service_may_write(
    discovery, app, consul_url
):
    service = {"ID": app, "Service": app, "Tags": [f"{app}::app"], "Address": "10.6.6.6"}
    put(
        consul_url,
        "catalog/register",
        {"Node": f"{app}-p1", "SkipNodeUpdate": True, "Address": "10.0.1.1", "Service": service},
    )
    assert discovery.host(app, f"{app}-p1").address == "10.0.1.1"


def test_a_host_that_is_down_is_set_apart(discovery, app, consul_url):
    take_down(consul_url, f"{app}-p2")
    hosts = discovery.stage_hosts(app, "app", "production", STAGES)
    assert (nodes(hosts.up), nodes(hosts.down)) == ([f"{app}-p1"], [f"{app}-p2"])


def test_a_stage_whose_hosts_are_all_down_is_an_error(discovery, app, consul_url):
    take_down(consul_url, f"{app}-c1")
    with pytest.raises(NoHosts, match=f"every canary host of {app} is down: {app}-c1"):
        discovery.stage_hosts(app, "app", "canary", STAGES)


def test_no_host_with_the_tag_names_the_tag_and_those_that_exist(discovery, app):
    with pytest.raises(
        NoHosts,
        match=f"carries the tag {app}::web_canary; existing tags: "
        f"{app}::app, {app}::app_canary, canary, production",
    ):
        discovery.stage_hosts(app, "web", "canary", STAGES)


def test_an_unknown_service_is_answered_with_the_nearest(discovery, app):
    with pytest.raises(NoHosts, match=f"no service {app}x in Consul; nearest: .*{app}"):
        discovery.stage_hosts(app + "x", "app", "canary", STAGES)


def test_an_unknown_stage_is_answered_with_those_there_are(discovery, app):
    with pytest.raises(DeliveryError, match="has no stage qa; its stages: canary, production"):
        discovery.stage_hosts(app, "app", "qa", STAGES)


def test_a_build_host_has_to_be_healthy(discovery, consul_url):
    service = "build-" + uuid.uuid4().hex[:8]
    register(consul_url, f"{service}-1", "10.0.2.1", service, ["build::host"], passing=False)
    with pytest.raises(NoHosts, match=f"{service}-1 fails {service} answers"):
        discovery.service_hosts(service, "build::host")
    register(consul_url, f"{service}-2", "10.0.2.2", service, ["build::host"])
    assert nodes(discovery.service_hosts(service, "build::host")) == [f"{service}-2"]


def test_no_build_host_names_the_tag_and_those_that_exist(discovery, consul_url):
    service = "build-" + uuid.uuid4().hex[:8]
    register(consul_url, f"{service}-1", "10.0.2.1", service, ["old"])
    with pytest.raises(NoHosts, match="carries the tag build::host; existing tags: old"):
        discovery.service_hosts(service, "build::host")
