"""GitHub's REST API, as far as the delivery speaks it, through PyGithub.

    repository = GitHub(configuration.section("github")).repository("acme/shop")
    repository.set_status(commit, "cicd/ci", "success", "build 7 passed")
    repository.verify_push("main", commit)

Whatever is set here is looked up first and written only if it differs, so it can be set again: by
a second execution, by a person, or after an answer that was lost. That is also why a call that
GitHub does not take now (rate limits, 5xx, no connection) is repeated as a whole.

PyGithub is imported where it is used: it takes longer to import than everything else together,
and most installations start their actions without needing it.
"""

from __future__ import annotations

import re
import time
from typing import Any, Callable, Mapping, NamedTuple, TypeVar

from delivery.errors import DeliveryError
from delivery.names import check, plain

API_URL = "https://api.github.com"
API_URL_PATTERN = r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?"
REQUEST_TIMEOUT_S = 10
PATIENCE_S = 150  # for everything one GitHub object does, waiting included
SECONDARY_LIMIT_S = 60  # "wait for at least one minute", when GitHub does not say how long
PAUSES_S = {"seconds_between_requests": 0.0, "seconds_between_writes": 1.0}
DESCRIPTION_LENGTH = 140  # GitHub's limit, in characters
OLDER_DEPLOYMENTS = 10  # of an environment, looked at for one to make inactive
OVER = ("inactive", "failure", "error")

HOW_TO_AUTHENTICATE = (
    "set github.token in the pack's configuration, or app_id, installation_id and private_key"
)

Result = TypeVar("Result")


class Deployment(NamedTuple):
    """What GitHub calls a deployment: a rollout, or a release that waits for one.

    :param key: tells it from other deployments of the same commit to the same environment.
    :param production: whether users meet this environment.
    """

    key: str
    commit: str
    environment: str
    production: bool
    state: str
    description: str
    log_url: str


def is_configured(settings: Mapping[str, Any]) -> bool:
    """Returns whether section github of the configuration has something to authenticate with."""
    return bool(settings.get("token") or settings.get("app_id"))


