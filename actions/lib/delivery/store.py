"""Consul's key-value store as this pack uses it: reads, transactions, sessions.

    store = Store("http://127.0.0.1:8500")
    entry = store.get("shop/stages/canary/version")       # Entry or None
    store.commit([store.set("shop/freeze", "{}", entry)])  # all of it or nothing

Keys are given without the prefix (`cicd/` unless configured otherwise). Consul's HTTP API is
described at https://developer.hashicorp.com/consul/api-docs.
"""

from __future__ import annotations

import base64
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Dict, Iterator, NamedTuple
from urllib.parse import urlsplit

from delivery.errors import DeliveryError

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

ATTEMPTS = 3  # of a request that did not reach Consul
CONNECT_TIMEOUT_S = 3
READ_TIMEOUT_S = 15
OPERATIONS_PER_TRANSACTION = 64  # Consul's own limit

Operation = Dict[str, Any]


class ConsulUnreachable(DeliveryError):
    """Consul did not answer, or answered that it cannot serve."""


class AnswerLost(ConsulUnreachable):
    """Consul may have got the request, and done it; its answer did not arrive."""


class LostRace(DeliveryError):
    """Another process changed what this transaction relied on; nothing was written."""


class Entry(NamedTuple):
    """A key with its prefix, its value, and the index that tells a transaction of a change."""

    key: str
    value: str
    modify_index: int


