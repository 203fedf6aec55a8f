"""CI by Jenkins: it builds by itself, and is asked for the result.

The remote access API is described at https://www.jenkins.io/doc/book/using/remote-access-api/; what
its answers mean was read from hudson.model.Queue, Run and Result.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, Sequence

from delivery.ci import CiServer, Job, NoAnswer, Verdict
from delivery.ci.callback import Callback
from delivery.ci.jenkins_api import Api, Settings, path_of
from delivery.ci.jenkins_callback import JenkinsCallback
from delivery.ci.jenkins_log import last_line
from delivery.errors import DeliveryError
from delivery.names import shown

if TYPE_CHECKING:
    from delivery.configuration import Configuration

QUEUE_WAIT_S = 5  # for a free executor to take the build, so that its number is known
QUEUE_LOOK_S = 0.5
BUILDS_SEARCHED = 100  # of a job, newest first; as many as Jenkins tells without being asked

BUILD_FIELDS = "number,building,result,duration,actions[parameters[name,value]]"
ITEM_FIELDS = "id,cancelled,executable[number],actions[parameters[name,value]]"

# Jenkins' results (hudson.model.Result) other than SUCCESS, and what they mean here.
RESULTS = {
    "FAILURE": "failed",
    "UNSTABLE": "is unstable: tests failed, or a report exceeded its threshold",
    "NOT_BUILT": "was not built: an earlier step failed",
    "ABORTED": "was aborted in Jenkins",
}
DELETED = "is no longer in Jenkins: deleted before its result was read, or hidden from the user"


class Jenkins(CiServer):
    """
    :param settings: how to reach it, and which job builds an application.
    """

    name = "jenkins"
    required = dict.fromkeys(
        ("jenkins.url", "jenkins.user", "jenkins.api_token"), "set it, or set ci.tool to build_host"
    )
    polled = True

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.api = Api(settings)

    @classmethod
    def configured(cls, configuration: Configuration) -> Jenkins:
        return cls(Settings.read(cls.section(configuration)["jenkins"]))

    @classmethod
    def callbacks(cls, configuration: Configuration) -> Sequence[Callback]:
        return [JenkinsCallback(configuration.section("ci")["jenkins"])]

    def job_name(self, app: str) -> str:
        """Returns the full name of the job that builds an application."""
        return self.settings.job.replace("{app}", app)

    # --- CiServer -------------------------------------------------------------------------------

    def run(self, job: Job) -> Verdict:
        """Puts the job into Jenkins' queue, and waits a little for it to leave it.

        :raises NoAnswer: when Jenkins is away; it may have taken the job all the same, which
            `look` finds out.
        """
        queue_id = self.trigger(job)
        deadline = time.monotonic() + QUEUE_WAIT_S
        try:
            verdict = self.look(job, {"queue_id": queue_id})
            if verdict.status == "lost":
                self._refuse_job_without_callback(job, queue_id)
            while (
                verdict.status == "running"
                and "number" not in verdict.record
                and time.monotonic() < deadline
            ):
                time.sleep(QUEUE_LOOK_S)
                verdict = self.look(job, {"queue_id": queue_id})
        except NoAnswer:
            verdict = Verdict("lost")
        return self._verdict(job, "running", queue_id) if verdict.status == "lost" else verdict

    def look(self, job: Job, record: Mapping[str, Any], number: int = 0) -> Verdict:
        """Reads the result of a build from Jenkins.

        Numbers of builds and of queue items are only believed if what they lead to carries this
        job's callback id: after a crash Jenkins counts its queue anew, and a number may come from
        a callback.
        """
        name = self.job_name(job.app)
        for each in (record.get("number"), number):
            build = self._build(name, each) if each else None
            if build and _is_of(job, build):
                return self._of_build(job, build, record.get("queue_id"))
        if record.get("number"):
            return self._verdict(job, "failed", record.get("queue_id"), record["number"], DELETED)
        item = self._queue_item(job, record.get("queue_id"))
        if item is None:
            return self._search(job, record.get("queue_id"))
        if item.get("cancelled"):
            return self._verdict(job, "failed", item["id"], None, "was cancelled in Jenkins' queue")
        number = (item.get("executable") or {}).get("number", 0)
        if not number:
            return self._verdict(job, "running", item["id"])
        build = self._build(name, number)
        return (
            self._of_build(job, build, item["id"])
            if build
            else self._verdict(job, "failed", item["id"], number, DELETED)
        )

    def stop(self, job: Job, record: Mapping[str, Any]) -> None:
        """Aborts the build, or takes it from the queue; fine if it is not there any more."""
        from jenkins import NotFoundException

        with self.api.reaching() as client:
            try:
                if record.get("number"):
                    client.stop_build(self.job_name(job.app), record["number"])
                elif record.get("queue_id"):
                    client.cancel_queue(record["queue_id"])
            except NotFoundException:
                pass

    def examine(self, applications: Iterable[str]) -> str:
        waiting = len((self.api.get("queue", "items[id]") or {}).get("items", []))
        for app in applications:
            self._require_job(app)
        return f"reachable; {waiting} in its queue; every application has its job"

    # --- the API --------------------------------------------------------------------------------

    def trigger(self, job: Job) -> int:
        """Puts the job into the queue at once; returns the number of the queue item."""
        name = self.job_name(job.app)
        parameters = {
            "REPOSITORY": job.repository,
            "BRANCH": job.branch,
            "COMMIT": job.commit,
            "DIRECTORY": job.path,
            "CALLBACK": job.callback,
            "CALLBACK_URL": self.settings.callback_url,
            "delay": "0sec",
        }
        from jenkins import NotFoundException

        with self.api.reaching(f"start {name}") as client:
            try:
                return int(client.build_job(name, parameters))
            except NotFoundException:
                raise DeliveryError(self.api.no_job(name)) from None

    def ensure_job(self, name: str, wanted: str, same: Callable[[str, str], bool]) -> str:
        """Makes a job as wanted; one that says the same already is left alone.

        :param name: its full name; the folders it is in must be there.
        :param wanted: its config.xml.
        :param same: says of two config.xml, the job's and the wanted one, whether nothing is to do.
        :returns: created, updated or unchanged.
        """
        from jenkins import NotFoundException

        folder = name.rpartition("/")[0]
        with self.api.reaching(f"create the job {name}") as client:
            try:
                present = client.get_job_config(name)
            except NotFoundException:
                if folder and self.api.get(path_of(folder), "name") is None:
                    raise DeliveryError(
                        f"folder {folder} does not exist in Jenkins at {self.api.url}, or is "
                        f"hidden from {self.settings.user}; create it there"
                    ) from None
                client.create_job(name, wanted)
                return "created"
            if same(present, wanted):
                return "unchanged"
            client.reconfig_job(name, wanted)
            return "updated"

    def _require_job(self, app: str) -> None:
        """:raises DeliveryError: when there is no job that builds the application."""
        name = self.job_name(app)
        if self.api.get(path_of(name), "name") is None:
            raise DeliveryError(self.api.no_job(name))

    def _refuse_job_without_callback(self, job: Job, queue_id: int) -> None:
        """
        :raises DeliveryError: when the item that was just made does not have what it was given.
        """
        if self.api.get(f"queue/item/{queue_id}", "id"):
            raise DeliveryError(
                f"job {self.job_name(job.app)} in Jenkins has no parameter "
                f"{'CALLBACK or DIRECTORY' if job.path else 'CALLBACK to identify its builds'}; "
                "add it, or run cicd_canary.jenkins_job_ensure"
            )

    def _build(self, name: str, number: int) -> dict[str, Any] | None:
        return self.api.get(f"{path_of(name)}/{number}", BUILD_FIELDS)

    def _queue_item(self, job: Job, queue_id: int | None) -> dict[str, Any] | None:
        """Returns the job's item, waiting or up to five minutes after it has left the queue."""
        item = self.api.get(f"queue/item/{queue_id}", ITEM_FIELDS) if queue_id else None
        if item and _is_of(job, item):
            return item
        waiting = self.api.get("queue", f"items[{ITEM_FIELDS}]") or {}
        return next((each for each in waiting.get("items", []) if _is_of(job, each)), None)

    def _search(self, job: Job, queue_id: int | None) -> Verdict:
        """Looks for the job among the builds, when Jenkins has forgotten its queue item."""
        name = self.job_name(job.app)
        found = self.api.get(path_of(name), f"builds[{BUILD_FIELDS}]{{0,{BUILDS_SEARCHED}}}")
        if found is None:
            return Verdict("failed", None, self.api.no_job(name), record={"job": name})
        builds = found.get("builds")
        for build in builds or ():
            if _is_of(job, build):
                return self._of_build(job, build, queue_id)
        return self._verdict(job, "lost", queue_id)

    def _of_build(self, job: Job, build: dict[str, Any], queue_id: int | None = None) -> Verdict:
        number, result = build["number"], build.get("result")
        if build.get("building") or not result:
            return self._verdict(job, "running", queue_id, number)
        if result == "SUCCESS":
            verdict = self._verdict(job, "passed", queue_id, number)
        else:
            what = RESULTS.get(result, f"ended with the unknown result {shown(result)}")
            said = self._last_line(job, number) if result in ("FAILURE", "UNSTABLE") else ""
            what = f"{what}: {said}" if said else what
            verdict = self._verdict(job, "failed", queue_id, number, what)
        return verdict._replace(seconds={"jenkins": round((build.get("duration") or 0) / 1000, 3)})

    def _last_line(self, job: Job, number: int) -> str:
        return last_line(self.api.end_of_log(f"{path_of(self.job_name(job.app))}/{number}"))

    def _verdict(
        self, job: Job, status: str, queue_id: int | None, number: int | None = None, what: str = ""
    ) -> Verdict:
        name = self.job_name(job.app)
        record: dict[str, Any] = {"job": name}
        if queue_id:
            record["queue_id"] = queue_id
        if number:
            record.update(number=number, url=f"{self.api.job_url(name)}{number}/")
        where = f"build {number} of {name}" if number else name
        link = f": {record['url']}" if number else ""
        return Verdict(status, None, f"{where} {what}{link}" if what else "", record=record)


def _is_of(job: Job, thing: Mapping[str, Any]) -> bool:
    """Returns whether a build or a queue item was started for this job. One of a job that knows no
    directories would have built another application."""
    found = _parameters(thing.get("actions") or [])
    return ("CALLBACK", job.callback) in found and (
        not job.path or ("DIRECTORY", job.path) in found
    )


def _parameters(actions: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [
        (each.get("name"), each.get("value"))
        for action in actions
        for each in (action or {}).get("parameters") or []
    ]
