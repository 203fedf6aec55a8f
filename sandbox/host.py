"""Starts one host of the fleet: its namespaces, its file system, and its first process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import time
import traceback
import urllib.request
from pathlib import Path
from typing import NoReturn

from sandbox import namespaces
from sandbox.fleet import (
    CONSUL_URL,
    NETWORK_BITS,
    PROJECT,
    REPOSITORY_HOME,
    SERVICE_PATH,
    Equipment,
    Host,
    Service,
)

CHARACTER_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
    "net/tun": (10, 200),
    "loop-control": (10, 237),
}
LOOP_DEVICES = 128  # file systems of builds; the kernel numbers them for all of the machine
# What a host of a fleet would not have of the machine it is made from: the machine's APT sources,
# which it cannot reach, its settings for them, and the private things of the machine's own root.
NOT_OF_A_HOST = [
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d",
    "/etc/apt/apt.conf",
    "/etc/apt/apt.conf.d",
    "/etc/apt/auth.conf",
    "/etc/apt/auth.conf.d",
    "/etc/apt/preferences.d",
    "/etc/apt/trusted.gpg",
    "/etc/apt/trusted.gpg.d",
    "/etc/cicd",
    "/etc/consul.d",
    "/etc/haproxy",
    "/etc/ssh",
    "/etc/systemd/system",
    "/root/.aptly.conf",
    "/root/.bash_profile",
    "/root/.bashrc",
    "/root/.config/git",
    "/root/.gitconfig",
    "/root/.gnupg",
    "/root/.profile",
    "/root/.ssh",
    "/usr/sbin/policy-rc.d",
    "/var/cache/apt",
    REPOSITORY_HOME,
    "/var/lib/apt/lists",
    "/var/lib/cicd",
    "/var/lib/consul",
]
ENVIRONMENT = {"PATH": SERVICE_PATH, "HOME": "/root", "LANG": "C.UTF-8", "USER": "root"}
STOP_SECONDS = 5


def start(host: Host, equipment: Equipment, names: str, state: Path, lower: list[Path]) -> Starting:
    """Fork the host's first process.

    names: its /etc/hosts, written at each start. state: a directory that keeps what the host
    writes, also over a restart. lower: the file systems that the host is made from, the upper ones
    first.
    Returns at once: the host waits for its network, see Starting.
    """
    go_read, go_write = os.pipe()
    status_read, status_write = os.pipe()
    forker = os.fork()
    if forker == 0:
        # The first process of a PID namespace is a child of the one that made the namespace, which
        # ends at once: the world's first process, which collects orphans, becomes the parent.
        try:
            namespaces.leave_namespaces()
            first = os.fork()
            if first == 0:
                _close_all_but(0, 1, 2, go_read, status_write)
                _first_process(host, equipment, names, state, lower, go_read, status_write)
            os.write(status_write, b"%d\n" % first)
        finally:
            os._exit(0)
    os.close(go_read)
    os.close(status_write)
    os.waitpid(forker, 0)
    return Starting(host, go_write, status_read)


class Starting:
    """A host that has its namespaces and waits for its network."""

    def __init__(self, host: Host, go: int, status: int):
        self.host = host
        self._go = go
        self._status = os.fdopen(status)
        self.pid = int(self._status.readline() or 0)
        if not self.pid:
            raise RuntimeError(f"host {host.name}: could not create namespaces; run as root")

    def go(self) -> None:
        """Tell the host that its network is there."""
        os.write(self._go, b"g")
        os.close(self._go)

    def wait(self) -> None:
        """Wait until the host runs its services; RuntimeError with the reason if it cannot."""
        with self._status:
            said = self._status.readline()
        if said != "ready\n":
            raise RuntimeError(
                f"host {self.host.name} did not start: {said.strip() or 'no output'}"
            )


def _first_process(
    host: Host,
    equipment: Equipment,
    names: str,
    state: Path,
    lower: list[Path],
    go: int,
    status: int,
) -> NoReturn:
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(ENVIRONMENT)
        os.setsid()
        namespaces.name_process("cicd-host")
        socket.sethostname(host.name)
        namespaces.keep_mounts_private()
        first_time = _enter_file_system(state, lower)
        _take_over_output()
        if first_time:
            _furnish(host, equipment)
        _replace("/etc/hosts", names.encode(), 0o644)
        for addition in equipment.additions:
            _put_files(addition)
        if equipment.has_systemd:
            os.makedirs("/run/systemd/system")  # says that systemd runs: sd_booted(3)
        os.read(go, 1)
        _configure_network(host)
        if first_time:
            _run_commands(equipment)
        for addition in equipment.additions:
            _run_commands(addition)
        first = FirstProcess(equipment.services)
        os.write(status, b"ready\n")
        os.close(status)
        first.run()
    except BaseException as error:  # nothing is above the first process to report to
        traceback.print_exc()
        with contextlib.suppress(OSError):
            os.write(status, f"{type(error).__name__}: {error}\n".encode())
    os._exit(1)


def _enter_file_system(state: Path, lower: list[Path]) -> bool:
    """Make the host's own view of the machine's files its root; True the first time."""
    upper, work, root = (state / name for name in ("upper", "work", "root"))
    first_time = not upper.exists()
    for part in (upper, work, root):
        part.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={':'.join(map(str, lower))},upperdir={upper},workdir={work}"
    namespaces.mount("overlay", str(root), "overlay", options=options)
    for directory, mode in (
        ("proc", 0o555),
        ("sys", 0o555),
        ("dev", 0o755),
        ("run", 0o755),
        ("tmp", 0o1777),
        ("var/tmp", 0o1777),
    ):
        (root / directory).mkdir(mode=mode, parents=True, exist_ok=True)
    namespaces.mount("proc", f"{root}/proc", "proc")
    namespaces.mount("sysfs", f"{root}/sys", "sysfs", namespaces.MS_RDONLY)
    namespaces.mount("tmpfs", f"{root}/run", "tmpfs", options="mode=755")
    for directory in ("tmp", "var/tmp"):  # what the machine has there is still being written
        namespaces.mount("tmpfs", f"{root}/{directory}", "tmpfs", options="mode=1777")
    _make_devices(f"{root}/dev")
    project = f"{root}{PROJECT}"
    os.makedirs(project, exist_ok=True)
    namespaces.show_read_only(str(PROJECT), project)
    namespaces.change_root(str(root))
    for directory in ("/run/lock", "/run/sshd", "/run/haproxy"):
        os.makedirs(directory)
    return first_time


def _make_devices(directory: str) -> None:
    """A /dev of the host's own: without a real /dev/null apt says that gpgv is not installed."""
    namespaces.mount("tmpfs", directory, "tmpfs", options="mode=755")
    before = os.umask(0)
    os.mkdir(f"{directory}/net")
    for name, (major, minor) in CHARACTER_DEVICES.items():
        os.mknod(f"{directory}/{name}", stat.S_IFCHR | 0o666, os.makedev(major, minor))
    for number in range(LOOP_DEVICES):
        os.mknod(f"{directory}/loop{number}", stat.S_IFBLK | 0o600, os.makedev(7, number))
    os.umask(before)
    os.mkdir(f"{directory}/pts")
    os.mkdir(f"{directory}/shm")
    namespaces.mount(
        "devpts", f"{directory}/pts", "devpts", options="newinstance,ptmxmode=0666,mode=620,gid=5"
    )
    namespaces.mount("tmpfs", f"{directory}/shm", "tmpfs", options="mode=1777")
    os.symlink("pts/ptmx", f"{directory}/ptmx")
    os.symlink("/proc/self/fd", f"{directory}/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        os.symlink(f"/proc/self/fd/{number}", f"{directory}/{name}")


def _take_over_output() -> None:
    with open("/dev/null") as nothing, open("/var/log/host.log", "a") as log:
        os.dup2(nothing.fileno(), 0)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)


