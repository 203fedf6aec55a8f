"""Adds an application to a running world: see `script/sandbox add`.

Runs in the world. Whatever fails, the world knows the application only once everything is there;
what was done until then is done again by the next attempt.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from sandbox import checkout, fleet, templates, tokens
from sandbox.repositories import GitHubError
from sandbox.world import World, WorldHost, listens

NAME = re.compile(r"[a-z][a-z0-9-]{1,61}")  # as the pack's, and host/cicd-host-setup's
HEALTH = re.compile(r"/[A-Za-z0-9/._-]*")
NAMES_TAKEN = ("localhost", "sandbox", "cicd")
SCRIPTS = ("script/cisetup", "script/cibuild", "script/post-inst")
FIRST_PORT = 8081
RELOAD_SECONDS = 20


class AdditionError(Exception):
    """Why an application cannot be added, and what to do, in one line."""


@dataclass(frozen=True)
class Wanted:
    """What is to be added.

    directory: where its checkout is or, with a template, will be. kind: of the template, empty for
    a directory of the user's own. port: of its service, None for the next free one.
    """

    name: str
    directory: Path
    kind: str = ""
    port: int | None = None
    health: str = fleet.HEALTH


@dataclass(frozen=True)
class Added:
    """What has been added. push: the command that pushes its checkout."""

    applications: list[fleet.Application]
    directory: Path
    push: str
    is_served: bool


def add(world: World, wanted: Wanted) -> Added:
    """Add an application to the world.

    Returns what it is now. Raises AdditionError, templates.TemplateError, checkout.CheckoutError or
    WorldError with the reason when it cannot be added; then the world is as it was, but for
    settings of an application it does not know of.
    """
    with one_at_a_time(world):
        paths = {wanted.name: "."}
        if wanted.kind:
            paths = templates.find(wanted.kind).paths(wanted.name)
        for name in {wanted.name, *paths}:
            check_name(world, name)
        port = wanted.port or next_port(world, len(paths))
        health = checked_health(wanted.health)
        applications = [
            fleet.Application(name, port + number, health, wanted.name)
            for number, name in enumerate(paths)
        ]
        for each in applications:
            check_port(world, each.port)
        if wanted.kind:
            push = from_template(world, wanted, applications)
        else:
            check_directory(wanted.directory)
            push = checkout.prepare(wanted.directory, wanted.name)
            make_room(world, wanted.name, applications)
        if len(paths) > 1:
            configure_paths(world, wanted.name, paths)
        for each in applications:
            world.ask(do="add", **vars(each))
        return Added(applications, wanted.directory, push, is_served(world))


@contextmanager
def one_at_a_time(world: World) -> Iterator[None]:
    with open(world.directory / "adding", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        world.reload()
        yield


def from_template(world: World, wanted: Wanted, applications: list[fleet.Application]) -> str:
    """Make the checkout beside its place, and move it there once the world has room for it."""
    template = templates.find(wanted.kind)
    template.require_programs()
    if wanted.directory.exists():
        raise AdditionError(
            f"{wanted.directory} is there already; remove it, leave out --template to add it as "
            "it is, or choose another with --directory"
        )
    fresh = wanted.directory.with_name(f".{wanted.directory.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        template.put(fresh, wanted.name, applications[0].port)
        push = checkout.prepare(fresh, wanted.name)
        make_room(world, wanted.name, applications)
        fresh.rename(wanted.directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return push


def make_room(world: World, repository: str, applications: list[fleet.Application]) -> None:
    """Have GitHub, the hosts and the load balancer ready for the applications' first push."""
    make_repository(world, f"acme/{repository}")
    hosts = [
        fleet.Host(host.name, host.address, host.kind, host is world.repository_host)
        for host in world.hosts.values()
    ]
    names = [*world.applications, *(each.name for each in applications)]
    names_file = fleet.names_file(hosts, names)
    Path("/etc/hosts").write_text(names_file)
    enrol(world, hosts, [each.name for each in applications])
    running = [host for host in world.hosts.values() if host.pid]
    with ThreadPoolExecutor(len(running)) as pool:
        list(pool.map(lambda host: set_up(host, applications, names_file), running))
    wait_for_balancer(world, applications[-1].name)


def make_repository(world: World, repository: str) -> None:
    try:
        world.github.create_repository(repository)
    except GitHubError as error:
        if " 422 " not in str(error):
            raise
    if not world.github.hooks(repository):
        world.github.create_hook(repository, world.webhook_url, world.webhook_secret)


def configure_paths(world: World, repository: str, paths: dict[str, str]) -> None:
    """Have the pack know the applications of a repository, and wait until its receiver does."""
    settings = world.config_dir / "cicd_canary.yaml"
    written = settings.read_text()
    if f"\n  acme/{repository}:\n" in written:
        return
    served = is_served(world)
    if "\napplications:\n" not in written:
        written += "applications:\n"
    written += f"  acme/{repository}:\n    paths:\n"
    written += "".join(f"      {path}: {{name: {name}}}\n" for name, path in paths.items())
    settings.write_text(written)
    # The engine restarts the receiver when its configuration changes.
    deadline = time.monotonic() + RELOAD_SECONDS
    for expected in (False, True) if served else ():
        while is_served(world) != expected and time.monotonic() < deadline:
            time.sleep(0.01)


