"""A stand-in for GitHub: repositories to clone and push over HTTP, and webhooks that say so.

    http://github/<owner>/<name>.git    git's smart HTTP, through `git http-backend`
    http://github/api/v3/...            the REST calls below, as GitHub Enterprise Server has them

    POST /orgs/{owner}/repos                                          make an empty repository
    POST /repos/{owner}/{name}/hooks                                  make a webhook; sends a ping
    GET  /repos/{owner}/{name}/hooks                                  list webhooks
    GET  /repos/{owner}/{name}/hooks/{hook}/deliveries                list deliveries, newest first
    GET  /repos/{owner}/{name}/hooks/{hook}/deliveries/{id}           one, with request and response
    POST /repos/{owner}/{name}/hooks/{hook}/deliveries/{id}/attempts  deliver it again

Events, headers and bodies are named and shaped as in GitHub's documentation ("Webhook events and
payloads", "Best practices for using webhooks"). As there, every pushed ref is an event of its own
(a branch, a tag, a deletion), a delivery is given up after 10 seconds and never tried again
unasked, and delivering again keeps the delivery's GUID.

Left out: users and permissions (everybody may read and push; the pusher is who HTTP Basic
authentication says, unchecked, or `developer`), events other than push and ping, the SHA-1
signature kept for old receivers, form-encoded bodies, organisation hooks, the limit of three refs
a push may send events for, pull requests, commit statuses, issues, TLS. Hooks and deliveries are
kept in memory only. It imports nothing of the project, and runs as its own program.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import itertools
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict

ROOT = "/srv/github"
URL = "http://github"
PORT = 80
DEFAULT_BRANCH = "main"
DEFAULT_PUSHER = "developer"
DELIVERY_SECONDS = 10
MOST_COMMITS = 2048
NOTHING = "0" * 40
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
POST_RECEIVE = """\
#!/bin/sh
# leaves what was pushed to the server that ran git
cat > "$PUSHED_REFS"
"""

Json = Dict[str, Any]


class NotFound(Exception):
    """There is no such repository, hook or delivery."""


class Refused(Exception):
    """The request is not one GitHub would accept."""


class Repository:
    """A bare repository and its webhooks."""

    _numbers = itertools.count(1001)

    def __init__(self, owner: str, name: str):
        self.owner, self.name = owner, name
        self.full_name = f"{owner}/{name}"
        self.path = os.path.join(ROOT, owner, f"{name}.git")
        self.number = next(self._numbers)
        self.created = int(time.time())
        self.hooks: dict[int, Hook] = {}
        git("init", "--quiet", "--bare", "--initial-branch", DEFAULT_BRANCH, self.path, inside=None)
        hook = os.path.join(self.path, "hooks", "post-receive")
        with open(hook, "w", encoding="ascii") as file:
            file.write(POST_RECEIVE)
        os.chmod(hook, 0o755)

    def git(self, *arguments: str) -> str:
        return git(*arguments, inside=self.path)

    def as_json(self) -> Json:
        html = f"{URL}/{self.full_name}"
        api = f"{URL}/api/v3/repos/{self.full_name}"
        return {
            "id": self.number,
            "node_id": node_id("Repository", self.number),
            "name": self.name,
            "full_name": self.full_name,
            "private": True,
            "visibility": "private",
            "owner": dict(user_json(self.owner, "Organization"), name=self.owner, email=None),
            "html_url": html,
            "description": None,
            "fork": False,
            "url": api,
            "hooks_url": f"{api}/hooks",
            "git_url": f"git://github/{self.full_name}.git",
            "ssh_url": f"git@github:{self.full_name}.git",
            "clone_url": f"{html}.git",
            "created_at": self.created,
            "updated_at": iso(self.created),
            "pushed_at": int(time.time()),
            "homepage": None,
            "size": 0,
            "language": None,
            "archived": False,
            "disabled": False,
            "default_branch": DEFAULT_BRANCH,
            "master_branch": DEFAULT_BRANCH,
        }


class Hook:
    """A webhook of one repository, and what was delivered through it."""

    _numbers = itertools.count(410001)
    _delivery_numbers = itertools.count(71000001)

    def __init__(self, repository: Repository, url: str, secret: str | None, events: list[str]):
        self.repository, self.url, self.secret, self.events = repository, url, secret, events
        self.number = next(self._numbers)
        self.created = time.time()
        self.deliveries: dict[int, Json] = {}

    def as_json(self) -> Json:
        config = {"url": self.url, "content_type": "json", "insecure_ssl": "0"}
        if self.secret:
            config["secret"] = "********"
        api = f"{URL}/api/v3/repos/{self.repository.full_name}/hooks/{self.number}"
        return {
            "type": "Repository",
            "id": self.number,
            "name": "web",
            "active": True,
            "events": self.events,
            "config": config,
            "created_at": iso(self.created),
            "updated_at": iso(self.created),
            "url": api,
            "ping_url": f"{api}/pings",
            "deliveries_url": f"{api}/deliveries",
        }

    def headers(self, event: str, guid: str, body: bytes) -> dict[str, str]:
        headers = {
            "Accept": "*/*",
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/5an6b0x",
            "X-GitHub-Delivery": guid,
            "X-GitHub-Event": event,
            "X-GitHub-Hook-ID": str(self.number),
            "X-GitHub-Hook-Installation-Target-ID": str(self.repository.number),
            "X-GitHub-Hook-Installation-Target-Type": "repository",
        }
        if self.secret:
            digest = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
            headers["X-Hub-Signature-256"] = f"sha256={digest}"
        return headers

    def deliver(self, event: str, guid: str, body: bytes, redelivery: bool) -> None:
        """Send one event and remember how it went."""
        headers = self.headers(event, guid, body)
        began = time.time()
        status_code, said = post(self.url, headers, body)
        number = next(self._delivery_numbers)
        self.deliveries[number] = {
            "id": number,
            "guid": guid,
            "delivered_at": iso(began),
            "redelivery": redelivery,
            "duration": round(time.time() - began, 3),
            "status": http.client.responses.get(status_code, said) if status_code else said,
            "status_code": status_code,
            "event": event,
            "action": None,
            "installation_id": None,
            "repository_id": self.repository.number,
            "url": self.url,
            "request": {"headers": headers, "payload": json.loads(body)},
            "response": {"headers": {}, "payload": said},
            "body": body,
        }


class Deliverer(threading.Thread):
    """Sends events one after the other, so that they arrive in the order they happened."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._waiting: queue.Queue[tuple[Hook, str, str, bytes, bool]] = queue.Queue()

    def send(self, hook: Hook, event: str, payload: Json) -> None:
        self._waiting.put((hook, event, str(uuid.uuid4()), json.dumps(payload).encode(), False))

    def send_again(self, hook: Hook, delivery: Json) -> None:
        self._waiting.put((hook, delivery["event"], delivery["guid"], delivery["body"], True))

    def run(self) -> None:
        while True:
            hook, event, guid, body, redelivery = self._waiting.get()
            hook.deliver(event, guid, body, redelivery)


