"""A double of GitHub's REST API: the calls that the pack makes, over HTTP, with commits in memory.

    with running_github() as github:
        github.add_repository("acme/shop", main=["a" * 40, "b" * 40])   # a branch, oldest first
        ... GitHub({"api_url": github.url, "token": TOKEN}) ...
        github.statuses("acme/shop", "b" * 40)

Paths, parameters, status codes and the required fields of the answers are those of GitHub's
OpenAPI description (github/rest-api-description, api.github.com, 2022-11-28):

    GET   /repos/{owner}/{repo}
    GET   /repos/{owner}/{repo}/branches/{branch}
    GET   /repos/{owner}/{repo}/commits/{ref}
    GET   /repos/{owner}/{repo}/commits/{ref}/status
    POST  /repos/{owner}/{repo}/statuses/{sha}
    GET   /repos/{owner}/{repo}/compare/{base}...{head}
    GET   /repos/{owner}/{repo}/deployments                        by sha, ref, task, environment
    POST  /repos/{owner}/{repo}/deployments
    GET   /repos/{owner}/{repo}/deployments/{id}/statuses          newest first
    POST  /repos/{owner}/{repo}/deployments/{id}/statuses
    GET   /repos/{owner}/{repo}/git/ref/{ref}
    POST  /repos/{owner}/{repo}/git/refs
    PATCH /repos/{owner}/{repo}/git/refs/{ref}
    POST  /app/installations/{id}/access_tokens                    for a JWT signed by the App's key

A repository that was renamed answers 301, and 307 to writes.

`github.fail(...)` makes coming requests fail as GitHub does: rate limits, 5xx, lost answers.

Left out: of a repository most fields; of commits everything but their parents, so each branch is
a line and a comparison is identical, ahead, behind or diverged; permissions (a token may do
everything, or only read); annotated tags; merging into a deployment's ref (auto_merge) and
environments with protection rules; ETags and 304; GraphQL; and pages: what there is is on the first
one, the newest first, as many as `per_page` says.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import re
import threading
import urllib.parse
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, Iterator, NamedTuple

TOKEN = "ghp_" + "t" * 36
READING_TOKEN = "ghp_" + "r" * 36
INSTALLATION_TOKEN = "ghs_" + "i" * 36
STATUS_STATES = ("error", "failure", "pending", "success")
DEPLOYMENT_STATES = ("error", "failure", "inactive", "in_progress", "queued", "pending", "success")
DESCRIPTION_LENGTH = 140
NAME = r"[A-Za-z0-9._-]+"
DOCUMENTATION = "https://docs.github.com/rest"

Json = Dict[str, Any]


class Answer(Exception):
    """Ends a request with a status that is not success."""

    def __init__(
        self, status: int, message: str, headers: dict[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}
        self.body = dict(more, message=message, documentation_url=DOCUMENTATION)


class Failure(NamedTuple):
    """How a request fails. `after` is true when it had its effect and only the answer is lost."""

    status: int
    message: str
    headers: dict[str, str]
    after: bool


class Repository:
    """Branches are lists of commits, oldest first; the newest of each is its head."""

    def __init__(self, api: str, full_name: str, branches: dict[str, list[str]]) -> None:
        self.full_name = full_name
        self.url = f"{api}/repos/{full_name}"
        self.branches = branches
        self.default_branch = next(iter(branches))
        self.others: list[str] = []  # commits of forks, which the repository knows too
        self.statuses: list[Json] = []
        self.deployments: list[Json] = []
        self.deployment_statuses: dict[int, list[Json]] = {}
        self.references: dict[str, str] = {}

    def knows(self, commit: str) -> bool:
        return commit in self.others or any(commit in line for line in self.branches.values())

    def history(self, commit: str) -> list[str]:
        """Returns a commit and those before it, oldest first."""
        line = next((line for line in self.branches.values() if commit in line), [commit])
        return line[: line.index(commit) + 1]

    def resolve(self, reference: str) -> str:
        """Returns the commit of a branch, a tag or itself."""
        if reference in self.branches:
            return self.branches[reference][-1]
        commit = self.references.get(f"refs/tags/{reference}", reference)
        if not self.knows(commit):
            raise Answer(422, f"No commit found for SHA: {reference}")
        return commit


class GitHub:
    """What the double knows. Times are GitHub's own, ids count up."""

    def __init__(self) -> None:
        self.url = ""
        self.repositories: dict[str, Repository] = {}
        self.renamed: dict[str, str] = {}
        self.app_keys: dict[int, str] = {}  # public keys by App, in PEM format
        self.requests: list[tuple[str, str]] = []
        self.tokens: list[str] = []  # what each request came with
        self._failures: list[tuple[str, Failure]] = []
        self._ids = itertools.count(1)

    # --- for tests ------------------------------------------------------------------------------

    def add_repository(self, full_name: str, **branches: list[str]) -> Repository:
        """:param branches: commits by branch, the default branch first."""
        repository = Repository(self.url, full_name, branches)
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

    def answer(
        self, method: str, path: str, query: dict[str, str], body: Json, authorization: str
    ) -> tuple[int, Any]:
        self.requests.append((method, path))
        _, _, token = authorization.partition(" ")
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
        found = re.fullmatch(rf"/repos/({NAME}/{NAME})(/.*)?", path)
        if not found:
            raise Answer(404, "Not Found")
        if found.group(1) in self.renamed:
            new = f"{self.url}/repos/{self.renamed[found.group(1)]}{found.group(2) or ''}"
            raise Answer(
                301 if method == "GET" else 307, "Moved Permanently", {"Location": new}, url=new
            )
        if found.group(1) not in self.repositories:
            raise Answer(404, "Not Found")
        if method != "GET" and token in ("", READING_TOKEN):
            raise Answer(403, "Resource not accessible by personal access token")
        repository = self.repositories[found.group(1)]
        for pattern, call in self._calls(repository, query, body):
            match = re.fullmatch(pattern, f"{method} {found.group(2) or ''}")
            if match:
                return call(*match.groups())
        raise Answer(404, "Not Found")

    def _calls(
        self, repository: Repository, query: dict[str, str], body: Json
    ) -> list[tuple[str, Callable[..., tuple[int, Any]]]]:
        return [
            (r"GET ", lambda: (200, self._repository(repository))),
            (r"GET /branches/(.+)", lambda name: self._branch(repository, name)),
            (
                r"GET /commits/([^/]+)",
                lambda ref: (200, self._commit(repository, repository.resolve(ref))),
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
        ]

    def _repository(self, repository: Repository) -> Json:
        owner, name = repository.full_name.split("/")
        return {
            "id": number_of(repository.full_name),
            "node_id": "R_1",
            "name": name,
            "full_name": repository.full_name,
            "owner": user(owner),
            "private": True,
            "url": repository.url,
            "default_branch": repository.default_branch,
        }

    def _branch(self, repository: Repository, name: str) -> tuple[int, Json]:
        if name not in repository.branches:
            raise Answer(404, "Branch not found")
        url = f"{repository.url}/branches/{urllib.parse.quote(name)}"
        return 200, {
            "name": name,
            "protected": False,
            "protection_url": f"{url}/protection",
            "protection": {"enabled": False},
            "commit": self._commit(repository, repository.branches[name][-1]),
            "_links": {"self": url, "html": url},
        }

    def _commit(self, repository: Repository, commit: str) -> Json:
        url = f"{repository.url}/commits/{commit}"
        alice = {"name": "alice", "email": "alice@acme.example", "date": "2026-01-01T00:00:00Z"}
        return {
            "sha": commit,
            "node_id": "C_1",
            "url": url,
            "html_url": url,
            "comments_url": f"{url}/comments",
            "author": user("alice"),
            "committer": user("alice"),
            "commit": {
                "url": f"{repository.url}/git/commits/{commit}",
                "message": "A commit",
                "comment_count": 0,
                "author": alice,
                "committer": alice,
                "tree": {"sha": commit, "url": f"{repository.url}/git/trees/{commit}"},
            },
            "parents": [
                {"sha": each, "url": f"{repository.url}/commits/{each}"}
                for each in repository.history(commit)[-2:-1]
            ],
        }

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
        state = (
            "failure"
            if states & {"failure", "error"}
            else "success"
            if states == {"success"}
            else "pending"
        )
        url = f"{repository.url}/commits/{commit}"
        return 200, {
            "state": state,
            "sha": commit,
            "total_count": len(shown),
            "statuses": shown,
            "repository": self._repository(repository),
            "commit_url": url,
            "url": f"{url}/status",
        }

    def _add_status(self, repository: Repository, sha: str, body: Json) -> tuple[int, Json]:
        if not repository.knows(sha):
            raise Answer(422, f"No commit found for SHA: {sha}")
        allow(body, state=STATUS_STATES, target_url=str, description=str, context=str)
        status = self._created(
            {
                "url": f"{repository.url}/statuses/{sha}",
                "sha": sha,
                "avatar_url": user("alice")["avatar_url"],
                "state": body["state"],
                "description": described(body),
                "target_url": body.get("target_url"),
                "context": body.get("context", "default"),
                "creator": user("alice"),
            },
            "SC",
        )
        repository.statuses.append(status)
        return 201, {key: value for key, value in status.items() if key != "sha"}

    def _compare(self, repository: Repository, base: str, head: str) -> tuple[int, Json]:
        for end in (base, head):
            if not repository.knows(end):
                raise Answer(404, "Not Found")
        before, after = repository.history(base), repository.history(head)
        common = [commit for commit in after if commit in before]
        ahead, behind = len(after) - len(common), len(before) - len(common)
        if not common:
            raise Answer(404, f"No common ancestor between {base} and {head}.")
        status = (
            "diverged"
            if ahead and behind
            else "ahead"
            if ahead
            else "behind"
            if behind
            else "identical"
        )
        url = f"{repository.url}/compare/{base}...{head}"
        return 200, {
            "url": url,
            "html_url": url,
            "permalink_url": url,
            "diff_url": f"{url}.diff",
            "patch_url": f"{url}.patch",
            "status": status,
            "ahead_by": ahead,
            "behind_by": behind,
            "base_commit": self._commit(repository, base),
            "total_commits": ahead,
            "merge_base_commit": self._commit(repository, common[-1]),
            "commits": [self._commit(repository, each) for each in after[len(common) :]],
            "files": [],
        }

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
                "creator": user("alice"),
                "repository_url": repository.url,
                "transient_environment": body.get("transient_environment", False),
                "production_environment": body.get(
                    "production_environment", environment == "production"
                ),
            },
            "DE",
        )
        deployment["url"] = f"{repository.url}/deployments/{deployment['id']}"
        deployment["statuses_url"] = f"{deployment['url']}/statuses"
        repository.deployments.append(deployment)
        repository.deployment_statuses[deployment["id"]] = []
        return 201, deployment

    def _deployment_statuses(self, repository: Repository, number: str) -> list[Json]:
        if int(number) not in repository.deployment_statuses:
            raise Answer(404, "Not Found")
        return repository.deployment_statuses[int(number)]

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
                "creator": user("alice"),
                "description": described(body),
                "environment": deployment["environment"],
                "target_url": link,
                "log_url": link,
                "environment_url": "",
                "deployment_url": deployment["url"],
                "repository_url": repository.url,
            },
            "DES",
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

    def _reference(self, repository: Repository, name: str) -> tuple[int, Json]:
        if name not in repository.references:
            raise Answer(404, "Not Found")
        commit = repository.references[name]
        return 200, {
            "ref": name,
            "node_id": "REF_1",
            "url": f"{repository.url}/git/{name}",
            "object": {
                "type": "commit",
                "sha": commit,
                "url": f"{repository.url}/git/commits/{commit}",
            },
        }

    def _add_reference(self, repository: Repository, body: Json) -> tuple[int, Json]:
        allow(body, ref=str, sha=str)
        if (
            not body["ref"].startswith("refs/")
            or body["ref"].count("/") < 2
            or re.search(r"[~^:?*\[\\\s]|\.\.", body["ref"])
        ):
            raise Answer(422, "Reference name is not valid")
        if body["ref"] in repository.references:
            raise Answer(422, "Reference already exists")
        return self._point(repository, body["ref"], body["sha"], 201)

    def _move(self, repository: Repository, name: str, body: Json) -> tuple[int, Json]:
        allow(body, sha=str, force=bool)
        if name not in repository.references:
            raise Answer(422, "Reference does not exist")
        forward = repository.references[name] in repository.history(body["sha"])
        if not (forward or body.get("force")):
            raise Answer(422, "Update is not a fast forward")
        return self._point(repository, name, body["sha"], 200)

    def _point(
        self, repository: Repository, name: str, commit: str, status: int
    ) -> tuple[int, Json]:
        if not repository.knows(commit):
            raise Answer(422, "Object does not exist")
        repository.references[name] = commit
        return status, self._reference(repository, name)[1]

    def _access_token(self, jwt: str) -> tuple[int, Json]:
        if not self._signed_by_an_app(jwt):
            raise Answer(401, "A JSON web token could not be decoded")
        expires = datetime.now(timezone.utc) + timedelta(hours=1)
        return 201, {
            "token": INSTALLATION_TOKEN,
            "expires_at": iso(expires),
            "permissions": {"statuses": "write", "deployments": "write"},
            "repository_selection": "all",
        }

    def _signed_by_an_app(self, token: str) -> bool:
        import jwt

        for app, key in self.app_keys.items():
            with contextlib.suppress(jwt.PyJWTError):
                claims = jwt.decode(token, key, algorithms=["RS256"])
                return claims["iss"] == str(app) and claims["exp"] - claims["iat"] <= 600
        return False

    def _created(self, thing: Json, kind: str) -> Json:
        number = next(self._ids)
        at = iso(datetime.now(timezone.utc))
        node = base64.b64encode(f"{kind}{number}".encode()).decode()
        return dict(thing, id=number, node_id=node, created_at=at, updated_at=at)


