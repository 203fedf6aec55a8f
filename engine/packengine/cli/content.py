"""`action`, `rule`, `trigger`, `sensor`, `alias`: what packs hold, and what rules did."""

from __future__ import annotations

import dataclasses
import sys

from packengine import show
from packengine.cli.commands import JSON, Commands, Options, add_command, add_group, print_json
from packengine.engine import Engine


def add_action(commands: Commands) -> None:
    group = add_group(commands, "action", "List and show actions.")
    add_command(
        group,
        "list",
        _action_list,
        "List actions.",
        (("-p", "--pack-ref"), {"metavar": "PACK", "dest": "of_pack", "help": "only this pack"}),
        JSON,
    )
    add_command(
        group, "get", _action_get, "Show an action.", (("ref",), {"metavar": "PACK.ACTION"}), JSON
    )


def _action_list(engine: Engine, options: Options) -> int:
    actions = [
        action
        for action in sorted(engine.registry.actions.values(), key=lambda action: action.ref)
        if options.of_pack in (None, action.pack)
    ]
    if options.json:
        print_json([show.action_as_dict(action) for action in actions])
    else:
        show.table(
            ("ref", "description"),
            [(action.ref, action.description) for action in actions],
            sys.stdout,
        )
    return 0


def _action_get(engine: Engine, options: Options) -> int:
    action = engine.registry.action(options.ref)
    if options.json:
        print_json(show.action_as_dict(action))
    else:
        show.action(action, sys.stdout)
    return 0


def add_rule(commands: Commands) -> None:
    group = add_group(commands, "rule", "List, enable and disable rules.")
    add_command(group, "list", _rule_list, "List rules.", JSON)
    ref = (("ref",), {"metavar": "PACK.RULE"})
    add_command(group, "enable", _rule_enable, "Enable a rule permanently.", ref)
    add_command(group, "disable", _rule_disable, "Disable a rule permanently.", ref)
    enforcements = add_group(commands, "rule-enforcement", "Inspect enforcements of rules.")
    add_command(
        enforcements, "list", _enforcement_list, "List enforcements of rules, newest first.", JSON
    )
    instances = add_group(commands, "trigger-instance", "Inspect trigger instances.")
    add_command(instances, "list", _instance_list, "List trigger instances, newest first.", JSON)


def _rule_list(engine: Engine, options: Options) -> int:
    rules = engine.rules()
    if options.json:
        print_json([dataclasses.asdict(rule) for rule in rules])
    else:
        rows = [(rule.ref, str(rule.enabled), rule.trigger, rule.action) for rule in rules]
        show.table(("ref", "enabled", "trigger.ref", "action"), rows, sys.stdout)
    return 0


def _rule_enable(engine: Engine, options: Options) -> int:
    engine.enable_rule(options.ref, True)
    print(f"Rule {options.ref} is enabled.")
    return 0


def _rule_disable(engine: Engine, options: Options) -> int:
    engine.enable_rule(options.ref, False)
    print(f"Rule {options.ref} is disabled.")
    return 0


def _enforcement_list(engine: Engine, options: Options) -> int:
    found = engine.store.rules.enforcements()
    if options.json:
        print_json(found)
    else:
        rows = [
            (one["enforced_at"][:19], one["rule"], one["execution"] or one["failure_reason"])
            for one in found
        ]
        show.table(("enforced_at", "rule.ref", "execution or failure"), rows, sys.stdout)
    return 0


def _instance_list(engine: Engine, options: Options) -> int:
    found = engine.store.rules.instances()
    if options.json:
        print_json([dataclasses.asdict(one) for one in found])
    else:
        rows = [(one.id, one.occurrence_time[:19], one.status, one.trigger) for one in found]
        show.table(("id", "occurrence_time", "status", "trigger"), rows, sys.stdout)
    return 0


def add_resources(commands: Commands) -> None:
    for name, what in (("trigger", "triggers"), ("sensor", "sensors"), ("alias", "aliases")):
        group = add_group(commands, name, f"Inspect {what}.")
        command = add_command(group, "list", _resource_list, f"List {what}.", JSON)
        command.set_defaults(resources=what)


def _resource_list(engine: Engine, options: Options) -> int:
    found = sorted(getattr(engine.registry, options.resources).items())
    if options.json:
        print_json([dataclasses.asdict(one) for _, one in found])
    elif options.resources == "aliases":
        commands = [(ref, alias.action_ref, alias.description) for ref, alias in found]
        show.table(("ref", "action.ref", "description"), commands, sys.stdout)
    else:
        rows = [(ref, one.description) for ref, one in found]
        show.table(("ref", "description"), rows, sys.stdout)
    return 0
