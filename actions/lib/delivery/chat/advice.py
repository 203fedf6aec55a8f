"""Answers to lines that are nearly a command: what the writer needs, with the facts of the moment.

    Advice(store, discovery, zone, web_url, usage).answer("promote shop 2.0.0")

A question is answered as it was meant. What would change something is never done on a guess: it is
a NotACommand, which says what to type.
"""

from __future__ import annotations

import itertools
from typing import Callable, Iterable, NamedTuple

from delivery import report
from delivery.application import LOOKED_AT, Application, applications, known_application
from delivery.chat import freezing
from delivery.chat.typed import RELEASES, Typed, read
from delivery.chat.usage import Usage
from delivery.discovery import Discovery
from delivery.errors import DeliveryError
from delivery.ledger import EVENTS_KEPT
from delivery.names import shown
from delivery.next_step import promote_command
from delivery.promotion import choose
from delivery.records import or_nothing
from delivery.releases import newest_first
from delivery.store import ConsulUnreachable, Store
from delivery.zones import Zone

NAMED = 5  # applications in an answer
RELEASES_SHOWN = 10


class NotACommand(DeliveryError):
    """Nothing was done; the message says what to type."""


class Advice(NamedTuple):
    """
    :param discovery: finds the hosts of an application.
    :param zone: of times in answers.
    :param web_url: where the pages of repositories are.
    :param usage: the syntax of the commands.
    """

    store: Store
    discovery: Discovery
    zone: Zone
    web_url: str
    usage: Usage

    def answer(self, line: str) -> str:
        """Returns the answer to a question.

        :param line: what was typed, with or without `deploy`.
        :raises NotACommand: says what to type instead.
        """
        known = applications(self.store)
        typed = read(line, [each.name for each in known], _stages(known))
        answers: dict[str, Callable[[Typed], str]] = {
            "status": self._status,
            "history": self._history,
            "hosts": self._hosts,
            "help": self._help,
            RELEASES: self._releases,
        }
        if typed.command in answers:
            return answers[typed.command](typed)
        advice: dict[str, Callable[[Typed], str]] = {
            "promote": self._promote,
            "rollback": self._rollback,
            "canary": self._canary,
            "evidence": self._evidence,
            "freeze": self._freeze,
            "unfreeze": self._unfreeze,
            "abort": self._abort,
            "doctor": lambda _: "type !deploy doctor",
        }
        try:
            said = advice.get(typed.command, self._other)(typed)
        except (NotACommand, ConsulUnreachable):
            raise
        except DeliveryError as error:
            said = str(error)
        if typed.command and typed.word != typed.command:
            said = f"{shown(typed.word)} read as {typed.command}: {said}"
        raise NotACommand(said)

    # --- questions --------------------------------------------------------------------------------

    def _status(self, typed: Typed) -> str:
        known = {each.name for each in applications(self.store)}
        others = [each for each in typed.others if each in known]
        names = [typed.app or typed.unknown or None, *dict.fromkeys(others)]
        reports = [report.status(self.store, name, self.web_url, self.zone) for name in names]
        return "\n".join(each["text"] for each in reports)

    def _history(self, typed: Typed) -> str:
        application = self._application(typed)
        everything = "all" in typed.others
        if not typed.number:
            odd = [each for each in typed.others if each not in ("all", "of", "for")]
            note = f"{shown(odd[0])} is not a number of events" if odd else ""
            number = EVENTS_KEPT if everything else report.EVENTS_SHOWN
        else:
            number = min(int(typed.number), EVENTS_KEPT)
            note = f"{EVENTS_KEPT} events are kept" if number < int(typed.number) else ""
            if number < 1:
                note, number = f"from 1 to {EVENTS_KEPT} events can be shown", report.EVENTS_SHOWN
        text = report.history(application, number, everything, self.zone)["text"]
        return f"{note}; the newest {number}:\n{text}" if note else str(text)

    def _hosts(self, typed: Typed) -> str:
        application = self._application(typed)
        return str(report.hosts(application, self.discovery)["text"])

    def _releases(self, typed: Typed) -> str:
        application = self._application(typed)
        versions = newest_first(application.releases.versions())
        if not versions:
            return f"{application.name} has no release yet; push a commit"
        lines = [f"{version}{_runs(application, version)}" for version in versions[:RELEASES_SHOWN]]
        left_out = len(versions) - RELEASES_SHOWN
        lines += [f"... and {left_out} older"] if left_out > 0 else []
        lines.append(f"To deploy one: !deploy canary {application.name} {versions[0]}")
        return "\n".join(lines)

    def _evidence(self, typed: Typed) -> str:
        return f"type !deploy evidence {self._application(typed).name} [version]"

    def _help(self, typed: Typed) -> str:
        return self.usage.text(typed.others[0] if len(typed.others) == 1 else None)

    # --- what is never done on a guess ------------------------------------------------------------

    def _promote(self, typed: Typed) -> str:
        named = bool(typed.app or typed.unknown)
        application = self._application(typed) if named else choose(self.store)
        said = _promotion(application, typed.stage)
        if not typed.version:
            return said
        return f"a promotion names no version: {said}{_elsewhere(application, typed)}"

    def _rollback(self, typed: Typed) -> str:
        application = self._application(typed, _goes_back)
        name = application.name
        doing = _under_way(application)
        if doing:
            return f"{name} is {doing}; wait for it, or type !deploy abort {name}"
        last = application.stages.names()[-1]
        stage = typed.stage or last
        settled = application.stages.get(stage).settled
        if len(settled) < 2:
            return f"{stage} of {name} has no previous version; nothing to roll back to"
        command = f"!deploy rollback {name}" + ("" if stage == last else f" {stage}")
        versions = [each.version for each in reversed(settled)]
        said = (
            f"a rollback goes one step back: {stage} of {name} from {versions[0]} to {versions[1]}"
        )
        if not typed.version:
            return f"{said}; type {command}"
        steps = next((n for n, each in enumerate(versions) if _is(typed.version, each)), None)
        if steps is None:
            return f"{said}; {stage} has not run {typed.version} before; type {command}"
        if steps == 0:
            return f"{stage} of {name} runs {versions[0]} already; {said}; type {command}"
        times = "" if steps == 1 else f" {steps} times, to get to {versions[steps]}"
        return f"{said}; type {command}{times}"

    def _canary(self, typed: Typed) -> str:
        application = self._application(typed)
        releases = application.releases
        if typed.version:
            version = releases.find(typed.version).version
            return f"type !deploy canary {application.name} {version}"
        newest = releases.newest().version
        return f"type !deploy canary {application.name} for the newest release, {newest}"

    def _freeze(self, typed: Typed) -> str:
        application = self._application(typed)
        return freezing.advice(application.name, typed.rest, self.zone)

    def _unfreeze(self, typed: Typed) -> str:
        application = self._application(typed, _freeze_of)
        if not _freeze_of(application):
            return f"{application.name} is not frozen"
        return f"type !deploy unfreeze {application.name}"

    def _abort(self, typed: Typed) -> str:
        application = self._application(typed, _under_way)
        name, rollout = application.name, application.rollouts.under_way()
        return f"{name} is {rollout.doing}; to stop it type !deploy abort {name}"

    def _other(self, typed: Typed) -> str:
        if typed.app and not (typed.stage or typed.version):
            name = typed.app
            return (
                f"say what to do with {name}: !deploy status {name}, !deploy promote {name}, "
                f"!deploy canary {name} or another of !deploy help"
            )
        if typed.stage or typed.version:
            return self._promote(typed)
        return f"unknown command {shown(typed.word)}; {self.usage.hint(typed.word)}"

    # --- the application --------------------------------------------------------------------------

    def _application(
        self, typed: Typed, fact: Callable[[Application], str] | None = None
    ) -> Application:
        """Returns the application of a line; of a question that names none, the only one there is.

        :param fact: what the command would do with one, in a few words; empty where it makes no
            sense now. By default it makes sense for all.
        :raises NotACommand: when it is unknown or missing; names those there are.
        """
        if typed.app or typed.unknown:
            return known_application(self.store, typed.app or typed.unknown)
        facts = {each: fact(each) if fact else "" for each in applications(self.store)}
        found = [each for each, words in facts.items() if words or not fact]
        if not found:
            raise NotACommand(NONE.get(typed.command, "no application has been built yet"))
        if len(found) == 1 and typed.command in ("history", "hosts", RELEASES):
            return found[0]
        named = [f"{each.name} ({facts[each]})" if fact else each.name for each in found[:NAMED]]
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        such_as = "type" if len(found) == 1 else "such as"
        raise NotACommand(
            f"{typed.command} needs an application: {', '.join(named)}{more}; {such_as} "
            f"!deploy {typed.command} {found[0].name}"
        )