def allow(body: Json, **fields: Any) -> None:
    """Refuses a body without its first field, or with one of another type or value."""
    first = next(iter(fields))
    if first not in body:
        raise Answer(422, "Validation Failed", errors=[{"code": "missing_field", "field": first}])
    for name, value in body.items():
        kind = fields.get(name)
        fits = kind and (
            value in kind
            if isinstance(kind, tuple) and isinstance(kind[0], str)
            else isinstance(value, kind)
        )
        if not fits:
            raise Answer(422, "Validation Failed", errors=[{"code": "invalid", "field": name}])


def described(body: Json) -> str:
    text = body.get("description", "")
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


def user(login: str) -> Json:
    url = f"https://github.example/{login}"
    more = {
        name: f"{url}/{name[:-4]}"
        for name in (
            "followers_url",
            "following_url",
            "gists_url",
            "starred_url",
            "subscriptions_url",
            "organizations_url",
            "repos_url",
            "events_url",
            "received_events_url",
        )
    }
    return dict(
        more,
        login=login,
        id=number_of(login),
        node_id="U_1",
        avatar_url=url,
        gravatar_id="",
        url=url,
        html_url=url,
        type="User",
        site_admin=False,
    )


def number_of(name: str) -> int:
    return int(hashlib.sha256(name.encode()).hexdigest()[:6], 16)


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for the double, below the prefix its address has."""

    protocol_version = "HTTP/1.1"
    github: GitHub
    prefix: str

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urllib.parse.urlsplit(self.path)
        headers: dict[str, str] = {}
        try:
            if not url.path.startswith(self.prefix):
                raise Answer(404, "Not Found")
            status, answer = self.github.answer(
                self.command,
                urllib.parse.unquote(url.path[len(self.prefix) :]),
                dict(urllib.parse.parse_qsl(url.query)),
                json.loads(body or b"{}"),
                self.headers.get("Authorization", ""),
            )
        except Answer as refusal:
            status, answer, headers = refusal.status, refusal.body, refusal.headers
        text = json.dumps(answer).encode("utf-8")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - http.server's names

    def log_message(self, *arguments: Any) -> None:
        """The double keeps its own list of requests."""


@contextlib.contextmanager
def running_github(prefix: str = "/api/v3") -> Iterator[GitHub]:
    """A double on a free port of this machine.

    :param prefix: what comes before the paths; GitHub Enterprise Server has /api/v3.
    """
    github = GitHub()
    handler = type("BoundHandler", (Handler,), {"github": github, "prefix": prefix})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    github.url = f"http://127.0.0.1:{server.server_port}{prefix}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield github
    finally:
        server.shutdown()
        server.server_close()
