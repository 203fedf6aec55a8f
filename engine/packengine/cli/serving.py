"""`serve` and `chat`: what goes on until it is stopped."""

from __future__ import annotations

import argparse
import getpass
import logging
import signal
import sys

from packengine.cli import configurations
from packengine.cli.commands import USER, Commands, Options, add_command
from packengine.engine import DEFAULT_API_PORT, Engine
from packengine.packs import BUILTIN
from packengine.webhooks import key_file


def add_serve(commands: Commands) -> None:
    add_command(
        commands,
        "serve",
        _serve,
        "Run sensors, timers, webhooks and rules until stopped.",
        (
            ("--api-port",),
            {
                "type": _port,
                "default": DEFAULT_API_PORT,
                "metavar": "PORT",
                "help": "TCP port of webhooks (%(default)s)",
            },
        ),
    )
    add_command(commands, "chat", _chat, "Type chat commands, as in ChatOps.", USER)


def _port(text: str) -> int:
    """Returns a TCP port; 0 is any free one."""
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port, which is a number up to 65535")
    return int(text)


def _serve(engine: Engine, options: Options) -> int:
    logging.getLogger("packengine").setLevel(logging.INFO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: engine.stop())
    _warn(engine)
    configurations.check(engine, options, engine.registry.packs)
    packs = sorted(
        ref for ref, pack in engine.registry.packs.items() if not pack.path.startswith(BUILTIN)
    )
    engine.serve(
        lambda: print(
            "Serving {} (webhooks at {}/webhooks/, key in {})".format(
                ", ".join(packs), engine.api_url, key_file(engine.data_dir)
            ),
            flush=True,
        )
    )
    return 0


def _chat(engine: Engine, options: Options) -> int:
    from packengine import chat

    _warn(engine)
    configurations.check(engine, options, engine.registry.packs)
    user = options.user or getpass.getuser()
    if sys.stdin.isatty() and sys.stdout.isatty():
        from packengine import prompt

        return prompt.converse(engine, user, sys.stdout)
    return chat.run_script(engine, user, sys.stdin, sys.stdout)


def _warn(engine: Engine) -> None:
    """Says what of the packs cannot be used, before that goes unnoticed."""
    for problem in engine.registry.problems:
        logging.warning("%s", problem)