def _furnish(host: Host, equipment: Equipment) -> None:
    for path in NOT_OF_A_HOST:
        if os.path.isdir(path):
            shutil.rmtree(path)
            os.makedirs(path)
        elif os.path.lexists(path):
            os.remove(path)
    os.makedirs("/var/lib/apt/lists/partial")
    os.makedirs("/var/cache/apt/archives/partial")
    equipment.write("/etc/hostname", f"{host.name}\n")
    equipment.write("/etc/resolv.conf", "# names are in /etc/hosts\n")
    _put_files(equipment)
    for source, target in equipment.links.items():
        if os.path.lexists(source):
            os.remove(source)
        os.symlink(target, source)
    _let_root_log_in()


def _put_files(equipment: Equipment) -> None:
    for path, (content, mode) in equipment.files.items():
        _replace(path, content, mode)


def _run_commands(equipment: Equipment) -> None:
    for command in equipment.commands:
        subprocess.run(command, check=True)


def _replace(path: str, content: bytes, mode: int) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    if os.path.islink(path):
        os.remove(path)
    with open(path, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)


def _let_root_log_in() -> None:
    """Unlock the password: sshd without PAM, which is faster, refuses keys while it is locked."""
    shadow = Path("/etc/shadow")
    lines = [line.split(":") for line in shadow.read_text().splitlines()]
    unlocked = [
        [name, "*", *rest] if name == "root" else [name, word, *rest] for name, word, *rest in lines
    ]
    shadow.write_text("".join(":".join(line) + "\n" for line in unlocked))


