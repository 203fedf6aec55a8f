"""The engine's command line, in the words of StackStorm's `st2`: a file for each group."""

from __future__ import annotations

import argparse
import contextlib
import errno
import logging
import os
import sqlite3
import sys
from typing import Iterator, Sequence

from packengine.cli import (
    authoring,
    configurations,
    content,
    executions,
    keys,
    runs,
    serving,
)
from packengine.cli.commands import Options, Parser, packs
from packengine.config import ConfigError
from packengine.datastore import KeyNotFound
from packengine.engine import DEFAULT_API_PORT, Engine
from packengine.packs import ActionDisabled, PackError, UnknownReference
from packengine.parameters import ParameterError


class DataDirectoryError(Exception):
    """The data directory or its database cannot be used."""


# What a person did wrong or can put right; everything else is a bug and shows its traceback.
_EXPECTED = (
    ActionDisabled,
    ConfigError,
    DataDirectoryError,
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
        configurations.check_directory(options.config_dir)
        with _usable(options.data_dir), _engine(options) as engine:
            return int(options.command(engine, options))
    except _EXPECTED as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


@contextlib.contextmanager
def _usable(data_dir: str) -> Iterator[None]:
    """While in this context, says what to do when the data directory cannot be used.

    :raises DataDirectoryError: in place of what SQLite or the system say about it.
    """
    try:
        yield
    except sqlite3.Error as error:
        # The other kinds are mistakes of the engine.
        if type(error) is sqlite3.DatabaseError:
            remedy = "remove the file or name another directory with --data-dir"
        elif isinstance(error, sqlite3.OperationalError):
            remedy = "see that its disk has room and that you may write there, then try again"
        else:
            raise
        path = os.path.join(data_dir, "engine.sqlite")
        raise DataDirectoryError(f"{path} cannot be used: {error}; {remedy}") from error
    except OSError as error:
        if not _concerns(data_dir, error):
            raise
        remedy = "name another one with --data-dir or ENGINE_DATA_DIR"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "make room on its disk, then try again"
        raise DataDirectoryError(
            f"Data directory {data_dir} cannot be used: {error}; {remedy}"
        ) from error


def _concerns(data_dir: str, error: OSError) -> bool:
    """Returns whether an error names the data directory, what is in it, or where it is to be."""
    if not isinstance(error.filename, str):
        return False
    paths = [os.path.abspath(data_dir), os.path.abspath(error.filename)]
    return os.path.commonpath(paths) in paths


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
    result = Parser(
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
