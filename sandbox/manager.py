"""Runs one world: the process that everything in it descends from, and dies with.

The outermost process leaves its own namespaces and forks the world's first process. All that the
world writes lies on a tmpfs in its own mount namespace, its network has no link to the outside
but the cable of a reachable world, which goes with that network, and the kernel kills whatever is
in its PID namespace once the first process is gone. So nothing needs cleaning up, and nothing can
be left, however the world ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Callable, NoReturn

from sandbox import fleet, keys, namespaces, pace
from sandbox.configuration import configuration
from sandbox.host import start
from sandbox.tokens import Tokens
from sandbox.world import CONTROL_SOCKET, DIRECTORY, WORLD_FILE, World

PROCESS_NAME = "cicd-world"
BRIDGE = "cicd0"
MACHINE_LINK = "cicd-sandbox"
READY_SECONDS = 60
GRACE_SECONDS = 5
DPKG = Path("/var/lib/dpkg")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy")

Progress = Callable[[str, float], None]


class SandboxError(Exception):
    """Why a world could not be brought up, in one line."""


REQUEST_SECONDS = 10
# What a request of a program in the world can come to; the world goes on.
REFUSED = (
    SandboxError,
    RuntimeError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    subprocess.CalledProcessError,
)


def run(
    command: list[str],
    hosts: list[fleet.Host],
    progress: Progress,
    reachable: bool = False,
) -> int:
    """Bring a world up, run a command in it and take it down.

    hosts: from fleet.plan_fleet. progress: called with the name of each step that is done
    and the seconds it took. reachable: link the world to the machine's network, and run the
    command in that.
    Returns the command's exit status, or 128 and the signal's number when a signal ended it.
    Raises SandboxError when this process may not make namespaces.
    """
    if os.geteuid() != 0:
        raise SandboxError("not root; run the sandbox as root, because it creates namespaces")
    alive_read, alive_write = os.pipe()
    waited_for = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    machine_network = os.open("/proc/self/ns/net", os.O_RDONLY) if reachable else None
    namespaces.leave_namespaces()
    world = os.fork()
    if world == 0:
        namespaces.die_with_parent()
        os.close(alive_write)
        if select.select([alive_read], [], [], 0)[0]:  # the parent died before the line above
            os._exit(1)
        os.close(alive_read)
        manager = Manager(hosts, progress, machine_network)
        _first_process(manager, command, waited_for)
    if signal.SIGINT in signal.sigpending():  # typed before the world was there to hear it
        os.kill(world, signal.SIGTERM)
    while True:
        got = signal.sigwaitinfo(waited_for)
        if got.si_signo == signal.SIGCHLD:
            pid, status = os.waitpid(world, os.WNOHANG)
            if pid:
                return exit_status(status)
        elif got.si_code <= 0:
            # Sent by a process. One typed at the terminal has reached the whole world already.
            os.kill(world, signal.SIGTERM)


def exit_status(status: int) -> int:
    """A wait status as a shell gives it."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _first_process(manager: Manager, command: list[str], blocked: set[signal.Signals]) -> NoReturn:
    status = 1
    try:
        namespaces.name_process(PROCESS_NAME)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        os.umask(0o022)
        manager.bring_up()
        status = manager.run(command)
    except Stopped as stop:
        os.write(2, b"sandbox: stopped while it came up; nothing is left of it\n")
        status = 128 + stop.number
    except (SandboxError, RuntimeError, OSError, subprocess.CalledProcessError) as error:
        os.write(2, f"sandbox: {error}\n".encode())
    finally:
        os._exit(status)


