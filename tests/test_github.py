"""What the delivery says to GitHub and asks of it, against a double of GitHub's REST API."""

from __future__ import annotations

import pytest

from delivery import github
from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.github import GitHub
from delivery.github_repository import Deployment, Repository, tag_of_version
from sandbox.github import INSTALLATION_TOKEN, READING_TOKEN, TOKEN, running_github

pytestmark = pytest.mark.filterwarnings("ignore:Argument lazy is deprecated")

OLD, COMMIT, NEW = "a" * 40, "b" * 40, "c" * 40
ASIDE, UNKNOWN = "d" * 40, "e" * 40


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self):
        self.now, self.slept = 1000.0, []

    def monotonic(self):
        return self.now

    time = monotonic

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(github, "time", clock)
    monkeypatch.setattr(github, "PAUSES_S", dict.fromkeys(github.PAUSES_S, 0.0))
    return clock


@pytest.fixture
def there(clock):
    with running_github() as double:
        double.add_repository("acme/shop", main=[OLD, COMMIT, NEW], **{"feature/x": [OLD, ASIDE]})
        yield double


def configured(**settings):
    return GitHub(Configuration({"github": settings}).section("github"))


def shop(there, token=TOKEN, **settings):
    return Repository(GitHub(dict(settings, api_url=there.url, token=token)), "acme/shop")


def deployment(state, key="canary-1", commit=COMMIT, environment="canary", log_url="", **more):
    return Deployment(
        key, commit, environment, more.get("production", False), state, "shop 1.0", log_url
    )


# --- statuses ------------------------------------------------------------------------------------


def test_a_status_has_its_context_text_and_link(there):
    assert shop(there).set_status(COMMIT, "cicd/ci", "pending", "build 1 is running", "http://x/1")
    status = there.repositories["acme/shop"].statuses[0]
    assert (status["sha"], status["context"], status["state"]) == (COMMIT, "cicd/ci", "pending")
    assert (status["description"], status["target_url"]) == ("build 1 is running", "http://x/1")


def test_the_same_status_again_writes_nothing(there):
    assert shop(there).set_status(COMMIT, "cicd/ci", "success", "build 1 passed")
    assert not shop(there).set_status(COMMIT, "cicd/ci", "success", "build 1 passed")
    assert len(there.writes()) == 1


def test_statuses_of_other_systems_are_left_alone(there):
    shop(there).set_status(COMMIT, "other/ci", "failure", "no")
    shop(there).set_status(COMMIT, "cicd/ci", "success", "yes")
    assert there.statuses("acme/shop", COMMIT) == {"other/ci": "failure", "cicd/ci": "success"}


def test_a_long_description_is_cut_to_what_github_takes(there):
    shop(there).set_status(COMMIT, "cicd/ci", "failure", "x" * 500)
    assert len(there.repositories["acme/shop"].statuses[0]["description"]) == 140


def test_a_commit_github_does_not_know_is_an_error_that_names_it(there):
    with pytest.raises(DeliveryError, match="status cicd/ci of eeeeeee on acme/shop: .*No commit"):
        shop(there).set_status(UNKNOWN, "cicd/ci", "success", "build 1 passed")


# --- deployments ---------------------------------------------------------------------------------


def test_a_deployment_goes_through_its_states(there):
    for state in ("queued", "in_progress", "success"):
        assert shop(there).set_deployment(deployment(state))
    assert there.deployments("acme/shop") == [
        (COMMIT, "canary", ["queued", "in_progress", "success"])
    ]


def test_a_state_it_has_already_writes_nothing(there):
    shop(there).set_deployment(deployment("in_progress"))
    written = len(there.writes())
    assert not shop(there).set_deployment(deployment("in_progress"))
    assert len(there.writes()) == written


def test_a_deployment_is_made_whatever_other_checks_of_the_commit_say(there):
    shop(there).set_status(COMMIT, "other/ci", "failure", "no")
    assert shop(there).set_deployment(deployment("in_progress"))


