"""The engine's command line, in the words of StackStorm's `st2`."""

from __future__ import annotations

import argparse
import ast
import contextlib
import dataclasses
import getpass
import json
import logging
import os
import signal
import subprocess
import sys

from packengine import lint, pack_tests, show
from packengine.config import ConfigError
from packengine.datastore import KeyNotFound
from packengine.engine import DEFAULT_API_PORT, Engine
from packengine.execution import PENDING, SUCCEEDED
from packengine.packs import BUILTIN, ActionDisabled, PackError, UnknownReference
from packengine.parameters import ParameterError
from packengine.schema import MASK

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


class UsageError(ValueError):
    """The command line cannot be understood."""


def main(arguments=None):
    """Run one command; returns the exit code, 0 only for success."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    options = parser().parse_args(arguments)
    try:
        if not options.needs_engine:
            return options.command(options)
        with _engine(options) as engine:
            return options.command(engine, options)
    except _EXPECTED as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # Whoever read our output (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


@contextlib.contextmanager
def _engine(options):
    engine = Engine(
        packs=_packs(options),
        config_dir=options.config_dir,
        data_dir=options.data_dir,
        api_port=getattr(options, "api_port", DEFAULT_API_PORT),
    )
    try:
        yield engine
    finally:
        engine.close()


def _packs(options):
    named = [path for path in os.environ.get("ENGINE_PACKS", "").split(":") if path]
    return options.pack or named or [os.getcwd()]


def parser():
    """Return the parser of the whole command line."""
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
        help="directory of a pack, more than once for several (ENGINE_PACKS, colon-separated; "
        "by default the current directory)",
    )
    commands = result.add_subparsers(metavar="COMMAND", required=True)
    _add_run(commands)
    _add_execution(commands)
    _add_inquiry(commands)
    _add_action(commands)
    _add_rule(commands)
    _add_resources(commands)
    _add_key(commands)
    _add_serve(commands)
    _add_authoring(commands)
    return result


def _command(commands, name, function, help_text, *arguments, needs_engine=True):
    """Adds a command.

    :param arguments: (names, options) pairs for argparse.
    :param needs_engine: whether the function takes an engine before the options.
    """
    result = commands.add_parser(name, help=help_text, description=help_text)
    for names, options in arguments:
        result.add_argument(*names, **options)
    result.set_defaults(command=function, needs_engine=needs_engine)
    return result


def _group(commands, name, help_text):
    group = commands.add_parser(name, help=help_text, description=help_text)
    return group.add_subparsers(metavar="COMMAND", required=True)


_JSON = (("-j", "--json"), {"action": "store_true", "help": "print JSON"})
_ID = (("id",), {"metavar": "ID"})
_USER = (("--user",), {"help": "who asks; by default who is logged in"})


# run


def _add_run(commands):
    run = _command(
        commands,
        "run",
        _run,
        "Run an action and show how it ends.",
        (("ref",), {"metavar": "PACK.ACTION"}),
        (("parameters",), {"nargs": "*", "metavar": "name=value"}),
        (
            ("-a", "--async"),
            {
                "action": "store_true",
                "dest": "detach",
                "help": "only start it, in a process of its own",
            },
        ),
        _JSON,
        (("--trace-tag",), {"help": "ties executions of one cause together"}),
        _USER,
    )
    run.epilog = "Objects and arrays are given as JSON; an array of texts also as a,b,c."
    perform = commands.add_parser("perform")  # what `run --async` starts; not for people
    perform.add_argument("id")
    perform.set_defaults(command=_perform, needs_engine=True)


def _run(engine, options):
    given = read_parameters(engine.registry.action(options.ref), options.parameters)
    context = engine.context(options.user or getpass.getuser(), options.trace_tag)
    execution = engine.request(options.ref, given, context)
    if options.detach:
        return _detach(engine, options, execution)
    if not options.json:
        engine.subscribe(show.Progress(execution.id, sys.stdout))
    with _canceled_by_interrupt(engine, execution):
        engine.perform(execution)
    shown = engine.masked(execution)
    if options.json:
        _print_json(show.as_dict(engine, shown))
    else:
        show.execution(engine, shown, sys.stdout)
    return 0 if execution.status == SUCCEEDED else 1


def _detach(engine, options, execution):
    command = [sys.executable, "-W", "ignore", "-m", "packengine", "--data-dir", engine.data_dir]
    if options.config_dir:
        command += ["--config-dir", options.config_dir]
    for path in options.pack or ():
        command += ["--pack", path]
    with open(os.path.join(engine.data_dir, "async.log"), "ab") as log:
        process = subprocess.Popen(
            [*command, "perform", execution.id],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    engine.store.hand_over(execution, process.pid)
    print(f"To get the results, execute:\n packengine execution get {execution.id}")
    return 0


def _perform(engine, options):
    execution = engine.execution(options.id)
    engine.store.adopt(execution)
    engine.perform(execution)
    return 0 if execution.status == SUCCEEDED else 1


@contextlib.contextmanager
def _canceled_by_interrupt(engine, execution):
    """Make Ctrl-C and SIGTERM cancel the execution; a second one ends this process."""

    def cancel(number, frame):
        signal.signal(number, signal.SIG_DFL)
        print(f"Canceling {execution.id} ...", file=sys.stderr)
        engine.in_background(_cancel_quietly, engine, execution.id)

    previous = {number: signal.signal(number, cancel) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _cancel_quietly(engine, identifier):
    with contextlib.suppress(ValueError):
        engine.cancel(identifier)


def read_parameters(action, words):
    """Return name -> value of ``name=value`` words, read as the action's types say.

    Raises :class:`UsageError`.
    """
    return read_words(action.ref, words, action.parameter_schema()["properties"])


def read_words(whose, words, declared):
    """Like :func:`read_parameters`, for anything whose properties' schemas are given."""
    given = {}
    for word in words:
        name, separator, text = word.partition("=")
        if not separator or not name:
            raise UsageError(f'"{word}" is not name=value')
        try:
            given[name] = _read_value(text, declared.get(name, {}))
        except (ValueError, SyntaxError):
            raise UsageError(
                'Parameter "{}" of {}: the text given is not of type {}'.format(
                    name, whose, declared[name]["type"]
                )
            ) from None
    return given