NONE = {
    "rollback": "nothing to roll back: no application has a previous version in its last stage",
    "abort": "nothing to abort: no rollout is in progress",
    "unfreeze": "nothing to unfreeze: no application is frozen",
}


def _stages(known: Iterable[Application]) -> set[str]:
    found: set[str] = set()
    for application in itertools.islice(known, LOOKED_AT):
        found.update(or_nothing(application.stages.names) or ())
    return found


def _promotion(application: Application, stage: str) -> str:
    """Returns what a promotion would do, and how it is written; or why there can be none."""
    doing = _under_way(application)
    if doing:
        return f"{application.name} is {doing}; see !deploy status {application.name}"
    names = application.stages.names()
    to = names[-1] if not stage or stage == names[0] else stage
    source = application.stages.before(to)
    try:
        target = application.stages.promotion(to, source)
    except ConsulUnreachable:
        raise
    except DeliveryError as error:
        return str(error)
    return (
        f"the {source} of {application.name} runs {target.version}; type "
        f"{promote_command(application.name, source, names)}"
    )


def _elsewhere(application: Application, typed: Typed) -> str:
    """Returns how a named release that is not in the first stage would get there."""
    first = application.stages.names()[0]
    latest = application.stages.get(first).rollout
    release = or_nothing(lambda: application.releases.find(typed.version))
    if not release or (latest and latest.target.version == release.version):
        return ""
    command = f"!deploy canary {application.name} {release.version}"
    return f"; to bring {release.version} to the {first} first: {command}"


def _goes_back(application: Application) -> str:
    """Returns what a rollback of the last stage would do; empty when it cannot."""

    def goes_back() -> str:
        last = application.stages.names()[-1]
        back = application.stages.rollback(last)
        return f"{last} from {application.stages.get(last).version} to {back.version}"

    return or_nothing(goes_back) or ""


def _freeze_of(application: Application) -> str:
    freeze = or_nothing(application.freezes.current)
    return str(freeze) if freeze else ""


def _under_way(application: Application) -> str:
    rollout = or_nothing(application.rollouts.under_way)
    return rollout.doing if rollout else ""


def _runs(application: Application, version: str) -> str:
    stages = [
        name
        for name in application.stages.names()
        if application.stages.get(name).version == version
    ]
    return f" ({', '.join(stages)})" if stages else ""


def _is(typed: str, version: str) -> bool:
    return version.startswith(typed) or version.endswith(f".{typed[:7]}")
