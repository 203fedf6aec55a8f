"""From a git push to production, while clients keep asking."""

from __future__ import annotations

import io
import threading
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from delivery.application import Application
from delivery.store import Store
from demo import failures, screen
from demo.pipeline import Follower, PipelineFailed
from demo.traffic import Reply, Traffic, ask
from packengine import chat
from packengine.engine import Engine
from sandbox import pace
from sandbox.repositories import Checkout
from sandbox.world import World

PROJECT = Path(__file__).resolve().parent.parent
DEVELOPER, OPERATOR = "dana", "olga"
PIPELINE_TIMEOUT_S = 300
CANARY_REQUESTS = 20


class Story:
    """One run of the demo.

    :param world: the sandbox.
    :param app: which sample application.
    """

    def __init__(self, world: World, app: str, data_dir: Path) -> None:
        self.world = world
        self.app = app
        self.samples = set(world.applications)
        self.data_dir = data_dir
        self.config_dir = world.config_dir
        self.application = Application(Store(world.consul_url, world.consul_token), app)
        self.engine = Engine(
            packs=[str(PROJECT)], config_dir=str(self.config_dir), data_dir=str(data_dir)
        )
        self.checkout = Checkout.of_sample(data_dir / "checkout" / app, app, world.github_url)
        self.promises: list[tuple[str, bool]] = []
        self.spent: list[tuple[str, float, float]] = []
        self.steps: list[Any] = []

    # --- chapters -------------------------------------------------------------------------------

    def first_version(self) -> None:
        screen.heading(1, "Version 1.0.0 reaches production")
        self.push("1.0.0")
        screen.explain("The canary runs it. Production is still empty.")
        self.promote()

    def second_version(self) -> None:
        screen.heading(2, "Version 2.0.0 reaches the canary, under traffic")
        screen.explain("From here on a client sends 50 requests a second through HAProxy.")
        self.push("2.0.0")
        old, new = self.version("production"), self.version("canary")
        self.show_who_answers(old, new)

    def show_who_answers(self, old: str, new: str) -> None:
        replies = [ask(self.world.balancer_url, self.app) for _ in range(CANARY_REQUESTS)]
        marked = [
            ask(self.world.balancer_url, self.app, canary=True) for _ in range(CANARY_REQUESTS)
        ]
        screen.say()
        for command, answers in (
            (f"curl http://{self.app}/", replies),
            (f"curl -H 'X-Canary: true' http://{self.app}/", marked),
        ):
            screen.say(f"   {command:<40}{tally(answers)}")
        self.promise(
            "the canary serves the new version, production the old one",
            all(
                reply.version == (new if reply.host.startswith("canary") else old)
                for reply in replies + marked
            ),
        )
        self.promise(
            "requests with X-Canary: true always reach the canary",
            all(reply.host.startswith("canary") for reply in marked),
        )
        screen.say()
        self.type("!deploy status")

    def production(self) -> None:
        screen.heading(3, "Promotion to production, batch by batch")
        canary = self.application.stages.get("canary").settled[-1]
        self.promote()
        production = self.application.stages.get("production").settled[-1]
        self.promise(
            "production has the canary's exact version and package",
            production.target == canary.target,
        )

    def outcome(self, traffic: Traffic) -> None:
        screen.heading(4, "Result")
        version = self.version("production")
        hosts = self.hosts()
        screen.table(
            [("host", "stage", "version", "package SHA-256", "serves it"), *hosts],
            (14, 12, 18, 24, 9),
        )
        screen.say()
        self.promise(
            f"all {len(hosts)} hosts run {version}", all(row[2] == version for row in hosts)
        )
        self.promise("all hosts installed the same package", len({row[3] for row in hosts}) == 1)
        self.promise("all hosts serve that version", all(row[4] == "yes" for row in hosts))
        self.promise(
            f"{len(traffic.replies):,} requests sent, {len(traffic.failed):,} failed",
            bool(traffic.replies) and not traffic.failed,
        )
        for line in failures.explained(traffic.failed, self.steps):
            screen.remark(line)
        self.where_the_time_went()

    def where_the_time_went(self) -> None:
        screen.say()
        screen.table(
            [
                ("time", "total", "on the hosts", "overhead"),
                *(
                    (what, f"{total:.1f} s", f"{work:.1f} s", f"{total - work:.1f} s")
                    for what, total, work in self.spent
                ),
            ],
            (41, 9, 14, 12),
        )

    # --- what happens in them ---------------------------------------------------------------------

    def push(self, version: str) -> None:
        """Commits and pushes a version, and follows it until it is live on the canary."""
        self.checkout.set_version(version)
        commit = self.checkout.commit(f"Version {version}")
        screen.chat(DEVELOPER, f"git push   # {self.app} {version}, commit {commit[:7]}")
        follower = Follower(self.engine, self.application)
        self.checkout.push()
        seconds = follower.follow(lambda: self.is_live("canary", commit), PIPELINE_TIMEOUT_S)
        self.account("push", f"git push to {version} on the canary", seconds, follower)

    def promote(self) -> None:
        """Types the command and follows the rollout until the answer has come."""
        version = self.version("canary")
        follower = Follower(self.engine, self.application)
        typing = threading.Thread(target=self.type, args=(self.promotion(),), daemon=True)
        typing.start()
        seconds = follower.follow(lambda: not typing.is_alive(), PIPELINE_TIMEOUT_S)
        if self.version("production") != version:
            raise PipelineFailed(f"production does not run {version}")
        what = f"!deploy promote to {version.split('-')[0]} in production"
        self.account("promotion", what, seconds, follower)

    def promotion(self) -> str:
        """The command that promotes; without a name, unless somebody has added an application."""
        self.world.reload()
        added = set(self.world.applications) - self.samples
        return f"!deploy promote {self.app}" if added else "!deploy promote"

    def account(self, kind: str, what: str, seconds: float, follower: Follower) -> None:
        """Remembers where the time went, for the end, and says so if it went slowly."""
        work = sum(worked_s(step) for step in follower.steps)
        self.spent.append((what, seconds, work))
        self.steps += follower.steps
        slow = pace.remark(kind, seconds)
        if slow:
            screen.explain(f"This machine is slow: that took {seconds:.0f} s, {slow}.")

    def is_live(self, stage: str, commit: str) -> bool:
        current = self.application.stages.get(stage)
        return current.status == "live" and (current.version or "").endswith("." + commit[:7])

    def version(self, stage: str) -> str:
        return self.application.stages.get(stage).version or ""

    def type(self, line: str) -> None:
        """Types a line in chat and shows the answer."""
        screen.chat(OPERATOR, line)
        chat.handle(self.engine, OPERATOR, line, IndentedOutput(), screen.INSET_WIDTH)

    def hosts(self) -> list[tuple[str, ...]]:
        """Returns host, stage, installed version, package hash and whether it answers with it."""
        rows: list[tuple[str, ...]] = []
        reports = self.application.hosts.all()
        for host in self.world.hosts_of("canary", "production"):
            installed = host.run(
                ["dpkg-query", "--show", "--showformat", "${Version}", self.app]
            ).stdout
            url = f"http://{host.address}:{self.world.applications[self.app]}/"
            with urllib.request.urlopen(url, timeout=5) as answer:
                said = answer.read().decode()
            rows.append(
                (
                    host.name,
                    host.kind,
                    installed,
                    (reports[host.name].sha256 or "")[:20],
                    "yes" if f'"{installed}"' in said else "no",
                )
            )
        return rows

    def promise(self, text: str, true: bool) -> None:
        self.promises.append((text, true))
        screen.check(text, true)


def tally(replies: list[Reply]) -> str:
    """Returns who answered, as `15x production 1.0.0-1.abc, 5x canary 2.0.0-2.def`."""
    counts = Counter(
        (reply.host.rsplit("-", 1)[0] or reply.problem, reply.version) for reply in replies
    )
    return ", ".join(
        f"{count}x {host} {version.split('-')[0]}"
        for (host, version), count in sorted(counts.items())
    )


def worked_s(execution: Any) -> float:
    """Returns the seconds a step spent on other hosts: CI, packaging, apt, service start."""
    result = execution.result.get("result") if isinstance(execution.result, dict) else None
    return result.get("remote_s", 0.0) if isinstance(result, dict) else 0.0


class IndentedOutput(io.StringIO):
    """Shows the chat's output, already wrapped to `screen.INSET_WIDTH`, as part of the story."""

    def write(self, text: str) -> int:
        for line in text.splitlines():
            screen.say(f"{screen.INDENT}{line}")
        return len(text)
