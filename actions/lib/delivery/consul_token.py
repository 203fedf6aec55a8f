"""What the pack's token in Consul can do and cannot, tried without changing anything.

A write is tried as a check-and-set against an index that no key, node or service has: Consul asks
for the permission first, and then finds that the index differs.
"""

from __future__ import annotations

from typing import Any, Iterator

from delivery.errors import DeliveryError
from delivery.store import Store, reaching_consul

NEVER = 1 << 62  # an index that nothing has
PROGRAM = "host/cicd-consul-token"


def examine(store: Store) -> Iterator[tuple[str, str]]:
    """Yields what is wrong: what it is about, and the reason with its fix."""
    if not store.has_token:
        yield (
            "Consul's ACLs",
            "Consul is open to every host: whoever reaches it can deploy, and run commands as root "
            f"on any host; have it deny by default, run {PROGRAM} pack and set consul.token "
            "(docs/installation.md)",
        )
        return
    status, answer = _ask(store, "GET", "acl/token/self")
    if status == 401:
        yield (
            "Consul's ACLs",
            f"Consul does not look at consul.token: {answer}; set acl.enabled and "
            'default_policy = "deny" on its agents',
        )
        return
    if status != 200:
        yield "the pack's token", f"Consul does not know it ({status} {answer}); {_again()}"
        return
    if _may(store, "PUT", f"kv/{store.prefix}/doctor?cas={NEVER}", "x", anonymous=True):
        yield (
            "Consul's ACLs",
            "who has no token can write keys: anybody can deploy; set acl.default_policy to deny "
            "and take the policies from the anonymous token",
        )
    if _ask(store, "GET", "catalog/nodes")[1].strip() == "[]":
        yield "the pack's token", f"it sees no host in Consul; {_again()}"
    for what, method, path, body in (
        ("write keys of others", "PUT", f"kv/cicd-canary-doctor?cas={NEVER}", "x"),
        ("register a host", "PUT", "txn", _compare("Node", {"Node": "cicd-doctor"})),
        (
            "register a service",
            "PUT",
            "txn",
            _compare("Service", {"ID": "cicd-doctor", "Service": "cicd-doctor"}),
        ),
        ("read Consul's tokens", "GET", "acl/tokens", None),
    ):
        if _may(store, method, path, body):
            yield "the pack's token", f"it can {what}, which it need not; {_again()}"


def _again() -> str:
    return f"set consul.token to what {PROGRAM} pack prints"


def _compare(kind: str, what: dict[str, Any]) -> list[dict[str, Any]]:
    operation: dict[str, Any] = {"Verb": "cas", kind: dict(what, ModifyIndex=NEVER)}
    if kind == "Service":
        operation["Node"] = "cicd-doctor"
    return [{kind: operation}]


def _may(store: Store, method: str, path: str, body: Any = None, anonymous: bool = False) -> bool:
    """Returns whether Consul would have done it."""
    status, answer = _ask(store, method, path, body, anonymous)
    if status == 403 or "Permission denied" in answer:
        return False
    if status in (200, 409):
        return True
    raise DeliveryError(f"Consul at {store.url} answers {status} to {method} {path}: {answer}")


def _ask(
    store: Store, method: str, path: str, body: Any = None, anonymous: bool = False
) -> tuple[int, str]:
    """Returns the status and the text of Consul's answer."""
    with reaching_consul(store.url):
        answer = store.client.http.session.request(
            method,
            f"{store.client.http.base_uri}/v1/{path}",
            headers={"X-Consul-Token": None} if anonymous else {},
            **({"data": body} if isinstance(body, str) else {"json": body}),
        )
    return answer.status_code, " ".join(answer.text[:200].split())
