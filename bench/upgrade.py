"""An upgrade of production, next to other ways of upgrading the same hosts to the same package."""

from __future__ import annotations

import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Callable, Iterator, Sequence

from bench.delivery import wait_until_live
from bench.measure import BenchError, row, seconds, show
from delivery.rollout.steps import CONVERGE
from demo.__main__ import serving_engine
from demo.story import Story
from sandbox.world import World, WorldHost

BATCH = 5
OURS = "promotion, as configured by default"
OURS_WITHOUT_WAITS = "promotion without drain and min_healthy_s"
BARE = "bare parallel SSH, apt-get install"
PLAYBOOK = "Ansible playbook, serial, waits for health"

# What cicd-converge and apt-get would otherwise find downloaded already.
FORGET_DOWNLOADS = "rm -rf /var/cache/cicd/shop /var/cache/apt/archives/*.deb"


def run(world: World, repeat: int) -> None:
    """Prints the table."""
    data_dir = world.directory / "bench-upgrade"
    with serving_engine(world, data_dir):
        taken = Upgrades(world, data_dir).measure(repeat)
    bare = median(taken[BARE])
    show(
        f"Upgrade of {len(world.hosts_of('production'))} production hosts in batches of {BATCH}: "
        f"seconds, of {repeat} rounds",
        ["", "median", "least", "most", "of bare"],
        [row(way, each, f"{median(each) / bare:.1f} x") for way, each in taken.items()],
    )
    if PLAYBOOK not in taken:
        print("\n  without Ansible: ansible-core or python3-apt could not be had")