class Stopped(Exception):
    """A signal asked the world to end."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


class Manager:
    """The world's first process: starts and stops its hosts, runs the command, collects orphans."""

    def __init__(self, hosts: list[fleet.Host], progress: Progress, machine_network: int | None):
        self._progress = progress
        self._machine_network = machine_network
        self._hosts = {host.name: host for host in hosts}
        self._applications = dict(fleet.APPLICATIONS)
        self._pids: dict[str, int] = {}
        self._equipment: dict[str, fleet.Equipment] = {}
        self._control: socket.socket  # from _make_world on
        self._wakeup_read, self._wakeup_write = os.pipe()
        os.set_blocking(self._wakeup_write, False)
        signal.set_wakeup_fd(self._wakeup_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        self._command: int | None = None
        self._stopping: int | None = None
        self._deadline = 0.0

    def bring_up(self) -> None:
        """Make the world's mounts, network and keys, start its hosts, wait until all answer."""
        self._step("world", self._make_world)
        self._step("keys", self._make_keys)
        self._step("hosts", lambda: self._start(list(self._hosts)))
        world = World.load(DIRECTORY)
        self._step("tokens", lambda: self._make_tokens(world))
        self._step("consul", lambda: self._wait_for("consul", world.consul_is_ready))
        self._step("services", lambda: self._wait_for("services", world.services_are_ready))
        self._step("repositories", lambda: create_repositories(world))

    def run(self, command: list[str]) -> int:
        """Run the command to its end, serving requests to stop and start hosts meanwhile."""
        environment = {
            name: value for name, value in os.environ.items() if name.lower() not in PROXY_VARIABLES
        }
        environment.update(CICD_SANDBOX=str(DIRECTORY), TMPDIR=str(DIRECTORY / "tmp"))
        if self._machine_network is not None:
            command = self._in_machine_network(command)
        try:
            # subprocess would collect a command that ends at once before the loop below does.
            self._command = os.posix_spawnp(
                command[0], command, environment, setsigdef=[signal.SIGPIPE]
            )
        except OSError as error:
            raise SandboxError(f"cannot run {command[0]}: {error.strerror}") from None
        while True:
            status = self._collect_orphans()
            if status is not None:
                return exit_status(status)
            timeout = None
            if self._stopping is not None:
                timeout = max(0.0, self._deadline - time.monotonic())
                if not timeout:
                    return 128 + self._stopping
            readable, _, _ = select.select([self._wakeup_read, self._control], [], [], timeout)
            if self._wakeup_read in readable:
                os.read(self._wakeup_read, 4096)
            if self._control in readable:
                self._answer_request()

    def _step(self, name: str, action: Callable[[], None]) -> None:
        began = time.monotonic()
        action()
        self._progress(name, time.monotonic() - began)

    def _stop(self, number: int, *_: object) -> None:
        """End the world: at once while it comes up, later once the command has had its chance."""
        if self._command is None:
            raise Stopped(number)
        if self._stopping is None:
            self._stopping = number
            self._deadline = time.monotonic() + GRACE_SECONDS
        if number != signal.SIGINT:  # the terminal sends its SIGINT to the command itself
            os.kill(self._command, signal.SIGTERM)

    def _make_world(self) -> None:
        namespaces.keep_mounts_private()
        self._machine_pid = os.readlink("/proc/self")  # the mount below numbers it 1
        namespaces.mount("proc", "/proc", "proc")
        namespaces.mount("tmpfs", "/run", "tmpfs", options="mode=755")
        DIRECTORY.mkdir(mode=0o700)
        for part in (
            "tmp",
            "lower",
            "snapshot",
            "configs",
            "ssh",
            "hosts",
            "etc/upper",
            "etc/work",
        ):
            (DIRECTORY / part).mkdir(parents=True)
        namespaces.show_read_only("/", str(DIRECTORY / "lower"))
        snapshot_package_database(DIRECTORY / "snapshot")
        # Laid over /etc, because a bare machine may have no /etc/hosts to bind one over.
        names = DIRECTORY / "etc/upper/hosts"
        names.write_text(self._names())
        namespaces.mount(
            "overlay",
            "/etc",
            "overlay",
            options=(f"lowerdir=/etc,upperdir={DIRECTORY}/etc/upper,workdir={DIRECTORY}/etc/work"),
        )
        socket.sethostname("sandbox")
        ip_batch(
            [
                "link set lo up",
                f"link add {BRIDGE} type bridge",
                f"address add {fleet.WORLD_ADDRESS}/{fleet.NETWORK_BITS} dev {BRIDGE}",
                f"link set {BRIDGE} up",
            ]
        )
        if self._machine_network is not None:
            self._link_to_machine(self._machine_network)
        self._control = socket.socket(socket.AF_UNIX)
        self._control.bind(str(CONTROL_SOCKET))
        self._control.listen(8)

    def _link_to_machine(self, network: int) -> None:
        try:
            ip_batch(
                [
                    f"link add machine0 type veth peer name {MACHINE_LINK} "
                    f"netns /proc/self/fd/{network}",
                    f"link set machine0 master {BRIDGE} up",
                ],
                network,
            )
        except subprocess.CalledProcessError:
            raise SandboxError(
                f"could not create {MACHINE_LINK}; is another reachable fleet running?"
            ) from None
        for line in (
            f"address add {fleet.MACHINE_ADDRESS}/{fleet.NETWORK_BITS} dev {MACHINE_LINK}",
            f"link set {MACHINE_LINK} up",
        ):
            subprocess.run(self._in_machine_network(["ip", *line.split()]), check=True)

    def _in_machine_network(self, command: list[str]) -> list[str]:
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._machine_network}", *command]

    def _make_keys(self) -> None:
        made = keys.make(DIRECTORY, list(self._hosts.values()))
        self._tokens = Tokens.of(self._hosts.values())
        for name, host in self._hosts.items():
            on_host = fleet.ConsulTokens(
                self._tokens.by_host.get(name, ""), self._tokens.dns, self._tokens.operator
            )
            self._equipment[name] = fleet.equip(host, made, on_host)
        operator = DIRECTORY / "consul-token"
        operator.touch(0o600)
        operator.write_text(self._tokens.operator)
        secret = keys.random_secret()
        receiver, seen_from_there = fleet.WORLD_ADDRESS, DIRECTORY
        if self._machine_network is not None:
            receiver = fleet.MACHINE_ADDRESS
            seen_from_there = Path(f"/proc/{self._machine_pid}/root{DIRECTORY}")
        self._description = {
            "applications": self._applications,
            "consul_url": fleet.CONSUL_URL,
            "github_url": fleet.GITHUB_URL,
            "balancer_url": fleet.BALANCER_URL,
            "webhook": {"url": f"http://{receiver}:{fleet.WEBHOOK_PORT}/github", "secret": secret},
            "project": str(fleet.PROJECT),
        }
        settings = DIRECTORY / "configs" / "cicd_canary.yaml"
        settings.touch(0o600)
        settings.write_text(
            configuration(
                seen_from_there,
                secret,
                receiver,
                made.proof_private,
                self._tokens.pack,
                repository_host=any(host.kind == "repository" for host in self._hosts.values()),
            )
        )

    def _make_tokens(self, world: World) -> None:
        self._wait_for("tokens", world.consul_knows_its_operator)
        self._tokens.make(world.consul_url, self._hosts.values(), self._applications)

    def _names(self) -> str:
        return fleet.names_file(list(self._hosts.values()), self._applications)

    def _start(self, names: list[str]) -> None:
        all_names = self._names()
        lower = [DIRECTORY / "snapshot", DIRECTORY / "lower"]
        starting = [
            start(
                self._hosts[name],
                self._equipment[name],
                all_names,
                DIRECTORY / "hosts" / name,
                lower,
            )
            for name in names
        ]
        ip_batch(
            [
                line
                for host in starting
                for line in (
                    f"link add {link_of(host.host)} type veth peer name eth0 netns {host.pid}",
                    f"link set {link_of(host.host)} master {BRIDGE} up",
                )
            ]
        )
        for host in starting:
            host.go()
        for host in starting:
            host.wait()
            self._pids[host.host.name] = host.pid
        self._describe()

    def _stop_host(self, name: str) -> None:
        pid = self._pids.pop(name)
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + 2 * GRACE_SECONDS
        while os.waitpid(pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        # The kernel deletes it with the host's network, but not at once.
        subprocess.run(
            ["ip", "link", "delete", link_of(self._hosts[name])], stderr=subprocess.DEVNULL
        )
        self._describe()

    def _describe(self) -> None:
        """Write down what the world is made of and which process is the first of each host."""
        self._description["hosts"] = {
            name: {
                "address": host.address,
                "kind": host.kind,
                "has_repository": host.has_repository,
                "pid": self._pids.get(name),
            }
            for name, host in self._hosts.items()
        }
        fresh = WORLD_FILE.with_suffix(".new")
        fresh.touch(0o600)
        fresh.write_text(json.dumps(self._description, indent=2) + "\n")
        fresh.rename(WORLD_FILE)

    def _answer_request(self) -> None:
        connection, _ = self._control.accept()
        connection.settimeout(REQUEST_SECONDS)
        # Whoever asks may have ended, before the request or before the answer.
        with contextlib.suppress(OSError), connection, connection.makefile("rw") as stream:
            try:
                self._obey(**json.loads(stream.readline()))
                answer: dict[str, object] = {"ok": True}
            except REFUSED as error:
                answer = {"ok": False, "error": str(error)}
            stream.write(json.dumps(answer) + "\n")

    def _obey(self, do: str, **what: Any) -> None:
        if do == "add":
            self._add(fleet.Application(**what))
        else:
            self._switch(do, what["host"])

    def _add(self, application: fleet.Application) -> None:
        """Know of an application that was added: its name, and what a stopped host lacks."""
        for name, host in self._hosts.items():
            addition = fleet.equip_for(application, host.kind)
            self._equipment[name].additions.append(addition)
        self._applications[application.name] = application.port
        self._describe()

    def _switch(self, action: str, name: str) -> None:
        running = name in self._pids
        if name not in self._hosts:
            raise SandboxError(f"no host {name}; hosts: {' '.join(self._hosts)}")
        if action == "stop" and running:
            self._stop_host(name)
        elif action == "start" and not running:
            self._start([name])

    def _collect_orphans(self) -> int | None:
        """Collect every child that has ended; the command's wait status if it is among them."""
        ended = None
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if not pid:
                return ended
            if pid == self._command:
                ended = status
            died = [name for name, first in self._pids.items() if first == pid]
            if died:
                del self._pids[died[0]]
                self._describe()

    def _wait_for(self, step: str, ready: Callable[[], str | None]) -> None:
        """Wait until nothing is missing any more, longer on a busy machine.

        Gives up once the same has been missing for too long: what comes slowly still comes.
        """
        began = since = time.monotonic()
        missing: str | None = "nothing checked yet"
        while missing:
            before, missing = missing, ready()
            now = time.monotonic()
            if missing != before:
                since = now
            if missing and now - since > pace.patience(READY_SECONDS):
                raise SandboxError(
                    f"gave up after {now - began:.0f} s, waiting for {missing}; this step usually "
                    f"takes {pace.USUAL[step]:g} s, and this machine has a {pace.load()}; try "
                    "again when it does less"
                )
            time.sleep(0.03)


def snapshot_package_database(directory: Path) -> None:
    """Lay down a copy of dpkg's database that hides the machine's own from the hosts.

    Without it a package that is installed on the machine meanwhile shows through on every host.
    Waits for a dpkg that is at work.
    """
    copy = directory / DPKG.relative_to("/")
    with open(DPKG / "lock", "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        shutil.copytree(DPKG, copy, symlinks=True)
    os.setxattr(copy, "trusted.overlay.opaque", b"y")


def create_repositories(world: World) -> None:
    """Make an empty repository for each sample application, with a webhook to the receiver."""
    for application in world.applications:
        world.github.create_repository(f"acme/{application}")
        world.github.create_hook(f"acme/{application}", world.webhook_url, world.webhook_secret)


def link_of(host: fleet.Host) -> str:
    """The world's end of a host's cable; a name would be too long for a link's."""
    return f"v{host.address}"


def ip_batch(lines: list[str], *inherited: int) -> None:
    subprocess.run(
        ["ip", "-batch", "-"],
        input="\n".join(lines) + "\n",
        text=True,
        check=True,
        pass_fds=inherited,
    )
