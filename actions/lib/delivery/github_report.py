"""What GitHub should show of a delivery, told from the events that the delivery has recorded.

    report = Report(application, application.event("0000000042"), web_ui_url)
    report.bring_to(github.repository(report.repository), tags="stage")

An event only says what to look at. What is shown is what the newest events say of that, so events
may be reported late, twice and in any order: in the end GitHub shows the end. The texts shown are
made of names and numbers; reasons name hosts, and a repository may be public.
"""

from __future__ import annotations

from typing import Iterator, NamedTuple

from delivery.application import Application
from delivery.errors import DeliveryError
from delivery.github_repository import Deployment, Repository, tag_of_version
from delivery.ledger import Event

ROLLOUT_STATES = {
    "rollout_started": "in_progress",
    "rollout_succeeded": "success",
    "rollout_failed": "failure",
}
WAITING = "release"  # begins the key of a deployment that was made before its rollout


class Status(NamedTuple):
    """The status of a commit in one context; `link` leads to the execution that caused it."""

    context: str
    state: str
    description: str
    link: str


class Tag(NamedTuple):
    """A tag of the commit; one that is movable may be somewhere else before."""

    name: str
    movable: bool


class Report:
    """
    :param event: of this application, of a kind that GitHub is told of.
    :param web_ui_url: address of StackStorm's web UI; None for no links.
    :raises DeliveryError: when Consul does not have what the event is about.
    """

    def __init__(
        self, application: Application, event: Event, web_ui_url: str | None = None
    ) -> None:
        self._application = application
        self._event = event
        self._web_ui_url = (web_ui_url or "").rstrip("/")
        self._version: str = event.get("version") or ""
        self._stages: list[str] = []
        self.commit: str = event.get("commit") or ""
        if self._version:
            release = application.releases.get(self._version)
            self._stages = release.stages
            self.commit = release.commit
        if not self.commit:
            raise DeliveryError(f"events of type {event['type']} are not reported to GitHub")
        build = application.builds.get(self.commit)
        self.repository: str = build.repository
        # Applications that share a repository each have contexts, environments and tags of theirs.
        self._own = f"{application.name}/" if build.path else ""

    def bring_to(self, repository: Repository, tags: str) -> list[str]:
        """Makes GitHub show it.

        When something has happened meanwhile it looks again, so that of two reports at the same
        time the one that is ready last leaves what is true.

        :param tags: none, stage or release (config.schema.yaml: github.tags).
        :returns: what was changed there, in words.
        """
        repository.check_name()
        changed: list[str] = []
        done = None
        while True:
            events = self._application.events.all()
            wanted = (self.statuses(events), self.deployment(events), self.tag(events, tags))
            if wanted == done:
                return changed
            changed += self._set(repository, *wanted)
            done = wanted

    def statuses(self, events: list[Event]) -> list[Status]:
        """Returns the newest status of the commit in each context.

        :param events: all of the application, oldest first.
        """
        newest: dict[str, Status] = {}
        for event in events:
            about_release = self._version and event.get("version") == self._version
            if event.get("commit") == self.commit or about_release:
                for context, state, description in self._said_by(event):
                    newest[context] = Status(
                        f"cicd/{self._own}{context}", state, description, self._link(event)
                    )
        return list(newest.values())

    def deployment(self, events: list[Event]) -> Deployment | None:
        """Returns the deployment that the event is about, with the state it has now; None for an
        event before there is a release.

        A published release waits for the first stage: its deployment there is queued, and is the
        one that the release's first rollout goes on with.
        """
        if not self._version:
            return None
        stage = self._event.get("stage", self._stages[0])
        first = self._first_rollout(events)
        rollout = self._event.get("deployment", first)
        newest = next(
            (
                event
                for event in reversed(events)
                if rollout
                and event.get("deployment") == rollout
                and event["type"] in ROLLOUT_STATES
            ),
            self._event,
        )
        state = ROLLOUT_STATES.get(newest["type"], "queued")
        if state == "success" and not self._is_newest_success(newest, events):
            state = "inactive"
        return Deployment(
            key=f"{WAITING} {self._version}" if rollout == first else rollout,
            commit=self.commit,
            environment=f"{self._own}{stage}",
            production=stage == self._stages[-1],
            state=state,
            description=f"{self._application.name} {self._version}",
            log_url=self._link(newest),
        )

    def tag(self, events: list[Event], tags: str) -> Tag | None:
        """Returns the tag that the event asks for, if any is configured."""
        if tags == "release" and self._event["type"] == "release_published":
            return Tag(f"release/{self._own}{tag_of_version(self._version)}", movable=False)
        if (
            tags == "stage"
            and self._event["type"] == "rollout_succeeded"
            and self._is_newest_success(self._event, events)
        ):
            return Tag(f"deployed/{self._own}{self._event['stage']}", movable=True)
        return None

    def _set(
        self,
        repository: Repository,
        statuses: list[Status],
        deployment: Deployment | None,
        tag: Tag | None,
    ) -> list[str]:
        changed = [
            f"{status.context} is {status.state}"
            for status in statuses
            if repository.set_status(
                self.commit, status.context, status.state, status.description, status.link
            )
        ]
        if deployment and repository.set_deployment(deployment):
            changed.append(f"deployment to {deployment.environment} is {deployment.state}")
        if tag and repository.set_tag(tag.name, self.commit, tag.movable):
            changed.append(f"tag {tag.name} is at {self.commit[:7]}")
        return changed

    def _said_by(self, event: Event) -> Iterator[tuple[str, str, str]]:
        """Yields context, state and description of the statuses that an event changes."""
        kind, version = event["type"], event.get("version")
        build = f"build {event.get('build')}"
        if kind == "build_started":
            yield "ci", "pending", f"{build} is running"
        elif kind == "build_failed":
            yield "ci", "failure", f"{build} failed"
        elif kind == "build_passed":
            yield "ci", "success", f"{build} passed"
            yield "package", "pending", f"{build} is being packaged"
        elif kind == "packaging_failed":
            yield "package", "failure", f"packaging {build} failed"
        elif kind == "release_published":
            yield "package", "success", f"{version} is published"
            if self._stages[1:]:
                yield self._stages[0], "pending", f"{version} is queued for rollout"
        elif kind == "rollout_refused":
            yield event["stage"], "failure", f"{version} was not deployed"
        elif kind in ROLLOUT_STATES and event["stage"] in self._stages[:-1]:
            state, text = {
                "rollout_started": ("pending", "is being rolled out"),
                "rollout_succeeded": ("success", "is live"),
                "rollout_failed": ("failure", "was reverted"),
            }[kind]
            yield event["stage"], state, f"{version} {text}"

    def _first_rollout(self, events: list[Event]) -> str | None:
        """Returns the id of the release's first rollout to the first stage since it was
        published."""
        about = [event for event in events if event.get("version") == self._version]
        published = [event for event in about if event["type"] == "release_published"]
        if not published:
            return None
        return next(
            (
                event["deployment"]
                for event in about
                if event["id"] > published[0]["id"]
                and event["type"] == "rollout_started"
                and event["stage"] == self._stages[0]
            ),
            None,
        )

    def _is_newest_success(self, event: Event, events: list[Event]) -> bool:
        """Returns whether the stage has not settled on anything else since."""
        return not any(
            later["type"] == "rollout_succeeded"
            and later["id"] > event["id"]
            and later["stage"] == event["stage"]
            for later in events
        )

    def _link(self, event: Event) -> str:
        if not (self._web_ui_url and event.get("execution")):
            return ""
        return f"{self._web_ui_url}/#/history/{event['execution']}"