def _read_value(text, details):
    kind = details.get("type")
    if "{{" in text or "{%" in text:
        return text
    if kind == "integer":
        return int(text)
    if kind == "number":
        return float(text)
    if kind == "boolean":
        value = {"1": True, "yes": True, "0": False, "no": False}.get(text.lower())
        return ast.literal_eval(text.capitalize()) if value is None else value
    if kind == "object":
        return json.loads(text)
    if kind == "array":
        if text.lstrip().startswith("["):
            return json.loads(text)
        items = details.get("items")
        items = items if isinstance(items, dict) else {}
        return [_read_value(part.strip(), items) for part in text.split(",")] if text else []
    return text


# execution


def _add_execution(commands):
    group = _group(commands, "execution", "Look at, cancel and pause executions.")
    _command(
        group,
        "list",
        _execution_list,
        "List executions, newest first.",
        (("-n", "--last"), {"type": int, "default": 50, "metavar": "N", "help": "how many (50)"}),
        (("--action",), {"metavar": "PACK.ACTION"}),
        (("--status",), {}),
        (("--all",), {"action": "store_true", "help": "also the tasks of workflows"}),
        _JSON,
    )
    _command(
        group,
        "get",
        _execution_get,
        "Show an execution and, of a workflow, its tasks.",
        _ID,
        _JSON,
        (("-d", "--detail"), {"action": "store_true", "help": "show everything that is kept"}),
    )
    _command(group, "cancel", _execution_cancel, "Cancel an execution.", _ID)
    _command(group, "pause", _execution_pause, "Pause a workflow between its tasks.", _ID)
    _command(group, "resume", _execution_resume, "Go on with a paused workflow.", _ID)


