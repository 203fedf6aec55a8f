"""What a host says when a version fails on it, and what is left there: real dpkg, APT and Consul.

The packages are made by hand, because each of them is wrong in a way of its own.
"""

from __future__ import annotations

import contextlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Iterator

import pytest
import yaml
from prune import Prune
from releases import COMMITS, POLICY, SETTINGS, settled
from waiting import wait_for

from delivery.application import Application
from delivery.clock import now
from delivery.discovery import Discovery
from delivery.errors import DeliveryError
from delivery.proof.envelope import Signer
from delivery.proof.statement import provenance
from delivery.releases import File, Release
from delivery.remote import Ssh
from delivery.rollout.steps import RolloutFailed, Steps
from delivery.store import Store
from sandbox.fleet import BUILD
from sandbox.world import World, WorldHost

WORLD = ["--canary", "1", "--production", "2"]
REMOVED = "nothing was installed before, so it was removed"
RULES = {"batch_size": 1, "failure_budget": 0, "min_healthy_s": 0}

UNIT = "usr/lib/systemd/system/shop.service"
SERVE = """\
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if status == "hang":
            time.sleep(60)
        self.send_response(int(status))
        self.end_headers()

port, status = sys.argv[1:]
print(time.strftime("%H:%M:%S"), "\\33[31mbasket\\33[0m", "is", "{{ empty }}", flush=True)
print("    at basket.js:7", flush=True)
if status == "crash":
    raise SystemExit("Error: no database")
ThreadingHTTPServer(("", int(port)), Handler).serve_forever()
"""
START = """\
start-stop-daemon --stop --oknodo --retry TERM/2/KILL/2 --pidfile /run/{name}.pid
start-stop-daemon --start --background --make-pidfile --pidfile /run/{name}.pid \\
    --output /var/log/{name}.log --startas /usr/bin/python3 -- /opt/{name}/serve.py {port} {status}
[ {status} = crash ] || until curl -s -m 1 -o /dev/null 127.0.0.1:{port}/health || [ $? != 7 ]; do
    sleep 0.1
done
"""


@dataclass
class Package:
    """A package to be: `post_inst` runs before the service is started, which answers `status`."""

    name: str
    number: int
    post_inst: str = ""
    status: str = "200"
    depends: str = ""
    conflicts: str = ""  # and replaces
    pre_rm: str = ""
    post_rm: str = ""
    unit: str = ""  # what it starts
    big: bool = False
    version: str = ""
    sha256: str = ""


PACKAGES = {
    "no database yet": Package(
        "shop",
        1,
        "[ $1 = configure ] || exit 1\necho starting\necho cannot bind port 8081 >&2\nexit 3",
        pre_rm="exit 4",
        post_rm="exit 5",
    ),
    "another": Package("notes", 1, depends="coreutils, shop-data"),
    "fixed": Package("shop", 2),
    "dependent": Package("shop", 3, depends="libfoo1 (>= 2), coreutils (>= 99:0), a | b"),
    "silent": Package("shop", 4, "exit 7"),
    "refused": Package("shop", 5, status="crash"),
    "404": Package("shop", 6, status="404"),
    "503": Package("shop", 7, status="503"),
    "slow": Package("shop", 8, status="hang"),
    "big": Package("shop", 9, big=True),
    "unit": Package("shop", 10, unit="/usr/bin/python3 /opt/shop/serve.py 8081 crash"),
    "nothing to run": Package("shop", 11, unit="/opt/shop/nosuch"),
    "waiting": Package("shop", 13, "echo serving; sleep 600"),
    "running unit": Package("shop", 12, unit="/usr/bin/python3 /opt/shop/serve.py 8081 200"),
    "unfinished line": Package("shop", 14, "printf 'no port'; exit 7"),
    "no text": Package(
        "shop", 15, "head -c 300 /dev/urandom; echo; echo no password; head -c 9 /dev/zero; exit 3"
    ),
    "kills dpkg": Package("shop", 16, "echo no memory; kill -KILL $PPID"),
    "takes its time": Package("shop", 18, "sleep 3"),
    "needs coreutils": Package("shop", 17, depends="coreutils"),
    "needs a newer shop": Package("notes", 4, depends="coreutils, shop (>= 3)"),
    "needs the shop": Package("notes", 5, depends="shop (>= 2)"),
    "in place of the shop": Package("notes", 6, conflicts="shop"),
    "half": Package("notes", 2, "[ $(hostname) != production-2 ] || { echo no disk; exit 5; }"),
    "none": Package("notes", 3, "echo $(date +%T) no disk on $$; exit 6"),
}