class Upgrades:
    """The same hosts, upgraded in each way in turn, from one version to another."""

    def __init__(self, world: World, data_dir: Path) -> None:
        self.world = world
        self.data_dir = data_dir
        self.hosts = world.hosts_of("production")
        self.story = Story(world, "shop", data_dir)

    def measure(self, repeat: int) -> dict[str, list[float]]:
        """Returns the seconds of each upgrade, by way."""
        self.bring_to_canary("1.0.0")
        self.promote()
        self.bring_to_canary("2.0.0")
        taken = {OURS: [self.promote_and_return() for _ in range(repeat)]}
        self.bring_to_canary("3.0.0", min_healthy_s=0)
        self.on_every_host(
            ["sed", "-i", "s/^DRAIN_SECONDS=.*/DRAIN_SECONDS=0/", "/etc/cicd/shop.conf"]
        )
        ways: dict[str, Callable[[], float]] = {
            OURS_WITHOUT_WAITS: self.promote_and_return,
            BARE: self.bare_and_return,
        }
        if "BENCH_ANSIBLE" in os.environ:
            ways[PLAYBOOK] = self.playbook_and_return
        taken.update({way: [] for way in ways})
        for _ in range(repeat):
            for way, upgrade in ways.items():
                taken[way].append(upgrade())
        return taken

    # --- the ways ---------------------------------------------------------------------------------

    def promote_and_return(self) -> float:
        taken = self.upgrade(self.promote)
        rolled_back = self.story.engine.run("cicd_canary.deploy_rollback", {"app": "shop"})
        self.require(rolled_back.status == "succeeded", "the rollback failed")
        return taken

    def bare_and_return(self) -> float:
        new, old = self.story.version("canary"), self.story.version("production")
        with self.no_watches():
            taken = self.upgrade(lambda: self.install_over_ssh(new))
            self.install_over_ssh(old)
        return taken

    def playbook_and_return(self) -> float:
        new, old = self.story.version("canary"), self.story.version("production")
        playbook = self.write_playbook(new)
        with self.no_watches():
            taken = self.upgrade(lambda: self.play(playbook))
            self.install_over_ssh(old)
        return taken

    def upgrade(self, way: Callable[[], Any]) -> float:
        """Returns the seconds one way takes; every host must then have the canary's version."""
        self.on_every_host(["sh", "-c", FORGET_DOWNLOADS])
        taken = seconds(way)
        wanted = self.story.version("canary")
        for host in self.hosts:
            installed = host.run(["dpkg-query", "-W", "-f", "${Version}", "shop"]).stdout
            self.require(installed == wanted, f"{host.name} has {installed}, not {wanted}")
        return taken

    def promote(self) -> None:
        execution = self.story.engine.run("cicd_canary.deploy_promote", {"app": "shop"})
        self.require(execution.status == "succeeded", f"the promotion failed: {execution.result}")

    def install_over_ssh(self, version: str) -> None:
        """What a shell script would do: apt-get on the hosts of a batch at once, then the next."""
        command = (
            "apt-get -qq update && DEBIAN_FRONTEND=noninteractive "
            f"apt-get -qq install --yes --allow-downgrades shop={version}"
        )
        for batch in self.batches():
            running = [
                subprocess.Popen(
                    ["ssh", *self.ssh_options(), f"root@{host.address}", command],
                    text=True,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                )
                for host in batch
            ]
            for each in running:
                said, _ = each.communicate()
                self.require(each.returncode == 0, f"apt-get over SSH failed: {said[-500:]}")

    def play(self, playbook: Path) -> None:
        directory = os.environ["BENCH_ANSIBLE"]
        done = subprocess.run(
            [f"{directory}/bin/ansible-playbook", "-i", "inventory", playbook.name],
            cwd=playbook.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.require(done.returncode == 0, f"the playbook failed: {done.stdout[-2000:]}")

    def write_playbook(self, version: str) -> Path:
        directory = self.data_dir / "ansible"
        directory.mkdir(exist_ok=True)
        (directory / "inventory").write_text(
            "".join(f"{host.name} ansible_host={host.address}\n" for host in self.hosts)
        )
        (directory / "ansible.cfg").write_text(
            "[defaults]\nforks = 50\nremote_user = root\ninterpreter_python = /usr/bin/python3\n"
            f"local_tmp = {directory}/tmp\n"
            "[connection]\npipelining = true\n"
            f"[ssh_connection]\nssh_args = {' '.join(self.ssh_options())}\n"
        )
        playbook = directory / "upgrade.yaml"
        playbook.write_text(f"""\
- hosts: all
  gather_facts: false
  serial: {BATCH}
  environment:
    PYTHONPATH: {os.environ["BENCH_ANSIBLE"]}/apt/usr/lib/python3/dist-packages
  tasks:
    - apt: {{name: "shop={version}", update_cache: true, allow_downgrade: true}}
    - uri: {{url: "http://127.0.0.1:{self.world.applications["shop"]}/health"}}
      register: health
      until: health.status == 200
      retries: 60
      delay: 1
""")
        return playbook

    # --- the means --------------------------------------------------------------------------------

    def bring_to_canary(self, version: str, **rollout: int) -> None:
        """Pushes a version whose rollouts have these settings, and waits until it is live."""
        settings = self.story.checkout.directory / ".cicd.yaml"
        lines = [f"  {key}: {value}" for key, value in {"batch_size": BATCH, **rollout}.items()]
        kept = re.sub(r"(?s)rollout:.*", "", settings.read_text())
        settings.write_text("\n".join([kept + "rollout:", *lines]) + "\n")
        self.story.checkout.set_version(version)
        commit = self.story.checkout.commit(f"Version {version}")
        self.story.checkout.push()
        wait_until_live(self.story, "canary", commit)

    def batches(self) -> Iterator[Sequence[WorldHost]]:
        for start in range(0, len(self.hosts), BATCH):
            yield self.hosts[start : start + BATCH]

    @contextmanager
    def no_watches(self) -> Iterator[None]:
        """Keeps a late watch of Consul from undoing what was not installed by a promotion."""
        self.on_every_host(
            ["sh", "-c", f"mv {CONVERGE} {CONVERGE}.off && flock /var/lib/cicd/shop.lock true"]
        )
        yield
        self.on_every_host(["mv", f"{CONVERGE}.off", CONVERGE])

    def on_every_host(self, command: list[str]) -> None:
        for host in self.hosts:
            host.run(command, check=True)

    def ssh_options(self) -> list[str]:
        directory = self.world.directory / "ssh"
        return [
            "-i",
            str(directory / "id_ed25519"),
            "-o",
            "BatchMode=yes",
            "-o",
            f"UserKnownHostsFile={directory}/known_hosts",
            "-o",
            "StrictHostKeyChecking=yes",
        ]

    @staticmethod
    def require(true: bool, otherwise: str) -> None:
        if not true:
            raise BenchError(otherwise)