def is_served(world: World) -> bool:
    """Whether something receives the world's pushes."""
    address, port = world.webhook_url.split("/")[2].split(":")
    return listens(address, int(port))


def enrol(world: World, hosts: list[fleet.Host], applications: list[str]) -> None:
    """Have every application host be one of the applications' hosts, and its token know them."""

    def make(host: fleet.Host) -> None:
        arguments = tokens.arguments(host, applications)
        try:
            tokens.make(world.consul_url, world.consul_token, arguments)
        except tokens.TokenError as error:
            raise AdditionError(str(error)) from None

    with ThreadPoolExecutor(tokens.SIDE_BY_SIDE) as pool:
        list(pool.map(make, [host for host in hosts if host.runs_applications]))


def set_up(host: WorldHost, applications: list[fleet.Application], names_file: str) -> None:
    write(host, "/etc/hosts", names_file.encode(), 0o644)
    for application in applications:
        addition = fleet.equip_for(application, host.kind)
        for path, (content, mode) in addition.files.items():
            write(host, path, content, mode)
        for command in addition.commands:
            run(host, command)
    if host.runs_applications:
        host.reload_consul()
    if host.kind == "balancer":
        run(host, ["pkill", "-USR2", "-P", "1", "-x", "haproxy"])


def write(host: WorldHost, path: str, content: bytes, mode: int) -> None:
    run(host, ["install", "-D", "-m", f"{mode:o}", "/dev/stdin", path], content.decode())


def run(host: WorldHost, command: list[str], text: str = "") -> None:
    done = host.run(command, input=text)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise AdditionError(f"{host.name}: {os.path.basename(command[0])}: {said}")


def wait_for_balancer(world: World, name: str) -> None:
    deadline = time.monotonic() + RELOAD_SECONDS
    url = f"http://{world.host('lb').address}:8404/;csv"
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if f"\n{name},BACKEND," in answer.read().decode():
                    return
        except OSError:
            pass  # between two processes of HAProxy
        if time.monotonic() > deadline:
            raise AdditionError(f"lb: HAProxy does not know {name} after {RELOAD_SECONDS} s")
        time.sleep(0.1)


# --- what is refused -----------------------------------------------------------------------------


def check_name(world: World, name: str) -> None:
    if not NAME.fullmatch(name):
        raise AdditionError(
            f"{name} is no name for an application; use lower-case letters, digits and dashes, "
            "a letter first"
        )
    if name in world.applications:
        raise AdditionError(
            f"{name} is in use; applications: {' '.join(world.applications)}; choose another name"
        )
    if name in (*NAMES_TAKEN, *world.hosts):
        raise AdditionError(f"{name} is a name in the fleet itself; choose another")
    query = ["dpkg-query", "--show", "--showformat", "${db:Status-Status}", name]
    if subprocess.run(query, capture_output=True, text=True).stdout == "installed":
        raise AdditionError(f"{name} is a Debian package on the hosts; choose another name")
    if Path("/etc/init.d", name).exists():
        raise AdditionError(f"{name} is a service on the hosts; choose another name")


def check_port(world: World, port: int) -> None:
    if not 1 <= port <= 65535:
        raise AdditionError(f"--port {port}: use a port from 1 to 65535")
    for name, taken in world.applications.items():
        if port == taken:
            raise AdditionError(f"port {port} is {name}'s; the next free one is {next_port(world)}")
    for host in world.hosts.values():
        if host.runs_applications and host.pid and listens(host.address, port):
            raise AdditionError(f"port {port} is taken on {host.name}; choose another with --port")


def next_port(world: World, count: int = 1) -> int:
    """The first of so many free ports in a row."""
    taken = set(world.applications.values())
    return next(
        port
        for port in range(FIRST_PORT, 65536)
        if not taken.intersection(range(port, port + count))
    )


def checked_health(path: str) -> str:
    if not HEALTH.fullmatch(path):
        raise AdditionError(f"--health {path}: use a path such as {fleet.HEALTH}")
    return path


def check_directory(directory: Path) -> None:
    if not directory.is_dir():
        raise AdditionError(f"{directory} is no directory; --template KIND makes one")
    missing = [path for path in SCRIPTS if not (directory / path).is_file()]
    if missing:
        raise AdditionError(
            f"{directory} has no {' and no '.join(missing)}; to begin with ones that do nothing, "
            f"type there: mkdir -p script; for f in {' '.join(missing)}; do "
            "printf '#!/bin/sh\\n' > $f; chmod +x $f; done (docs/application.md says what each "
            "does)"
        )
    inert = [path for path in SCRIPTS if not (directory / path).stat().st_mode & 0o111]
    if inert:
        raise AdditionError(
            f"{' and '.join(inert)} cannot be executed; run chmod +x {' '.join(inert)}"
        )
    for path in SCRIPTS:
        first = (directory / path).read_bytes()[:200].splitlines(keepends=True)[:1]
        if not first or not first[0].startswith((b"#!", b"\x7fELF")):
            raise AdditionError(f"{path} does not say what runs it; begin it with #!/bin/sh")
        if first[0].endswith(b"\r\n"):
            raise AdditionError(
                f"{path} has the line ends of Windows; run sed -i 's/\\r$//' {path}"
            )