MAKE = """\
set -eu
cd "$(mktemp -d)"
cat > script
python3 - "$1" < script
aptly repo create -distribution=cicd -component=main cicd-cicd-main > /dev/null
aptly repo add cicd-cicd-main *.deb > /dev/null
aptly publish repo -batch -gpg-key=cicd@build -architectures=amd64,all cicd-cicd-main > /dev/null \
    2>&1
aptly repo create -distribution=other -component=main other > /dev/null
aptly repo add other shop-data_*.deb trouble_*.deb > /dev/null
aptly publish repo -batch -gpg-key=cicd@build -architectures=amd64,all other other > /dev/null 2>&1
sha256sum *.deb
"""


def scripts_of(package: Package) -> dict[str, str]:
    """What dpkg runs, by its name there."""
    start = START.format(
        name=package.name, port={"shop": 8081, "notes": 8082}[package.name], status=package.status
    )
    if package.unit:
        start = f"{start.splitlines()[0]}\nsystemctl daemon-reload\nsystemctl restart shop"
    scripts = {
        "postinst": f"{package.post_inst}\n[ $1 = configure ] || exit 0\n{start}",
        "prerm": package.pre_rm or ("systemctl stop shop" if package.unit else ""),
        "postrm": package.post_rm,
    }
    return {name: f"#!/bin/sh\n{text}\n" for name, text in scripts.items() if text}


MAKER = """\
import json, os, subprocess, sys
for package in json.loads(sys.argv[1]):
    os.makedirs("tree/DEBIAN")
    for path, text in package["files"].items():
        os.makedirs(os.path.dirname(f"tree/{path}"), exist_ok=True)
        with open(f"tree/{path}", "w") as file:
            file.write(text)
        os.chmod(f"tree/{path}", 0o755)
    if package["big"]:
        with open("tree/opt/shop/big", "wb") as file:
            file.write(os.urandom(1 << 20))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", "tree", "."], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run(["rm", "-r", "tree"], check=True)
"""


def is_well(package: Package) -> bool:
    return package.unit.endswith("200") or (package.status == "200" and not package.unit)


def description(package: Package) -> dict[str, object]:
    package.version = f"{package.number}.0-{package.number}.{COMMITS[0][:7]}"
    control = {
        "Package": package.name,
        "Version": package.version,
        "Architecture": "all",
        "Maintainer": "A <a@acme.example>",
        **({"Depends": package.depends} if package.depends else {}),
        **(
            {"Conflicts": package.conflicts, "Replaces": package.conflicts}
            if package.conflicts
            else {}
        ),
        "Description": "sample",
    }
    return {
        "big": package.big,
        "files": {
            "DEBIAN/control": "".join(f"{key}: {value}\n" for key, value in control.items()),
            "DEBIAN/conffiles": f"/etc/{package.name}.ini\n",
            f"etc/{package.name}.ini": "",
            f"opt/{package.name}/serve.py": SERVE,
            **{f"DEBIAN/{name}": text for name, text in scripts_of(package).items()},
            **({UNIT: f"[Service]\nExecStart={package.unit}\n"} if package.unit else {}),
        },
    }


def simple(name: str, depends: str = "") -> dict[str, object]:
    control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: A <a@acme.example>\n"
    control += f"Depends: {depends}\n" if depends else ""
    return {"big": False, "files": {"DEBIAN/control": f"{control}Description: sample\n"}}