class GitHub:
    """
    :param settings: section github of the pack's configuration. Without a token and without an
        App only what is public can be read.
    :raises DeliveryError: when the settings cannot be used.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        import github

        api_url = settings.get("api_url", API_URL).rstrip("/")
        if not re.fullmatch(API_URL_PATTERN, api_url):
            raise DeliveryError(
                f"github.api_url in the pack's configuration is not an address: {API_URL}, or "
                "https://HOST/api/v3 for GitHub Enterprise Server"
            )
        self._until = time.monotonic() + PATIENCE_S
        self._client = github.Github(
            base_url=api_url,
            auth=_authentication(settings),
            timeout=REQUEST_TIMEOUT_S,
            retry=None,
            per_page=100,
            user_agent="cicd_canary",
            lazy=True,
            **PAUSES_S,
        )

    def repository(self, name: str) -> Repository:
        """Returns a repository by owner/name, without asking whether it exists."""
        # PyGithub 2.8 needs the argument that 2.10 calls deprecated.
        return Repository(self, self._client.get_repo(check("repository", name), lazy=True), name)

    def patiently(self, call: Callable[[], Result], about: str) -> Result:
        """Calls until GitHub takes it, at most PATIENCE_S after this object was made.

        :param call: may be called more than once.
        :param about: what is asked for; stands in the error.
        :raises DeliveryError: says what GitHub said.
        """
        from github import GithubException
        from requests import RequestException

        attempt = 0
        while True:
            try:
                return call()
            except GithubException as error:
                wait_s = _pause_s(error, attempt)
                if wait_s is None:
                    raise DeliveryError(_explained(error, about)) from error
                said = f"GitHub answered {error.status}"
            except RequestException as error:
                wait_s, said = 2.0**attempt, f"GitHub cannot be reached ({type(error).__name__})"
            if time.monotonic() + wait_s > self._until:
                raise DeliveryError(
                    f"{about}: {said}, and wants to be asked again in "
                    f"{wait_s:.0f} s, which is too long: run it again later"
                )
            time.sleep(wait_s)
            attempt += 1


class Repository:
    """One repository on GitHub; made by `GitHub.repository`."""

    def __init__(self, owner: GitHub, client: Any, name: str) -> None:
        self._patiently = owner.patiently
        self._client = client
        self.name = name

    def set_status(
        self, commit: str, context: str, state: str, description: str, target_url: str = ""
    ) -> bool:
        """Makes a commit's status in this context what is given.

        :param state: pending, success, failure or error.
        :param description: one line for people; cut to what GitHub takes.
        :returns: whether it was anything else before.
        """
        wanted = (state, _short(description), target_url)

        def bring_about() -> bool:
            subject = self._client.get_commit(check("commit", commit))
            there = [
                (each.state, each.description, each.target_url or "")
                for each in subject.get_combined_status().statuses
                if each.context == context
            ]
            if wanted in there:
                return False
            subject.create_status(
                wanted[0],
                description=wanted[1],
                context=context,
                **({"target_url": target_url} if target_url else {}),
            )
            return True

        return self._patiently(bring_about, f"status {context} of {commit[:7]} on {self.name}")

    def set_deployment(self, wanted: Deployment) -> bool:
        """Makes a deployment and its newest status what is given. When it is a success, older
        deployments of the environment become inactive.

        :returns: whether the deployment is new or had another state before.
        """
        return self._patiently(
            lambda: self._bring_about(wanted),
            f"deployment of {wanted.commit[:7]} to {wanted.environment} on {self.name}",
        )

    def set_tag(self, tag: str, commit: str, movable: bool) -> bool:
        """Makes a lightweight tag point to a commit.

        :param tag: its name, without refs/tags/.
        :param movable: whether it may point elsewhere now.
        :returns: whether it pointed elsewhere or was missing before.
        :raises DeliveryError: when it points elsewhere and may not be moved.
        """

        def bring_about() -> bool:
            reference = self._reference(f"tags/{tag}")
            if reference is None:
                self._client.create_git_ref(f"refs/tags/{tag}", commit)
                return True
            if reference.object.sha == commit:
                return False
            if not movable:
                raise DeliveryError(
                    f"the tag {tag} of {self.name} is at "
                    f"{reference.object.sha[:7]} already, not at {commit[:7]}"
                )
            reference.edit(commit, force=True)
            return True

        return self._patiently(bring_about, f"tag {tag} on {self.name}")

    def check_name(self) -> None:
        """Asks whether the repository is there, by this name.

        :raises DeliveryError: when it is not, or is called otherwise now. GitHub redirects after a
            repository was renamed, but a redirected write has no effect and is no error.
        """
        self._patiently(self._client.update, f"repository {self.name}")
        if self._client.full_name != self.name:
            raise DeliveryError(f"{self.name} is called {plain(self._client.full_name)} on GitHub")

    def default_branch(self) -> str:
        """Returns the name of the default branch.

        :raises DeliveryError: when there is no repository by this name.
        """
        self.check_name()
        return self._client.default_branch

    def verify_push(self, branch: str, commit: str) -> None:
        """Asks whether a branch is at a commit, or has it in its history.

        That the repository knows the commit would not be enough: it also knows those of its forks
        and of pull requests that nobody has merged.

        :raises DeliveryError: when it has not.
        """

        def ask() -> bool:
            head = self._client.get_branch(check("branch", branch)).commit.sha
            return (
                head == check("commit", commit)
                or self._client.compare(commit, head).status == "ahead"
            )

        if not self._patiently(ask, f"{commit[:7]} on {branch} of {self.name}"):
            raise DeliveryError(
                f"GitHub says that {branch} of {self.name} does not contain "
                f"{commit[:7]}: nothing is built"
            )

    def _bring_about(self, wanted: Deployment) -> bool:
        found = self._deployment(wanted) or self._client.create_deployment(
            wanted.commit,
            environment=wanted.environment,
            auto_merge=False,
            required_contexts=[],
            payload={"key": wanted.key},
            description=_short(wanted.description),
            production_environment=wanted.production,
        )
        changed = _newest_state(found) != wanted.state
        if changed:
            _add_status(found, wanted.state, _short(wanted.description), wanted.log_url)
        if wanted.state == "success":
            self._deactivate_before(found)
        return changed

    def _deployment(self, wanted: Deployment) -> Any:
        """Returns the deployment with this key; of two the first, or None."""
        there = [
            each
            for each in self._client.get_deployments(
                sha=wanted.commit, environment=wanted.environment
            )
            if _key_of(each) == wanted.key
        ]
        return min(there, key=lambda each: each.id) if there else None

    def _deactivate_before(self, current: Any) -> None:
        """Makes older deployments inactive. GitHub does so only where no user is met."""
        older = (
            each
            for each in self._client.get_deployments(environment=current.environment)
            if each.id < current.id and _key_of(each)
        )
        for _, deployment in zip(range(OLDER_DEPLOYMENTS), older):
            state = _newest_state(deployment)
            if state == "inactive":
                return
            if state not in OVER:
                _add_status(deployment, "inactive", "", "")

    def _reference(self, name: str) -> Any:
        from github import UnknownObjectException

        try:
            reference = self._client.get_git_ref(name)
            reference.complete()
            return reference
        except UnknownObjectException:
            return None


def tag_of_version(version: str) -> str:
    """Returns a version as it may stand in a tag's name, as DEP-14 of Debian spells it."""
    text = re.sub(r"\.(?=\.|$|lock$)", ".#", version.replace("~", "_"))
    return text.replace(":", "%")