def _configure_network(host: Host) -> None:
    address = f"{host.address}/{NETWORK_BITS}"
    commands = f"link set lo up\naddress add {address} dev eth0\nlink set eth0 up\n"
    subprocess.run(["ip", "-batch", "-"], input=commands, text=True, check=True)


class FirstProcess:
    """PID 1 of a host: keeps its services running, collects orphans, passes on termination."""

    def __init__(self, services: list[Service]):
        self._running: dict[int, Service] = {}
        signal.signal(signal.SIGTERM, self._terminate)
        for service in services:
            self._spawn(service)
        if os.path.isdir("/run/systemd/system"):
            subprocess.run(["systemctl", "default"])
        for settings in sorted(Path("/etc/cicd").glob("*.conf")):  # of cicd-host-setup
            if os.path.exists(f"/etc/init.d/{settings.stem}"):
                subprocess.run(["service", settings.stem, "start"])

    def run(self) -> NoReturn:
        while True:
            pid, _ = os.waitpid(-1, 0)
            if pid in self._running:
                time.sleep(1)
                self._spawn(self._running.pop(pid))

    def _spawn(self, service: Service) -> None:
        pid = os.fork()
        if pid:
            self._running[pid] = service
            return
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            log = os.open(f"/var/log/{service.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            if service.needs_token:
                _wait_for_token(service.needs_token)
            _close_all_but(0, 1, 2)
            os.execv(service.argv[0], service.argv)
        except BaseException:
            traceback.print_exc()
        os._exit(1)

    def _terminate(self, *_: object) -> NoReturn:
        os.kill(-1, signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while time.monotonic() < end:
            try:
                if os.waitpid(-1, os.WNOHANG) == (0, 0):
                    time.sleep(0.02)
            except ChildProcessError:
                break
        os._exit(0)


def _close_all_but(*kept: int) -> None:
    for descriptor in range(256):
        if descriptor not in kept:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _wait_for_token(token: str) -> None:
    """Until Consul has elected its leader and knows the token: an agent that is refused asks again
    only after half a minute."""
    request = urllib.request.Request(
        f"{CONSUL_URL}/v1/acl/token/self", headers={"X-Consul-Token": token}
    )
    while True:
        with contextlib.suppress(OSError), urllib.request.urlopen(request, timeout=1):
            return
        time.sleep(0.05)
