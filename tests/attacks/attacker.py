"""Who may push to one repository and wants more: its scripts, run by the pack in the sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from delivery import metadata, packaging, settings
from delivery.ci import Job, Verdict
from delivery.ci.build_host import BuildHost
from delivery.configuration import Configuration
from delivery.isolation import FIRST_UID, LAST_UID, Isolation
from delivery.packaging import Recipe
from delivery.workspace import Workspace
from sandbox.repositories import Checkout
from sandbox.world import World

LIMITS = {"memory_mib": 256, "processes": 64, "disk_mib": 128, "log_mib": 1}
NOTHING = "#!/bin/sh\n"

# What no build may change on its host.
STATE = """
find /root/.ssh /var/lib/cicd-repository/.gnupg/private-keys-v1.d /var/lib/cicd-repository/aptly \\
    /etc /srv /usr/local -xdev \\
    -printf '%p %m %U %s %T@ %l\\n'
ls -A /root
ls /var/tmp/cicd-canary 2>/dev/null
grep -E ' /var/tmp/cicd-canary/' /proc/mounts
ip -o address
"""


class Attacker:
    def __init__(self, world: World, directory: Path) -> None:
        self.world = world
        self.build_host = world.host("build")
        self.values = yaml.safe_load((world.config_dir / "cicd_canary.yaml").read_text())
        self.values["build"].update(limits=LIMITS, network="internet")
        self.checkout = Checkout.of_sample(directory / "shop", "shop", world.github_url)

    @property
    def configuration(self) -> Configuration:
        return Configuration(self.values)

    def push(self, files: dict[str, str]) -> str:
        for path, text in files.items():
            file = self.checkout.directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            file.write_text(text)
            file.chmod(0o755)
        commit = self.checkout.commit("As ever")
        self.checkout.push("--force", "HEAD:refs/heads/main")
        return commit

    def ci(self, cibuild: str, path: str = "", timeout_s: int = 60, **files: str) -> Verdict:
        """Has CI run a script; returns its verdict."""
        prefix = f"{path}/" if path else ""
        scripts = {f"{prefix}script/{name}": NOTHING for name in ("cisetup", "post-inst")}
        commit = self.push({**scripts, f"{prefix}script/cibuild": cibuild, **files})
        self.values["ci"]["timeout_s"] = timeout_s
        url = f"{self.world.github_url}/acme/shop.git"
        job = Job("shop", "acme/shop", url, "main", commit, "shop-1", path)
        return BuildHost.configured(self.configuration).run(job)

    def workspace(self) -> Workspace:
        configuration = self.configuration
        return Workspace.create(
            configuration.build_ssh(),
            configuration.build_host(),
            Isolation.configured(configuration),
        )

    def package(self, script: str, more: str = "", path: str = "") -> dict[str, str]:
        """Has the pack package what a `package.build` has left; returns what the package contains
        by path, as dpkg-deb lists it, with the control data as ""."""
        prefix = f"{path}/" if path else ""
        commit = self.push(
            {
                f"{prefix}script/package": script,
                f"{prefix}script/post-inst": NOTHING,
                f"{prefix}VERSION": "1.0\n",
                f"{prefix}.cicd.yaml": f"package: {{build: script/package{more}}}\n",
            }
        )
        work = self.workspace()
        try:
            work.check_out(f"{self.world.github_url}/acme/shop.git", commit, "main", path)
            chosen = settings.load(
                work.read_sources([settings.FILE], path).files[settings.FILE], "shop"
            )
            sources = work.read_sources(metadata.paths(chosen), path)
            found = metadata.read(sources, chosen, commit, "acme/shop")
            recipe = Recipe("shop", "1.0-1.x", commit, "main", 1, found, chosen.as_dict())
            recipe.leave_in(work)
            package = packaging.TOOLS.create(self.configuration).build(work, recipe)
            package.require(Recipe.found_in(work))
            assert work.log(commit)[0].subject == "As ever"
            deb = f"{work.path}/package/{package.file}"
            listed = self.build_host.run(["dpkg-deb", "--contents", deb], check=True).stdout
            content = {line.split(None, 5)[5]: line for line in listed.splitlines()}
            control = self.build_host.run(["dpkg-deb", "--field", deb], check=True).stdout
            return {**content, "": control}
        finally:
            work.remove()

    def state(self) -> dict[str, Any]:
        """Returns what has to be the same after every attack."""
        done = self.build_host.run(["sh", "-c", STATE])
        processes = self.build_host.run(
            ["sh", "-c", "cat /proc/[0-9]*/status | awk '/^Uid:/ {print $2}'"]
        ).stdout.split()
        return {
            "host": done.stdout.splitlines(),
            "of builds": [uid for uid in processes if FIRST_UID <= int(uid) <= LAST_UID],
            "consul": self.keys(),
        }

    def keys(self) -> dict[str, Any]:
        """Returns all of Consul's KV but what hosts say of themselves."""
        found = self.world.consul("kv/?recurse")
        return {each["Key"]: each["Value"] for each in found if "/hosts/" not in each["Key"]}
