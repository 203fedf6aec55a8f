"""Configurations are looked at before anything runs: a missing one is said, a wrong one refused."""

from __future__ import annotations

import difflib
import os
import sys
from typing import Iterable

from packengine.cli.commands import Options, UsageError
from packengine.engine import Engine
from packengine.packs import BUILTIN
from packengine.resources import Pack


def check_directory(path: str | None) -> None:
    """Looks whether a directory of configurations is there; None stands for defaults.

    :raises UsageError: when it is not.
    """
    if not path or os.path.isdir(path):
        return
    problem = "no such directory"
    if os.path.exists(path):
        problem = "not a directory"
    raise UsageError(
        f"--config-dir {path}: {problem}; name the one that holds the packs' configuration files"
    )


def check(engine: Engine, options: Options, packs: Iterable[str]) -> None:
    """Looks at the configurations of packs, and says on standard error which have none.

    :param packs: their refs.
    :raises UsageError: when a directory of configurations was named and none of theirs is in it.
    :raises packengine.config.ConfigError: when one cannot be used.
    """
    configurable = [
        pack
        for pack in (engine.registry.packs[ref] for ref in sorted(set(packs)))
        if pack.config_schema and not pack.path.startswith(BUILTIN)
    ]
    missing = [pack for pack in configurable if not _has_file(engine, pack)]
    if options.config_dir and missing and len(missing) == len(configurable):
        raise UsageError(_missing(options.config_dir, missing[0]))
    for pack in missing:
        why = "neither --config-dir nor ENGINE_CONFIG_DIR names a directory"
        if options.config_dir:
            why = _missing(options.config_dir, pack)
        print(f"{pack.ref} runs with the defaults of its configuration: {why}", file=sys.stderr)
    for pack in configurable:
        engine.config(pack.ref)


def _has_file(engine: Engine, pack: Pack) -> bool:
    path = engine.configurations.path(pack.ref)
    return path is not None and os.path.isfile(path)


def _missing(directory: str, pack: Pack) -> str:
    name = f"{pack.ref}.yaml"
    advice = f"write it there as {pack.path}/config.schema.yaml describes it"
    example = os.path.join(pack.path, f"{name}.example")
    near = difflib.get_close_matches(name, os.listdir(directory), n=1, cutoff=0.8)
    if near:
        advice = f"rename {near[0]}"
    elif os.path.isfile(example):
        advice = f"copy {example} there as {name} and edit it"
    return f"--config-dir {directory}: there is no {name}; {advice}, or name another directory"
