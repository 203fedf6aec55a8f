"""How GitHub's REST API is reached: who asks, how patiently, and what a refusal means.

    github = GitHub(configuration.section("github"))
    github.patiently(lambda: github.client.get_repo("acme/shop").full_name, "repository acme/shop")

A call that GitHub does not take now (rate limits, 5xx, no connection) is repeated as a whole, so
it has to be one that can be.

PyGithub is imported where it is used: it takes longer to import than everything else together,
and most installations start their actions without needing it.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, TypeVar

from delivery.errors import DeliveryError
from delivery.names import plain

if TYPE_CHECKING:
    import github

API_URL_PATTERN = r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?"
REQUEST_TIMEOUT_S = 10
PATIENCE_S = 150  # for everything one GitHub object does, waiting included
SECONDARY_LIMIT_S = 60  # "wait for at least one minute", when GitHub does not say how long
PAUSES_S = {"seconds_between_requests": 0.0, "seconds_between_writes": 1.0}

HOW_TO_AUTHENTICATE = (
    "set github.token in the pack's configuration, or app_id, installation_id and private_key"
)

Result = TypeVar("Result")


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

        api_url = settings["api_url"].rstrip("/")
        if not re.fullmatch(API_URL_PATTERN, api_url):
            raise DeliveryError(
                "github.api_url: not the URL of an API; use https://api.github.com, or "
                "https://HOST/api/v3 for GitHub Enterprise Server"
            )
        self._until = time.monotonic() + PATIENCE_S
        self.client = github.Github(
            base_url=api_url,
            auth=_authentication(settings),
            timeout=REQUEST_TIMEOUT_S,
            retry=None,
            per_page=100,
            user_agent="cicd_canary",
            lazy=True,
            seconds_between_requests=PAUSES_S["seconds_between_requests"],
            seconds_between_writes=PAUSES_S["seconds_between_writes"],
        )

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
                wait_s, said = 2.0**attempt, f"GitHub is unreachable ({type(error).__name__})"
            if time.monotonic() + wait_s > self._until:
                raise DeliveryError(
                    f"{about}: {said}, and the next attempt is due in {wait_s:.0f} s, beyond the "
                    "limit; run it again later"
                )
            time.sleep(wait_s)
            attempt += 1


def _authentication(settings: Mapping[str, Any]) -> github.Auth.Auth | None:
    from github import Auth

    if settings.get("token"):
        return Auth.Token(settings["token"])
    if not settings.get("app_id"):
        return None
    missing = [name for name in ("installation_id", "private_key") if not settings.get(name)]
    if missing:
        raise DeliveryError(
            f"github.{missing[0]} is not set; set it, because a GitHub App needs it along with "
            "app_id"
        )
    app = Auth.AppAuth(int(settings["app_id"]), settings["private_key"])
    try:
        app.create_jwt()
    except Exception as error:  # PyJWT's and the cryptographic library's, of many kinds
        raise DeliveryError(
            f"github.private_key: not a private key in PEM format ({type(error).__name__}); "
            "generate one in the settings of the GitHub App"
        ) from None
    return app.get_installation_auth(int(settings["installation_id"]))


def _pause_s(error: github.GithubException, attempt: int) -> float | None:
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


def _explained(error: github.GithubException, about: str) -> str:
    """Returns what GitHub said of a request, and what to do about it."""
    advice = {
        401: f"invalid credentials; {HOW_TO_AUTHENTICATE}",
        403: "the token or App lacks permission; grant it write access to commit statuses and "
        "deployments, and to contents for tags",
        404: "it does not exist, or the token or App has no access to it",
    }.get(error.status, "")
    said = f"GitHub answered {error.status} ({plain(_message(error))[:200]})"
    return f"{about}: {said}" + (f": {advice}" if advice else "")


def _message(error: github.GithubException) -> str:
    data: dict[str, Any] = error.data if isinstance(error.data, dict) else {}
    details: list[Any] = data.get("errors") or []
    texts = [
        str(each.get("message") or each.get("code")) if isinstance(each, dict) else str(each)
        for each in details
    ]
    return "; ".join([str(data.get("message") or "no reason"), *texts])
