"""Jenkins as the CI server, against a double of its remote access API."""

from __future__ import annotations

import logging
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
import yaml
from jenkins_double import API_TOKEN, PASSWORD, USER, running_jenkins

from delivery.ci import Job, NoAnswer
from delivery.ci import jenkins as module
from delivery.ci.jenkins import Jenkins
from delivery.ci.jenkins_api import Settings
from delivery.configuration import Configuration
from delivery.errors import DeliveryError

SCHEMA = Path(__file__).resolve().parent.parent / "config.schema.yaml"
COMMIT = "1" * 40
JOB = Job(
    "shop",
    "acme/shop",
    "http://github/acme/shop.git",
    "main",
    COMMIT,
    f"shop-{COMMIT}-20260101000000",
)
OTHER = JOB._replace(callback=f"shop-{COMMIT}-20260102000000")
NAME = "team/shop"


@pytest.fixture
def jenkins():
    with running_jenkins() as (double, url):
        double.url = url
        double.add_job(NAME)
        yield double


@pytest.fixture
def server(jenkins, monkeypatch):
    monkeypatch.setattr(module, "QUEUE_WAIT_S", 0)
    return connected(jenkins)


def connected(jenkins, **settings):
    settings = {"job": "team/{app}", "callback_url": "http://cicd:8095/jenkins", **settings}
    return configured(jenkins.url, **settings)


def configured(url, **settings):
    section = {"url": url, "user": USER, "api_token": API_TOKEN, **settings}
    return Jenkins.configured(Configuration({"ci": {"jenkins": section}}))


def started(server):
    return server.run(JOB).record


# --- starting a build ---------------------------------------------------------------------------


def test_a_build_is_started_with_what_the_job_needs_to_know(jenkins, server):
    server.run(JOB)

    given = {
        each["name"]: each["value"] for each in jenkins.build(NAME).item["actions"][0]["parameters"]
    }
    assert given == {
        "REPOSITORY": "acme/shop",
        "BRANCH": "main",
        "COMMIT": COMMIT,
        "CALLBACK": JOB.callback,
        "CALLBACK_URL": "http://cicd:8095/jenkins",
    }


def test_a_started_build_is_running_and_its_page_is_known(jenkins, server):
    verdict = server.run(JOB)

    assert verdict.status == "running"
    assert verdict.record == {
        "job": NAME,
        "queue_id": 1,
        "number": 1,
        "url": f"{jenkins.url}/job/team/job/shop/1/",
    }


def test_a_build_that_waits_for_an_executor_is_running_too(jenkins, server):
    jenkins.executors = False
    verdict = server.run(JOB)

    assert (verdict.status, verdict.record) == ("running", {"job": NAME, "queue_id": 1})
    jenkins.take_from_queue()
    assert server.look(JOB, verdict.record).record["number"] == 1


def test_a_job_that_is_not_there_is_an_error_that_says_how_to_make_it(jenkins, server):
    del jenkins.jobs[NAME]
    with pytest.raises(DeliveryError, match="job team/shop does not exist in.*jenkins_job_ensure"):
        server.run(JOB)


def test_a_job_without_parameters_is_an_error_that_says_so(jenkins, server):
    jenkins.jobs[NAME].parameters = ()
    with pytest.raises(DeliveryError, match="the job has other parameters.*jenkins_job_ensure"):
        server.run(JOB)


def test_a_job_that_would_not_say_which_build_is_ours_is_an_error(jenkins, server):
    jenkins.jobs[NAME].parameters = ("REPOSITORY", "BRANCH", "COMMIT")
    with pytest.raises(DeliveryError, match="team/shop in Jenkins has no parameter CALLBACK"):
        server.run(JOB)


def test_a_job_that_knows_no_directories_builds_no_application_of_several(jenkins, server):
    shared = JOB._replace(path="services/shop")
    with pytest.raises(DeliveryError, match="no parameter CALLBACK or DIRECTORY; add it, or run"):
        server.run(shared)
    jenkins.jobs[NAME].parameters = ("REPOSITORY", "BRANCH", "COMMIT", "DIRECTORY", "CALLBACK")
    assert server.run(shared).status == "running"
    assert server.look(shared._replace(path="services/web"), {}).status == "lost"


