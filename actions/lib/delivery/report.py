"""Answers to `deploy status`, `history` and `hosts`."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, Sequence

from delivery.application import Application, applications, known_application
from delivery.changes import what_ships
from delivery.clock import ago
from delivery.discovery import Discovery, Instance
from delivery.errors import DeliveryError
from delivery.host_reports import HostReport
from delivery.names import counted, plain
from delivery.promotion import candidates
from delivery.releases import Release, Rules, newest_first
from delivery.rollout.record import UNUSABLE, Rollout
from delivery.stages import Stage
from delivery.store import ConsulUnreachable, Store
from delivery.zones import Zone

EVENTS_SHOWN = 10
STEPS = ("batch_finished",)  # events that history tells only when asked for
UTC = Zone()


def status(store: Store, name: str | None, web_url: str = "", zone: Zone = UTC) -> dict[str, Any]:
    """Returns the state of one application, or of all.

    :param web_url: where the pages of repositories are, for the link to what ships.
    :param zone: of the end of a freeze.
    :returns: {applications: [{name, stages: [...], hosts: [...]}], text: for chat}
    """
    chosen = [known_application(store, name)] if name else applications(store)
    waiting = {each.name for each in candidates(store)}
    reports = [_application(each, each.name in waiting, web_url, zone) for each in chosen]
    text = "\n".join(line for report in reports for line in _lines(report, bool(name)))
    return {"applications": reports, "text": text or "no application has been built yet"}


def history(
    application: Application, limit: int, everything: bool = True, zone: Zone = UTC
) -> dict[str, Any]:
    """Returns the newest events of an application, newest first.

    :param limit: how many.
    :param everything: with each step on the way, such as a batch; otherwise what came of it.
    :param zone: of the times in the text; in the events they are UTC.
    """
    events = [
        event for event in application.events.all() if everything or event["type"] not in STEPS
    ][-limit:][::-1]
    lines = [f"{zone.local(event['at']):%m-%d %H:%M}  {event['message']}" for event in events]
    if lines:
        lines.append(f"Times are {zone.name}.")
    return {
        "events": events,
        "text": "\n".join(lines) or f"{application.name} has no events yet",
    }


def hosts(application: Application, discovery: Discovery) -> dict[str, Any]:
    """Returns the state of each host of an application, those of the first stage first.

    :returns: {hosts: [{node, stage, version, status, at}], text: for chat}; `status` is what the
        host last reported, what Consul finds wrong with it, or why no rollout reaches it.
    """
    newest = application.releases.newest()
    reports = application.hosts.all()
    enrolled = discovery.enrolment(application.name) or {}
    left_out = discovery.left_out(application.name, newest.role, newest.stages)
    rows = [
        _host(instance, _stage_of(instance, application.name, newest), reports, newest.rules)
        for instance in discovery.instances(application.name)
    ]
    known = {row["node"] for row in rows}
    rows += [
        {"node": node, "stage": enrolled[node], "version": None, "status": "", "at": None}
        for node in left_out
        if node not in known
    ]
    for row in rows:
        if row["node"] in left_out:
            row["status"] = f"left out: {left_out[row['node']]}"
    rows.sort(key=lambda row: (newest.stages.index(row["stage"]), row["node"]))
    lines = [
        f"{row['node']} ({row['stage']}): {row['version'] or 'nothing'}, {row['status']}"
        + (f", {ago(row['at'])}" if row["at"] else "")
        for row in rows
    ]
    return {"hosts": rows, "text": "\n".join(lines) or f"Consul has no host of {application.name}"}


def _application(application: Application, waits: bool, web_url: str, zone: Zone) -> dict[str, Any]:
    """Returns the state of an application; a malformed record is shown in place of its stages.

    :param waits: whether its canary may be promoted; then `ships` says what would ship.
    """
    report: dict[str, Any] = {
        "name": application.name,
        "can_be_promoted": waits,
        "frozen": None,
        "stages": [],
        "undeployed": None,
        "ships": None,
        "interrupted": [],
        "hosts": [
            {
                "node": node,
                "version": host.version,
                "sha256": host.sha256,
                "status": host.status,
                "at": host.at,
            }
            for node, host in sorted(application.hosts.all().items())
        ],
        "problem": None,
    }
    try:
        freeze = application.freezes.current()
        if freeze:
            report["frozen"] = dict(dataclasses.asdict(freeze), text=freeze.until_in(zone))
        if application.releases.versions():
            newest = application.releases.newest()
            report["stages"] = [_stage(application.stages.get(name)) for name in newest.stages]
            report["interrupted"] = [
                f"{node} has been {host.told(newest.rules)} ({ago(host.at)} ago)"
                for node, host in sorted(application.hosts.all().items())
                if host.at and host.is_late(newest.rules)
            ]
            report["undeployed"] = _undeployed(newest.version, report["stages"][0])
            if waits:
                report["ships"] = _ships(application, report["stages"], web_url)
    except ConsulUnreachable:
        raise
    except DeliveryError as error:
        report["problem"] = plain(str(error))
    return report


def _stage(stage: Stage) -> dict[str, Any]:
    rollout = stage.rollout
    return {
        "name": stage.name,
        "version": stage.version,
        "status": stage.status,
        "target": rollout.target.version if rollout else None,
        "by": rollout.by if rollout else None,
        "since": rollout.since if rollout else None,
        "reason": (rollout.reason or None) if rollout else None,
        "hosts": rollout.hosts if rollout else [],
        "left": _left(rollout) if rollout else None,
    }


def _left(rollout: Rollout) -> str | None:
    """Returns the version that a stage was taken away from by its latest rollout; an older one
    than it runs is not missed."""
    if rollout.status == "rolled_back" and rollout.rolled_back_from:
        newest = newest_first([rollout.rolled_back_from[-1], rollout.target.version])[0]
        return newest if newest != rollout.target.version else None
    if rollout.status in UNUSABLE and rollout.kind != "rollback":
        return rollout.target.version
    return None


def _undeployed(newest: str, first: Mapping[str, Any]) -> str | None:
    """Returns the newest release if it has never been tried on the first stage."""
    return None if newest in (first["target"], first["left"]) else newest


def _ships(
    application: Application, stages: Sequence[Mapping[str, Any]], web_url: str
) -> Mapping[str, Any]:
    """Returns what a promotion to the last stage would bring there."""
    source, last = stages[-2], stages[-1]
    return what_ships(application, last["version"], source["version"], web_url).as_dict()


def _lines(report: dict[str, Any], in_full: bool) -> list[str]:
    """Returns the text of an application.

    :param in_full: whether each of the first commits that would ship is shown.
    """
    lines = [report["name"]]
    if report["problem"]:
        lines.append(f"  {report['problem']}")
    elif not report["stages"]:
        lines.append("  no release yet")
    for stage in report["stages"]:
        lines.append(f"  {stage['name']:<11} {_sentence(stage)}")
    lines += [f"  {host}" for host in report["interrupted"]]
    if report["frozen"]:
        lines.append(f"  {report['frozen']['text']}")
    if any(stage["status"] == "rolling_out" for stage in report["stages"]):
        return [*lines, f"  next: wait, or !deploy abort {report['name']}"]
    if report["undeployed"]:
        first = report["stages"][0]["name"]
        lines.append(f"  {report['undeployed']} is published and has not reached the {first}")
        lines.append(f"  next: !deploy canary {report['name']} {report['undeployed']}")
        return lines
    if report["ships"] and not report["frozen"]:
        lines.append(f"  next: !deploy promote {report['name']} ({report['ships']['summary']})")
        lines += [f"    {line}" for line in report["ships"]["lines"]] if in_full else []
    again = _again(report)
    return [*lines, f"  next: push a fix, or {again} to try again"] if again else lines


def _again(report: dict[str, Any]) -> str:
    """Returns the command that tries a version again which a stage was taken away from."""
    if not report["stages"]:
        return ""
    first, last = report["stages"][0], report["stages"][-1]
    if first["left"]:
        return f"!deploy canary {report['name']} {first['left']}"
    waits = report["can_be_promoted"] or report["frozen"]
    if last["left"] and last["left"] == first["version"] and not waits:
        return f"!deploy promote {report['name']}"
    return ""


def _sentence(stage: dict[str, Any]) -> str:
    """Returns a stage in one line: version, status, user and age."""
    if stage["status"] == "empty":
        return "nothing yet"
    who = f"{stage['by']}, {ago(stage['since'])}"
    runs = stage["version"] or "nothing"
    if stage["status"] == "rolling_out":
        return f"{runs}, rolling out {stage['target']} ({who})"
    if stage["status"] in UNUSABLE:
        return f"{runs}; {stage['target']} {UNUSABLE[stage['status']]} ({who}): {stage['reason']}"
    status = stage["status"].replace("_", " ")
    return f"{runs} {status} ({who}, {counted(stage['hosts'], 'host')})"


def _stage_of(instance: Instance, application: str, newest: Release) -> str:
    """Returns the stage whose tag a host carries; hosts of the last one carry none of their own."""
    for stage in newest.stages[:-1]:
        if f"{application}::{newest.role}_{stage}" in instance.host.tags:
            return stage
    return newest.stages[-1]


def _host(
    instance: Instance, stage: str, reports: Mapping[str, HostReport], rules: Rules
) -> dict[str, Any]:
    report = reports.get(instance.host.node)
    status = report.told(rules) if report else "no report yet"
    if report and report.reason:
        status += f" ({report.reason})"
    if not instance.node_up:
        status = "Consul agent down"
    elif report and report.is_installing:
        pass  # its maintenance is no fault
    elif not instance.passing and not (report and not report.version):  # nothing to be healthy
        status = f"failing {', '.join(instance.failing_checks)}"
    return {
        "node": instance.host.node,
        "stage": stage,
        "version": report.version if report else None,
        "status": status,
        "at": report.at if report else None,
    }