class Store:
    """
    :param url: of a Consul agent, `http://host:port` or `https://host:port`.
    :param token: Consul ACL token.
    :param prefix: what every key starts with, without slashes at its ends.
    :param client: a connection to share; by default a new one is made.
    """

    def __init__(
        self, url: str, token: str | None = None, prefix: str = "cicd", client: Any = None
    ) -> None:
        self.url = url
        self.has_token = bool(token)
        self.prefix = prefix.strip("/")
        self.client = client or _connect(url, token)
        self.sessions = Sessions(self.client, url)

    def get(self, key: str) -> Entry | None:
        """Returns the entry at `key`, or None."""
        with reaching_consul(self.url):
            _, found = self.client.kv.get(self._path(key), consistency="consistent")
        return _entry(found) if found else None

    def get_below(self, folder: str) -> dict[str, Entry]:
        """Returns every entry below `folder`, by its key relative to that folder."""
        path = self._path(folder.rstrip("/") + "/")
        with reaching_consul(self.url):
            _, found = self.client.kv.get(path, recurse=True, consistency="consistent")
        return {item["Key"][len(path) :]: _entry(item) for item in found or []}

    def keys(self, folder: str = "") -> list[str]:
        """Returns the keys below `folder`, relative to the prefix, sorted."""
        return self._keys_and_index(folder, {})[0]

    def wait_for_keys(self, index: int, wait_s: int) -> tuple[list[str], int]:
        """Blocks until a key changes after `index`, or `wait_s` seconds have passed.

        :returns: all keys, and the index to wait from next.
        """
        return self._keys_and_index("", {"index": index, "wait": f"{wait_s}s"})

    def folders(self) -> list[str]:
        """Returns the names directly below the prefix: the applications."""
        path = self.prefix + "/"
        with reaching_consul(self.url):
            _, found = self.client.kv.get(path, keys=True, separator="/")
        return [name[len(path) : -1] for name in found or [] if name.endswith("/")]

    def set(self, key: str, value: str, expected: Entry | None) -> Operation:
        """An operation: write `key`, unless it changed since `expected` (None: must not exist)."""
        return self._operation(
            "cas", key, Value=encode(value), Index=expected.modify_index if expected else 0
        )

    def overwrite(self, key: str, value: str) -> Operation:
        """An operation: write `key` whatever it held."""
        return self._operation("set", key, Value=encode(value))

    def delete(self, key: str, expected: Entry | None = None) -> Operation:
        """An operation: delete `key` if it is there, unless it changed since `expected`."""
        if expected:
            return self._operation("delete-cas", key, Index=expected.modify_index)
        return self._operation("delete", key)

    def delete_below(self, folder: str) -> Operation:
        """An operation: delete everything below `folder`."""
        return self._operation("delete-tree", folder.rstrip("/") + "/")

    def unchanged(self, key: str, expected: Entry) -> Operation:
        """An operation: fail the transaction if `key` changed since `expected`."""
        return self._operation("check-index", key, Index=expected.modify_index)

    def absent(self, key: str) -> Operation:
        """An operation: fail the transaction if `key` is there."""
        return self._operation("check-not-exists", key)

    def lock(self, key: str, value: str, session: str) -> Operation:
        """An operation: take the lock `key` for `session`, or fail."""
        return self._operation("lock", key, Value=encode(value), Session=session)

    def holds(self, key: str, session: str) -> Operation:
        """An operation: fail the transaction unless `session` holds the lock `key`."""
        return self._operation("check-session", key, Session=session)

    def commit(self, operations: list[Operation]) -> None:
        """Applies all operations or none.

        :raises LostRace: when a check, a check-and-set or a lock failed.
        :raises AnswerLost: when it is not known whether they were applied.
        """
        if len(operations) > OPERATIONS_PER_TRANSACTION:
            raise DeliveryError(
                f"{len(operations)} changes in one step; Consul's limit is "
                f"{OPERATIONS_PER_TRANSACTION}; use smaller batches"
            )
        from consul.exceptions import ClientError

        with reaching_consul(self.url):
            try:
                self.client.txn.put(operations)
            except ClientError as error:
                if str(error).startswith("409"):
                    raise LostRace(
                        f"another process changed it meanwhile ({_rollback_reason(error)})"
                    ) from error
                raise

    def lock_holder(self, key: str) -> str | None:
        """Returns what the holder of the lock wrote into it, or None when nobody holds it."""
        with reaching_consul(self.url):
            _, found = self.client.kv.get(self._path(key), consistency="consistent")
        return _entry(found).value if found and found.get("Session") else None

    def _keys_and_index(self, folder: str, options: dict[str, Any]) -> tuple[list[str], int]:
        path = self._path(folder.rstrip("/") + "/" if folder else "")
        with reaching_consul(self.url):
            index, found = self.client.kv.get(path, keys=True, **options)
        strip = len(self.prefix) + 1
        return sorted(key[strip:] for key in found or []), int(index)

    def _path(self, key: str) -> str:
        return f"{self.prefix}/{key}"

    def _operation(self, verb: str, key: str, **fields: Any) -> Operation:
        return {"KV": dict(Verb=verb, Key=self._path(key), **fields)}


class Sessions:
    """Consul's sessions: a lock is held by one, and let go when it ends.

    :param client: a py-consul client.
    :param url: of that Consul, for messages.
    """

    def __init__(self, client: Any, url: str) -> None:
        self.client = client
        self.url = url

    def open(self, name: str, ttl_s: int) -> str:
        """Returns the id of a session that ends unless it is renewed every `ttl_s` seconds."""
        with reaching_consul(self.url):
            session: str = self.client.session.create(
                name=name, checks=[], behavior="release", ttl=ttl_s, lock_delay=0
            )
        return session

    def renew(self, session: str) -> bool:
        """Returns whether the session was still alive."""
        from consul.exceptions import NotFound

        with reaching_consul(self.url):
            try:
                self.client.session.renew(session)
            except NotFound:
                return False
        return True

    def close(self, session: str) -> None:
        """Ends a session; fine when it has ended already."""
        with reaching_consul(self.url):
            self.client.session.destroy(session)


