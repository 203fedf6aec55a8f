"""The sandbox itself: it comes up, it is what it says, it leaves nothing behind."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import termios
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Iterator

import jsonschema
import pytest
import yaml
from waiting import wait_for

PROJECT = Path(__file__).resolve().parents[2]
SANDBOX = str(PROJECT / "script/sandbox")
UP = "up"
# The tests that run beside these make them when they are the first on this machine.
OF_OTHER_TESTS = {"sshd", f"cicd-canary-ssh-{os.getuid()}"}
HOLD = ["sh", "-c", f"mktemp > /dev/null; echo {UP}; exec sleep 600"]

sys.path.insert(0, str(PROJECT))

from delivery.errors import DeliveryError  # noqa: E402
from delivery.github import GitHub  # noqa: E402
from delivery.github_repository import Repository  # noqa: E402
from sandbox import fleet  # noqa: E402
from sandbox.github import TOKEN  # noqa: E402
from sandbox.repositories import Checkout, GitHubError  # noqa: E402
from sandbox.world import World, WorldError  # noqa: E402

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="the sandbox makes namespaces and mounts, so this test needs root"
)


# --- from the outside ---------------------------------------------------------------------------


class Running:
    """A world brought up beside the test, and what there was before it."""

    def __init__(self, *options: str, **popen: object):
        self.before = traces()
        self.process = subprocess.Popen(
            [SANDBOX, "run", "--quiet", *options, "--", *HOLD],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            **popen,
        )
        self.processes: set[tuple[int, str]] = set()

    def wait_until_up(self) -> None:
        assert self.process.stdout.readline().strip() == UP
        self.processes = descendants(self.process.pid)

    def assert_nothing_is_left(self) -> None:
        self.process.wait(timeout=15)
        wait_for(lambda: not self.processes & running_processes())
        assert traces() == self.before


def traces() -> dict[str, object]:
    """What a world could leave on the machine besides processes."""
    return {
        # Tests beside this one build on the machine itself.
        "mounts": [
            each
            for each in Path("/proc/self/mountinfo").read_text().splitlines()
            if not re.search(r"/[A-Za-z0-9]{10}/(box|network) ", each)
        ],
        "links": sorted(os.listdir("/sys/class/net")),
        "run": set(os.listdir("/run")) - OF_OTHER_TESTS,
        "temporary": {name for name in os.listdir("/tmp") if "cicd" in name} - OF_OTHER_TESTS,
        "hosts": Path("/etc/hosts").read_text(),
    }


def running_processes() -> set[tuple[int, str]]:
    return {(pid, started) for pid, (_, started) in process_table().items()}


def descendants(ancestor: int) -> set[tuple[int, str]]:
    table = process_table()
    found = {ancestor}
    while True:
        more = {pid for pid, (parent, _) in table.items() if parent in found} - found
        if not more:
            return {(pid, table[pid][1]) for pid in found}
        found |= more


def process_table() -> dict[int, tuple[int, str]]:
    """Parent and start time of every process but zombies, by PID."""
    table = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent, *rest = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if state != "Z":
            table[int(path.parent.name)] = (int(parent), rest[17])
    return table


@needs_root
def test_the_commands_exit_status_is_the_sandboxs():
    before = traces()
    done = subprocess.run(
        [SANDBOX, "run", "--quiet", "--production", "0", "--", "sh", "-c", "exit 7"],
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 7
    assert traces() == before


@needs_root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_nothing_is_left_after_a_signal_to_the_outermost_process(number):
    running = Running("--production", "1")
    running.wait_until_up()
    assert len(running.processes) > 15
    running.process.send_signal(number)
    running.assert_nothing_is_left()


@needs_root
def test_nothing_is_left_after_ctrl_c_in_a_terminal():
    master, slave = pty.openpty()
    running = Running(
        "--production",
        "1",
        stdin=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    running.wait_until_up()
    os.write(master, b"\x03")
    running.assert_nothing_is_left()
    assert running.process.returncode == 128 + signal.SIGINT
    os.close(master)
    os.close(slave)


def some_of_its_hosts(pid: int) -> set[tuple[int, str]]:
    """The processes of a world once there are more than it has without hosts."""
    found = descendants(pid)
    return found if len(found) > 12 else set()


@needs_root
def test_nothing_is_left_when_it_is_killed_while_coming_up():
    running = Running()
    running.processes = wait_for(lambda: some_of_its_hosts(running.process.pid))
    running.process.kill()
    running.assert_nothing_is_left()


@needs_root
def test_two_worlds_run_at_the_same_time_and_do_not_meet():
    small, large = Running("--production", "1"), Running("--production", "2")
    small.wait_until_up()
    large.wait_until_up()
    listed = subprocess.run([SANDBOX, "list"], stdout=subprocess.PIPE, text=True).stdout
    worlds = {int(part.split()[0]): part for part in listed.split("world ")[1:]}
    for running, expected in ((small, 1), (large, 2)):
        pid = next(pid for pid, _ in running.processes if pid in worlds)
        assert worlds[pid].count("production-") == expected
        nodes = subprocess.run(
            [
                SANDBOX,
                "exec",
                "--world",
                str(pid),
                "sandbox",
                "--",
                "sh",
                "-c",
                'curl -sf --header "X-Consul-Token: $(cat $CICD_SANDBOX/consul-token)" '
                "http://consul:8500/v1/catalog/nodes",
            ],
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        assert len([node for node in json.loads(nodes) if "production" in node["Node"]]) == expected
    small.process.terminate()
    large.process.terminate()
    large.process.wait(timeout=15)
    small.assert_nothing_is_left()


@needs_root
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["exec", "--world", "1", "canary-1", "--", "true"], "no such fleet is running"),
        (["run", "--", "/nonexistent"], "cannot run /nonexistent"),
        (["run"], "no command given"),
    ],
)
def test_a_mistake_is_explained_in_one_line(arguments, reason):
    done = subprocess.run(
        [SANDBOX, *arguments], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert done.returncode != 0
    assert reason in done.stderr.splitlines()[-1]


# --- from the inside: hosts ---------------------------------------------------------------------


def test_every_host_has_its_name_address_and_the_others_names(world: World):
    for host in world.hosts.values():
        assert host.run(["hostname"]).stdout.strip() == host.name
        assert host.address in host.run(["ip", "-brief", "address"]).stdout
        assert host.run(["getent", "hosts", "build"]).stdout.split()[0] == "10.77.0.20"


def test_every_host_takes_logins_with_the_worlds_key_and_is_known(world: World):
    for host in world.hosts.values():
        if host.kind != "github":
            assert ssh(world, host.address, "hostname").strip() == host.name
            assert ssh(world, host.name, "id -un").strip() == "root"


def test_a_host_sees_neither_the_machines_apt_sources_nor_its_ssh_keys(world: World):
    canary = world.host("canary-1")
    assert sorted(canary.run(["find", "/etc/apt", "-type", "f"]).stdout.split()) == [
        "/etc/apt/apt.conf.d/80cicd",
        "/etc/apt/preferences.d/cicd",
        "/etc/apt/sources.list.d/cicd.list",
    ]
    assert canary.run(["ls", "-A", "/root/.ssh"]).stdout.split() == ["authorized_keys"]


def test_consul_knows_stages_by_their_tags(world: World):
    tags = {entry["Node"]: entry["ServiceTags"] for entry in world.consul("catalog/service/shop")}
    assert set(tags["canary-1"]) == {"shop::app", "shop::app_canary", "canary"}
    assert set(tags["production-2"]) == {"shop::app", "shop::app_production", "production"}
    assert world.consul("catalog/service/build")[0]["ServiceTags"] == ["build::host"]


def test_the_configuration_is_valid_for_the_pack(world: World):
    schema = yaml.safe_load((PROJECT / "config.schema.yaml").read_text())
    written = yaml.safe_load((world.config_dir / "cicd_canary.yaml").read_text())
    jsonschema.validate(
        written, {"type": "object", "properties": schema, "additionalProperties": False}
    )
    assert written["github"]["webhook_secret"] == world.webhook_secret


def test_an_unknown_host_is_named_with_the_known_ones(world: World):
    with pytest.raises(WorldError, match="no host canary-9; hosts: github consul"):
        world.host("canary-9")


def ssh(world: World, target: str, command: str) -> str:
    done = subprocess.run(
        [
            "ssh",
            "-F",
            "none",
            "-i",
            str(world.directory / "ssh/id_ed25519"),
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            f"UserKnownHostsFile={world.directory}/ssh/known_hosts",
            f"root@{target}",
            command,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


# --- from the inside: packages and services -----------------------------------------------------

BUILD = """\
set -eu
cd "$(mktemp -d)"
git clone --quiet http://github/acme/$1.git opt/$1
rm -rf opt/$1/.git
mkdir DEBIAN
cp opt/$1/script/post-inst DEBIAN/postinst
printf 'Package: %s\\nVersion: %s\\nArchitecture: all\\nMaintainer: A <a@acme.example>\\n' \
    "$1" "$2" > DEBIAN/control