def test_a_build_is_running_when_jenkins_goes_away_right_after_taking_it(
    jenkins, server, monkeypatch
):
    trigger = server.trigger

    def trigger_and_go_away(job):
        number = trigger(job)
        jenkins.starting = True
        return number

    monkeypatch.setattr(server, "trigger", trigger_and_go_away)
    verdict = server.run(JOB)
    assert (verdict.status, verdict.record) == ("running", {"job": NAME, "queue_id": 1})


def test_a_build_that_soon_leaves_the_queue_gets_its_number(jenkins, server, monkeypatch):
    jenkins.executors = False
    monkeypatch.setattr(module, "QUEUE_WAIT_S", 5)
    monkeypatch.setattr(module.time, "sleep", lambda _: jenkins.take_from_queue())
    assert server.run(JOB).record["number"] == 1


def test_a_disabled_job_is_an_error_that_says_so(jenkins, server):
    jenkins.jobs[NAME].disabled = True
    with pytest.raises(DeliveryError, match="to start team/shop: the job is disabled"):
        server.run(JOB)


# --- results ------------------------------------------------------------------------------------


def test_a_build_that_succeeded_has_passed(jenkins, server):
    record = started(server)
    jenkins.build(NAME).end("SUCCESS", duration_ms=61500)
    verdict = server.look(JOB, record)

    assert verdict.passed
    assert verdict.reason == ""
    assert verdict.seconds == {"jenkins": 61.5}


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("FAILURE", "build 1 of team/shop failed"),
        ("UNSTABLE", "build 1 of team/shop is unstable"),
        ("NOT_BUILT", "build 1 of team/shop was not built"),
        ("ABORTED", "build 1 of team/shop was aborted"),
        ("SOMETHING_NEW", "build 1 of team/shop ended with the unknown result 'SOMETHING_NEW'"),
    ],
)
def test_a_build_that_ended_otherwise_has_failed_and_says_how(jenkins, server, result, words):
    record = started(server)
    jenkins.build(NAME).end(result)
    verdict = server.look(JOB, record)

    assert verdict.status == "failed"
    assert verdict.reason.startswith(words)
    assert verdict.reason.endswith(f"{jenkins.url}/job/team/job/shop/1/")


LOG = """Started by user cicd
[Pipeline] Start of Pipeline
+ ./script/cisetup
+ ./script/cibuild
test_basket ... ok
\x1b[31mFAILED tests/test_basket.py: 2 != 3\x1b[0m
[Pipeline] }
[Pipeline] // stage
[Pipeline] stage
[Pipeline] { (Declarative: Post Actions)
+ curl --fail http://receiver/jenkins
200
[Pipeline] End of Pipeline
ERROR: script returned exit code 1
Finished: FAILURE
"""


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (LOG, ": FAILED tests/test_basket.py: 2 != 3: "),
        ("x" * 100000 + "\n" + LOG, ": FAILED tests/test_basket.py: 2 != 3: "),
        (
            "make: *** [all] Error 2\nBuild step 'Execute shell' marked build as failure\n"
            "Finished: FAILURE\n",
            ": make: *** [all] Error 2: ",
        ),
        ("see {{ config_context.token }}\n", ": see ? config_context.token ?: "),
        ("", ": http"),
        ("[Pipeline] }\nFinished: FAILURE\n", ": http"),
    ],
)
def test_a_build_that_failed_says_the_last_line_of_its_log(jenkins, server, log, said):
    record = started(server)
    jenkins.build(NAME).log = log
    jenkins.build(NAME).end("FAILURE")
    assert server.look(JOB, record).reason.startswith(f"build 1 of team/shop failed{said}")


def test_a_build_that_has_its_result_but_is_still_building_is_running(jenkins, server):
    record = started(server)
    jenkins.build(NAME).result = "SUCCESS"
    assert server.look(JOB, record).status == "running"


