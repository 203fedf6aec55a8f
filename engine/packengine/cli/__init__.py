"""The engine's command line, in the words of StackStorm's `st2`: a file for each group."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
from typing import Iterator, Sequence

from packengine.cli import authoring, content, executions, keys, runs, serving
from packengine.cli.commands import Options, packs
from packengine.config import ConfigError
from packengine.datastore import KeyNotFound
from packengine.engine import DEFAULT_API_PORT, Engine
from packengine.packs import ActionDisabled, PackError, UnknownReference
from packengine.parameters import ParameterError

# What a person did wrong or can put right; everything else is a bug and shows its traceback.
_EXPECTED = (
    ActionDisabled,
    ConfigError,
    KeyNotFound,
    PackError,
    ParameterError,
    UnknownReference,
    LookupError,
    ValueError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code, 0 only for success."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    options = parser().parse_args(arguments)
    try:
        if not options.needs_engine:
            return int(options.command(options))
        with _engine(options) as engine:
            return int(options.command(engine, options))
    except _EXPECTED as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


@contextlib.contextmanager
def _engine(options: Options) -> Iterator[Engine]:
    engine = Engine(
        packs=packs(options),
        config_dir=options.config_dir,
        data_dir=options.data_dir,
        api_port=getattr(options, "api_port", DEFAULT_API_PORT),
    )
    try:
        yield engine
    finally:
        engine.close()


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the whole command line."""
    result = argparse.ArgumentParser(
        prog="packengine",
        description="Runs, checks and tests StackStorm packs on this machine.",
    )
    environment = os.environ.get
    result.add_argument(
        "--config-dir",
        default=environment("ENGINE_CONFIG_DIR"),
        help="directory of <pack>.yaml configurations (ENGINE_CONFIG_DIR)",
    )
    result.add_argument(
        "--data-dir",
        default=environment("ENGINE_DATA_DIR") or ".engine",
        help="directory of the database (ENGINE_DATA_DIR; %(default)s)",
    )
    result.add_argument(
        "--pack",
        action="append",
        metavar="DIR",
        help="directory of a pack, repeatable (ENGINE_PACKS, colon-separated; "
        "by default the current directory)",
    )
    commands = result.add_subparsers(metavar="COMMAND", required=True)
    runs.add_run(commands)
    executions.add_execution(commands)
    executions.add_inquiry(commands)
    content.add_action(commands)
    content.add_rule(commands)
    content.add_resources(commands)
    keys.add_key(commands)
    serving.add_serve(commands)
    authoring.add_authoring(commands)
    return result