def _key_of(deployment: Any) -> str | None:
    """Returns the key this module gave a deployment; None for others'."""
    from github import BadAttributeException

    try:
        return (deployment.payload or {}).get("key")
    except BadAttributeException:
        return None  # somebody else's, whose payload is text


def _newest_state(deployment: Any) -> str | None:
    return next((status.state for status in deployment.get_statuses()), None)


def _add_status(deployment: Any, state: str, description: str, log_url: str) -> None:
    """PyGithub's own create_status knows only what log_url was called before."""
    body = {"state": state, "description": description, "auto_inactive": False}
    if log_url:
        body["log_url"] = log_url
    deployment.requester.requestJsonAndCheck("POST", f"{deployment.url}/statuses", input=body)


def _authentication(settings: Mapping[str, Any]) -> Any:
    from github import Auth

    if settings.get("token"):
        return Auth.Token(settings["token"])
    if not settings.get("app_id"):
        return None
    missing = [name for name in ("installation_id", "private_key") if not settings.get(name)]
    if missing:
        raise DeliveryError(
            f"github.{missing[0]} is not set in the pack's configuration, and a "
            "GitHub App needs it besides app_id"
        )
    app = Auth.AppAuth(int(settings["app_id"]), settings["private_key"])
    try:
        app.create_jwt()
    except Exception as error:  # PyJWT's and the cryptographic library's, of many kinds
        raise DeliveryError(
            "github.private_key is not the private key of a GitHub App, in PEM "
            f"format ({type(error).__name__})"
        ) from None
    return app.get_installation_auth(int(settings["installation_id"]))


def _pause_s(error: Any, attempt: int) -> float | None:
    """Returns after how many seconds a refused request may be repeated; None: never.

    Source: "Exceeding the rate limit" in GitHub's "Rate limits for the REST API".
    """
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status in (403, 429):
        if headers.get("retry-after", "").isdigit():
            return float(headers["retry-after"])
        if headers.get("x-ratelimit-remaining") == "0":
            reset_at = headers.get("x-ratelimit-reset", "")
            return max(1.0, float(reset_at) + 1 - time.time() if reset_at.isdigit() else 60.0)
        if error.status == 429 or "rate limit" in _message(error).lower():
            return SECONDARY_LIMIT_S * 2.0**attempt
        return None
    return 2.0**attempt if error.status >= 500 else None


def _explained(error: Any, about: str) -> str:
    """Returns what GitHub said of a request, and what to do about it."""
    advice = {
        401: f"the credentials are not valid: {HOW_TO_AUTHENTICATE}",
        403: "the token or the App may not do that: it needs write access to commit statuses and "
        "deployments, and to contents for tags",
        404: "there is no such thing, or the token or the App may not see it",
    }.get(error.status, "")
    said = f"GitHub answered {error.status} ({plain(_message(error))[:200]})"
    return f"{about}: {said}" + (f": {advice}" if advice else "")


def _message(error: Any) -> str:
    data: dict[str, Any] = error.data if isinstance(error.data, dict) else {}
    details: list[Any] = data.get("errors") or []
    texts = [
        str(each.get("message") or each.get("code")) if isinstance(each, dict) else str(each)
        for each in details
    ]
    return "; ".join([str(data.get("message") or "no reason"), *texts])


def _short(text: str) -> str:
    """Returns text as GitHub takes it for a description."""
    text = plain(text)
    return text if len(text) <= DESCRIPTION_LENGTH else text[: DESCRIPTION_LENGTH - 1] + "…"
