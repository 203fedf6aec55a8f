"""Runs inside the sandbox: see script/demo."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "actions" / "lib"))

from demo import screen  # noqa: E402
from demo.pipeline import PipelineFailed  # noqa: E402
from demo.story import Story  # noqa: E402
from demo.traffic import Traffic  # noqa: E402
from sandbox.world import World, listens  # noqa: E402

# On a machine that does much else at once; an engine that ends is noticed at once.
ENGINE_START_S = 120


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    world = World.load()
    data_dir = world.directory / "demo"
    began = time.monotonic()
    with serving_engine(world, data_dir) as environment:
        story = Story(world, options.app, data_dir)
        try:
            tell(story, world)
        except PipelineFailed as failure:
            screen.check(str(failure), False)
            story.promises.append((str(failure), False))
        done = all(true for _, true in story.promises)
        screen.say()
        screen.say(
            f"   {'All checks passed' if done else 'NOT all checks passed'}; "
            f"{time.monotonic() - began:.0f} s."
        )
        if options.keep:
            keep(world, options.app, environment)
    return 0 if done else 1


def tell(story: Story, world: World) -> None:
    story.first_version()
    with Traffic(world.balancer_url, story.app) as traffic:
        story.second_version()
        story.production()
    story.outcome(traffic)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/demo",
        description=(
            "A git push becomes a Debian package on a canary, and a chat command takes it to "
            "production under live traffic."
        ),
    )
    parser.add_argument(
        "--app",
        choices=["shop", "notes"],
        default="shop",
        help="sample application: shop (Python) or notes (Node.js)",
    )
    parser.add_argument("--keep", action="store_true", help="keep the fleet and open a chat prompt")
    return parser.parse_args(arguments)


@contextmanager
def serving_engine(world: World, data_dir: Path) -> Iterator[dict[str, str]]:
    """Runs the embedded engine with this pack; yields the environment its commands need."""
    environment = dict(
        os.environ, ENGINE_CONFIG_DIR=str(world.config_dir), ENGINE_DATA_DIR=str(data_dir)
    )
    data_dir.mkdir(parents=True)
    with open(data_dir / "engine.log", "w") as log:
        engine = subprocess.Popen(
            [str(PROJECT / "script" / "engine"), "serve"],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_for_the_receiver(engine, data_dir / "engine.log")
            yield environment
        finally:
            engine.terminate()
            engine.wait()


def wait_for_the_receiver(engine: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + ENGINE_START_S
    while not listens("10.77.0.1", 8095):
        if engine.poll() is not None:
            raise SystemExit(f"demo: the embedded engine did not start:\n{log.read_text()}")
        if time.monotonic() > deadline:
            raise SystemExit(
                f"demo: the receiver did not listen within {ENGINE_START_S} s; "
                f"try again when the machine does less. The engine says:\n{log.read_text()}"
            )
        time.sleep(0.05)


def keep(world: World, app: str, environment: dict[str, str]) -> None:
    """Opens a chat prompt; the fleet is removed when it ends.

    Until then `script/engine` of this project runs its commands in this fleet, from any shell.
    """
    screen.heading(5, "Try it yourself")
    for line in (
        f"In chat: deploy status, deploy history {app}, deploy rollback {app}, help",
        "In another terminal, in this directory:",
        f"  script/engine run cicd_canary.deploy_status app={app}",
        f"  script/sandbox exec lb -- curl -s -H 'Host: {app}' http://lb/",
        "  script/sandbox shell canary-1",
        "  script/sandbox shell sandbox",
        f"To push a change: edit {world.directory}/demo/checkout/{app}",
        "  in that last shell, then git commit and git push.",
        "Ctrl-D ends the chat and removes the fleet.",
    ):
        screen.say("   " + line)
    screen.say()
    mark = world.directory / "demo" / "kept"
    mark.write_text(f"{PROJECT}\n")
    try:
        chat = [str(PROJECT / "script" / "engine"), "chat", "--user", "you"]
        subprocess.call(chat, env=environment)
    finally:
        mark.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