echo 'Description: sample' >> DEBIAN/control
dpkg-deb --root-owner-group --build . /tmp/$1_$2_all.deb
aptly repo show cicd || aptly repo create -distribution=cicd -component=main cicd
aptly repo add cicd /tmp/$1_$2_all.deb
if aptly publish list -raw | grep -q cicd; then
    aptly publish update -batch -gpg-key=cicd@build cicd
else
    aptly publish repo -batch -gpg-key=cicd@build -architectures=amd64,all cicd
fi
"""


def publish(world: World, application: str, version: str, broken: bool = False) -> None:
    """Push a sample application, and have its package in the repository."""
    directory = world.directory / "tmp" / f"{application}-{version}"
    checkout = Checkout.of_sample(directory, application, world.github_url)
    checkout.set_version(version)
    if broken:
        checkout.break_health()
    checkout.commit(f"Version {version}")
    checkout.push("--force", "HEAD:refs/heads/main")
    world.repository_host.run_as_repository_user(
        ["sh", "-c", BUILD, "build", application, version], check=True
    )


def install(host, package: str) -> None:
    """Has apt install a package that nobody has proven, on a host that asks for no proof."""
    asks_for_no_proof = "sed -i 's/^REPOSITORY=.*/REPOSITORY=/' /etc/cicd/*.conf"
    get = f"apt-get -qq update && apt-get -qq install --yes --allow-downgrades {package}"
    host.run(["sh", "-c", f"{asks_for_no_proof} && {get}"], check=True)


def get(url: str, **headers: str) -> dict[str, str]:
    request = urllib.request.Request(
        url, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


@pytest.fixture(scope="session")
def shops(world: World) -> list[str]:
    """Version 1 of the shop on production, version 2 on the canary, all known to the balancer."""
    publish(world, "shop", "1.0.0")
    publish(world, "shop", "2.0.0")
    for host in world.hosts_of("canary", "production"):
        install(host, "shop=2.0.0" if host.kind == "canary" else "shop=1.0.0")
    names = [host.name for host in world.hosts_of("canary", "production")]
    wait_for(lambda: hosts_in_the_balancer() == set(names))
    return names


def hosts_in_the_balancer() -> set[str]:
    try:
        return {get("http://shop/")["host"] for _ in range(12)}
    except urllib.error.HTTPError:
        return set()


def test_a_package_is_installed_on_one_host_and_nowhere_else(world: World):
    publish(world, "notes", "1.0.0")
    install(world.host("production-1"), "notes")
    query = ["dpkg-query", "--show", "--showformat", "${Version}", "notes"]
    assert world.host("production-1").run(query).stdout == "1.0.0"
    assert world.host("production-2").run(query).returncode != 0
    assert subprocess.run(query, capture_output=True).returncode != 0  # the machine's own
    wait_for(lambda: world.consul("health/service/notes?passing"))
    wait_for(lambda: answers("http://notes/"))
    assert get("http://notes/") == {
        "application": "notes",
        "version": "1.0.0",
        "host": "production-1",
    }


def test_a_host_is_set_up_for_the_prefix_that_its_keys_have(world: World):
    host = world.host("production-1")
    written = ["/etc/cicd/extra.conf", "/etc/consul.d/cicd-extra.json"]
    host.run(
        [
            str(PROJECT / "host/cicd-host-setup"),
            "--app",
            "extra",
            "--stage",
            "production",
            "--port",
            "9",
            "--prefix",
            "team/cicd",
        ],
        check=True,
    )
    conf, agent = (host.run(["cat", path], check=True).stdout for path in written)
    host.run(["rm", *written], check=True)
    assert "KV_PREFIX=team/cicd\n" in conf
    assert [watch["key"] for watch in json.loads(agent)["watches"]] == [
        "team/cicd/extra/stages/production/version",
        "team/cicd/extra/stages/production/assigned/production-1",
    ]


def test_a_host_that_is_set_up_again_asks_for_the_same_proof(world: World):
    host = world.host("production-1")
    setup = [str(PROJECT / "host/cicd-host-setup"), "--app", "extra", "--stage", "production"]
    setup += ["--port", "9"]
    host.run([*setup, "--repository", "acme/x", "--branches", "main release/*"], check=True)
    host.run([*setup, "--weight", "2"], check=True)
    conf = host.run(["cat", "/etc/cicd/extra.conf"], check=True).stdout
    assert "REPOSITORY=acme/x\nBRANCHES='main release/*'\n" in conf
    host.run(["mv", "/etc/apt/sources.list.d/cicd.list", "/root"], check=True)
    refused = host.run([*setup, "--repository", "acme/x"])
    host.run(["mv", "/root/cicd.list", "/etc/apt/sources.list.d"], check=True)
    host.run(["rm", "/etc/cicd/extra.conf", "/etc/consul.d/cicd-extra.json"], check=True)
    assert refused.returncode == 2
    assert "has no line such as: deb http://build:8080/ cicd main" in refused.stderr


def test_what_is_installed_on_the_machine_meanwhile_is_not_seen_by_a_host(world: World):
    path = "/var/lib/dpkg/updates/cicd-test"
    Path(path).touch()
    try:
        assert world.host("production-1").run(["test", "-e", path]).returncode == 1
    finally:
        os.remove(path)


def answers(url: str) -> bool:
    try:
        return bool(get(url))
    except urllib.error.HTTPError:
        return False


def test_a_request_for_the_canary_always_goes_there(world: World, shops: list[str]):
    seen = [get("http://shop/", X_Canary="true") for _ in range(10)]
    assert {(answer["host"], answer["version"]) for answer in seen} == {("canary-1", "2.0.0")}


def test_everybody_else_is_spread_over_all_hosts(world: World, shops: list[str]):
    assert hosts_in_the_balancer() == set(shops)


def test_a_request_for_a_canary_that_is_out_is_answered_by_production(
    world: World, shops: list[str]
):
    set_maintenance(world.host("canary-1"), True)
    wait_for(lambda: get("http://shop/", X_Canary="true")["version"] == "1.0.0")
    set_maintenance(world.host("canary-1"), False)
    wait_for(lambda: get("http://shop/", X_Canary="true")["version"] == "2.0.0")


@pytest.mark.parametrize(("host", "status"), [("nobody", 503), ("a_b", 400), ("../x", 400)])
def test_a_request_for_no_application_is_refused(world: World, host, status):
    with pytest.raises(urllib.error.HTTPError) as refused:
        get("http://lb/", Host=host)
    assert refused.value.code == status


def test_draining_and_restarting_a_host_loses_no_request(world: World, shops: list[str]):
    drained = world.host("production-1")
    with Traffic() as traffic:
        wait_for(lambda: traffic.served_since(0, "production-1"))
        set_maintenance(drained, True)
        wait_for(lambda: not traffic.served_since(time.monotonic() - 0.5, "production-1"))
        out_since = time.monotonic()
        wait_for(lambda: traffic.count_since(out_since) > 20)
        drained.run(["service", "shop", "stop"], check=True)
        drained.run(["service", "shop", "start"], check=True)
        set_maintenance(drained, False)
        back_since = time.monotonic()
        wait_for(lambda: traffic.served_since(back_since, "production-1"))
    assert traffic.failures == []
    assert len(traffic.served) > 50
    assert not [
        at for at, name in traffic.served if name == "production-1" and out_since < at < back_since
    ]


def test_restarting_a_service_without_draining_it_loses_no_request(world: World, shops: list[str]):
    with Traffic() as traffic:
        wait_for(lambda: traffic.served_since(0, "production-2"))
        world.host("production-2").run(["service", "shop", "restart"], check=True)
        restarted = time.monotonic()
        wait_for(lambda: traffic.served_since(restarted, "production-2"))
    assert traffic.failures == []
    wait_for(lambda: hosts_in_the_balancer() == set(shops))


def set_maintenance(host, enable: bool) -> None:
    host.run(
        [
            "curl",
            "-sf",
            "--header",
            "@/etc/cicd/consul-token",
            "-X",
            "PUT",
            "http://127.0.0.1:8500/v1/agent/service/maintenance/shop"
            f"?enable={'true' if enable else 'false'}",
        ],
        check=True,
    )


class Traffic:
    """Four clients that ask for the shop without a pause, and remember who answered when."""

    def __init__(self) -> None:
        self.served: list[tuple[float, str]] = []
        self.failures: list[str] = []
        self._over = threading.Event()
        self._clients = [threading.Thread(target=self._ask) for _ in range(4)]

    def __enter__(self) -> Traffic:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for client in self._clients:
            client.join()

    def served_since(self, moment: float, host: str) -> bool:
        return any(at > moment and name == host for at, name in list(self.served))

    def count_since(self, moment: float) -> int:
        return sum(at > moment for at, _ in list(self.served))

    def _ask(self) -> None:
        while not self._over.wait(0.01):
            try:
                self.served.append((time.monotonic(), get("http://shop/")["host"]))
            except OSError as error:
                self.failures.append(str(error))


@pytest.mark.parametrize("request_", [b"", b"nonsense\n", b"{}\n", b'{"do": "stop"}\n'])
def test_a_program_that_asks_for_nothing_does_not_end_the_world(world: World, request_: bytes):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(world.directory / "control"))
        connection.sendall(request_)
    with pytest.raises(WorldError, match="no host nosuch"):
        world.ask(do="stop", host="nosuch")


def test_a_host_that_was_down_comes_back_as_it_was(world: World, shops: list[str]):
    host = world.host("production-3")
    host.stop()
    with pytest.raises(WorldError, match="production-3 is stopped"):
        host.run(["true"])
    wait_for(lambda: "production-3" not in hosts_in_the_balancer())
    host.start()
    query = ["dpkg-query", "--show", "--showformat", "${Version}", "shop"]
    assert host.run(query).stdout == "1.0.0"
    wait_for(lambda: "production-3" in hosts_in_the_balancer())


@pytest.mark.parametrize("application", ["shop", "notes"])
def test_an_application_can_be_made_unhealthy_by_a_commit(world: World, application):
    host, port = world.host("canary-1"), world.applications[application]
    publish(world, application, "3.0.0", broken=True)
    install(host, f"{application}=3.0.0")
    wait_for(lambda: health_status(host.address, port) == 503)
    host.run(["apt-get", "-qq", "purge", "--yes", application], check=True)


def health_status(address: str, port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/health", timeout=2) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


# --- from the inside: GitHub --------------------------------------------------------------------

NOTHING = "0" * 40


class Receiver:
    """Takes what is sent to the webhook's address."""

    def __init__(self, address: tuple[str, int]):
        receiver = self
        self.received: list[tuple[dict[str, str], bytes]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((dict(self.headers.items()), body))
                self.send_response(202)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(address, Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def next(self) -> tuple[dict[str, str], dict[str, object]]:
        wait_for(lambda: self.received)
        headers, body = self.received.pop(0)
        return headers, json.loads(body)


@pytest.fixture
def receiver(world: World) -> Iterator[Receiver]:
    receiver = Receiver(("10.77.0.1", 8095))
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()


@pytest.fixture
def repository(world: World, receiver: Receiver, request, tmp_path) -> Iterator[Checkout]:
    """A work tree of a repository of the test's own whose first push is already announced."""
    name = f"acme/repository-{abs(hash(request.node.name))}"
    world.github.create_repository(name)
    world.github.create_hook(name, world.webhook_url, world.webhook_secret)
    assert receiver.next()[0]["X-GitHub-Event"] == "ping"
    checkout = Checkout(tmp_path / "work", f"http://github/{name}.git")
    (checkout.directory / "kept").write_text("1")
    (checkout.directory / "dropped").write_text("1")
    checkout.commit("First")
    checkout.push()
    return checkout


def test_a_push_is_announced_as_github_does(world: World, receiver: Receiver, repository: Checkout):
    _, first = receiver.next()
    assert (first["before"], first["created"], first["forced"]) == (NOTHING, True, False)
    (repository.directory / "kept").write_text("2")
    (repository.directory / "dropped").unlink()
    (repository.directory / "added").write_text("1")
    commit = repository.commit("Second\n\nWith a body, and unicode: ü")
    repository.push()
    wait_for(lambda: receiver.received)
    headers, raw = receiver.received[0]
    body = json.loads(raw)
    expected = hmac.new(world.webhook_secret.encode(), raw, hashlib.sha256).hexdigest()
    assert headers["X-Hub-Signature-256"] == f"sha256={expected}"
    assert headers["X-GitHub-Event"] == "push"
    assert headers["User-Agent"].startswith("GitHub-Hookshot/")
    assert headers["Content-Type"] == "application/json"
    assert len(headers["X-GitHub-Delivery"]) == 36
    assert headers["X-GitHub-Hook-ID"].isdigit()
    assert (body["ref"], body["before"], body["after"]) == (
        "refs/heads/main",
        first["after"],
        commit,
    )
    assert (body["created"], body["deleted"], body["forced"], body["base_ref"]) == (
        False,
        False,
        False,
        None,
    )
    assert body["compare"].endswith(f"/compare/{first['after'][:12]}...{commit[:12]}")
    assert [entry["id"] for entry in body["commits"]] == [commit]
    head = body["head_commit"]
    assert head["message"] == "Second\n\nWith a body, and unicode: ü"
    assert (head["added"], head["removed"], head["modified"]) == (["added"], ["dropped"], ["kept"])
    assert head["author"] == {"name": "Dana Developer", "email": "dana@acme.example"}
    assert body["repository"]["full_name"].startswith("acme/repository-")
    assert body["repository"]["owner"]["login"] == "acme"
    assert body["repository"]["default_branch"] == "main"
    assert body["repository"]["clone_url"] == repository.git("remote", "get-url", "origin").strip()
    assert body["pusher"]["name"] == body["sender"]["login"] == "dana"


def test_a_person_in_the_work_tree_commits_and_pushes_without_further_words(
    receiver: Receiver, repository: Checkout
):
    receiver.next()
    repository.git("commit", "--quiet", "--allow-empty", "--message", "By hand")
    repository.git("push", "--quiet")
    assert receiver.next()[1]["head_commit"]["message"] == "By hand"


def test_tags_deletions_and_forced_pushes_are_announced(
    world: World, receiver: Receiver, repository: Checkout
):
    first = receiver.next()[1]["after"]
    repository.git("tag", "v1")
    repository.push("v1")
    tag = receiver.next()[1]
    assert (tag["ref"], tag["after"], tag["created"], tag["base_ref"], tag["commits"]) == (
        "refs/tags/v1",
        first,
        True,
        "refs/heads/main",
        [],
    )

    repository.push("HEAD:refs/heads/feature/x")
    assert receiver.next()[1]["ref"] == "refs/heads/feature/x"
    repository.push(":refs/heads/feature/x")
    deleted = receiver.next()[1]
    assert (deleted["deleted"], deleted["after"], deleted["head_commit"], deleted["commits"]) == (
        True,
        NOTHING,
        None,
        [],
    )

    repository.git("checkout", "--quiet", "--orphan", "other")
    repository.commit("Another beginning")
    repository.push("--force", "HEAD:refs/heads/main")
    assert receiver.next()[1]["forced"] is True


def test_a_delivery_can_be_sent_again_and_keeps_its_guid(
    world: World, receiver: Receiver, repository: Checkout
):
    headers, body = receiver.next()
    name = body["repository"]["full_name"]
    hook = world.github.hooks(name)[0]["id"]
    wait_for(lambda: len(world.github.deliveries(name, hook)) == 2)
    delivery = world.github.deliveries(name, hook)[0]
    assert (delivery["event"], delivery["status_code"], delivery["redelivery"]) == (
        "push",
        202,
        False,
    )
    world.github.redeliver(name, hook, delivery["id"])
    again_headers, again = receiver.next()
    assert again == body
    assert again_headers["X-GitHub-Delivery"] == headers["X-GitHub-Delivery"] == delivery["guid"]
    wait_for(lambda: world.github.deliveries(name, hook)[0]["redelivery"])


def test_a_delivery_nobody_takes_is_remembered_as_failed(world: World):
    hook = world.github.hooks("acme/shop")[0]["id"]
    ping = world.github.deliveries("acme/shop", hook)[-1]
    assert (ping["event"], ping["status_code"]) == ("ping", 0)
    told = world.github.delivery("acme/shop", hook, ping["id"])
    assert "refused" in told["response"]["payload"]


def test_the_api_knows_what_was_pushed_and_tags_what_can_be_fetched(
    world: World, receiver: Receiver, repository: Checkout
):
    first = receiver.next()[1]["after"]
    name = repository.git("remote", "get-url", "origin").strip()[len("http://github/") : -4]
    second = repository.commit("Second")
    repository.push()
    receiver.next()
    github = Repository(GitHub({"api_url": fleet.GITHUB_API_URL, "token": TOKEN}), name)
    for commit in (first, second):
        github.verify_push("main", commit)
    repository.git("checkout", "--quiet", "-b", "aside", first)
    repository.commit("Aside")
    repository.push("HEAD:refs/heads/aside")
    receiver.next()
    with pytest.raises(DeliveryError, match="does not contain"):
        github.verify_push("main", repository.git("rev-parse", "HEAD").strip())

    assert github.set_tag("deployed/canary", second, movable=True)
    assert receiver.next()[1]["ref"] == "refs/tags/deployed/canary"
    assert github.set_tag("deployed/canary", first, movable=True)
    assert receiver.next()[1]["forced"] is True
    assert repository.git("ls-remote", "--tags", "origin").split()[0] == first

    assert github.set_status(second, "cicd/ci", "success", "build 1 passed")
    assert world.github.statuses(name, second) == {"cicd/ci": "success"}
    assert world.github.deployments(name) == []


def test_a_repository_nobody_made_cannot_be_cloned_or_pushed_to(world: World, tmp_path):
    checkout = Checkout(tmp_path / "work", f"{world.github_url}/acme/nothing.git")
    checkout.commit("Lost")
    with pytest.raises(GitHubError, match="not found"):
        checkout.push()
