"""CI on a build host, over a real sshd with real git repositories."""

from __future__ import annotations

import os

import pytest

from delivery import ci
from delivery.ci import Job
from delivery.ci.build_host import BuildHost
from delivery.ci.jenkins import Jenkins
from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.remote import RemoteError
from delivery.workspace import Workspace

from .local_host import ISOLATION, LocalSshd
from .repositories import Repository

SCRIPTS = ("script/cisetup", "script/cibuild", "script/post-inst")
NOTHING = "#!/bin/sh\nexit 0\n"


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    with LocalSshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def job(repository, commit):
    return Job("shop", "acme/shop", repository.url, "main", commit, "shop-1")


@pytest.fixture
def build(sshd, tmp_path, monkeypatch):
    """Builds a commit with the scripts given by name; those not given do nothing."""
    repository = Repository(tmp_path / "shop.git")
    create, made = Workspace.create, []

    def create_and_remember(*arguments):
        made.append(create(*arguments))
        return made[-1]

    monkeypatch.setattr(Workspace, "create", create_and_remember)

    def run(timeout_s=30, without=(), **scripts):
        files = {
            path: scripts.get(path.rpartition("/")[2].replace("-", "_"), NOTHING)
            for path in SCRIPTS
            if path not in without
        }
        commit = repository.commit(files, executable=files)
        server = BuildHost(sshd.ssh(), lambda: sshd.host, timeout_s, ISOLATION)
        return server.run(job(repository, commit))

    yield run
    assert made
    assert [each.path for each in made if os.path.exists(each.path)] == []


def test_a_commit_whose_scripts_succeed_passes(build):
    verdict = build(
        cibuild="#!/bin/sh\necho $CI $CICD_BRANCH ${#CICD_COMMIT} $(cat marker)\n",
        cisetup="#!/bin/sh\necho set up > marker\n",
    )

    assert (verdict.status, verdict.passed, verdict.failed_step, verdict.reason) == (
        "passed",
        True,
        None,
        "",
    )
    assert verdict.log == "true main 40 set up\n"
    assert list(verdict.seconds) == ["check out", "script/cisetup", "script/cibuild"]


def test_a_setup_that_fails_ends_the_build_with_its_log(build):
    verdict = build(
        cisetup="#!/bin/sh\necho no network >&2\nexit 3\n", cibuild="#!/bin/sh\necho must not run\n"
    )

    assert (verdict.status, verdict.failed_step) == ("failed", "script/cisetup")
    assert verdict.reason == "script/cisetup exited with 3: no network"
    assert verdict.log == "no network\n"
    assert "script/cibuild" not in verdict.seconds


def test_a_script_that_fails_without_a_word_is_told_so(build):
    verdict = build(cibuild="#!/bin/sh\nexit 4\n")

    assert verdict.reason == "script/cibuild exited with 4 and printed nothing"


def test_a_build_that_fails_is_not_passed(build):
    verdict = build(cibuild="#!/bin/sh\nkill -SEGV $$\n")

    assert not verdict.passed
    assert verdict.reason.startswith("script/cibuild exited with 139")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_missing_script_fails_ci_and_is_named(build, script):
    verdict = build(without=[script])

    assert (verdict.status, verdict.failed_step) == ("failed", script)
    assert verdict.reason.startswith(f"{script} is missing; add it to the repository")


def test_a_build_that_takes_too_long_fails_with_what_it_had_printed(build):
    verdict = build(timeout_s=1, cibuild="#!/bin/sh\necho begun\nsleep 60\n")

    assert verdict.failed_step == "script/cibuild"
    assert verdict.reason == "script/cibuild timed out after 1 s: begun"
    assert verdict.log.startswith("begun\n")


def test_a_commit_that_cannot_be_had_is_an_error_and_no_verdict(sshd, tmp_path):
    repository = Repository(tmp_path / "shop.git")
    repository.commit({"x": ""})

    with pytest.raises(RemoteError, match="is not on branch main"):
        BuildHost(sshd.ssh(), lambda: sshd.host, 30, ISOLATION).run(job(repository, "a" * 40))


def test_there_is_nothing_to_look_up_where_the_build_ends_with_the_action(sshd, tmp_path):
    server = BuildHost(sshd.ssh(), lambda: sshd.host, 30, ISOLATION)
    with pytest.raises(DeliveryError, match="cicd_canary.ci and again=true"):
        server.look(job(Repository(tmp_path / "shop.git"), "a" * 40), {})


def test_the_tool_is_the_one_that_is_configured():
    jenkins = {"url": "https://ci.example.org", "user": "cicd", "api_token": "x"}
    assert isinstance(ci.TOOLS.create(Configuration({"ci": {"tool": "build_host"}})), BuildHost)
    assert isinstance(ci.TOOLS.create(Configuration({"ci": {"jenkins": jenkins}})), Jenkins)


def test_without_any_configuration_it_is_said_what_to_set():
    with pytest.raises(
        DeliveryError, match="ci.jenkins.url is not set.*or set ci.tool to build_host"
    ):
        ci.TOOLS.create(Configuration({}))
