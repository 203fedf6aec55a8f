"""Runs inside the sandbox: see script/demo."""

from __future__ import annotations

import signal

# Ctrl-C ends what has begun nothing yet; script/demo has it wait until here.
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})

# ruff: noqa: E402
import argparse
import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "actions" / "lib"))

from demo import screen
from demo.pipeline import PipelineFailed
from demo.story import Story
from demo.traffic import Traffic
from sandbox import pace
from sandbox.world import World, listens

# On a machine that does much else at once; an engine that ends is noticed at once.
ENGINE_START_S = 60
ENDINGS = (signal.SIGINT, signal.SIGTERM)


def main(arguments: list[str]) -> int:
    options = parse(arguments)
    for number in ENDINGS:
        signal.signal(number, interrupt)
    try:
        return show(options)
    except KeyboardInterrupt:
        screen.say("\n   Interrupted; the fleet is removed.")
        return 128 + signal.SIGINT


def interrupt(*_: Any) -> None:
    """Ends the demo in order; once is enough."""
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def show(options: argparse.Namespace) -> int:
    """Tells the story, and keeps the fleet if that is wanted; returns the exit status."""
    world = World.load()
    data_dir = world.directory / "demo"
    began = time.monotonic()
    with serving_engine(world, data_dir) as environment, served(world, options.keep):
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


@contextlib.contextmanager
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


@contextlib.contextmanager
def served(world: World, keep: bool) -> Iterator[None]:
    """Has `script/engine` of this project run its commands in a fleet to keep, from any shell."""
    if not keep:
        yield
        return
    mark = world.directory / "demo" / "kept"
    mark.write_text(f"{PROJECT}\n")
    try:
        yield
    finally:
        mark.unlink()


def wait_for_the_receiver(engine: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until pushes are received.

    :raises SystemExit: when they will not be, with what the engine says.
    """
    began = time.monotonic()
    while not listens("10.77.0.1", 8095):
        said = log.read_text()
        took_s = time.monotonic() - began
        if engine.poll() is not None:
            raise SystemExit(f"demo: the embedded engine did not start:\n{said}")
        if "cicd_canary.Receiver is off" in said:
            raise SystemExit(f"demo: the receiver did not start:\n{said}")
        if took_s > pace.patience(ENGINE_START_S):
            raise SystemExit(
                f"demo: the receiver did not listen within {took_s:.0f} s, usually 3 s; "
                f"{pace.load()}: try again when the machine does less. The engine says:\n{said}"
            )
        time.sleep(0.05)


def keep(world: World, app: str, environment: dict[str, str]) -> None:
    """Opens a chat prompt; the fleet is removed when it ends."""
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
    call_in_foreground([str(PROJECT / "script" / "engine"), "chat", "--user", "you"], environment)


def call_in_foreground(command: list[str], environment: dict[str, str]) -> None:
    """Runs a command that alone gets the terminal's Ctrl-C, which would remove the fleet."""
    if not sys.stdin.isatty():
        subprocess.call(command, env=environment)
        return

    def take_the_terminal() -> None:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)  # nobody could continue it

    signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # for a group in the background to take it back
    try:
        subprocess.call(command, env=environment, preexec_fn=take_the_terminal)
    finally:
        with contextlib.suppress(ProcessLookupError):  # of a shell outside, which takes it back
            os.tcsetpgrp(0, os.getpgrp())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
