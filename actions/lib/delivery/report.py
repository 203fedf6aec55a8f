"""What people ask for: how things are, how they came to be so, and what can be asked."""

from __future__ import annotations

import difflib
import glob
import os
import re
from typing import Any, Sequence

import yaml

from delivery.discovery import Discovery, Instance
from delivery.errors import DeliveryError
from delivery.names import plain
from delivery.promotion import candidates
from delivery.release import (
    UNUSABLE,
    Application,
    Stage,
    applications,
    frozen_in_words,
    known_application,
    seconds_since,
)
from delivery.store import Store

UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def status(store: Store, name: str | None) -> dict[str, Any]:
    """Returns how one application is, or all of them.

    :returns: {applications: [{name, stages: [...], hosts: [...]}], text: for chat}
    """
    if name:
        chosen = [known_application(store, name)]
    else:
        chosen = [Application(store, each) for each in applications(store)]
    waiting = {each.name for each in candidates(store)}
    reports = [_application(each, each.name in waiting) for each in chosen]
    text = "\n".join(line for report in reports for line in _lines(report))
    return {"applications": reports, "text": text or "no application has been built yet"}


def history(application: Application, limit: int) -> dict[str, Any]:
    """Returns the newest events of an application, newest first.

    :param limit: how many.
    """
    events = application.events()[-limit:][::-1]
    lines = [f"{event['at'][5:16].replace('T', ' ')}  {event['message']}" for event in events]
    return {
        "events": events,
        "text": "\n".join(lines) or f"nothing has happened to {application.name} yet",
    }


def hosts(application: Application, discovery: Discovery) -> dict[str, Any]:
    """Returns how each host of an application is, those of the first stage first.

    :returns: {hosts: [{node, stage, version, status, at}], text: for chat}; `status` is what the
        host last reported, or what Consul finds wrong with it.
    """
    newest = application.release(application.newest_version())["settings"]
    reports = application.hosts()
    rows = [
        _host(instance, _stage_of(instance, application.name, newest), reports)
        for instance in discovery.instances(application.name)
    ]
    rows.sort(key=lambda row: (newest["stages"].index(row["stage"]), row["node"]))
    lines = [
        f"{row['node']} ({row['stage']}): {row['version'] or 'nothing'}, {row['status']}"
        + (f", {ago(row['at'])}" if row["at"] else "")
        for row in rows
    ]
    return {"hosts": rows, "text": "\n".join(lines) or f"no host has {application.name} in Consul"}


def usage(aliases: str, word: str | None) -> str:
    """Returns how the chat commands are written, in 80 columns.

    :param aliases: the directory with the commands' aliases.
    :param word: which command; all of them if left out, the nearest if there is none like it.
    """
    commands = _commands(aliases)
    if not word:
        return _usage_of(commands)
    word = word.lower()
    chosen = [each for each in commands if word in each[0].split()]
    if chosen:
        return _usage_of(chosen)
    words = [display.split()[1] for display, _ in commands]
    near = difflib.get_close_matches(word, words, n=2)
    if not near:
        return f'There is no command "{word}". There are:\n{_usage_of(commands)}'
    return f'There is no command "{word}". Nearest:\n' + _usage_of(
        [each for each in commands if each[0].split()[1] in near]
    )


def seconds_in(duration: str) -> int:
    """Returns the seconds in `30 min`, `2h` or `3 days`."""
    number, letter = re.match(r"(\d+) ?([mhd])", duration).groups()
    return int(number) * {"m": 60, "h": 3600, "d": 86400}[letter]


def ago(timestamp: str) -> str:
    """Returns a time as people say it: `5 min`, `2 d`."""
    seconds = max(0, int(seconds_since(timestamp)))
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), (1, "s"))
    return f"{seconds // size} {unit}"


def _application(application: Application, waits: bool) -> dict[str, Any]:
    try:
        names = application.stages()
    except DeliveryError:
        names = []
    hosts = application.hosts()
    return {
        "name": application.name,
        "can_be_promoted": waits,
        "frozen": application.frozen(),
        "stages": [_stage(application.stage(name)) for name in names],
        "hosts": [
            {
                "node": node,
                "version": report["version"],
                "sha256": report["sha256"],
                "status": report["status"],
                "at": report["at"],
            }
            for node, report in sorted(hosts.items())
        ],
    }


def _stage(stage: Stage) -> dict[str, Any]:
    state = stage.state
    return {
        "name": stage.name,
        "version": stage.version,
        "status": stage.status,
        "target": state["target"]["version"] if state else None,
        "by": state.get("by"),
        "since": state.get("since"),
        "reason": state.get("reason"),
        "hosts": [node for batch in state.get("batches", []) for node in batch],
    }


def _lines(report: dict[str, Any]) -> list[str]:
    lines = [report["name"]]
    if not report["stages"]:
        lines.append("  no release yet")
    for stage in report["stages"]:
        lines.append(f"  {stage['name']:<11} {_sentence(stage)}")
    if report["frozen"]:
        lines.append(f"  {frozen_in_words(report['frozen'])}")
    elif report["can_be_promoted"]:
        lines.append(f"  next: !deploy promote {report['name']}")
    return lines


def _sentence(stage: dict[str, Any]) -> str:
    """Returns a stage in one line: version, how it stands, who, how long."""
    if stage["status"] == "empty":
        return "nothing yet"
    who = f"{stage['by']}, {ago(stage['since'])}"
    runs = stage["version"] or "nothing"
    if stage["status"] == "rolling_out":
        return f"{runs}, rolling out {stage['target']} ({who})"
    if stage["status"] in UNUSABLE:
        return f"{runs}; {stage['target']} {UNUSABLE[stage['status']]} ({who}): {stage['reason']}"
    status, hosts = stage["status"].replace("_", " "), len(stage["hosts"])
    return f"{runs} {status} ({who}, {hosts} host{'' if hosts == 1 else 's'})"


def _stage_of(instance: Instance, application: str, settings: dict[str, Any]) -> str:
    """Returns the stage whose tag a host carries; the last one's carry none of their own."""
    for stage in settings["stages"][:-1]:
        if f"{application}::{settings['role']}_{stage}" in instance.host.tags:
            return stage
    return settings["stages"][-1]


def _host(instance: Instance, stage: str, reports: dict[str, dict[str, Any]]) -> dict[str, Any]:
    report = reports.get(instance.host.node, {})
    status = report.get("status", "has not reported yet")
    if report.get("reason"):
        status += f" ({plain(report['reason'])})"
    if not instance.node_up:
        status = "its Consul agent is down"
    elif not instance.passing:
        status = f"fails {', '.join(instance.failing_checks)}"
    return {
        "node": instance.host.node,
        "stage": stage,
        "version": report.get("version"),
        "status": status,
        "at": report.get("at"),
    }


def _usage_of(commands: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"!{display}\n  {text}" for display, text in commands)


def _commands(aliases: str) -> Sequence[tuple[str, str]]:
    """Returns how each command is written and what it does."""
    found = []
    for path in sorted(glob.glob(os.path.join(aliases, "*.yaml"))):
        with open(path, encoding="utf-8") as file:
            alias = yaml.safe_load(file)
        found += [(each["display"], alias["description"]) for each in alias["formats"]]
    return found