class Fleet:
    """The world's hosts, and the applications on them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.canary = world.host("canary-1")
        store = self.store = Store(world.consul_url, world.consul_token)
        ssh = Ssh(
            "root",
            f"{world.directory}/ssh/id_ed25519",
            f"{world.directory}/ssh/known_hosts",
            connect_timeout_s=10,
        )
        self.applications = {name: Application(store, name) for name in ("shop", "notes")}
        self.steps = {
            name: Steps(application, Discovery(store), ssh, POLICY)
            for name, application in self.applications.items()
        }
        self._publish_all(world)

    def _publish_all(self, world: World) -> None:
        every = [description(package) for package in PACKAGES.values()]
        every += [simple("shop-data"), simple("trouble", "no-such-package")]
        made = world.repository_host.run_as_repository_user(
            ["sh", "-c", MAKE, "make", json.dumps(every)], input=MAKER, check=True
        )
        sha256 = {name: digest for digest, name in map(str.split, made.stdout.splitlines())}
        settings = yaml.safe_load((world.config_dir / "cicd_canary.yaml").read_text())
        signer = Signer(settings["proof"]["signing_key"])
        for number, package in enumerate(PACKAGES.values(), 1):
            file = f"{package.name}_{package.version}_all.deb"
            package.sha256 = sha256[file]
            application = self.applications[package.name]
            commit = f"{number:040x}"
            repository = f"acme/{package.name}"
            application.builds.start(commit, repository, "main", "dana")
            application.builds.finish(commit, passed=True)
            build = application.builds.get(commit)
            release = Release(
                version=package.version,
                commit=commit,
                branch="main",
                repository=repository,
                build=build.number,
                by="dana",
                package=File(file, package.sha256, 1),
                settings={
                    **SETTINGS,
                    "rollout": {
                        **RULES,
                        "batch_size": 2 if package is PACKAGES["none"] else 1,
                        "healthy_deadline_s": 60 if is_well(package) else 1,
                    },
                },
                metadata={},
            )
            stated = provenance(package.name, release, build, world.github_url, ["build"], now())
            proof = application.evidence.begin(package.version, signer.sign(stated))
            application.releases.publish(release, together=[proof])

    def deploy(self, which: str, stage: str = "canary") -> str:
        """Brings a package to a stage; returns why that failed, or nothing."""
        package = PACKAGES[which]
        steps = self.steps[package.name]
        if stage == "canary":
            rollout = steps.deploy(stage, package.version, "dana", even_older=True)
        else:
            target = self.applications[package.name].releases.get(package.version).target
            settled(self.applications[package.name], "canary", target)
            rollout = steps.promote(stage, "canary", "dana")
        try:
            while rollout.remaining:
                rollout = steps.update_batch(stage, rollout.deployment)
            steps.finish(stage, rollout.deployment)
            return ""
        except RolloutFailed:
            assert steps.revert(stage, rollout.deployment) == {}
            application = self.applications[package.name]
            reason = application.stages.get(stage).latest().reason
            assert reason in application.events.all()[-1]["message"]
            assert "\n" not in reason and "\x1b" not in reason and "{{" not in reason
            return reason


@contextlib.contextmanager
def setting(host: WorldHost, line: str) -> Iterator[None]:
    """cicd-converge has another setting meanwhile, also the run that a watch of Consul starts."""
    wait_for(lambda: host.run(["pgrep", "-f", "sbin/cicd-converge"]).returncode == 1)
    host.run(["sh", "-c", f"echo {line} >> /etc/cicd/shop.conf"], check=True)
    yield
    host.run(["sed", "-i", f"/{line}/d", "/etc/cicd/shop.conf"], check=True)


def state(host: WorldHost, name: str) -> str:
    shown = host.run(["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Version}", name])
    return shown.stdout


def in_maintenance(host: WorldHost, name: str) -> bool:
    ask = ["curl", "-sf", "--header", "@/etc/cicd/consul-token"]
    checks = json.loads(host.run([*ask, "http://127.0.0.1:8500/v1/agent/checks"]).stdout)
    return f"_service_maintenance:{name}" in checks


@pytest.fixture(scope="module")
def fleet(world: World) -> Fleet:
    for host in world.hosts_of("canary", "production"):
        for name in ("shop", "notes"):
            conf = f"/etc/cicd/{name}.conf"
            host.run(["sed", "-i", "s/^DRAIN.*/DRAIN_SECONDS=0/", conf], check=True)
    return Fleet(world)


def test_a_failed_first_install_leaves_nothing_though_its_scripts_fail(fleet: Fleet):
    version = PACKAGES["no database yet"].version
    assert fleet.deploy("no database yet") == (
        f"canary-1: could not install shop {version}: post-inst exited with 3: "
        f"cannot bind port 8081; {REMOVED}"
    )
    assert state(fleet.canary, "shop") in ("", "not-installed ")
    for path in ("/opt/shop", "/etc/shop.ini", "/var/lib/cicd/shop.sha256"):
        assert fleet.canary.run(["test", "-e", path]).returncode == 1, path
    assert in_maintenance(fleet.canary, "shop")
    report = fleet.applications["shop"].hosts.all()["canary-1"]
    assert (report.version, report.sha256, report.status) == ("", "", "ok")


def test_what_is_in_trouble_on_a_host_is_not_in_another_applications_way(fleet: Fleet):
    sources = "/etc/apt/sources.list.d"
    other = f"s|repository:8080|{BUILD}:8080/other|; s| cicd main| other main|"
    copy = f"sed '{other}' {sources}/cicd.list > {sources}/other.list"
    fleet.canary.run(["sh", "-c", copy], check=True)
    fleet.canary.run(["apt-get", "-qq", "update"], check=True)
    fleet.canary.run(["sh", "-c", "cd /tmp && apt-get -qq download trouble"], check=True)
    assert fleet.canary.run(["sh", "-c", "dpkg --install /tmp/trouble_*"]).returncode == 1
    assert state(fleet.canary, "trouble") == "unpacked 1"
    assert fleet.deploy("another") == ""
    assert state(fleet.canary, "notes") == f"installed {PACKAGES['another'].version}"
    assert state(fleet.canary, "shop-data") == "installed 1"
    assert fleet.canary.run(["apt-mark", "showauto", "shop-data"]).stdout == "shop-data\n"
    assert state(fleet.canary, "trouble") == "unpacked 1"
    log = fleet.canary.run(["cat", "/var/log/dpkg.log"]).stdout
    assert len(re.findall(r" (?:install|upgrade) notes:", log)) == 1, (
        "installed as its own dependency"
    )


def test_the_version_that_is_fixed_is_installed_and_gets_its_traffic(fleet: Fleet):
    assert fleet.deploy("fixed") == ""
    assert state(fleet.canary, "shop") == f"installed {PACKAGES['fixed'].version}"
    assert not in_maintenance(fleet.canary, "shop")


def test_a_missing_dependency_is_named_before_the_host_is_touched(fleet: Fleet):
    began = fleet.canary.run(["cat", "/run/shop.pid"]).stdout
    assert fleet.deploy("dependent").split("; ") == [
        f"canary-1: shop {PACKAGES['dependent'].version} needs libfoo1 (>= 2), which none of the "
        "host's APT sources has",
        "coreutils (>= 99:0), but the host's APT sources have "
        + fleet.canary.run(["dpkg-query", "-Wf", "${Version}", "coreutils"]).stdout,
        "a or b, which none of the host's APT sources has",
    ]
    assert fleet.canary.run(["cat", "/run/shop.pid"]).stdout == began


@pytest.mark.parametrize(
    ("which", "cause", "log"),
    [
        ("silent", "post-inst exited with 7: it printed nothing", ""),
        ("unfinished line", "post-inst exited with 7: no port", ""),
        ("no text", "post-inst exited with 3: no password", ""),
        ("kills dpkg", "dpkg ended with 137 after: no memory", r"[\d:]+ basket is \? empty \?"),
        ("refused", "connection refused at http://127.0.0.1:8081/health", "Error: no database"),
        ("404", "HTTP 404 at http://127.0.0.1:8081/health", r"[\d:]+ basket is \? empty \?"),
        ("503", "HTTP 503 at http://127.0.0.1:8081/health", r"[\d:]+ basket is \? empty \?"),
        ("slow", "no answer within 2 s at http://127.0.0.1:8081/health", ".*"),
    ],
)
def test_the_cause_is_one_line_and_the_version_before_is_restored(
    fleet: Fleet, which: str, cause: str, log: str
):
    version, before = PACKAGES[which].version, PACKAGES["fixed"].version
    what = (
        "could not install shop {}: "
        if PACKAGES[which].post_inst
        else "shop {} was not healthy within 1 s: "
    )
    its_log = f"; its log: {log}" if log else ""
    expected = re.escape(f"canary-1: {what.format(version)}{cause}") + its_log
    assert re.fullmatch(expected + re.escape(f"; {before} restored"), fleet.deploy(which))
    assert state(fleet.canary, "shop") == f"installed {before}"
    assert not in_maintenance(fleet.canary, "shop")


@pytest.mark.parametrize(
    ("which", "log"),
    [
        ("unit", "Error: no database"),
        (
            "nothing to run",
            "shop.service: Failed at step EXEC spawning /opt/shop/nosuch: No such file "
            "or directory",
        ),
    ],
)
def test_a_unit_whose_service_does_not_stay_says_why(fleet: Fleet, which: str, log: str):
    reason = fleet.deploy(which)
    assert f"connection refused at http://127.0.0.1:8081/health; its log: {log}; " in reason
    assert reason.endswith(f"; {PACKAGES['fixed'].version} restored")


def test_a_unit_runs_with_the_host(fleet: Fleet):
    assert fleet.deploy("running unit") == ""
    assert fleet.canary.run(["systemctl", "is-active", "shop"]).stdout == "active\n"


def test_a_unit_on_a_host_without_systemd_is_told_before_the_host_is_touched(fleet: Fleet):
    before = state(fleet.canary, "shop")
    fleet.canary.run(["mv", "/run/systemd/system", "/run/systemd/away"], check=True)
    try:
        assert fleet.deploy("unit") == (
            "canary-1: shop has package.systemd_unit, but this host does not run systemd"
        )
    finally:
        fleet.canary.run(["mv", "/run/systemd/away", "/run/systemd/system"], check=True)
    assert state(fleet.canary, "shop") == before


def test_a_full_disk_is_named(fleet: Fleet):
    fleet.canary.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k,mode=755", "none", "/opt/shop"], check=True
    )
    try:
        assert "No space left on device" in fleet.deploy("big")
    finally:
        fleet.canary.run(["umount", "/opt/shop"], check=True)
    assert fleet.deploy("fixed") == ""  # some of its files were on that disk


@pytest.mark.parametrize("place", ["/tmp", "/var/lib/cicd", "/var/cache/cicd/shop"])
def test_a_disk_without_room_for_the_work_leaves_the_host_as_it_is(fleet: Fleet, place: str):
    began = fleet.canary.run(["cat", "/run/shop.pid"]).stdout
    fill = (
        "mkdir /full; mount -t tmpfs -o size=128k,mode=1777 none /full; cp -a $1/*.* /full; "
        "head -c 200000 /dev/zero > /full/fill; mount --move /full $1"
    )
    fleet.canary.run(["sh", "-c", fill, "-", place], check=True)
    try:
        assert fleet.deploy("503").startswith(f"canary-1: no room in {place} for {place}")
    finally:
        fleet.canary.run(["umount", "--lazy", place], check=True)
    assert fleet.canary.run(["cat", "/run/shop.pid"]).stdout == began
    assert not in_maintenance(fleet.canary, "shop")


def test_a_program_that_keeps_dpkg_locked_is_named(fleet: Fleet):
    hold = (
        "import fcntl, time; file = open('/var/lib/dpkg/lock-frontend', 'w');"
        "fcntl.lockf(file, fcntl.LOCK_EX); time.sleep(600)"
    )
    fleet.canary.run(
        ["sh", "-c", 'python3 -c "$1" > /dev/null 2>&1 & echo $! > /run/holder', "-", hold],
        check=True,
    )
    try:
        wait_for(lambda: "lock" in fleet.canary.run(["dpkg", "--configure", "--pending"]).stderr)
        with setting(fleet.canary, "dpkg_wait_seconds=1"):
            said = fleet.deploy("503")
        assert "another program to let go of dpkg: dpkg frontend lock" in said
    finally:
        fleet.canary.run(["sh", "-c", "kill $(cat /run/holder)"], check=True)


def test_a_script_that_does_not_end_is_ended(fleet: Fleet):
    with setting(fleet.canary, "dpkg_run_seconds=3"):
        reason = fleet.deploy("waiting")
    assert (
        "could not install shop 13.0-13.aaaaaaa: did not end within 3 s, after: serving" in reason
    )
    assert fleet.canary.run(["pgrep", "-f", "^sleep 600"]).returncode == 1


def test_a_host_whose_converge_is_killed_says_the_truth_when_it_runs_again(fleet: Fleet):
    hosts, target = fleet.applications["shop"].hosts, PACKAGES["takes its time"].version
    before = hosts.all()["canary-1"]
    with ThreadPoolExecutor(1) as pool:
        deployed = pool.submit(fleet.deploy, "takes its time")
        wait_for(lambda: hosts.all()["canary-1"].is_installing)
        at_work = hosts.all()["canary-1"]
        fleet.canary.run(["pkill", "-KILL", "-f", "sbin/cicd-converge shop"], check=True)
        assert "canary-1: " in deployed.result(60)
    assert (at_work.version, at_work.sha256) == (before.version, before.sha256)
    assert (at_work.desired, at_work.reason) == (target, "")
    assert at_work.deployment == fleet.applications["shop"].stages.get("canary").latest().deployment
    after = hosts.all()["canary-1"]
    assert (after.version, after.sha256, after.status) == (before.version, before.sha256, "ok")
    assert state(fleet.canary, "shop") == f"installed {before.version}"
    assert not in_maintenance(fleet.canary, "shop")


def test_a_host_that_only_lost_its_connection_is_waited_for(fleet: Fleet):
    hosts = fleet.applications["shop"].hosts
    with ThreadPoolExecutor(1) as pool:
        deployed = pool.submit(fleet.deploy, "takes its time")
        wait_for(lambda: hosts.all()["canary-1"].is_installing)
        fleet.canary.run(["pkill", "-KILL", "-f", "^sshd: root@notty"], check=True)
        assert deployed.result(60) == ""
    assert hosts.all()["canary-1"].status == "ok"
    assert fleet.deploy("fixed") == ""


def test_an_application_is_brought_to_a_host_by_its_own_rollouts_only(fleet: Fleet):
    """The source has every version of it, also what was never promoted, or is frozen."""
    shop, notes = state(fleet.canary, "shop"), state(fleet.canary, "notes")
    assert fleet.deploy("needs a newer shop") == (
        f"canary-1: notes {PACKAGES['needs a newer shop'].version} needs shop (>= 3), but the "
        f"host's APT sources have {PACKAGES['fixed'].version}; shop is an application: it comes "
        "here by its own rollouts only"
    )
    assert (state(fleet.canary, "shop"), state(fleet.canary, "notes")) == (shop, notes)


def test_an_application_that_another_one_needs_can_still_be_updated(fleet: Fleet):
    assert fleet.deploy("needs the shop") == ""
    assert fleet.deploy("needs coreutils") == ""
    assert state(fleet.canary, "shop") == f"installed {PACKAGES['needs coreutils'].version}"


def test_no_application_takes_the_place_of_another(fleet: Fleet):
    assert fleet.deploy("in place of the shop") == (
        "canary-1: notes replaces shop, an application of this host; correct package.replaces, or "
        "delete /etc/cicd/shop.conf if shop is no more"
    )
    assert state(fleet.canary, "shop").startswith("installed ")
    assert fleet.deploy("fixed") == ""


def test_hosts_where_the_first_version_had_succeeded_go_back_to_nothing(fleet: Fleet):
    assert fleet.deploy("half", "production") == (
        f"production-2: could not install notes {PACKAGES['half'].version}: "
        f"post-inst exited with 5: no disk; {REMOVED}"
    )
    reports = fleet.applications["notes"].hosts.all()
    for name in ("production-1", "production-2"):
        host = fleet.world.host(name)
        assert state(host, "notes") in ("", "not-installed "), name
        assert host.run(["test", "-e", "/opt/notes"]).returncode == 1, name
        assert in_maintenance(host, "notes"), name
        assert reports[name].version == ""


def test_one_cause_on_several_hosts_is_told_once(fleet: Fleet):
    reason = fleet.deploy("none", "production")
    assert reason.startswith("production-1, production-2: could not install notes 3.0-")
    assert reason.count("post-inst exited with 6") == 1


def test_what_somebody_else_installed_is_not_removed(fleet: Fleet):
    """Consul names no version here; neither does a Consul that has lost its data."""
    host = fleet.world.host("production-1")
    package = f"shop={PACKAGES['fixed'].version}"
    get = f"cd /tmp && apt-get -qq update && apt-get -qq download {package}"
    host.run(["sh", "-c", f"{get} && dpkg --install shop_*"], check=True)
    report = json.loads(host.run(["cicd-converge", "shop"], check=True).stdout)
    assert (report["status"], report["reason"]) == ("ok", "nothing to install yet")
    assert state(host, "shop").startswith("installed ")


def test_old_releases_go_with_their_packages_and_hosts_go_on(fleet: Fleet):
    shop = fleet.applications["shop"]
    for version in shop.releases.versions():
        key = f"shop/releases/{version}"
        entry = fleet.store.get(key)
        aged = dict(json.loads(entry.value), created_at="2026-01-01T00:00:00Z")
        fleet.store.commit([fleet.store.set(key, json.dumps(aged), entry)])
    for commit in (key[len("shop/builds/") :] for key in fleet.store.keys("shop/builds")):
        key = f"shop/builds/{commit}"
        entry = fleet.store.get(key)
        aged = dict(json.loads(entry.value), finished_at="2026-01-01T00:00:00Z")
        fleet.store.commit([fleet.store.set(key, json.dumps(aged), entry)])
    shop.events.mark_seen(shop.events.all()[-1]["id"])
    configuration = yaml.safe_load((fleet.world.config_dir / "cicd_canary.yaml").read_text())
    configuration["keep"] = {"releases": 1, "builds": 1}
    began = fleet.canary.run(["cat", "/run/shop.pid"]).stdout

    succeeded, result = Prune(configuration).run(app="shop", dry_run=False)

    assert succeeded, result
    removed = result["applications"][0]["releases"]
    assert {PACKAGES["404"].version, PACKAGES["silent"].version} <= set(removed)
    for host in fleet.world.hosts_of("canary", "production"):
        host.run(["apt-get", "-qq", "update"], check=True)
        offered = host.run(["apt-cache", "madison", "shop"], check=True).stdout
        assert {line.split("|")[1].strip() for line in offered.splitlines()} - {
            state(host, "shop").partition(" ")[2]
        } <= set(shop.releases.versions())
        assert not any(f" {version} " in offered for version in removed)
    assert fleet.canary.run(["cat", "/run/shop.pid"]).stdout == began
    with pytest.raises(DeliveryError, match="no release"):
        fleet.deploy("404")
    assert fleet.deploy("fixed") == ""
    assert {path.partition("_")[2][:-4] for path in cached(fleet.canary)} <= set(
        shop.releases.versions()
    )


def cached(host: WorldHost) -> list[str]:
    """The packages that the host keeps: what it runs, and what it ran before."""
    files = host.run(["ls", "/var/cache/cicd/shop"]).stdout.split()
    assert 1 <= len(files) <= 2
    return files
