"""The job that is made in Jenkins: its config.xml, and the shell in it, run for real."""

from __future__ import annotations

import os
import re
import subprocess
import xml.etree.ElementTree as ET

import pytest
from jenkins_double import API_TOKEN, USER, as_jenkins_writes_it, running_jenkins
from repositories import Repository

from delivery.ci import jenkins_job
from delivery.ci.jenkins import Jenkins
from delivery.ci.jenkins_api import Settings
from delivery.errors import DeliveryError

SETTINGS = Settings(
    "https://ci.example.org/jenkins",
    USER,
    API_TOKEN,
    "team/{app}",
    "cicd-canary-callback",
    callback_url="http://cicd:8095/jenkins",
    callback_secret="hunter2",
    git_credential="github-app",
    agent_label="linux && docker",
)
GIT_URL = "https://github.com"
PARAMETERS = {
    "REPOSITORY": "acme/shop",
    "BRANCH": "feature/x",
    "COMMIT": "1" * 40,
    "DIRECTORY": "",
    "CALLBACK": "shop-1",
}


def config(git_url=GIT_URL, timeout_s=1800, **changes):
    return jenkins_job.config_xml(SETTINGS._replace(**changes), git_url, timeout_s)


def script(**changes):
    return ET.fromstring(config(**changes)).findtext("definition/script")


def sh(text, cwd=None, **environment):
    """Runs a shell step as Jenkins does."""
    return subprocess.run(
        ["sh", "-xe", "-c", text],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=dict(os.environ, **environment),
        timeout=60,
    )


# --- config.xml ---------------------------------------------------------------------------------


def test_the_job_is_a_pipeline_with_the_parameters_that_are_given_to_it():
    job = ET.fromstring(config())
    assert job.tag == "flow-definition"
    assert [each.text for each in job.findall(".//parameterDefinitions/*/name")] == [
        "REPOSITORY",
        "BRANCH",
        "COMMIT",
        "DIRECTORY",
        "CALLBACK",
    ]
    assert job.find("definition").get("class").endswith("cps.CpsFlowDefinition")
    assert job.findtext("definition/sandbox") == "true"


def test_the_script_has_no_placeholder_left():
    assert not re.search("@[A-Z_]+@", script())


def test_the_script_builds_the_exact_commit_with_both_scripts():
    text = script()
    assert "branches: [[name: params.COMMIT]]" in text
    assert "url: 'https://github.com' + '/' + params.REPOSITORY + '.git'" in text
    assert text.index("./script/cisetup") < text.index("./script/cibuild") < text.index("curl")


def test_the_configuration_is_in_the_script():
    text = script(timeout_s=60)
    assert "agent { label 'linux && docker' }" in text
    assert "timeout(time: 60, unit: 'SECONDS')" in text
    assert "credentialsId: 'github-app'" in text
    assert "credentialsId: 'cicd-canary-callback', variable: 'SECRET'" in text
    assert "withEnv(['CALLBACK_TO=' + 'http://cicd:8095/jenkins'])" in text


def test_no_credential_is_in_the_job():
    assert "hunter2" not in config()
    assert API_TOKEN not in config()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"agent_label": "x' + System.exit(0) + '"}, "ci.jenkins.agent_label"),
        ({"git_credential": "a'b"}, "ci.jenkins.git_credential"),
        ({"callback_credential": "a\nb"}, "ci.jenkins.callback_credential"),
        ({"git_url": "https://u:hunter2@github.com"}, "github.git_url"),
        ({"git_url": "x'"}, "github.git_url"),
    ],
)
def test_a_setting_that_could_mean_something_else_is_refused(change, words):
    with pytest.raises(DeliveryError, match=words) as refused:
        config(**change)
    assert "hunter2" not in str(refused.value)


def test_a_groovy_string_holds_what_it_was_made_of():
    assert jenkins_job.groovy("it's a \\ $x") == r"'it\'s a \\ $x'"
    assert jenkins_job.groovy("a\n'''b") == "'''a\n\\'\\'\\'b'''"


# --- the shell in it ----------------------------------------------------------------------------


def test_proper_parameters_are_taken():
    assert sh(jenkins_job.CHECK_PARAMETERS, **PARAMETERS).returncode == 0
    for directory in ("api", "services/api", "a.b/..c/d+e@f"):
        given = dict(PARAMETERS, DIRECTORY=directory)
        assert sh(jenkins_job.CHECK_PARAMETERS, **given).returncode == 0, directory


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REPOSITORY", "acme"),
        ("REPOSITORY", "acme/../x"),
        ("REPOSITORY", ""),
        ("BRANCH", "--upload-pack=x"),
        ("BRANCH", "a b"),
        ("BRANCH", "a\nb"),
        ("BRANCH", ""),
        ("COMMIT", "main"),
        ("COMMIT", "1" * 39),
        ("COMMIT", "1" * 41),
        ("COMMIT", "1" * 40 + "\n"),
        ("DIRECTORY", "/etc"),
        ("DIRECTORY", ".."),
        ("DIRECTORY", "a/../../b"),
        ("DIRECTORY", "a/./b"),
        ("DIRECTORY", "a//b"),
        ("DIRECTORY", "a/"),
        ("DIRECTORY", "a b"),
        ("DIRECTORY", "$(id)"),
        ("DIRECTORY", "a\nb"),
        ("CALLBACK", 'x"y'),
        ("CALLBACK", "$(id)"),
    ],
)
def test_a_parameter_that_could_do_harm_is_refused_and_named(name, value):
    done = sh(jenkins_job.CHECK_PARAMETERS, **dict(PARAMETERS, **{name: value}))
    assert done.returncode != 0
    assert f"{name} is malformed" in done.stderr


