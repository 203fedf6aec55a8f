"""Webhooks: what is sent when somebody pushes, and how it was taken."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import itertools
import json
import queue
import threading
import time
import urllib.parse
import uuid

from sandbox.github.repository import Repository
from sandbox.github.shapes import Json, iso, number_of

DELIVERY_SECONDS = 10
MOST_COMMITS = 2048
NOTHING = "0" * 40


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
        api = f"{self.repository.url}/hooks/{self.number}"
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

    def deliver(self, event: str, guid: str, body: bytes, redelivery: bool) -> None:
        """Sends one event and remembers how it went."""
        headers = self._headers(event, guid, body)
        began = time.time()
        status_code, said = _post(self.url, headers, body)
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

    def _headers(self, event: str, guid: str, body: bytes) -> dict[str, str]:
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


class Deliverer:
    """Sends events one after the other, so that they arrive in the order they happened."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[tuple[Hook, str, str, bytes, bool]] = queue.Queue()
        threading.Thread(target=self._deliver, daemon=True).start()

    def send(self, hook: Hook, event: str, payload: Json) -> None:
        self._waiting.put((hook, event, str(uuid.uuid4()), json.dumps(payload).encode(), False))

    def send_again(self, hook: Hook, delivery: Json) -> None:
        self._waiting.put((hook, delivery["event"], delivery["guid"], delivery["body"], True))

    def _deliver(self) -> None:
        while True:
            hook, event, guid, body, redelivery = self._waiting.get()
            hook.deliver(event, guid, body, redelivery)


def push_payload(repository: Repository, before: str, after: str, ref: str, pusher: str) -> Json:
    """The body of a push event, for one ref that went from before to after."""
    created, deleted = before == NOTHING, after == NOTHING
    is_branch = ref.startswith("refs/heads/")
    return {
        "ref": ref,
        "before": before,
        "after": after,
        "repository": _pushed_repository(repository),
        "pusher": {"name": pusher, "email": _email_of(pusher)},
        "organization": {"login": repository.owner, "id": number_of(repository.owner)},
        "sender": repository.site.user(pusher),
        "created": created,
        "deleted": deleted,
        "forced": not created and not deleted and before not in repository.commits.history(after),
        "base_ref": _same_branch(repository, after, ref) if created else None,
        "compare": _compare_url(repository, before, after, ref),
        "commits": [
            _pushed_commit(repository, commit)
            for commit in (_new_commits(repository, before, after, ref) if is_branch else [])
        ],
        "head_commit": None if deleted else _pushed_commit(repository, after),
    }


def ping_payload(hook: Hook, sender: str) -> Json:
    """The body of the event that a new webhook gets."""
    return {
        "zen": "Approachable is better than simple.",
        "hook_id": hook.number,
        "hook": hook.as_json(),
        "repository": hook.repository.as_json(),
        "sender": hook.repository.site.user(sender),
    }


def _pushed_repository(repository: Repository) -> Json:
    """In a push the owner has a name, and moments are numbers."""
    return dict(
        repository.as_json(),
        owner=dict(
            repository.site.user(repository.owner, "Organization"),
            name=repository.owner,
            email=None,
        ),
        created_at=repository.created,
        pushed_at=int(time.time()),
        master_branch=repository.default_branch,
    )


def _new_commits(repository: Repository, before: str, after: str, ref: str) -> list[str]:
    """What the push brought, oldest first: on a new branch, what no other branch has."""
    if after == NOTHING:
        return []
    others = (
        [head for name, head in repository.branches().items() if f"refs/heads/{name}" != ref]
        if before == NOTHING
        else [before]
    )
    known = {commit for head in others for commit in repository.commits.history(head)}
    history = repository.commits.history(after)
    return [commit for commit in history if commit not in known][-MOST_COMMITS:]


def _pushed_commit(repository: Repository, commit: str) -> Json:
    told = repository.commits.describe(commit)
    changes = repository.commits.changes(told.sha)
    return {
        "id": told.sha,
        "tree_id": told.tree,
        "distinct": True,
        "message": told.message,
        "timestamp": told.committer.date,
        "url": f"{repository.html_url}/commit/{told.sha}",
        "author": {"name": told.author.name, "email": told.author.email},
        "committer": {"name": told.committer.name, "email": told.committer.email},
        "added": changes["A"],
        "removed": changes["D"],
        "modified": changes["M"],
    }


def _same_branch(repository: Repository, after: str, ref: str) -> str | None:
    """Another branch that is at the same commit as a newly made ref."""
    at_it = (f"refs/heads/{name}" for name, head in repository.branches().items() if head == after)
    return next((branch for branch in at_it if branch != ref), None)


def _compare_url(repository: Repository, before: str, after: str, ref: str) -> str:
    url = f"{repository.html_url}/compare"
    if before == NOTHING:
        return f"{url}/{urllib.parse.quote(ref.split('/', 2)[2])}"
    return f"{url}/{before[:12]}...{after[:12]}"


def _email_of(login: str) -> str:
    return f"{login}@users.noreply.github"


def _post(url: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
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