def _execution_list(engine, options):
    found = engine.executions(
        action=options.action, status=options.status, limit=options.last, top_level=not options.all
    )
    shown = [engine.masked(execution) for execution in found]
    if options.json:
        _print_json([show.as_dict(engine, execution, tree=False) for execution in shown])
    else:
        show.executions(shown, sys.stdout)
    return 0


def _execution_get(engine, options):
    execution = engine.masked(engine.execution(options.id))
    if options.json:
        _print_json(show.as_dict(engine, execution))
    else:
        show.execution(engine, execution, sys.stdout, detail=options.detail)
    return 0


def _execution_cancel(engine, options):
    execution = engine.cancel(options.id)
    print(f"Execution {execution.id} is being canceled (it was {execution.status}).")
    return 0


def _execution_pause(engine, options):
    execution = engine.pause(options.id)
    print(f"Execution {execution.id} is being paused (it was {execution.status}).")
    return 0


def _execution_resume(engine, options):
    execution = engine.execution(options.id)
    engine.subscribe(show.Progress(execution.id, sys.stdout))
    engine.resume(options.id)
    return _show_the_rest(engine, execution)


def _show_the_rest(engine, execution):
    """Wait for a workflow that goes on in this process, and show how it ends."""
    engine.wait_for_background()
    execution = engine.execution(execution.id)
    show.execution(engine, engine.masked(execution), sys.stdout)
    return 0 if execution.status == SUCCEEDED else 1


# inquiry


def _add_inquiry(commands):
    group = _group(commands, "inquiry", "Look at inquiries and respond to them.")
    _command(group, "list", _inquiry_list, "List inquiries nobody has responded to.", _JSON)
    _command(
        group,
        "respond",
        _inquiry_respond,
        "Respond to an inquiry; its workflow goes on here.",
        _ID,
        (("response",), {"nargs": "+", "metavar": "name=value"}),
        _USER,
    )


def _inquiry_list(engine, options):
    found = [engine.masked(one) for one in engine.executions(status=PENDING, top_level=False)]
    if options.json:
        _print_json([show.as_dict(engine, one, tree=False) for one in found])
    else:
        rows = [(one.id, one.result["route"], ", ".join(one.result["users"])) for one in found]
        show.table(("id", "route", "users"), rows, sys.stdout)
    return 0


def _inquiry_respond(engine, options):
    execution = engine.execution(options.id)
    properties = ((execution.result or {}).get("schema") or {}).get("properties", {})
    response = read_words("the response", options.response, properties)
    root = _root(engine, execution)
    engine.subscribe(show.Progress(root.id, sys.stdout))
    engine.respond(options.id, response, options.user or getpass.getuser())
    return _show_the_rest(engine, root)


def _root(engine, execution):
    while execution.parent:
        execution = engine.execution(execution.parent)
    return execution


# action


def _add_action(commands):
    group = _group(commands, "action", "Look at actions.")
    _command(
        group,
        "list",
        _action_list,
        "List actions.",
        (("-p", "--pack-ref"), {"metavar": "PACK", "dest": "of_pack", "help": "only this pack's"}),
        _JSON,
    )
    _command(
        group, "get", _action_get, "Show an action.", (("ref",), {"metavar": "PACK.ACTION"}), _JSON
    )


def _action_list(engine, options):
    actions = [
        action
        for action in sorted(engine.registry.actions.values(), key=lambda action: action.ref)
        if options.of_pack in (None, action.pack)
    ]
    if options.json:
        _print_json([show.action_as_dict(action) for action in actions])
    else:
        show.table(
            ("ref", "description"),
            [(action.ref, action.description) for action in actions],
            sys.stdout,
        )
    return 0


def _action_get(engine, options):
    action = engine.registry.action(options.ref)
    if options.json:
        _print_json(show.action_as_dict(action))
    else:
        show.action(action, sys.stdout)
    return 0


# rule


