"""`key`: the datastore."""

from __future__ import annotations

import getpass
import sys

from packengine import show
from packengine.cli.commands import (
    JSON,
    Argument,
    Commands,
    Options,
    UsageError,
    add_command,
    add_group,
    print_json,
)
from packengine.datastore import KeyNotFound
from packengine.engine import Engine
from packengine.schema import MASK


def add_key(commands: Commands) -> None:
    group = add_group(commands, "key", "Read and write the datastore.")
    name: Argument = (("name",), {})
    scope = (("-s", "--scope"), {"default": "system", "choices": ("system", "user")})
    decrypt = (("-d", "--decrypt"), {"action": "store_true", "help": "show secrets"})
    add_command(group, "get", _key_get, "Show the value of a key.", name, scope, decrypt)
    add_command(
        group,
        "set",
        _key_set,
        "Set a key.",
        name,
        (("value",), {"nargs": "?", "help": "by default read from standard input"}),
        scope,
        (("-e", "--encrypt"), {"action": "store_true", "help": "mark the value as secret"}),
        (("-l", "--ttl"), {"type": int, "metavar": "SECONDS", "help": "seconds until it expires"}),
    )
    add_command(group, "delete", _key_delete, "Delete a key.", name, scope)
    add_command(
        group,
        "list",
        _key_list,
        "List keys.",
        scope,
        (("-p", "--prefix"), {"default": "", "help": "only keys with this prefix"}),
        JSON,
    )


def _key_name(options: Options) -> str:
    return options.name if options.scope == "system" else _own_prefix() + options.name


def _own_prefix() -> str:
    return getpass.getuser() + ":"


def _key_get(engine: Engine, options: Options) -> int:
    value = engine.store.keys.get(_key_name(options), options.scope, decrypt=options.decrypt)
    print(value)
    return 0


def _key_set(engine: Engine, options: Options) -> int:
    value = sys.stdin.read() if options.value is None else options.value
    if not value:
        raise UsageError(f"no value for {options.name}: give one, or write it to standard input")
    engine.store.keys.set(
        _key_name(options), value, options.scope, secret=options.encrypt, ttl=options.ttl
    )
    print(f"Key {options.name} is set.")
    return 0


def _key_delete(engine: Engine, options: Options) -> int:
    if not engine.store.keys.delete(_key_name(options), options.scope):
        raise KeyNotFound(f'Key "{options.name}" is not found.')
    print(f"Key {options.name} is deleted.")
    return 0


def _key_list(engine: Engine, options: Options) -> int:
    own = "" if options.scope == "system" else _own_prefix()
    found = [
        (name[len(own) :], MASK if secret else value, secret)
        for name, value, secret in engine.store.keys.list(own + options.prefix, options.scope)
    ]
    if options.json:
        names = ("name", "value", "secret")
        print_json([dict(zip(names, one)) for one in found])
    else:
        rows = [(name, str(secret), value) for name, value, secret in found]
        show.table(("name", "secret", "value"), rows, sys.stdout)
    return 0