def test_the_log_of_a_deployment_is_linked(there):
    shop(there).set_deployment(deployment("in_progress", log_url="https://st2.example/#/history/1"))
    statuses = there.repositories["acme/shop"].deployment_statuses.values()
    assert [each[0]["log_url"] for each in statuses] == ["https://st2.example/#/history/1"]


@pytest.mark.parametrize("production", [False, True])
def test_what_succeeded_before_becomes_inactive(there, production):
    environment = "production" if production else "canary"
    for number, commit in enumerate((OLD, COMMIT, NEW)):
        shop(there).set_deployment(
            deployment("success", f"rollout-{number}", commit, environment, production=production)
        )
    assert there.deployments("acme/shop") == [
        (OLD, environment, ["success", "inactive"]),
        (COMMIT, environment, ["success", "inactive"]),
        (NEW, environment, ["success"]),
    ]


def test_only_what_was_not_made_inactive_before_is_looked_at(there):
    for number in range(6):
        shop(there).set_deployment(deployment("success", f"rollout-{number}"))
    there.requests.clear()
    shop(there).set_deployment(deployment("success", "rollout-6"))
    looked_at = [
        path for method, path in there.requests if method == "GET" and path.endswith("/statuses")
    ]
    assert len(looked_at) == 3


def test_what_failed_before_stays_a_failure(there):
    shop(there).set_deployment(deployment("failure", "rollout-1"))
    shop(there).set_deployment(deployment("success", "rollout-2"))
    assert [states for _, _, states in there.deployments("acme/shop")] == [["failure"], ["success"]]


def test_another_environment_is_left_alone(there):
    shop(there).set_deployment(deployment("success", environment="canary"))
    shop(there).set_deployment(deployment("success", environment="production", production=True))
    assert [states[-1] for _, _, states in there.deployments("acme/shop")] == ["success"] * 2


def test_deployments_of_others_are_left_alone(there):
    theirs = there.repositories["acme/shop"]
    there._deploy(theirs, {"ref": COMMIT, "environment": "canary", "payload": "their own text"})
    shop(there).set_deployment(deployment("success"))
    assert [states for _, _, states in there.deployments("acme/shop")] == [[], ["success"]]


def test_the_same_commit_again_in_another_rollout_is_another_deployment(there):
    shop(there).set_deployment(deployment("success", "rollout-1"))
    shop(there).set_deployment(deployment("in_progress", "rollout-2"))
    assert len(there.deployments("acme/shop")) == 2


# --- tags ----------------------------------------------------------------------------------------


def test_a_movable_tag_is_made_and_moved_back_and_forth(there):
    for commit in (COMMIT, NEW, OLD):
        assert shop(there).set_tag("deployed/canary", commit, movable=True)
        assert there.repositories["acme/shop"].tags() == {"deployed/canary": commit}


def test_a_tag_that_is_there_already_writes_nothing(there):
    shop(there).set_tag("release/1.0", COMMIT, movable=False)
    assert not shop(there).set_tag("release/1.0", COMMIT, movable=False)
    assert len(there.writes()) == 1


def test_a_release_tag_is_never_moved(there):
    shop(there).set_tag("release/1.0", COMMIT, movable=False)
    with pytest.raises(
        DeliveryError, match="tag release/1.0 of acme/shop points to bbbbbbb, not to"
    ):
        shop(there).set_tag("release/1.0", NEW, movable=False)


@pytest.mark.parametrize(
    ("version", "tag"),
    [
        ("1.0-7.abc1234", "1.0-7.abc1234"),
        ("1.0~rc1+b-1.abc1234", "1.0_rc1+b-1.abc1234"),
        ("1..0", "1.#.0"),
        ("1.0.", "1.0.#"),
        ("1.0.lock", "1.0.#lock"),
    ],
)
def test_a_version_becomes_the_name_of_a_tag_as_debian_spells_it(version, tag):
    assert tag_of_version(version) == tag


