"""From a push to the canary, and from the canary to production: how long, and whose time it is."""

from __future__ import annotations

import time
from statistics import median
from typing import Any, Callable, NamedTuple

from bench.measure import BenchError, row, show, wait_until
from demo.__main__ import serving_engine
from demo.story import Story, worked_s
from sandbox.world import World

# Runs beside the deployment, so nothing waits for it.
BESIDE = "cicd_canary.workspace_remove"


class Taken(NamedTuple):
    """Seconds in all, and those of them spent waiting for other hosts."""

    total: float
    on_hosts: float


def run(world: World, repeat: int) -> None:
    """Prints the table."""
    data_dir = world.directory / "bench-delivery"
    with serving_engine(world, data_dir):
        story = Story(world, "shop", data_dir)
        deliver(story, "1.0.0")  # not counted: nothing has to be drained yet
        rounds = [deliver(story, f"{number}.0.0") for number in range(2, repeat + 2)]
    rows = []
    for what in rounds[0]:
        taken = [each[what] for each in rounds]
        on_hosts = median(each.on_hosts for each in taken)
        overhead = median(each.total - each.on_hosts for each in taken)
        rows.append(row(what, [each.total for each in taken], f"{on_hosts:.2f}", f"{overhead:.2f}"))
    production = len(world.hosts_of("production"))
    show(
        f"Delivery of shop to 1 canary and {production} production hosts: seconds, of {repeat} "
        "rounds",
        ["", "median", "least", "most", "on hosts", "our own"],
        rows,
    )


def deliver(story: Story, version: str) -> dict[str, Taken]:
    """Takes the next version all the way."""
    story.checkout.set_version(version)
    commit = story.checkout.commit(f"Version {version}")
    return {
        "push to canary live": follow(story, story.checkout.push, "canary", commit),
        "promote to production live": follow(
            story,
            lambda: story.engine.run("cicd_canary.deploy_promote", {"app": story.app}),
            "production",
            commit,
        ),
    }


def follow(story: Story, begin: Callable[[], Any], stage: str, commit: str) -> Taken:
    """Begins something, waits until the stage has the commit, and sums up the steps' waiting."""
    before = {each.id for each in story.engine.executions(top_level=False)}
    began = time.monotonic()
    begin()
    wait_until_live(story, stage, commit)
    total = time.monotonic() - began
    steps: list[Any] = []

    def at_rest() -> bool:
        steps[:] = [
            each for each in story.engine.executions(top_level=False) if each.id not in before
        ]
        return all(each.is_completed for each in steps)

    wait_until(at_rest, "the workflows to end")
    return Taken(total, sum(worked_s(each) for each in steps if each.action != BESIDE))


def wait_until_live(story: Story, stage: str, commit: str) -> None:
    try:
        wait_until(lambda: story.is_live(stage, commit), f"{commit[:7]} to be live on {stage}")
    except BenchError as late:
        last = story.application.events.all()[-1:]
        raise BenchError(
            f"{late}; {last[0]['message'] if last else 'the push was not heard'}"
        ) from None
