"""The doctor, against a real Consul; hosts are this machine, without SSH."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from pathlib import Path

import pytest
from consul_server import OPERATOR, get, register, section
from jenkins_double import API_TOKEN, USER, running_jenkins
from local_host import LocalShell
from releases import published

from delivery import consul_token, isolation
from delivery.application import Application
from delivery.configuration import Configuration
from delivery.doctor import as_text, examine
from delivery.errors import DeliveryError
from delivery.remote import Ssh

BASICS = (
    "sh",
    "timeout",
    "sed",
    "tail",
    "env",
    "curl",
    "jq",
    "cut",
    "date",
    "find",
    "getent",
    "id",
    "mktemp",
    "rm",
    "awk",
    "cat",
    "git",
    "gpg",
    "grep",
    "gpgv",
    "dpkg-deb",
    "apt-get",
    *isolation.PROGRAMS,
)


class Patient:
    """What is registered in Consul, and what the doctor says of it."""

    def __init__(self, store, directory, monkeypatch):
        self.url = store.url
        self.values = {
            "consul": section(store),
            "ci": {"tool": "build_host"},
            "packaging": {"tool": "nfpm"},
            "repository": {"tool": "aptly"},
            "github": {"webhook_secret": "s3cret"},
        }
        self.programs = directory / "bin"
        self.programs.mkdir()
        for name in BASICS:
            self.has(name)
        monkeypatch.setattr(
            Configuration, "ssh", lambda *_, **__: LocalShell(PATH=str(self.programs))
        )

    @property
    def store(self):
        return Configuration(self.values).store()

    def has(self, name):
        path = shutil.which(name)
        if not path:
            pytest.skip(f"{name} is not installed")
        (self.programs / name).symlink_to(path)

    def pretends_to_have(self, name):
        (self.programs / name).write_text("#!/bin/sh\n")
        (self.programs / name).chmod(0o755)

    def lacks(self, name):
        (self.programs / name).unlink()

    def finding(self, about, role=""):
        """Returns whether it is fine, and what is said, of a host in that role."""
        found = [
            each
            for each in examine(Configuration(self.values))
            if each.about.startswith(about) and each.says.startswith(role)
        ]
        assert len(found) == 1, found
        return found[0].fine, found[0].says


@pytest.fixture
def patient(store, monkeypatch):
    # Where the repository's user can go, too.
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        os.chmod(directory, 0o755)
        yield Patient(store, Path(directory), monkeypatch)


@pytest.fixture
def build_host(patient):
    register(patient.url, "builder", "127.0.0.1", "build", ["build::host"])
    for name in ("nfpm", "aptly"):
        patient.pretends_to_have(name)


@pytest.fixture
def web_host(patient):
    register(patient.url, "web-1", "127.0.0.1", "shop", ["shop::app"])


def test_consul_is_written_to_and_nothing_is_left_there(patient):
    assert patient.finding("Consul") == (
        True,
        f"has a leader; keys below {patient.store.prefix}/ and sessions are writable",
    )
    assert patient.store.keys() == []


def test_what_the_packs_token_cannot_do_is_proven(patient):
    assert patient.finding("the pack's token") == (
        True,
        f"writes only keys below {patient.store.prefix}/; without a token Consul takes nothing",
    )


def test_a_token_that_can_do_more_is_named_with_what_it_can(patient):
    patient.values["consul"]["token"] = OPERATOR
    before = get(patient.url, "acl/tokens"), get(patient.url, "catalog/nodes")
    findings = examine(Configuration(patient.values))
    assert [each.says for each in findings if each.about == "the pack's token"] == [
        f"it can {what}, which it need not; set consul.token to what host/cicd-consul-token pack "
        "prints"
        for what in (
            "write keys of others",
            "register a host",
            "register a service",
            "read Consul's tokens",
        )
    ]
    assert (get(patient.url, "acl/tokens"), get(patient.url, "catalog/nodes")) == before


def test_a_token_that_consul_does_not_know_is_something_to_do(patient):
    patient.values["consul"]["token"] = str(uuid.uuid4())
    fine, says = patient.finding("Consul at")
    assert not fine
    assert "rejected the token" in says


def test_a_consul_that_is_open_is_something_to_do(store):
    store.has_token = False  # an open Consul would take the doctor's requests without one
    ((about, says),) = consul_token.examine(store)
    assert (about, says[:32]) == ("Consul's ACLs", "Consul is open to every host: wh")


def test_a_host_that_only_claims_a_stage_is_named(patient):
    register(patient.url, "web-9", "127.0.0.1", "shop", ["shop::app"], enrolled=None)

    def said():
        return [each.says for each in examine(Configuration(patient.values)) if each.fine is False]

    assert (
        "host of shop: is not enrolled for a stage; run cicd-consul-token host --node web-9 --app "
        "shop --stage with its stage"
    ) in said()
    published(Application(patient.store, "shop"))
    assert (
        "host of shop: is not enrolled, but carries the tags of production; if they are right, run "
        "cicd-consul-token host --node web-9 --app shop --stage production"
    ) in said()


def test_without_consul_nothing_is_said_of_hosts(patient):
    patient.values["consul"]["url"] = "http://127.0.0.1:9"
    findings = examine(Configuration(patient.values))
    assert "did not answer after 3 attempts" in findings[0].says
    assert [each.about for each in findings[1:]] == [
        "repository by aptly",
        "times in chat",
        "webhooks",
        "CI by build_host",
        "GitHub",
    ]


def test_no_hosts_at_all_are_something_to_do(patient):
    assert patient.finding("build hosts") == (
        False,
        "no service build in Consul; nearest: consul",
    )
    assert "run cicd-host-setup on the hosts" in patient.finding("application hosts")[1]


def test_a_program_that_a_build_host_lacks_is_named_with_what_installs_it(patient, build_host):
    patient.lacks("nfpm")
    fine, says = patient.finding("builder", "build host")
    assert not fine
    assert "nfpm is not installed; run " in says


def test_a_program_that_the_repositorys_host_lacks_is_named(patient, build_host):
    patient.lacks("aptly")
    fine, says = patient.finding("builder", "repository by aptly")
    assert not fine
    assert "aptly is not installed; run apt-get install aptly gnupg gpgv util-linux" in says


def test_freight_needs_its_configuration(patient, build_host):
    patient.pretends_to_have("freight")
    patient.values["repository"] = {
        "tool": "freight",
        "freight_conf": "/nowhere/freight.conf",
        "gpg_key": "nobody@example.org",
        "user": "nobody",
    }
    assert (
        "Freight's configuration /nowhere/freight.conf is missing; create it with VARLIB"
        in patient.finding("builder", "repository")[1]
    )


def test_a_host_without_the_signing_key_or_its_user_is_told_so(patient, build_host):
    assert patient.finding("repository by aptly") == (
        False,
        "repository.gpg_key is not set in the pack's configuration; set it to the signing key of "
        "repository.user",
    )
    assert patient.finding("builder", "repository")[0]
    patient.values["repository"].update(gpg_key="nobody@example.org", user="nosuch")
    assert patient.finding("builder", "repository") == (
        False,
        "repository by aptly, of nosuch: no user nosuch on this host; run useradd --system "
        "--create-home --home-dir /var/lib/nosuch nosuch",
    )
    patient.values["repository"]["user"] = "nobody"
    assert (
        "nobody has no secret key nobody@example.org on this host"
        in patient.finding("builder", "repository")[1]
    )


def test_a_repository_has_one_host_of_its_own(patient, build_host):
    patient.values["repository"]["service"] = "repository"
    about = "the repository's host"
    assert patient.finding(about)[1].startswith("no service repository in Consul; nearest: ")
    for node in ("keeper", "other"):
        register(patient.url, node, "127.0.0.1", "repository", ["repository::host"])
        if node == "keeper":
            assert patient.finding("keeper", "repository by aptly")[0]
    assert patient.finding(about) == (
        False,
        "several hosts of repository carry the tag repository::host: keeper, other; take it from "
        "all but one",
    )


def test_a_build_host_that_could_not_isolate_builds_is_told_what_to_install(patient, build_host):
    patient.lacks("bwrap")
    fine, says = patient.finding("builder", "build host")
    assert not fine
    assert "bwrap is not installed; run apt-get install bubblewrap slirp4netns" in says


def test_two_builders_need_a_second_build_host(patient, build_host):
    patient.values["proof"] = {"builders": "two"}
    assert patient.finding("build hosts") == (
        False,
        "proof.builders is two, but builder is the only healthy build host in Consul; bring up a "
        "second one, or set proof.builders to one",
    )


def test_a_repository_that_a_build_host_cannot_clone_is_named(patient, build_host):
    published(Application(patient.store, "shop"))
    patient.values["github"]["git_url"] = "file:///nowhere"
    assert (
        "git could not read file:///nowhere/acme/shop.git: "
        in patient.finding("builder", "build host")[1]
    )


def test_what_an_application_host_lacks_is_named(patient, web_host):
    patient.lacks("jq")
    fine, says = patient.finding("web-1")
    assert not fine
    for words in (
        "host of shop: ",
        "/usr/local/sbin/cicd-converge is missing",
        "jq is not installed; run apt-get install jq",
        "/etc/cicd/shop.conf is missing; run cicd-host-setup --app shop",
    ):
        assert words in says


def test_a_host_that_does_not_let_us_in_is_named(patient, web_host, monkeypatch):
    monkeypatch.setattr(
        Configuration, "ssh", lambda *_, **__: Ssh("root", port=9, connect_timeout_s=1)
    )
    assert patient.finding("web-1") == (False, "SSH: connection refused on port 9")


def test_a_cause_on_many_hosts_and_of_many_applications_is_one_finding(patient, monkeypatch):
    for number in (1, 2):
        register(patient.url, f"web-{number}", "127.0.0.1", "shop", ["shop::app"])
        register(patient.url, f"web-{number}", "127.0.0.1", "notes", ["notes::app"])
    monkeypatch.setattr(
        Configuration, "ssh", lambda *_, **__: Ssh("root", port=9, connect_timeout_s=1)
    )
    fine, says = patient.finding("web-1 (127.0.0.1), web-2 (127.0.0.1)")
    assert (fine, says) == (False, "SSH: connection refused on port 9")
    assert as_text(examine(Configuration(patient.values))).count("connection refused") == 1


def test_a_finding_does_not_name_its_subject_twice(patient):
    patient.values["consul"]["url"] = "http://127.0.0.1:9"
    text = " ".join(as_text(examine(Configuration(patient.values))).split())
    assert "TO DO Consul at http://127.0.0.1:9 did not answer after 3 attempts" in text


@pytest.mark.parametrize("url", ["http://127.0.0.1:port", "http://127.0.0.1:99999", "127.0.0.1"])
def test_an_address_of_consul_that_is_none_is_named_by_its_setting(patient, url):
    patient.values["consul"]["url"] = url
    with pytest.raises(DeliveryError, match=f"consul.url is '{url}': expected http://host:port"):
        examine(Configuration(patient.values))


def test_a_receiver_without_a_secret_is_something_to_do(patient):
    del patient.values["github"]["webhook_secret"]
    fine, says = patient.finding("webhooks")
    assert not fine
    assert says.startswith("github.webhook_secret is not set")


def test_tools_that_are_not_in_use_are_not_asked(patient):
    assert patient.finding("CI by build_host")[0] is None
    assert patient.finding("GitHub")[0] is None


def test_jenkins_is_asked_for_the_job_of_every_application(patient):
    published(Application(patient.store, "shop"))
    with running_jenkins() as (jenkins, url):
        patient.values["ci"] = {
            "tool": "jenkins",
            "jenkins": {"url": url, "user": USER, "api_token": API_TOKEN},
        }
        fine, says = patient.finding("CI by jenkins")
        assert not fine
        assert "create it with cicd_canary.jenkins_job_ensure" in says
        jenkins.add_job("shop")
        assert patient.finding("CI by jenkins") == (
            True,
            "reachable; 0 in its queue; every application has its job",
        )


def test_the_text_has_80_columns_and_what_is_to_do_last(patient, web_host):
    lines = as_text(examine(Configuration(patient.values))).splitlines()
    assert max(len(line) for line in lines) <= 80
    assert lines[0].startswith("fine   Consul at ")
    marks = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert marks.index("TO") > marks.index("off")
    assert lines[-1] == "3 to do"