def push_payload(repository: Repository, before: str, after: str, ref: str, pusher: str) -> Json:
    """The body of a push event, for one ref that went from before to after."""
    created, deleted = before == NOTHING, after == NOTHING
    commits = (
        []
        if deleted or not ref.startswith("refs/heads/")
        else pushed_commits(repository, before, after, ref)
    )
    return {
        "ref": ref,
        "before": before,
        "after": after,
        "repository": repository.as_json(),
        "pusher": {"name": pusher, "email": email_of(pusher)},
        "organization": {"login": repository.owner, "id": number_of(repository.owner)},
        "sender": user_json(pusher, "User"),
        "created": created,
        "deleted": deleted,
        "forced": not created and not deleted and not is_ancestor(repository, before, after),
        "base_ref": same_branch(repository, after, ref) if created else None,
        "compare": compare_url(repository, before, after, ref),
        "commits": commits,
        "head_commit": None if deleted else commit_json(repository, after),
    }


def pushed_commits(repository: Repository, before: str, after: str, ref: str) -> list[Json]:
    """What the push brought, oldest first: on a new branch, what no other branch has."""
    if before == NOTHING:
        new = [after, "--not", f"--exclude={ref}", "--branches"]
    else:
        new = [after, f"^{before}"]
    listed = repository.git("rev-list", "--reverse", f"--max-count={MOST_COMMITS}", *new)
    return [commit_json(repository, commit) for commit in listed.split()]