def test_a_build_that_was_deleted_has_failed(jenkins, server):
    record = started(server)
    jenkins.delete_build(NAME)
    verdict = server.look(JOB, record)

    assert verdict.status == "failed"
    assert "build 1 of team/shop is no longer in Jenkins: deleted" in verdict.reason


def test_a_build_that_was_deleted_before_its_number_was_known_has_failed(jenkins, server):
    started(server)
    jenkins.delete_build(NAME)
    assert "deleted" in server.look(JOB, {"queue_id": 1}).reason


def test_a_job_that_was_deleted_has_failed_its_build(jenkins, server):
    record = {"queue_id": started(server)["queue_id"]}
    jenkins.forget_queue_items()
    del jenkins.jobs[NAME]
    verdict = server.look(JOB, record)

    assert verdict.status == "failed"
    assert "job team/shop does not exist in Jenkins" in verdict.reason


# --- the queue ----------------------------------------------------------------------------------


def test_an_item_that_was_cancelled_has_failed_its_build(jenkins, server):
    jenkins.executors = False
    record = started(server)
    jenkins.cancel(1)
    verdict = server.look(JOB, record)

    assert verdict.status == "failed"
    assert verdict.reason == "team/shop was cancelled in Jenkins' queue"


def test_a_build_is_found_after_jenkins_has_forgotten_its_queue_item(jenkins, server):
    record = {"queue_id": started(server)["queue_id"]}
    server.run(OTHER)
    jenkins.forget_queue_items()
    jenkins.build(NAME, 1).end("SUCCESS")
    verdict = server.look(JOB, record)

    assert verdict.passed
    assert verdict.record["number"] == 1


def test_an_item_keeps_waiting_over_a_restart(jenkins, server):
    jenkins.executors = False
    record = started(server)
    jenkins.restart()
    assert server.look(JOB, record).status == "running"


def test_an_item_that_a_crash_has_lost_is_lost(jenkins, server):
    jenkins.executors = False
    record = started(server)
    jenkins.crash()
    assert server.look(JOB, record).status == "lost"


def test_a_number_that_was_given_anew_after_a_crash_is_not_taken_for_ours(jenkins, server):
    jenkins.executors = False
    record = started(server)
    jenkins.crash()
    server.run(OTHER)
    assert jenkins.queue[record["queue_id"]]

    assert server.look(JOB, record).status == "lost"


def test_an_item_whose_number_never_arrived_here_is_found_by_its_callback(jenkins, server):
    jenkins.executors = False
    server.run(OTHER)
    started(server)
    assert server.look(JOB, {}).record == {"job": NAME, "queue_id": 2}


# --- hints --------------------------------------------------------------------------------------


def test_a_number_from_a_callback_is_believed_if_the_build_is_ours(jenkins, server):
    started(server)
    jenkins.build(NAME).end("SUCCESS")
    jenkins.forget_queue_items()
    jenkins.requests.clear()

    assert server.look(JOB, {}, number=1).passed
    assert len(jenkins.requests) <= 2, "the crumb and the build: no search was needed"


def test_a_number_of_another_build_is_not_believed(jenkins, server):
    server.run(OTHER)
    jenkins.build(NAME, 1).end("SUCCESS")
    record = started(server)

    assert server.look(JOB, record, number=1).status == "running"
    assert server.look(JOB, {}, number=1).record["number"] == 2


def test_a_number_that_leads_nowhere_is_not_believed(jenkins, server):
    record = {"queue_id": started(server)["queue_id"]}
    assert server.look(JOB, record, number=999).status == "running"


# --- stopping -----------------------------------------------------------------------------------


def test_a_running_build_is_aborted(jenkins, server):
    server.stop(JOB, started(server))
    assert jenkins.build(NAME).result == "ABORTED"


def test_a_waiting_build_is_taken_from_the_queue(jenkins, server):
    jenkins.executors = False
    server.stop(JOB, started(server))
    assert jenkins.queue == {}


@pytest.mark.parametrize("record", [{}, {"queue_id": 7}, {"number": 7}])
def test_stopping_what_is_not_there_any_more_is_fine(server, record):
    server.stop(JOB, record)


# --- reaching it --------------------------------------------------------------------------------


