"""An application as Consul knows it, and all of them.

    shop = Application(store, "shop")
    shop.builds.start(commit, "acme/shop", "main", by="alice")
    shop.releases.publish(release)
    shop.stages.get("canary").version

docs/architecture.md has the keys.
"""

from __future__ import annotations

import itertools
import logging
from typing import Iterable, Iterator

from delivery.build_record import Build
from delivery.builds import Builds
from delivery.errors import DeliveryError
from delivery.events import Events
from delivery.freeze import Freezes
from delivery.host_reports import HostReports
from delivery.ledger import EVENT_ID, Event, Ledger
from delivery.names import check, matches, nearest
from delivery.proof.evidence import Evidence
from delivery.pruning import Pruning
from delivery.records import MalformedRecord, or_nothing
from delivery.releases import Releases
from delivery.rollout.transitions import Rollouts
from delivery.stages import Stages
from delivery.store import Store

LOOKED_AT = 20  # applications whose stages are looked at for a name that is no application
LOG = logging.getLogger(__name__)


class Application:
    """One application's part of Consul, by what is in it.

    :raises DeliveryError: when `name` is not an application's name.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.store = store
        self.name = check("application", name)
        ledger = Ledger(store, name)
        self.builds = Builds(ledger)
        self.releases = Releases(ledger)
        self.stages = Stages(ledger, self.releases)
        self.freezes = Freezes(ledger)
        self.rollouts = Rollouts(ledger, self.stages, self.freezes)
        self.hosts = HostReports(ledger)
        self.events = Events(ledger)
        self.evidence = Evidence(ledger)
        self.pruning = Pruning(ledger)


def applications(store: Store) -> list[Application]:
    """Returns every application that has ever been built, by name."""
    return [Application(store, name) for name in _names(store)]


def known_application(store: Store, name: str) -> Application:
    """Returns an application. No name has capitals, so they make no difference.

    :raises DeliveryError: when Consul does not know it; names the nearest.
    """
    name, known = name.lower(), _names(store)
    if name in known:
        return Application(store, name)
    check("application", name)
    hint = f"nearest: {', '.join(nearest(name, known))}" if known else "none has been built yet"
    having = [each for each in known[:LOOKED_AT] if _has_stage(Application(store, each), name)]
    if having:
        hint = f"it is a stage of {', '.join(having[:5])}"
    raise DeliveryError(f"no application {name}; {hint}")


def running_builds(store: Store) -> Iterator[tuple[Application, Build]]:
    """Yields every build that has no verdict yet, with its application."""
    for application in applications(store):
        for commit in application.builds.running():
            try:
                yield application, application.builds.get(commit)
            except DeliveryError as error:
                LOG.error("Left out: %s", error)


def unseen_events(store: Store, keys: Iterable[str]) -> Iterator[tuple[Application, Event]]:
    """Yields what was not marked as seen yet, oldest first, one application after the other.

    A malformed event is logged and marked as seen: it must not hold up those after it.

    :param keys: all keys of the store, sorted, as `Store.wait_for_keys` returns them.
    """
    for name, ids in _events_by_application(keys):
        application = Application(store, name)
        seen = application.events.seen()
        for event_id in ids:
            if event_id <= seen:
                continue
            try:
                event = application.events.get(event_id)
            except MalformedRecord as malformed:
                LOG.error("Left out: %s", malformed)
                application.events.mark_seen(event_id)
                continue
            if event:
                yield application, event


def _has_stage(application: Application, name: str) -> bool:
    return name in (or_nothing(application.stages.names) or ())


def _names(store: Store) -> list[str]:
    return sorted(name for name in store.folders() if matches("application", name))


def _events_by_application(keys: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    events = (key.split("/") for key in keys if key.count("/") == 2 and "/events/" in key)
    for name, group in itertools.groupby(events, key=lambda parts: parts[0]):
        if matches("application", name):
            yield name, [parts[2] for parts in group if EVENT_ID.fullmatch(parts[2])]
