"""A running world, as programs inside it see it: its hosts, its addresses, its GitHub.

world = World.load()
world.host("canary-1").run(["dpkg-query", "--show", "shop"])
world.host("production-2").stop()
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any, Sequence

from sandbox.fleet import SERVICE_PATH, STAGES, as_repository_user
from sandbox.namespaces import NSENTER_OPTIONS
from sandbox.repositories import GitHub

DIRECTORY = Path("/run/cicd-sandbox")
WORLD_FILE = DIRECTORY / "world.json"
CONTROL_SOCKET = DIRECTORY / "control"
REJOIN_SECONDS = 30


class WorldError(Exception):
    """What a world could not do, in one line."""


class World:
    """Everything world.json says.

    consul_url, github_url, balancer_url: base URLs without a slash at the end.
    applications: port of each application's service, by name.
    project: directory of the checkout that has started it.
    """

    def __init__(self, directory: Path, description: dict[str, Any]):
        self.directory = directory
        self.consul_url: str = description["consul_url"]
        self.github_url: str = description["github_url"]
        self.balancer_url: str = description["balancer_url"]
        self.webhook_url: str = description["webhook"]["url"]
        self.webhook_secret: str = description["webhook"]["secret"]
        self.applications: dict[str, int] = description["applications"]
        self.project = Path(description.get("project", "an older checkout"))
        self.config_dir = directory / "configs"
        self.github = GitHub(self.github_url)
        self.hosts: dict[str, WorldHost] = {
            name: WorldHost(self, name, entry["address"], entry["kind"])
            for name, entry in description["hosts"].items()
        }
        # The one that has the APT repository.
        self.repository_host = next(
            self.hosts[name]
            for name, entry in description["hosts"].items()
            if entry.get("has_repository", name == "build")
        )

    @classmethod
    def load(cls, directory: Path | None = None) -> World:
        """The world this process runs in; WorldError when it runs in none."""
        where = directory or os.environ.get("CICD_SANDBOX")
        if not where:
            raise WorldError("CICD_SANDBOX is not set; start this with script/sandbox run")
        return cls(Path(where), json.loads((Path(where) / "world.json").read_text()))

    @property
    def addresses(self) -> dict[str, str]:
        return {host.name: host.address for host in self.hosts.values()}

    def host(self, name: str) -> WorldHost:
        if name not in self.hosts:
            raise WorldError(f"no host {name}; hosts: {' '.join(self.hosts)}")
        return self.hosts[name]

    def hosts_of(self, *kinds: str) -> list[WorldHost]:
        return [host for host in self.hosts.values() if host.kind in kinds]

    def reload(self) -> None:
        """Read again what may have changed: the applications."""
        self.applications = json.loads((self.directory / "world.json").read_text())["applications"]

    def ask(self, **request: Any) -> None:
        """Have the world's first process do something; WorldError with its reason if it cannot."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.directory / "control"))
            with connection.makefile("rw") as stream:
                stream.write(json.dumps(request) + "\n")
                stream.flush()
                answer = json.loads(stream.readline())
        if not answer["ok"]:
            raise WorldError(answer["error"])

    @property
    def consul_token(self) -> str:
        """The operator's, who may do everything in Consul."""
        return (self.directory / "consul-token").read_text()

    def consul(self, path: str) -> Any:
        """What Consul's HTTP API answers to its operator's GET below /v1/."""
        request = urllib.request.Request(
            f"{self.consul_url}/v1/{path}", headers={"X-Consul-Token": self.consul_token}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            return json.load(answer)

    def consul_knows_its_operator(self) -> str | None:
        """None when Consul has its leader, and takes tokens, else what is missing."""
        try:
            self.consul("acl/token/self")
        except (OSError, ValueError):
            return "Consul to elect its leader"
        return None

    def consul_is_ready(self) -> str | None:
        """None when every host has joined and registered its services, else what is missing."""
        try:
            health = {
                node["Node"]
                for node in self.consul("health/state/passing")
                if node["CheckID"] == "serfHealth"
            }
            missing = [
                host.name
                for host in self.hosts.values()
                if host.kind != "github" and host.name not in health
            ]
            if missing:
                return f"{missing[0]} to join Consul"
            for host in self.hosts_of("build", "repository"):
                passing = self.consul(f"health/service/{host.kind}?passing")
                if host.name not in {each["Node"]["Node"] for each in passing}:
                    return f"{host.name} to pass its check in Consul"
            fleet = self.hosts_of(*STAGES)
            for application in self.applications:
                entries = self.consul(f"catalog/service/{application}")
                registered = {entry["Node"] for entry in entries}
                missing = [host.name for host in fleet if host.name not in registered]
                if missing:
                    return f"{missing[0]} to register {application} in Consul"
        except (OSError, ValueError):
            return "Consul to answer"
        return None

    def services_are_ready(self) -> str | None:
        """None when everything that is to listen listens, else what is missing."""
        wanted = [("github", 80), (self.repository_host.name, 8080), ("lb", 80), ("lb", 8404)]
        wanted += [(host.name, 22) for host in self.hosts.values() if host.kind != "github"]
        return next(
            (
                f"port {port} of {name}"
                for name, port in wanted
                if not listens(self.host(name).address, port)
            ),
            None,
        )


class WorldHost:
    """One host of a running world.

    kind is `github`, `consul`, `build`, `repository`, `balancer`, or for an application host its
    stage.
    """

    def __init__(self, world: World, name: str, address: str, kind: str):
        self._world = world
        self.name, self.address, self.kind = name, address, kind

    @property
    def runs_applications(self) -> bool:
        return self.kind in STAGES

    @property
    def pid(self) -> int | None:
        """The host's first process as the world numbers it, None while the host is stopped."""
        description = json.loads((self._world.directory / "world.json").read_text())
        return description["hosts"][self.name]["pid"]

    def run(self, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command on the host as root, without SSH.

        options: as for subprocess.run, such as input, check and timeout in seconds.
        Returns its exit status, stdout and stderr as text. WorldError when the host is stopped.
        """
        pid = self.pid
        if pid is None:
            raise WorldError(f"{self.name} is stopped")
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        return subprocess.run(enter_command(pid, argv), env=host_environment(), **settings)

    def run_as_repository_user(self, argv: Sequence[str], **options: Any) -> Any:
        """Run a command on the host as whom the APT repository and its key belong to; see run."""
        return self.run(as_repository_user(argv), **options)

    def reload_consul(self) -> None:
        """Have the host's Consul agent read its configuration; WorldError when it cannot."""
        # By the operator's token: the host's own need not be able to.
        command = ["sh", "-c", "CONSUL_HTTP_TOKEN=$(cat) consul reload 2>&1"]
        done = self.run(command, input=self._world.consul_token)
        if done.returncode:
            raise WorldError(f"{self.name}: consul reload: {done.stdout.strip()}")

    def stop(self) -> None:
        """Shut the host down, as for a reboot; what it has written stays."""
        self._ask("stop")

    def start(self) -> None:
        """Start the host again, and wait until it takes logins and Consul sees it."""
        self._ask("start")
        deadline = time.monotonic() + REJOIN_SECONDS
        while not (listens(self.address, 22) and self._is_alive_in_consul()):
            if time.monotonic() > deadline:
                raise WorldError(f"{self.name} did not rejoin Consul within {REJOIN_SECONDS} s")
            time.sleep(0.05)

    def _is_alive_in_consul(self) -> bool:
        try:
            checks = self._world.consul(f"health/node/{self.name}")
        except OSError:  # Consul itself is what comes back.
            return False
        return any(
            check["CheckID"] == "serfHealth" and check["Status"] == "passing" for check in checks
        )

    def _ask(self, action: str) -> None:
        try:
            self._world.ask(do=action, host=self.name)
        except WorldError as error:
            raise WorldError(f"cannot {action} {self.name}: {error}") from None


def enter_command(pid: int, argv: Sequence[str]) -> list[str]:
    """The command that runs argv in the namespaces of a process."""
    return ["nsenter", "--target", str(pid), *NSENTER_OPTIONS, "--", *argv]


def host_environment() -> dict[str, str]:
    """What a command on a host finds in its environment."""
    return {
        "PATH": SERVICE_PATH,
        "HOME": "/root",
        "USER": "root",
        "LANG": "C.UTF-8",
        "TERM": os.environ.get("TERM", "dumb"),
    }


def listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0