# --- pushes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("commit", [NEW, COMMIT, OLD])
def test_a_branch_contains_its_head_and_its_history(there, commit):
    shop(there).verify_push("main", commit)


def test_a_branch_with_a_slash_is_asked_for_by_its_name(there):
    shop(there).verify_push("feature/x", ASIDE)


def test_a_commit_of_another_branch_is_refused(there):
    with pytest.raises(DeliveryError, match="main of acme/shop does not contain ddddddd"):
        shop(there).verify_push("main", ASIDE)


def test_a_commit_that_is_ahead_of_the_branch_is_refused(there):
    there.repositories["acme/shop"].commits.branches = {"main": [OLD], "next": [OLD, COMMIT]}
    with pytest.raises(DeliveryError, match="does not contain bbbbbbb"):
        shop(there).verify_push("main", COMMIT)


def test_a_commit_that_only_a_fork_has_is_refused(there):
    there.repositories["acme/shop"].commits.others = [UNKNOWN]
    with pytest.raises(DeliveryError, match="main of acme/shop"):
        shop(there).verify_push("main", UNKNOWN)


def test_a_commit_that_github_does_not_know_is_refused(there):
    with pytest.raises(DeliveryError, match="eeeeeee on main of acme/shop: GitHub answered 404"):
        shop(there).verify_push("main", UNKNOWN)


def test_a_branch_that_github_does_not_know_is_refused(there):
    with pytest.raises(DeliveryError, match="on nowhere of acme/shop: GitHub answered 404"):
        shop(there).verify_push("nowhere", COMMIT)


def test_the_default_branch_is_asked_of_github(there):
    assert shop(there).default_branch() == "main"


def test_a_repository_that_was_renamed_is_refused_by_its_old_name(there):
    there.renamed["acme/shop"] = "acme/store"
    there.add_repository("acme/store", main=[COMMIT])
    with pytest.raises(DeliveryError, match="acme/shop is now acme/store on GitHub"):
        shop(there).default_branch()


def test_a_public_repository_is_read_without_a_token(there):
    assert shop(there, token=None).default_branch() == "main"
    assert there.tokens == [""]


# --- what GitHub does not take now ---------------------------------------------------------------


def test_a_server_error_is_tried_again_after_a_growing_pause(there, clock):
    there.fail(502, times=3)
    assert shop(there).set_status(COMMIT, "cicd/ci", "success", "build 1 passed")
    assert clock.slept == [1, 2, 4]


def test_an_answer_that_is_lost_does_not_lead_to_a_second_deployment(there):
    there.fail(502, on="POST /deployments", after=True)
    shop(there).set_deployment(deployment("in_progress"))
    assert there.deployments("acme/shop") == [(COMMIT, "canary", ["in_progress"])]


@pytest.mark.parametrize("status", [403, 429])
def test_retry_after_is_kept_to(there, clock, status):
    there.fail(status, "You have exceeded a secondary rate limit", headers={"Retry-After": "17"})
    assert shop(there).set_status(COMMIT, "cicd/ci", "success", "build 1 passed")
    assert clock.slept == [17]


def test_a_secondary_limit_without_a_time_is_given_a_minute(there, clock):
    there.fail(403, "You have exceeded a secondary rate limit. Please wait a few minutes.")
    shop(there).default_branch()
    assert clock.slept == [60]


def test_the_primary_limit_is_waited_for_until_it_is_reset(there, clock):
    there.fail(
        403,
        "API rate limit exceeded for user ID 1.",
        headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(clock.now) + 30)},
    )
    shop(there).default_branch()
    assert clock.slept == [31]


