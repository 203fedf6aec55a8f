"""The tokens of one world's Consul: host/cicd-consul-token makes them, as an operator would."""

from __future__ import annotations

import os
import subprocess
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Iterable

from sandbox.fleet import PROJECT, Host

PROGRAM = str(PROJECT / "host/cicd-consul-token")
SIDE_BY_SIDE = 4


class TokenError(RuntimeError):
    """Why a token could not be made, in one line."""


def fresh() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True)
class Tokens:
    """The SecretIDs, known before Consul is there: so its hosts can start beside it.

    operator: may do everything. by_host: of each host's agent. dns: answers the balancer's names.
    """

    by_host: dict[str, str]
    operator: str = field(default_factory=fresh)
    pack: str = field(default_factory=fresh)
    dns: str = field(default_factory=fresh)

    @classmethod
    def of(cls, hosts: Iterable[Host]) -> Tokens:
        return cls({host.name: fresh() for host in hosts if host.in_consul})

    def make(self, consul_url: str, hosts: Iterable[Host], applications: Iterable[str]) -> None:
        """Make all in Consul, with their policies, and enrol the application hosts."""
        wanted = [(["pack", "--node", "consul"], self.pack), (["dns"], self.dns)]
        wanted += [
            (arguments(host, applications), self.by_host[host.name])
            for host in hosts
            if host.in_consul
        ]
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            list(pool.map(lambda each: make(consul_url, self.operator, *each), wanted))


def arguments(host: Host, applications: Iterable[str]) -> list[str]:
    """What makes cicd-consul-token make a host's token."""
    if host.runs_applications:
        stages = [word for app in applications for word in ("--app", app, "--stage", host.kind)]
        return ["host", "--node", host.name, *stages]
    return [host.kind if host.kind in ("build", "repository") else "node", "--node", host.name]


def make(consul_url: str, operator: str, what: list[str], secret: str = "") -> None:
    """Make one token, with that SecretID unless it is there already.

    Raises TokenError with the reason when Consul refuses.
    """
    environment = {
        "PATH": os.environ["PATH"],
        "CONSUL_HTTP_ADDR": consul_url,
        "CONSUL_HTTP_TOKEN": operator,
        "CICD_CONSUL_TOKEN": secret,
    }
    done = subprocess.run([PROGRAM, *what], env=environment, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise TokenError(f"{' '.join(what[:3])}: {said}")
