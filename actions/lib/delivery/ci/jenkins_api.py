"""How Jenkins' remote access API is reached, and what its refusals mean.

python-jenkins brings crumbs, folders and the base path. Its own look-ups are not used: they say
"does not exist" both for what is not there and for a Jenkins that is just restarting, and here that
makes all the difference.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any, Iterator, Mapping, NamedTuple, cast
from urllib.parse import quote

from delivery.ci import NoAnswer
from delivery.errors import DeliveryError
from delivery.names import plain, shown

URL = r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?"
JOB_SEGMENT = r"(?!\.\.?(?:/|$))[A-Za-z0-9._-]{1,100}"
JOB = rf"({JOB_SEGMENT}/)*{JOB_SEGMENT}"

REQUEST_TIMEOUT_S = 15
LOG_BYTES = 16 * 1024  # of the end of a build's log
PERMITTED = (
    "grant Overall/Read, Job/Read, Job/Build and Job/Cancel, and to create jobs "
    "Job/Create, Job/Configure and Job/ExtendedRead"
)


class Settings(NamedTuple):
    """Section `ci.jenkins` of the pack's configuration; config.schema.yaml describes each."""

    url: str
    user: str
    api_token: str
    job: str
    callback_credential: str
    callback_url: str = ""
    callback_secret: str = ""
    previous_callback_secret: str = ""
    git_credential: str = ""
    agent_label: str = ""
    ca_file: str | None = None

    @classmethod
    def read(cls, section: Mapping[str, Any]) -> Settings:
        """
        :raises DeliveryError: for what is malformed, by name. An address is not shown, for it may
            hold a password.
        """
        given = {key: value for key, value in section.items() if value not in (None, "")}
        for key in ("url", "callback_url"):
            if key in given and not re.fullmatch(URL, given[key]):
                raise DeliveryError(
                    f"ci.jenkins.{key}: expected http(s)://host[:port][/path] "
                    "without user and password"
                )
        if not re.fullmatch(JOB, given["job"].replace("{app}", "app")):
            raise DeliveryError(
                f"ci.jenkins.job: expected a job's path such as team/{{app}}, "
                f"got {shown(given['job'])}"
            )
        return cls(**given)


class Api:
    """
    :param settings: where Jenkins is and who asks.
    """

    def __init__(self, settings: Settings) -> None:
        self.url = settings.url.rstrip("/")
        self._settings = settings
        self._connected: Any = None

    def job_url(self, name: str) -> str:
        """Returns where people look at a job; its builds are below."""
        return f"{self.url}/{path_of(name)}/"

    def get(self, path: str, fields: str) -> dict[str, Any] | None:
        """Returns what Jenkins says of a thing, or None when it has no such thing."""
        from jenkins import NotFoundException
        from requests import Request

        with self.reaching() as client:
            try:
                answer = client.jenkins_open(
                    Request("GET", f"{self.url}/{path}/api/json", params={"tree": fields})
                )
            except NotFoundException:
                return None
            return cast("dict[str, Any]", json.loads(answer))

    def end_of_log(self, path: str) -> str:
        """Returns the end of a build's log, at most `LOG_BYTES`; empty when it cannot be had.

        The first answer is not read: it only says how long the log is.

        :param path: of the build.
        """
        from jenkins import NotFoundException
        from requests import Request

        def answer(client: Any, start: int) -> Any:
            address = f"{self.url}/{path}/logText/progressiveText"
            asked = Request("GET", address, params={"start": start})
            return client.jenkins_request(asked, stream=True)

        with contextlib.suppress(DeliveryError, NotFoundException), self.reaching() as client:
            with answer(client, 0) as first:
                size = int(first.headers.get("X-Text-Size", 0))
            with answer(client, max(0, size - LOG_BYTES)) as rest:
                end: bytes = next(rest.iter_content(LOG_BYTES), b"")
            return end.decode("utf-8", "replace")
        return ""

    def no_job(self, name: str) -> str:
        """Returns the error for a job that is missing."""
        return (
            f"job {name} does not exist in Jenkins at {self.url}, or is hidden from "
            f"{self._settings.user}; create it with cicd_canary.jenkins_job_ensure"
        )

    @contextlib.contextmanager
    def reaching(self, what: str = "") -> Iterator[Any]:
        """Gives the client, and turns what goes wrong into an error that says what to do.

        :param what: is being done; stands in the error.
        :raises NoAnswer: when Jenkins is away.
        :raises DeliveryError: when it refuses.
        :raises jenkins.NotFoundException: when there is no such thing; callers know what it means.
        """
        import jenkins
        import requests

        try:
            yield self._client()
        except requests.exceptions.SSLError:
            raise DeliveryError(
                f"the certificate of Jenkins at {self.url} is not trusted; set ci.jenkins.ca_file "
                "to its certificate authority"
            ) from None
        except requests.exceptions.HTTPError as error:
            raise self._refusal(error.response.status_code, what) from None
        except (requests.exceptions.RequestException, jenkins.TimeoutException) as error:
            raise NoAnswer(
                f"Jenkins at {self.url} did not answer ({type(error).__name__})"
            ) from None
        except ValueError:
            raise DeliveryError(f"{self.url} is not a Jenkins API; check ci.jenkins.url") from None
        except jenkins.NotFoundException:
            raise
        except jenkins.JenkinsException as error:
            raise self._refusal(_status_of(error), what, str(error)) from None

    def _refusal(self, status: int, what: str, said: str = "") -> DeliveryError:
        """Returns the error for an HTTP status; 0 when python-jenkins only `said` something."""
        user = self._settings.user
        doing = f" to {what}" if what else ""
        if status == 401:
            return DeliveryError(
                f"Jenkins at {self.url} rejected {user}'s API token; "
                "check ci.jenkins.user and ci.jenkins.api_token"
            )
        if status == 403:
            return DeliveryError(
                f"Jenkins at {self.url} does not permit {user}{doing}; {PERMITTED}"
            )
        if status == 400:
            return DeliveryError(
                f"Jenkins at {self.url} rejected the request{doing}: the job "
                "has other parameters; run cicd_canary.jenkins_job_ensure"
            )
        if status == 409:
            return DeliveryError(
                f"Jenkins at {self.url} cannot build{doing}: the job is disabled; enable it there"
            )
        if status >= 500:
            return NoAnswer(
                f"Jenkins at {self.url} failed{doing} ({status}); see its log, "
                "unless it is restarting"
            )
        return DeliveryError(
            f"Jenkins at {self.url} rejected the request{doing} ({status or plain(said)[:200]})"
        )

    def _client(self) -> Any:
        if self._connected is None:
            self._connected = _connect(self._settings)
        return self._connected


def _connect(settings: Settings) -> Any:
    import jenkins

    class Client(jenkins.Jenkins):  # type: ignore[misc]  # the library has no types
        """Verifies certificates whatever the environment says."""

        def __init__(self) -> None:
            super().__init__(
                settings.url, settings.user, settings.api_token, timeout=REQUEST_TIMEOUT_S
            )
            self._session.verify = settings.ca_file or True

    return Client()


def path_of(job: str) -> str:
    """Returns where a job or folder is below Jenkins' base path."""
    return "/".join(f"job/{quote(part)}" for part in job.split("/"))


def _status_of(error: Exception) -> int:
    """Returns the HTTP status that python-jenkins made an exception of its own, or 0."""
    response = getattr(error.__context__, "response", None)
    return response.status_code if response is not None else 0