def commit_json(repository: Repository, commit: str) -> Json:
    shown = repository.git(
        "show",
        "--no-patch",
        "--format=%H%x00%T%x00%cI%x00%an%x00%ae%x00%cn%x00%ce%x00%B",
        f"{commit}^{{commit}}",
    )
    (number, tree, at, author, author_email, committer, committer_email, message) = shown.split(
        "\0", 7
    )
    changes = repository.git(
        "diff-tree", "--root", "--no-commit-id", "--name-status", "--no-renames", "-r", "-z", number
    ).split("\0")
    by_kind = {
        kind: [path for letter, path in zip(changes[::2], changes[1::2]) if letter == kind]
        for kind in "ADM"
    }
    return {
        "id": number,
        "tree_id": tree,
        "distinct": True,
        "message": message.rstrip("\n"),
        "timestamp": at,
        "url": f"{URL}/{repository.full_name}/commit/{number}",
        "author": {"name": author, "email": author_email},
        "committer": {"name": committer, "email": committer_email},
        "added": by_kind["A"],
        "removed": by_kind["D"],
        "modified": by_kind["M"],
    }


def is_ancestor(repository: Repository, before: str, after: str) -> bool:
    asked = ["git", "-C", repository.path, "merge-base", "--is-ancestor", before, after]
    return subprocess.run(asked, check=False, stderr=subprocess.DEVNULL).returncode == 0


def same_branch(repository: Repository, after: str, ref: str) -> str | None:
    """Another branch that is at the same commit as a newly made ref."""
    branches = repository.git(
        "for-each-ref", "--format=%(refname)", f"--points-at={after}", "refs/heads"
    ).split()
    return next((branch for branch in branches if branch != ref), None)


def compare_url(repository: Repository, before: str, after: str, ref: str) -> str:
    html = f"{URL}/{repository.full_name}/compare"
    if before == NOTHING:
        return f"{html}/{urllib.parse.quote(ref.split('/', 2)[2])}"
    return f"{html}/{before[:12]}...{after[:12]}"


def ping_payload(hook: Hook) -> Json:
    return {
        "zen": "Approachable is better than simple.",
        "hook_id": hook.number,
        "hook": hook.as_json(),
        "repository": hook.repository.as_json(),
        "sender": user_json(DEFAULT_PUSHER, "User"),
    }


def user_json(login: str, kind: str) -> Json:
    number = number_of(login)
    return {
        "login": login,
        "id": number,
        "node_id": node_id(kind, number),
        "type": kind,
        "html_url": f"{URL}/{login}",
        "url": f"{URL}/api/v3/users/{login}",
        "site_admin": False,
    }


def number_of(login: str) -> int:
    return int(hashlib.sha256(login.encode()).hexdigest()[:6], 16)


def node_id(kind: str, number: int) -> str:
    return base64.b64encode(f"{len(kind):03}:{kind}{number}".encode()).decode()


def email_of(login: str) -> str:
    return f"{login}@users.noreply.github"


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def git(*arguments: str, inside: str | None) -> str:
    where = ["-C", inside] if inside else []
    return subprocess.run(
        ["git", *where, *arguments],
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ).stdout