@pytest.fixture
def checkout(tmp_path):
    repository = Repository(tmp_path / "shop.git")
    files = dict.fromkeys(jenkins_job.SCRIPTS, "#!/bin/sh\n")
    commit = repository.commit(files, executable=files)
    subprocess.run(
        ["git", "clone", "-q", "--branch", "main", repository.url, str(tmp_path / "source")],
        check=True,
    )
    return tmp_path / "source", commit


def test_the_commit_that_was_asked_for_is_built(checkout):
    source, commit = checkout
    assert sh(jenkins_job.CHECK_SOURCE, cwd=source, COMMIT=commit).returncode == 0


def test_another_commit_is_not_built(checkout):
    source, _ = checkout
    done = sh(jenkins_job.CHECK_SOURCE, cwd=source, COMMIT="1" * 40)
    assert "the checkout is not 1111" in done.stderr
    assert done.returncode


def test_a_commit_without_one_of_the_scripts_is_not_built(checkout):
    source, commit = checkout
    (source / "script" / "post-inst").unlink()
    done = sh(jenkins_job.CHECK_SOURCE, cwd=source, COMMIT=commit)
    assert "script/post-inst is missing or not executable" in done.stderr
    assert done.returncode


def test_of_several_applications_the_scripts_of_the_one_that_is_built_are_looked_for(tmp_path):
    repository = Repository(tmp_path / "tools.git")
    files = {f"services/api/{each}": "#!/bin/sh\n" for each in jenkins_job.SCRIPTS}
    commit = repository.commit(files, executable=files)
    source = tmp_path / "source"
    subprocess.run(
        ["git", "clone", "-q", "--branch", "main", repository.url, str(source)], check=True
    )
    done = {
        directory: sh(jenkins_job.CHECK_SOURCE, cwd=source, COMMIT=commit, DIRECTORY=directory)
        for directory in ("services/api", "services/web", "")
    }
    assert done["services/api"].returncode == 0
    assert "the repository has no directory services/web" in done["services/web"].stderr
    assert done["services/web"].returncode
    assert done[""].returncode


def test_the_scripts_run_in_the_directory_of_the_application():
    for name in ("cisetup", "cibuild"):
        assert f"dir(params.DIRECTORY ?: '.') {{ sh './script/{name}' }}" in script()


# --- in Jenkins ---------------------------------------------------------------------------------


@pytest.fixture
def jenkins():
    with running_jenkins() as (double, url):
        double.url = url
        double.folders.add("team")
        yield double


def ensure(jenkins, **changes):
    settings = SETTINGS._replace(url=jenkins.url, **changes)
    return Jenkins(settings).ensure_job(
        "team/shop", jenkins_job.config_xml(settings, GIT_URL, 1800), jenkins_job.same
    )


def test_a_job_that_is_not_there_is_made(jenkins):
    assert ensure(jenkins) == "created"
    assert jenkins.jobs["team/shop"].parameters == tuple(name for name, _ in jenkins_job.PARAMETERS)


def test_a_job_that_is_as_it_should_be_is_left_alone(jenkins):
    ensure(jenkins)
    before = list(jenkins.posts())
    assert ensure(jenkins) == "unchanged"
    assert jenkins.posts() == before


@pytest.mark.parametrize("change", [{"agent_label": "arm"}, {"callback_url": ""}])
def test_a_job_is_updated_when_the_configuration_changes(jenkins, change):
    ensure(jenkins)
    assert ensure(jenkins, **change) == "updated"
    assert ensure(jenkins, **change) == "unchanged"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("./script/cibuild", "true"),
        ("<name>COMMIT</name>", "<name>REVISION</name>"),
        ("<disabled>false", "<disabled>true"),
        ("<sandbox>true", "<sandbox>false"),
    ],
)
def test_a_job_that_somebody_has_changed_is_put_right(jenkins, before, after):
    ensure(jenkins)
    job = jenkins.jobs["team/shop"]
    assert before in job.config
    job.config = job.config.replace(before, after)
    assert ensure(jenkins) == "updated"


def test_a_folder_that_is_not_there_is_an_error_that_says_so(jenkins):
    jenkins.folders.clear()
    with pytest.raises(
        DeliveryError, match="folder team does not exist in Jenkins.*create it there"
    ):
        ensure(jenkins)


def test_what_jenkins_adds_to_a_configuration_is_no_change():
    assert jenkins_job.same(as_jenkins_writes_it(config()), config())
    assert not jenkins_job.same(config(), as_jenkins_writes_it(config()))


@pytest.mark.parametrize("broken", ["<a", "", "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"])
def test_a_configuration_that_cannot_be_read_is_an_error(broken):
    with pytest.raises(DeliveryError, match="config.xml"):
        jenkins_job.same(broken, config())
