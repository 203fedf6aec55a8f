"""Delivers an application of every template, with every packager: see script/test-corpus.

Runs in a world. Each application is added with `script/sandbox add`, pushed, promoted, pushed
again, promoted, and rolled back; what it answers is asked through the load balancer.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

PROJECT = Path(__file__).resolve().parent.parent
for path in (PROJECT, PROJECT / "actions/lib"):
    sys.path.insert(0, str(path))

from delivery.application import Application  # noqa: E402
from delivery.store import Store  # noqa: E402
from demo.__main__ import serving_engine  # noqa: E402
from packengine.engine import Engine  # noqa: E402
from sandbox.templates import TEMPLATES, Template  # noqa: E402
from sandbox.world import World  # noqa: E402

SIDE_BY_SIDE = 3  # a delivery waits more than it computes
PATIENCE_S = 240
PACKAGERS = ("nfpm", "fpm")
ROLLOUT = "rollout:\n  min_healthy_s: 0\n"
FAILURES = ("build_failed", "packaging_failed", "rollout_failed")


class Untrue(Exception):
    """What an application did not do, in one line."""


class WaitedInVain(Untrue):
    """What was waited for did not come."""


@dataclass
class Outcome:
    """What became of one application with one packager.

    reason: why it failed or was skipped.
    """

    kind: str
    packager: str
    result: str
    seconds: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.result} {self.seconds:.0f} s" if self.seconds else self.result


class Delivery:
    """The application of one template on its way; a repository may hold several."""

    def __init__(self, world: World, engine: Engine, template: Template, packager: str) -> None:
        self.world, self.engine, self.template = world, engine, template
        self.name = f"{template.kind}-{packager}"
        self.paths = template.paths(self.name)
        store = Store(world.consul_url, world.consul_token)
        self.applications = {name: Application(store, name) for name in self.paths}
        self.directory = world.directory / "corpus" / self.name

    def run(self) -> None:
        """The whole way; Untrue where it is not as it should be."""
        self.add()
        first = self.push("1.0.0")
        self.promote(first)
        second = self.push("2.0.0")
        for name in self.paths:
            self.expect(name, {first[name], second[name]}, "after the second push")
        self.promote(second)
        for name in self.paths:
            self.expect(name, {second[name]}, "after the promotion")
            self.engine_runs("deploy_rollback", name, stage="production")
            self.expect(name, {first[name], second[name]}, "after the rollback")
            self.expect(name, {second[name]}, "on the canary, after the rollback", canary=True)

    def add(self) -> None:
        self.command(
            str(PROJECT / "script/sandbox"),
            *("add", self.name, "--template", self.template.kind),
            *("--directory", str(self.directory)),
        )

    def command(self, *command: str) -> None:
        done = subprocess.run(
            command,
            cwd=self.directory if self.directory.exists() else PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            said = (done.stdout.strip().splitlines() or ["no output"])[-1]
            raise Untrue(f"{Path(command[0]).name} {command[1]}: {said}")

    def push(self, version: str) -> dict[str, str]:
        """Has the next version on the canary, as the balancer's answer tells; returns it whole."""
        before = {name: len(each.events.all()) for name, each in self.applications.items()}
        for path in self.paths.values():
            self.set_version(self.directory / path, version)
        self.command("git", "commit", "--all", "--quiet", "--message", f"Version {version}")
        self.command("git", "push", "--quiet")
        whole = {}
        for name, application in self.applications.items():
            wait(
                lambda: self.is_on_canary(application, version, before[application.name]),
                f"{version} on the canary",
            )
            whole[name] = str(application.stages.get("canary").version)
            self.expect(name, {whole[name]}, "on the canary", canary=True)
        return whole

    def set_version(self, directory: Path, version: str) -> None:
        path = directory / self.template.version_file
        path.write_text(re.sub(r"\b[12]\.0\.0\b", version, path.read_text(), count=1))
        settings = directory / ".cicd.yaml"
        settings.write_text(settings.read_text().replace(ROLLOUT, "") + ROLLOUT)

    def is_on_canary(self, application: Application, version: str, before: int) -> bool:
        for event in application.events.all()[before:]:
            if event["type"] in FAILURES:
                raise Untrue(event["message"])
        current = application.stages.get("canary")
        return current.status == "live" and (current.version or "").startswith(f"{version}-")

    def promote(self, versions: dict[str, str]) -> None:
        for name, version in versions.items():
            self.engine_runs("deploy_promote", name)
            runs = self.applications[name].stages.get("production").version
            if runs != version:
                raise Untrue(f"production runs {runs}, not {version}")

    def engine_runs(self, action: str, name: str, **parameters: Any) -> None:
        execution = self.engine.run(
            f"cicd_canary.{action}", {"app": name, **parameters}, user="olga"
        )
        if execution.status != "succeeded":
            raise Untrue(f"{action}: {json.dumps(execution.result)[:300]}")

    def expect(self, name: str, versions: set[str], when: str, canary: bool = False) -> None:
        """Waits until the balancer's hosts answer with these versions and no other."""
        answers: set[str] = set()

        def as_expected() -> bool:
            answers.clear()
            answers.update(ask(name, canary) for _ in range(8))
            return answers == versions

        try:
            wait(as_expected, "the balancer", seconds=PATIENCE_S)
        except WaitedInVain:
            wanted = " and ".join(sorted(versions))
            got = " and ".join(sorted(answers))
            raise Untrue(f"the balancer answers {got}, not {wanted}, {when}") from None


