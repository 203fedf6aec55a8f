"""The REST API: what each call does to the repositories, and what it answers."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
import urllib.parse
from typing import Any, Callable, NamedTuple

from sandbox.github.commits import Commits, Lines
from sandbox.github.hooks import NOTHING, Deliverer, Hook, ping_payload, push_payload
from sandbox.github.repository import Repository
from sandbox.github.shapes import Answer, Json, Site, allow, iso, node_id, not_found

TOKEN = "ghp_" + "t" * 36
READING_TOKEN = "ghp_" + "r" * 36
INSTALLATION_TOKEN = "ghs_" + "i" * 36
TOKEN_SECONDS = 3600
OWNER_OF_THE_TOKEN = "deployer"

STATUS_STATES = ("error", "failure", "pending", "success")
DEPLOYMENT_STATES = ("error", "failure", "inactive", "in_progress", "queued", "pending", "success")
DESCRIPTION_LENGTH = 140
NAME = r"[A-Za-z0-9._-]+"
NEW_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"


class Failure(NamedTuple):
    """How a request fails. `after` is true when it had its effect and only the answer is lost."""

    status: int
    message: str
    headers: dict[str, str]
    after: bool


class GitHub:
    """
    :param site: where it is served.
    :param make_commits: makes what a new repository holds, by owner/name.

    repositories: by owner/name. renamed: their new names by the old ones. app_keys: the public keys
    of Apps in PEM format, by the App's number. requests: method and path of every REST call, and
    tokens what each of them came with.
    """

    def __init__(
        self, site: Site, make_commits: Callable[[str], Commits] = lambda _: Lines({})
    ) -> None:
        self.site = site
        self.repositories: dict[str, Repository] = {}
        self.renamed: dict[str, str] = {}
        self.app_keys: dict[int, str] = {}
        self.requests: list[tuple[str, str]] = []
        self.tokens: list[str] = []
        self._make_commits = make_commits
        self._failures: list[tuple[str, Failure]] = []
        self._ids = itertools.count(1)
        self._deliverer = Deliverer()

    # --- for tests ------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base address of the API."""
        return self.site.api

    def add_repository(self, full_name: str, **branches: list[str]) -> Repository:
        """Makes a repository of made-up commits.

        :param branches: commits by branch, oldest first; the default branch is the first.
        """
        repository = Repository(self.site, full_name, Lines(branches), next(iter(branches)))
        self.repositories[full_name] = repository
        return repository

    def fail(
        self,
        status: int,
        message: str = "Server Error",
        times: int = 1,
        headers: dict[str, str] | None = None,
        on: str = "",
        after: bool = False,
    ) -> None:
        """The next requests fail.

        :param on: method and part of the path, such as "POST /deployments"; any if empty.
        """
        failure = Failure(status, message, headers or {}, after)
        self._failures += [(on, failure)] * times

    def statuses(self, full_name: str, commit: str) -> dict[str, str]:
        """Returns the newest state of each context."""
        return {
            each["context"]: each["state"]
            for each in self.repositories[full_name].statuses
            if each["sha"] == commit
        }

    def deployments(self, full_name: str) -> list[tuple[str, str, list[str]]]:
        """Returns commit, environment and all states of each deployment, oldest first."""
        repository = self.repositories[full_name]
        return [
            (
                each["sha"],
                each["environment"],
                [status["state"] for status in repository.deployment_statuses[each["id"]]],
            )
            for each in repository.deployments
        ]

    def writes(self) -> list[str]:
        return [f"{method} {path}" for method, path in self.requests if method != "GET"]

    # --- for the server -------------------------------------------------------------------------

    def pushed(
        self, repository: Repository, before: str, after: str, ref: str, pusher: str
    ) -> None:
        """Sends the event of one ref that was made, moved or deleted."""
        hooks = [hook for hook in repository.hooks.values() if "push" in hook.events]
        if hooks:
            payload = push_payload(repository, before, after, ref, pusher)
            for hook in hooks:
                self._deliverer.send(hook, "push", payload)

    def answer(
        self, method: str, path: str, query: dict[str, str], body: Json, authorization: str
    ) -> tuple[int, Any]:
        """Does what a REST call asks for.

        :param path: below the API's base address.
        :returns: the status code and what to answer.
        :raises Answer: when it is refused.
        """
        self.requests.append((method, path))
        token = authorization.partition(" ")[2]
        self.tokens.append(token)
        failure = self._failure(method, path)
        if failure and not failure.after:
            raise Answer(failure.status, failure.message, failure.headers)
        answer = self._route(method, path, query, body, token)
        if failure:
            raise Answer(failure.status, failure.message, failure.headers)
        return answer

    def _failure(self, method: str, path: str) -> Failure | None:
        for place, (on, failure) in enumerate(self._failures):
            wanted_method, _, part = on.partition(" ")
            if not on or (wanted_method == method and part in path):
                del self._failures[place]
                return failure
        return None

    def _route(
        self, method: str, path: str, query: dict[str, str], body: Json, token: str
    ) -> tuple[int, Any]:
        installation = re.fullmatch(r"/app/installations/(\d+)/access_tokens", path)
        if installation and method == "POST":
            return self._access_token(token)
        if token not in ("", TOKEN, READING_TOKEN, INSTALLATION_TOKEN):
            raise Answer(401, "Bad credentials")
        if method != "GET" and token in ("", READING_TOKEN):
            raise Answer(403, "Resource not accessible by personal access token")
        organisation = re.fullmatch(rf"/orgs/({NAME})/repos", path)
        if organisation and method == "POST":
            return self._add_repository(organisation.group(1), body)
        found = re.fullmatch(rf"/repos/({NAME}/{NAME})(/.*)?", path)
        if not found:
            raise not_found()
        full_name, rest = found.group(1), found.group(2) or ""
        if full_name in self.renamed:
            new = f"{self.url}/repos/{self.renamed[full_name]}{rest}"
            raise Answer(
                301 if method == "GET" else 307, "Moved Permanently", {"Location": new}, url=new
            )
        if full_name not in self.repositories:
            raise not_found()
        for pattern, call in self._calls(self.repositories[full_name], query, body):
            match = re.fullmatch(pattern, f"{method} {rest}")
            if match:
                return call(*match.groups())
        raise not_found()

    def _calls(
        self, repository: Repository, query: dict[str, str], body: Json
    ) -> list[tuple[str, Callable[..., tuple[int, Any]]]]:
        return [
            (r"GET ", lambda: (200, repository.as_json())),
            (r"GET /branches/(.+)", lambda name: self._branch(repository, name)),
            (
                r"GET /commits/([^/]+)",
                lambda ref: (200, repository.commit_as_json(repository.resolve(ref))),
            ),
            (r"GET /commits/([^/]+)/status", lambda ref: self._combined(repository, ref)),
            (r"POST /statuses/([^/]+)", lambda sha: self._add_status(repository, sha, body)),
            (r"GET /compare/(.+?)\.\.\.(.+)", lambda *ends: self._compare(repository, *ends)),
            (r"GET /deployments", lambda: self._deployments(repository, query)),
            (r"POST /deployments", lambda: self._deploy(repository, body)),
            (
                r"GET /deployments/(\d+)/statuses",
                lambda number: (200, self._deployment_statuses(repository, number)[::-1]),
            ),
            (
                r"POST /deployments/(\d+)/statuses",
                lambda number: self._add_deployment_status(repository, number, body),
            ),
            (r"GET /git/ref/(.+)", lambda name: self._reference(repository, f"refs/{name}")),
            (r"POST /git/refs", lambda: self._add_reference(repository, body)),
            (r"PATCH /git/refs/(.+)", lambda name: self._move(repository, f"refs/{name}", body)),
            (
                r"GET /hooks",
                lambda: (200, [hook.as_json() for hook in repository.hooks.values()]),
            ),
            (r"POST /hooks", lambda: self._add_hook(repository, body)),
            (r"GET /hooks/(\d+)/deliveries", lambda hook: self._deliveries(repository, hook)),
            (
                r"GET /hooks/(\d+)/deliveries/(\d+)",
                lambda *numbers: self._delivery(repository, *numbers),
            ),
            (
                r"POST /hooks/(\d+)/deliveries/(\d+)/attempts",
                lambda *numbers: self._deliver_again(repository, *numbers),
            ),
        ]

    # --- repositories and commits ---------------------------------------------------------------

    def _add_repository(self, owner: str, body: Json) -> tuple[int, Json]:
        name = str(body.get("name", ""))
        if not re.fullmatch(NEW_NAME, name) or name.endswith(".git"):
            raise Answer(422, "name is not a repository's name")
        full_name = f"{owner}/{name}"
        if full_name in self.repositories:
            raise Answer(422, "name already exists on this account")
        repository = Repository(self.site, full_name, self._make_commits(full_name))
        self.repositories[full_name] = repository
        return 201, repository.as_json()

    def _branch(self, repository: Repository, name: str) -> tuple[int, Json]:
        branches = repository.branches()
        if name not in branches:
            raise Answer(404, "Branch not found")
        url = f"{repository.url}/branches/{urllib.parse.quote(name)}"
        return 200, {
            "name": name,
            "protected": False,
            "protection_url": f"{url}/protection",
            "protection": {"enabled": False},
            "commit": repository.commit_as_json(branches[name]),
            "_links": {"self": url, "html": f"{repository.html_url}/tree/{name}"},
        }

    def _compare(self, repository: Repository, base: str, head: str) -> tuple[int, Json]:
        for end in (base, head):
            if not repository.commits.knows(end):
                raise not_found()
        before, after = repository.commits.history(base), repository.commits.history(head)
        common = [commit for commit in after if commit in before]
        new = [commit for commit in after if commit not in before]
        behind = len(before) - len(common)
        if not common:
            raise Answer(404, f"No common ancestor between {base} and {head}.")
        status = {
            (False, False): "identical",
            (True, False): "ahead",
            (False, True): "behind",
            (True, True): "diverged",
        }[bool(new), bool(behind)]
        url = f"{repository.url}/compare/{base}...{head}"
        html_url = f"{repository.html_url}/compare/{base}...{head}"
        return 200, {
            "url": url,
            "html_url": html_url,
            "permalink_url": html_url,
            "diff_url": f"{html_url}.diff",
            "patch_url": f"{html_url}.patch",
            "status": status,
            "ahead_by": len(new),
            "behind_by": behind,
            "base_commit": repository.commit_as_json(base),
            "total_commits": len(new),
            "merge_base_commit": repository.commit_as_json(common[-1]),
            "commits": [repository.commit_as_json(each) for each in new],
            "files": [],
        }

    # --- statuses -------------------------------------------------------------------------------

    def _combined(self, repository: Repository, ref: str) -> tuple[int, Json]:
        commit = repository.resolve(ref)
        newest = {
            each["context"].lower(): each for each in repository.statuses if each["sha"] == commit
        }
        shown = [
            {key: value for key, value in each.items() if key not in ("sha", "creator")}
            for each in newest.values()
        ]
        states = {each["state"] for each in shown}
        if states & {"failure", "error"}:
            state = "failure"
        else:
            state = "success" if states == {"success"} else "pending"
        url = f"{repository.url}/commits/{commit}"
        return 200, {
            "state": state,
            "sha": commit,
            "total_count": len(shown),
            "statuses": shown,
            "repository": repository.as_json(),
            "commit_url": url,
            "url": f"{url}/status",
        }

    def _add_status(self, repository: Repository, sha: str, body: Json) -> tuple[int, Json]:
        if not repository.commits.knows(sha):
            raise Answer(422, f"No commit found for SHA: {sha}")
        allow(body, state=STATUS_STATES, target_url=str, description=str, context=str)
        creator = self.site.user(OWNER_OF_THE_TOKEN)
        status = self._created(
            {
                "url": f"{repository.url}/statuses/{sha}",
                "sha": sha,
                "avatar_url": creator["avatar_url"],
                "state": body["state"],
                "description": described(body),
                "target_url": body.get("target_url"),
                "context": body.get("context", "default"),
                "creator": creator,
            },
            "StatusContext",
        )
        repository.statuses.append(status)
        return 201, {key: value for key, value in status.items() if key != "sha"}

    # --- deployments ----------------------------------------------------------------------------

    def _deployments(self, repository: Repository, query: dict[str, str]) -> tuple[int, Any]:
        wanted = {key: query[key] for key in ("sha", "ref", "task", "environment") if key in query}
        there = [
            each
            for each in repository.deployments
            if all(each[key] == value for key, value in wanted.items())
        ]
        return 200, there[::-1][: int(query.get("per_page", 30))]

    def _deploy(self, repository: Repository, body: Json) -> tuple[int, Json]:
        allow(
            body,
            ref=str,
            task=str,
            auto_merge=bool,
            required_contexts=list,
            payload=(dict, str),
            environment=str,
            description=str,
            transient_environment=bool,
            production_environment=bool,
        )
        commit = repository.resolve(body["ref"])
        contexts = body.get("required_contexts")
        statuses = self.statuses(repository.full_name, commit)
        required = statuses if contexts is None else contexts
        if any(statuses.get(context) != "success" for context in required):
            raise Answer(409, f"Conflict: Commit status checks failed for {body['ref']}.")
        environment = body.get("environment", "production")
        deployment = self._created(
            {
                "sha": commit,
                "ref": body["ref"],
                "task": body.get("task", "deploy"),
                "payload": body.get("payload", ""),
                "original_environment": environment,
                "environment": environment,
                "description": body.get("description"),
                "creator": self.site.user(OWNER_OF_THE_TOKEN),
                "repository_url": repository.url,
                "transient_environment": body.get("transient_environment", False),
                "production_environment": body.get(
                    "production_environment", environment == "production"
                ),
            },
            "Deployment",
        )
        deployment["url"] = f"{repository.url}/deployments/{deployment['id']}"
        deployment["statuses_url"] = f"{deployment['url']}/statuses"
        repository.deployment_statuses[deployment["id"]] = []
        repository.deployments.append(deployment)
        return 201, deployment

    def _deployment_statuses(self, repository: Repository, number: str) -> list[Json]:
        statuses: list[Json] = find(repository.deployment_statuses, number)
        return statuses

    def _add_deployment_status(
        self, repository: Repository, number: str, body: Json
    ) -> tuple[int, Json]:
        statuses = self._deployment_statuses(repository, number)
        allow(
            body,
            state=DEPLOYMENT_STATES,
            target_url=str,
            log_url=str,
            description=str,
            environment=str,
            environment_url=str,
            auto_inactive=bool,
        )
        deployment = next(each for each in repository.deployments if each["id"] == int(number))
        link = body.get("log_url", body.get("target_url", ""))
        status = self._created(
            {
                "state": body["state"],
                "creator": self.site.user(OWNER_OF_THE_TOKEN),
                "description": described(body),
                "environment": deployment["environment"],
                "target_url": link,
                "log_url": link,
                "environment_url": "",
                "deployment_url": deployment["url"],
                "repository_url": repository.url,
            },
            "DeploymentStatus",
        )
        status["url"] = f"{deployment['statuses_url']}/{status['id']}"
        statuses.append(status)
        if body["state"] == "success" and body.get("auto_inactive", True):
            self._inactivate_before(repository, deployment)
        return 201, status

    def _inactivate_before(self, repository: Repository, current: Json) -> None:
        for each in repository.deployments:
            statuses = repository.deployment_statuses[each["id"]]
            if (
                each["id"] < current["id"]
                and each["environment"] == current["environment"]
                and not each["production_environment"]
                and not each["transient_environment"]
                and statuses
                and statuses[-1]["state"] == "success"
            ):
                statuses.append(dict(statuses[-1], id=next(self._ids), state="inactive"))

    # --- references -----------------------------------------------------------------------------

    def _reference(self, repository: Repository, name: str) -> tuple[int, Json]:
        there = repository.commits.references("refs/")
        commit = there.get(name[len("refs/") :])
        if not commit:
            raise not_found()
        return 200, {
            "ref": name,
            "node_id": node_id("Ref", repository.number),
            "url": f"{repository.url}/git/{name}",
            "object": {
                "type": "commit",
                "sha": commit,
                "url": f"{repository.url}/git/commits/{commit}",
            },
        }

    def _add_reference(self, repository: Repository, body: Json) -> tuple[int, Json]:
        allow(body, ref=str, sha=str)
        name = body["ref"]
        if (
            not name.startswith("refs/")
            or name.count("/") < 2
            or re.search(r"[~^:?*\[\\\s]|\.\.", name)
        ):
            raise Answer(422, "Reference name is not valid")
        if name[len("refs/") :] in repository.commits.references("refs/"):
            raise Answer(422, "Reference already exists")
        return 201, self._point(repository, name, NOTHING, body["sha"])

    def _move(self, repository: Repository, name: str, body: Json) -> tuple[int, Json]:
        allow(body, sha=str, force=bool)
        before = repository.commits.references("refs/").get(name[len("refs/") :])
        if not before:
            raise Answer(422, "Reference does not exist")
        forward = before in repository.commits.history(body["sha"])
        if not (forward or body.get("force")):
            raise Answer(422, "Update is not a fast forward")
        return 200, self._point(repository, name, before, body["sha"])

    def _point(self, repository: Repository, name: str, before: str, commit: str) -> Json:
        if not repository.commits.knows(commit):
            raise Answer(422, "Object does not exist")
        repository.commits.point(name, commit)
        self.pushed(repository, before, commit, name, OWNER_OF_THE_TOKEN)
        return self._reference(repository, name)[1]

    # --- webhooks -------------------------------------------------------------------------------

    def _add_hook(self, repository: Repository, body: Json) -> tuple[int, Json]:
        config = body.get("config", {})
        url = str(config.get("url", ""))
        if config.get("content_type") != "json" or not url.startswith("http:"):
            raise Answer(422, "config needs a url that starts with http:, and content_type json")
        hook = Hook(repository, url, config.get("secret"), body.get("events", ["push"]))
        repository.hooks[hook.number] = hook
        self._deliverer.send(hook, "ping", ping_payload(hook, OWNER_OF_THE_TOKEN))
        return 201, hook.as_json()

    def _deliveries(self, repository: Repository, hook: str) -> tuple[int, Any]:
        deliveries = find(repository.hooks, hook).deliveries
        return 200, [summary(deliveries[number]) for number in sorted(deliveries, reverse=True)]

    def _delivery(self, repository: Repository, hook: str, number: str) -> tuple[int, Json]:
        delivery = find(find(repository.hooks, hook).deliveries, number)
        return 200, dict(
            summary(delivery), request=delivery["request"], response=delivery["response"]
        )

    def _deliver_again(self, repository: Repository, hook: str, number: str) -> tuple[int, Json]:
        found = find(repository.hooks, hook)
        self._deliverer.send_again(found, find(found.deliveries, number))
        return 202, {}

    # --- Apps -----------------------------------------------------------------------------------

    def _access_token(self, token: str) -> tuple[int, Json]:
        if not self._signed_by_an_app(token):
            raise Answer(401, "A JSON web token could not be decoded")
        return 201, {
            "token": INSTALLATION_TOKEN,
            "expires_at": iso(time.time() + TOKEN_SECONDS),
            "permissions": {"statuses": "write", "deployments": "write"},
            "repository_selection": "all",
        }

    def _signed_by_an_app(self, token: str) -> bool:
        import jwt

        for app, key in self.app_keys.items():
            with contextlib.suppress(jwt.PyJWTError):
                claims = jwt.decode(token, key, algorithms=["RS256"])
                return bool(claims["iss"] == str(app) and claims["exp"] - claims["iat"] <= 600)
        return False

    def _created(self, thing: Json, kind: str) -> Json:
        number = next(self._ids)
        at = iso(time.time())
        return dict(thing, id=number, node_id=node_id(kind, number), created_at=at, updated_at=at)


def described(body: Json) -> str:
    """The description in a body, which GitHub refuses when it is too long."""
    text: str = body.get("description", "")
    if len(text) > DESCRIPTION_LENGTH:
        raise Answer(
            422,
            "Validation Failed",
            errors=[
                {
                    "code": "custom",
                    "field": "description",
                    "message": "description is too long (maximum is 140 characters)",
                }
            ],
        )
    return text


def summary(delivery: Json) -> Json:
    """A delivery as it stands in a list."""
    return {
        key: value
        for key, value in delivery.items()
        if key not in ("request", "response", "body", "url")
    }


def find(things: dict[int, Any], number: str) -> Any:
    """What has this number in the path; Answer 404 when nothing has."""
    if int(number) not in things:
        raise not_found()
    return things[int(number)]