def test_a_jenkins_that_restarts_is_not_taken_for_one_that_has_deleted_the_build(jenkins, server):
    record = started(server)
    jenkins.starting = True
    with pytest.raises(NoAnswer, match=r"failed \(503\)"):
        server.look(JOB, record)
    jenkins.starting = False
    assert server.look(JOB, record).status == "running"


def test_a_jenkins_that_is_not_there_is_no_answer():
    with running_jenkins() as (_, url):
        pass
    server = configured(url)
    with pytest.raises(NoAnswer, match="did not answer"):
        server.run(JOB)


def test_a_wrong_token_is_an_error_that_does_not_show_it(jenkins):
    with pytest.raises(DeliveryError, match="rejected cicd's API token") as refused:
        connected(jenkins, api_token="wrong-token").run(JOB)
    assert not isinstance(refused.value, NoAnswer)
    assert "wrong-token" not in str(refused.value)


def test_a_login_page_in_front_of_jenkins_is_recognised(jenkins, server):
    record = started(server)
    jenkins.login_page = True
    with pytest.raises(DeliveryError, match="is not a Jenkins API") as refused:
        server.look(JOB, record)
    assert not isinstance(refused.value, NoAnswer)


def test_an_api_token_needs_no_crumb_and_a_password_gets_one(jenkins):
    connected(jenkins).run(JOB)
    connected(jenkins, api_token=PASSWORD).run(JOB)
    assert len(jenkins.jobs[NAME].builds) == 2


def test_a_jenkins_without_crumbs_works(jenkins):
    jenkins.crumbs = False
    assert connected(jenkins).run(JOB).status == "running"


def test_credentials_are_in_no_url_and_no_log(jenkins, caplog):
    with caplog.at_level(logging.DEBUG):
        record = connected(jenkins).run(JOB).record
    seen = f"{jenkins.requests}{record}{caplog.text}"
    assert "buildWithParameters" in seen
    assert API_TOKEN not in seen


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            str(folder / "key.pem"),
            "-out",
            str(folder / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def secure_jenkins(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with running_jenkins(context) as (double, url):
        double.url = url
        double.add_job(NAME)
        yield double


def test_tls_works_with_the_authority_that_is_configured(secure_jenkins, certificate):
    server = connected(secure_jenkins, ca_file=str(certificate / "cert.pem"))
    assert server.run(JOB).status == "running"


@pytest.mark.parametrize("environment", [{}, {"PYTHONHTTPSVERIFY": "0"}])
def test_a_certificate_nobody_vouches_for_is_refused(secure_jenkins, monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DeliveryError, match="not trusted; set ci.jenkins.ca_file"):
        connected(secure_jenkins).run(JOB)
    assert secure_jenkins.requests == []


# --- configuration ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"url": None}, "ci.jenkins.url is not set"),
        ({"user": ""}, "ci.jenkins.user is not set"),
        ({"api_token": None}, "ci.jenkins.api_token is not set"),
        ({"url": "https://u:hunter2@ci.example.org"}, "without user and password"),
        ({"url": "ci.example.org"}, "expected http"),
        ({"callback_url": "https://u:hunter2@cicd:8095/jenkins"}, "ci.jenkins.callback_url"),
        ({"job": "../admin"}, "ci.jenkins.job"),
        ({"job": "team//{app}"}, "ci.jenkins.job"),
        ({"job": "{application}"}, "ci.jenkins.job"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(change, words):
    section = dict({"url": "https://ci.example.org", "user": USER, "api_token": "x"}, **change)
    with pytest.raises(DeliveryError, match=words) as refused:
        Jenkins.configured(Configuration({"ci": {"jenkins": section}}))
    assert "hunter2" not in str(refused.value)


def test_its_settings_are_those_that_the_schema_describes():
    assert set(Settings._fields) == set(
        yaml.safe_load(SCHEMA.read_text())["ci"]["properties"]["jenkins"]["properties"]
    )
    defaults = Configuration({}).section("ci")["jenkins"]
    required = {key.partition(".")[2] for key in Jenkins.required}
    assert set(Settings._fields) == {*defaults, *required, *Settings._field_defaults}