def ask(name: str, canary: bool) -> str:
    """The version that an application's health check says, through the balancer."""
    headers = {"X-Canary": "true"} if canary else {}
    request = urllib.request.Request(f"http://{name}/health", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            version: str = json.load(answer)["version"]
            return version
    except OSError as error:
        return str(error)


def wait(ready: Callable[[], bool], what: str, seconds: float = PATIENCE_S) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise WaitedInVain(f"waited {seconds:g} s for {what}")
        time.sleep(0.2)


def deliver(world: World, data_dir: Path, template: Template, packager: str) -> Outcome:
    if template.missing():
        reason = f"not installed: {' '.join(template.missing())}"
        return Outcome(template.kind, packager, "skipped", reason=reason)
    began = time.monotonic()
    with engine_of(world, data_dir) as engine:
        try:
            Delivery(world, engine, template, packager).run()
            result, reason = "passed", ""
        except Exception as error:  # one application's mishap is no other's
            result, reason = "failed", str(error) or type(error).__name__
    outcome = Outcome(template.kind, packager, result, time.monotonic() - began, reason)
    print(f"  {packager:<6}{template.kind:<12}{outcome}  {reason}", flush=True)
    return outcome


def engine_of(world: World, data_dir: Path) -> Engine:
    return Engine(packs=[str(PROJECT)], config_dir=str(world.config_dir), data_dir=str(data_dir))


def with_packager(world: World, packager: str, templates: list[Template]) -> list[Outcome]:
    """Delivers one application of each template."""
    program = shutil.which(packager) or shutil.which(packager, path=str(PROJECT / ".venv/bin"))
    if not program:
        reason = f"{packager} is not on PATH"
        return [Outcome(each.kind, packager, "skipped", reason=reason) for each in templates]
    link = ["ln", "--symbolic", "--force", program, f"/usr/local/bin/{packager}"]
    world.host("build").run(link, check=True)
    settings = world.config_dir / "cicd_canary.yaml"
    written = settings.read_text()
    settings.write_text(re.sub(r"(packaging:\n  tool: )\w+", rf"\g<1>{packager}", written))
    data_dir = world.directory / f"engine-{packager}"
    with serving_engine(world, data_dir), ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return list(pool.map(lambda each: deliver(world, data_dir, each, packager), templates))


def show(outcomes: list[Outcome]) -> None:
    """Prints the table, the reasons below it, and the closing line."""
    packagers = list(dict.fromkeys(each.packager for each in outcomes))
    print(f"\n{'application':<14}" + "".join(f"{packager:<16}" for packager in packagers))
    for kind in dict.fromkeys(each.kind for each in outcomes):
        cells = [str(each) for each in outcomes if each.kind == kind]
        print(f"{kind:<14}" + "".join(f"{cell:<16}" for cell in cells))
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for each in outcomes:
        if each.reason:
            reasons.setdefault((each.result, each.packager, each.reason), []).append(each.kind)
    for (result, packager, reason), kinds in reasons.items():
        print(f"{result} with {packager}: {', '.join(kinds)}: {reason}")
    counted = [each.result for each in outcomes]
    print(", ".join(f"{counted.count(word)} {word}" for word in ("passed", "failed", "skipped")))


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="script/test-corpus")
    parser.add_argument("--packager", action="append", choices=PACKAGERS)
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    options = parser.parse_args(arguments)
    unknown = set(options.kinds) - set(TEMPLATES)
    if unknown:
        parser.error(f"no kind {' '.join(unknown)}; kinds: {' '.join(TEMPLATES)}")
    world = World.load()
    chosen = [TEMPLATES[kind] for kind in options.kinds or TEMPLATES]
    outcomes = []
    for packager in options.packager or PACKAGERS:
        outcomes += with_packager(world, packager, chosen)
    show(outcomes)
    return 1 if any(each.result == "failed" for each in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