def test_a_limit_that_lasts_too_long_is_not_waited_for(there, clock):
    there.fail(
        403,
        "API rate limit exceeded for user ID 1.",
        headers={"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(clock.now) + 3000)},
    )
    with pytest.raises(
        DeliveryError,
        match="GitHub answered 403, and the next attempt is due in "
        "3001 s, beyond the limit; run it again later",
    ):
        shop(there).default_branch()
    assert clock.slept == []


def test_patience_is_bounded_over_all_calls_together(there, clock):
    there.fail(503, times=1000)
    repository = shop(there)
    for _ in range(5):
        with pytest.raises(DeliveryError, match="GitHub answered 503"):
            repository.default_branch()
    assert sum(clock.slept) <= github.PATIENCE_S


def test_a_github_that_cannot_be_reached_is_an_error_after_some_attempts(clock):
    nobody = Repository(GitHub({"api_url": "http://127.0.0.1:1", "token": TOKEN}), "acme/shop")
    with pytest.raises(DeliveryError, match="GitHub is unreachable"):
        nobody.default_branch()
    assert 3 < len(clock.slept) < 10


def test_what_is_forbidden_is_not_tried_again(there, clock):
    with pytest.raises(DeliveryError, match="answered 403 .* grant it write access"):
        shop(there, token=READING_TOKEN).set_status(COMMIT, "cicd/ci", "success", "passed")
    assert clock.slept == []


# --- credentials ---------------------------------------------------------------------------------


def test_a_wrong_token_is_an_error_that_says_what_to_do_and_not_the_token(there):
    with pytest.raises(DeliveryError, match="401 .Bad credentials.: .* github.token") as it:
        shop(there, token="ghp_" + "w" * 36).default_branch()
    assert "www" not in str(it.value)


def test_the_token_goes_to_github_in_a_header_and_never_in_an_address(there):
    shop(there).set_status(COMMIT, "cicd/ci", "success", "build 1 passed")
    assert set(there.tokens) == {TOKEN}
    assert not any(TOKEN in path for _, path in there.requests)


@pytest.fixture(scope="module")
def key_pair():
    """A private and a public RSA key, in PEM format."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


def test_an_app_gets_a_token_of_its_installation(there, key_pair):
    private, there.app_keys[7] = key_pair
    repository = shop(there, token=None, app_id=7, installation_id=8, private_key=private)
    assert repository.set_status(COMMIT, "cicd/ci", "success", "build 1 passed")
    assert there.requests[0] == ("POST", "/app/installations/8/access_tokens")
    assert set(there.tokens[1:]) == {INSTALLATION_TOKEN}


def test_an_app_that_github_does_not_know_is_an_error(there, key_pair):
    private, _ = key_pair
    with pytest.raises(DeliveryError, match="answered 401 .*github.token"):
        shop(there, token=None, app_id=7, installation_id=8, private_key=private).default_branch()


def test_what_is_no_private_key_is_refused_without_showing_it():
    with pytest.raises(DeliveryError, match="github.private_key: not a private key") as it:
        configured(app_id=7, installation_id=8, private_key="hunter2")
    assert "hunter2" not in str(it.value)


@pytest.mark.parametrize("missing", ["installation_id", "private_key"])
def test_half_an_app_is_refused_by_what_is_missing(missing):
    settings = {"app_id": 7, "installation_id": 8, "private_key": "key"}
    del settings[missing]
    with pytest.raises(DeliveryError, match=f"github.{missing} is not set"):
        configured(**settings)


def test_an_address_that_is_none_is_refused():
    with pytest.raises(DeliveryError, match="github.api_url: .* GitHub Enterprise Server"):
        GitHub({"api_url": "https://token@ghe.example.org/api/v3"})


@pytest.mark.parametrize("prefix", ["", "/api/v3"])
def test_github_com_and_enterprise_server_differ_only_in_their_address(clock, prefix):
    with running_github(prefix) as there:
        there.add_repository("acme/shop", main=[COMMIT])
        assert shop(there).set_deployment(deployment("success"))
        assert shop(there).set_tag("deployed/canary", COMMIT, movable=True)


def test_github_com_is_meant_where_nothing_is_configured():
    client = configured(token=TOKEN).client
    assert client.requester.base_url == "https://api.github.com"