def _add_rule(commands):
    group = _group(commands, "rule", "Look at rules, enable and disable them.")
    _command(group, "list", _rule_list, "List rules.", _JSON)
    ref = (("ref",), {"metavar": "PACK.RULE"})
    _command(group, "enable", _rule_enable, "Enable a rule; it stays so.", ref)
    _command(group, "disable", _rule_disable, "Disable a rule; it stays so.", ref)
    enforcements = _group(commands, "rule-enforcement", "Look at what rules did.")
    _command(enforcements, "list", _enforcement_list, "List what rules did, newest first.", _JSON)
    instances = _group(commands, "trigger-instance", "Look at what happened.")
    _command(instances, "list", _instance_list, "List what happened, newest first.", _JSON)


def _rule_list(engine, options):
    rules = engine.rules()
    if options.json:
        _print_json([dataclasses.asdict(rule) for rule in rules])
    else:
        rows = [(rule.ref, str(rule.enabled), rule.trigger, rule.action) for rule in rules]
        show.table(("ref", "enabled", "trigger.ref", "action"), rows, sys.stdout)
    return 0


def _rule_enable(engine, options):
    engine.enable_rule(options.ref, True)
    print(f"Rule {options.ref} is enabled.")
    return 0


def _rule_disable(engine, options):
    engine.enable_rule(options.ref, False)
    print(f"Rule {options.ref} is disabled.")
    return 0


def _enforcement_list(engine, options):
    found = engine.store.rules.enforcements()
    if options.json:
        _print_json(found)
    else:
        rows = [
            (one["enforced_at"][:19], one["rule"], one["execution"] or one["failure_reason"])
            for one in found
        ]
        show.table(("enforced_at", "rule.ref", "execution or failure"), rows, sys.stdout)
    return 0


def _instance_list(engine, options):
    found = engine.store.rules.instances()
    if options.json:
        _print_json([dataclasses.asdict(one) for one in found])
    else:
        rows = [(one.id, one.occurrence_time[:19], one.status, one.trigger) for one in found]
        show.table(("id", "occurrence_time", "status", "trigger"), rows, sys.stdout)
    return 0


# trigger, sensor, alias


def _add_resources(commands):
    for name, what in (("trigger", "triggers"), ("sensor", "sensors"), ("alias", "aliases")):
        group = _group(commands, name, f"Look at {what}.")
        command = _command(group, "list", _resource_list, f"List {what}.", _JSON)
        command.set_defaults(resources=what)


def _resource_list(engine, options):
    found = sorted(getattr(engine.registry, options.resources).items())
    if options.json:
        _print_json([dataclasses.asdict(one) for _, one in found])
    elif options.resources == "aliases":
        rows = [(ref, alias.action_ref, alias.description) for ref, alias in found]
        show.table(("ref", "action.ref", "description"), rows, sys.stdout)
    else:
        rows = [(ref, one.description) for ref, one in found]
        show.table(("ref", "description"), rows, sys.stdout)
    return 0


# key


def _add_key(commands):
    group = _group(commands, "key", "Read and write the datastore.")
    name = (("name",), {})
    scope = (("-s", "--scope"), {"default": "system", "choices": ("system", "user")})
    decrypt = (("-d", "--decrypt"), {"action": "store_true", "help": "show secrets"})
    _command(group, "get", _key_get, "Show the value of a key.", name, scope, decrypt)
    _command(
        group,
        "set",
        _key_set,
        "Set a key.",
        name,
        (("value",), {"nargs": "?", "help": "read from standard input when left out"}),
        scope,
        (("-e", "--encrypt"), {"action": "store_true", "help": "the value is a secret"}),
        (("-l", "--ttl"), {"type": int, "metavar": "SECONDS", "help": "until it expires"}),
    )
    _command(group, "delete", _key_delete, "Delete a key.", name, scope)
    _command(
        group,
        "list",
        _key_list,
        "List keys.",
        scope,
        (("-p", "--prefix"), {"default": "", "help": "only keys that start so"}),
        _JSON,
    )


def _key_name(options):
    return options.name if options.scope == "system" else _own_prefix() + options.name


def _own_prefix():
    return getpass.getuser() + ":"


def _key_get(engine, options):
    value = engine.store.keys.get(_key_name(options), options.scope, decrypt=options.decrypt)
    print(value)
    return 0