@contextmanager
def reaching_consul(url: str) -> Iterator[None]:
    """Turns what goes wrong between us and Consul into an error that says where and what to do."""
    import requests
    from consul.exceptions import ACLPermissionDenied, BadRequest, ClientError, ConsulException

    try:
        yield
    except requests.exceptions.RequestException as error:
        kind = ConsulUnreachable if _never_arrived(error) else AnswerLost
        raise kind(
            f"Consul at {url} did not answer after {ATTEMPTS} attempts "
            f"({type(error).__name__}); check the agent, and consul.url in the pack's "
            "configuration"
        ) from error
    except ACLPermissionDenied as error:
        raise ConsulUnreachable(
            f"Consul at {url} rejected the token; check consul.token in the pack's configuration "
            "and the token's policies"
        ) from error
    except (BadRequest, ClientError) as error:
        raise _rejected(url, _one_line(error)) from error
    except ConsulException as error:
        raise AnswerLost(f"Consul at {url} failed: {_one_line(error)}") from error


def _rejected(url: str, answer: str) -> DeliveryError:
    """Returns the error for an answer from 400 to 499; only a busy Consul is worth asking again."""
    if answer.startswith("429"):
        return ConsulUnreachable(f"Consul at {url} is busy: {answer}")
    advice = "; the record is too large: shorten it" if answer.startswith("413") else ""
    return DeliveryError(f"Consul at {url} rejected the request: {answer}{advice}")


def _never_arrived(error: Exception) -> bool:
    """Returns whether a request failed before anything of it was sent."""
    from requests.exceptions import ConnectTimeout
    from urllib3.exceptions import MaxRetryError, NewConnectionError

    cause = error.args[0] if error.args else None
    return isinstance(error, ConnectTimeout) or (
        isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
    )


def _connect(url: str, token: str | None) -> Any:
    """Returns a py-consul client with time-outs and bounded retries.

    The token is set on the HTTP session because py-consul's transactions do not send one.
    """
    import consul

    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 8500)
    except ValueError:
        port = None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port:
        raise DeliveryError(
            f"consul.url is {url!r}: expected http://host:port or https://host:port"
        )
    client = consul.Consul(host=parts.hostname, port=port, scheme=parts.scheme)
    client.http.session.mount(f"{parts.scheme}://", _patient_adapter())
    if token:
        client.http.session.headers["X-Consul-Token"] = token
    return client


def _patient_adapter() -> Any:
    from requests.adapters import HTTPAdapter
    from urllib3.util.retry import Retry

    class Patient(HTTPAdapter):
        """Gives every request a time-out; a blocking query gets its own wait on top."""

        def send(  # type: ignore[override]
            self, request: PreparedRequest, **options: Any
        ) -> Response:
            options["timeout"] = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S + _wait_of(request.url or ""))
            return super().send(request, **options)

    # Only reads are repeated after an answer; a write is repeated only if it never arrived.
    return Patient(
        max_retries=Retry(
            total=ATTEMPTS - 1,
            backoff_factor=0.5,
            status_forcelist=(500, 502, 503, 504),
            allowed_methods=["GET"],
            raise_on_status=False,
        )
    )


def _wait_of(url: str) -> int:
    """Returns the seconds a blocking query may take; Consul adds up to a sixteenth of jitter."""
    from urllib.parse import parse_qs

    wait = parse_qs(urlsplit(url).query).get("wait", ["0s"])[0]
    seconds = int(wait.rstrip("s"))
    return seconds + seconds // 16 + 1


def _entry(item: dict[str, Any]) -> Entry:
    value = (item["Value"] or b"").decode("utf-8", errors="replace")
    return Entry(item["Key"], value, item["ModifyIndex"])


def encode(value: str) -> str:
    return base64.b64encode(value.encode("utf-8")).decode("ascii")


def _rollback_reason(error: Exception) -> str:
    """Returns Consul's own words for why a transaction was rolled back."""
    try:
        answer = json.loads(str(error).split(" ", 1)[1])
        return "; ".join(item["What"] for item in answer["Errors"])
    except (ValueError, KeyError, IndexError, TypeError):
        return _one_line(error)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