def post(url: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
    """POST; returns the status code and what was answered, or 0 and why there was no answer."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or 80, timeout=DELIVERY_SECONDS
    )
    try:
        connection.request("POST", parts.path or "/", body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(65536).decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, f"failed to connect to host: {error}"
    finally:
        connection.close()


class GitHub:
    """All repositories, and what the REST calls do to them."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.deliverer = Deliverer()
        self.deliverer.start()

    def create_repository(self, owner: str, body: Json) -> tuple[int, Json]:
        name = str(body.get("name", ""))
        if not re.fullmatch(NAME, name) or name.endswith(".git"):
            raise Refused("name is not a repository's name")
        if f"{owner}/{name}" in self.repositories:
            raise Refused("name already exists on this account")
        repository = Repository(owner, name)
        self.repositories[repository.full_name] = repository
        return 201, repository.as_json()

    def create_hook(self, repository: Repository, body: Json) -> tuple[int, Json]:
        config = body.get("config", {})
        url = str(config.get("url", ""))
        if config.get("content_type") != "json" or not url.startswith("http:"):
            raise Refused("config needs a url that starts with http:, and content_type json")
        hook = Hook(repository, url, config.get("secret"), body.get("events", ["push"]))
        repository.hooks[hook.number] = hook
        self.deliverer.send(hook, "ping", ping_payload(hook))
        return 201, hook.as_json()

    def redeliver(self, hook: Hook, delivery: int) -> tuple[int, Json]:
        self.deliverer.send_again(hook, find(hook.deliveries, delivery))
        return 202, {}

    def pushed(self, repository: Repository, lines: str, pusher: str) -> None:
        """Send the events of one push, given the lines post-receive was given."""
        for line in lines.splitlines():
            before, after, ref = line.split(" ", 2)
            payload = push_payload(repository, before, after, ref, pusher)
            for hook in list(repository.hooks.values()):
                if "push" in hook.events:
                    self.deliverer.send(hook, "push", payload)

    def rest(self, method: str, path: str, body: Json) -> tuple[int, Any]:
        """Answer a REST call: the status code and what to answer."""
        created = re.fullmatch(rf"/orgs/({NAME})/repos", path)
        if created and method == "POST":
            return self.create_repository(created.group(1), body)
        hooks = re.fullmatch(
            rf"/repos/({NAME}/{NAME})/hooks(?:/(\d+)/deliveries(?:/(\d+)(/attempts)?)?)?", path
        )
        if not hooks:
            raise NotFound()
        full_name, hook_number, delivery, attempts = hooks.groups()
        repository = find(self.repositories, full_name)
        if hook_number is None:
            if method == "POST":
                return self.create_hook(repository, body)
            return 200, [hook.as_json() for hook in repository.hooks.values()]
        hook = find(repository.hooks, int(hook_number))
        if delivery is None:
            newest_first = sorted(hook.deliveries, reverse=True)
            return 200, [summary(hook.deliveries[number]) for number in newest_first]
        if attempts and method == "POST":
            return self.redeliver(hook, int(delivery))
        entry = find(hook.deliveries, int(delivery))
        return 200, dict(summary(entry), request=entry["request"], response=entry["response"])


def summary(delivery: Json) -> Json:
    return {
        key: value
        for key, value in delivery.items()
        if key not in ("request", "response", "body", "url")
    }


def find(things: dict[Any, Any], key: Any) -> Any:
    if key not in things:
        raise NotFound()
    return things[key]


class Handler(BaseHTTPRequestHandler):
    """One HTTP request: a REST call, or git's."""

    protocol_version = "HTTP/1.1"
    github: GitHub

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        body = self._read_body()
        url = urllib.parse.urlsplit(self.path)
        try:
            if url.path.startswith("/api/v3/"):
                status, answer = self.github.rest(
                    self.command, url.path[len("/api/v3") :], json.loads(body or b"{}")
                )
                self._send_json(status, answer)
            else:
                self._run_git(url.path, url.query, body)
        except NotFound:
            self._send_json(404, {"message": "Not Found"})
        except (Refused, ValueError) as error:
            self._send_json(422, {"message": str(error)})

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if not size:
                return body

    def _run_git(self, path: str, query: str, body: bytes) -> None:
        found = re.fullmatch(rf"/({NAME}/{NAME})\.git/([A-Za-z/-]+)", path)
        if not found:
            raise NotFound()
        repository = find(self.github.repositories, found.group(1))
        pusher = self._pusher()
        with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as pushed:
            environment = {
                "PATH": os.environ["PATH"],
                "HOME": "/root",
                "GIT_PROJECT_ROOT": ROOT,
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": f"/{repository.full_name}.git/{found.group(2)}",
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "REMOTE_USER": pusher,
                "REMOTE_ADDR": self.client_address[0],
                "CONTENT_LENGTH": str(len(body)),
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "PUSHED_REFS": pushed.name,
            }
            answer = subprocess.run(
                ["git", "http-backend"],
                input=body,
                env=environment,
                stdout=subprocess.PIPE,
                check=True,
            ).stdout
            lines = pushed.read()
        head, _, content = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode("latin-1").split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        self._send(status, headers, content)
        self.github.pushed(repository, lines, pusher)

    def _pusher(self) -> str:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            login = base64.b64decode(value).decode("utf-8", "replace").partition(":")[0]
            if re.fullmatch(NAME, login):
                return login
        return DEFAULT_PUSHER

    def _send_json(self, status: int, answer: Any) -> None:
        self._send(status, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    daemon_threads = True


if __name__ == "__main__":
    os.makedirs(ROOT, exist_ok=True)
    Handler.github = GitHub()
    print(f"listening on port {PORT}", file=sys.stderr, flush=True)
    Server(("", PORT), Handler).serve_forever()