def _key_set(engine, options):
    value = sys.stdin.read() if options.value is None else options.value
    engine.store.keys.set(
        _key_name(options), value, options.scope, secret=options.encrypt, ttl=options.ttl
    )
    print(f"Key {options.name} is set.")
    return 0


def _key_delete(engine, options):
    if not engine.store.keys.delete(_key_name(options), options.scope):
        raise KeyNotFound(f'Key "{options.name}" is not found.')
    print(f"Key {options.name} is deleted.")
    return 0


def _key_list(engine, options):
    own = "" if options.scope == "system" else _own_prefix()
    found = [
        (name[len(own) :], MASK if secret else value, secret)
        for name, value, secret in engine.store.keys.list(own + options.prefix, options.scope)
    ]
    if options.json:
        names = ("name", "value", "secret")
        _print_json([dict(zip(names, one)) for one in found])
    else:
        rows = [(name, str(secret), value) for name, value, secret in found]
        show.table(("name", "secret", "value"), rows, sys.stdout)
    return 0


# serve and chat


def _add_serve(commands):
    _command(
        commands,
        "serve",
        _serve,
        "Run sensors, timers, webhooks and rules until stopped.",
        (
            ("--api-port",),
            {
                "type": int,
                "default": DEFAULT_API_PORT,
                "metavar": "PORT",
                "help": "TCP port of webhooks (%(default)s)",
            },
        ),
    )
    _command(commands, "chat", _chat, "Type chat commands, as in ChatOps.", _USER)


def _serve(engine, options):
    logging.getLogger("packengine").setLevel(logging.INFO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: engine.stop())
    _warn(engine)
    packs = sorted(
        ref for ref, pack in engine.registry.packs.items() if not pack.path.startswith(BUILTIN)
    )
    engine.serve(
        lambda: print(
            "Serving {} (webhooks at {}/webhooks/)".format(", ".join(packs), engine.api_url),
            flush=True,
        )
    )
    return 0


def _chat(engine, options):
    from packengine import chat

    _warn(engine)
    return chat.run(engine, options.user or getpass.getuser())


def _warn(engine):
    """Says what of the packs cannot be used, before that goes unnoticed."""
    for problem in engine.registry.problems:
        logging.warning("%s", problem)


# lint and test, for who writes packs

_PACK = (("directory",), {"metavar": "PACK", "help": "directory of the pack"})


def _add_authoring(commands):
    _command(
        commands,
        "lint",
        _lint,
        "List what is wrong with a pack and StackStorm's registration lets pass.",
        _PACK,
        _JSON,
        needs_engine=False,
    )
    _command(
        commands,
        "test",
        _test,
        "Run a pack's unit tests, without StackStorm.",
        _PACK,
        (("names",), {"nargs": "*", "metavar": "TEST", "help": "test_file.py::Case::test_method"}),
        needs_engine=False,
    )


def _lint(options):
    report = lint.lint(options.directory, _packs_beside(options))
    directory = os.path.abspath(options.directory)
    lines = {
        name: [problem.line(directory) for problem in problems]
        for name, problems in report._asdict().items()
    }
    if options.json:
        _print_json(lines)
    else:
        _print_report(lines)
    return 1 if report.faults else 0


def _packs_beside(options):
    """Returns the other packs; a current directory that is none does not matter here."""
    return [path for path in _packs(options) if os.path.exists(os.path.join(path, "pack.yaml"))]


def _print_report(lines):
    for line in lines["faults"]:
        print(line)
    for name, heading in (("unsupported", "unsupported:"), ("unchecked", "not checked:")):
        if lines[name]:
            print(heading)
        for line in lines[name]:
            print(f"  {line}")
    counts = len(lines["faults"]), len(lines["unsupported"]), len(lines["unchecked"])
    print("{} wrong, {} unsupported, {} not checked".format(*counts))


def _test(options):
    return pack_tests.run_tests(options.directory, options.data_dir, options.names)


def _print_json(value):
    print(json.dumps(value, indent=4, ensure_ascii=False))
