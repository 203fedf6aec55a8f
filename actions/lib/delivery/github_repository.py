"""What a delivery does to one repository on GitHub, and asks of it.

    repository = Repository(GitHub(configuration.section("github")), "acme/shop")
    repository.set_status(commit, "cicd/ci", "success", "build 7 passed")
    repository.verify_push("main", commit)

Whatever is set here is looked up first and written only if it differs, so it can be set again: by
a second execution, by a person, or after an answer that was lost.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from delivery.errors import DeliveryError
from delivery.github import GitHub
from delivery.names import check, plain

if TYPE_CHECKING:
    from github.Deployment import Deployment as GitHubDeployment
    from github.GitRef import GitRef

DESCRIPTION_LENGTH = 140  # GitHub's limit, in characters
OLDER_DEPLOYMENTS = 10  # of an environment, looked at for one to make inactive
OVER = ("inactive", "failure", "error")


class Deployment(NamedTuple):
    """What GitHub calls a deployment: a rollout, or a release that waits for one.

    :param key: tells it from other deployments of the same commit to the same environment.
    :param production: whether users meet this environment.
    """

    key: str
    commit: str
    environment: str
    production: bool
    state: str
    description: str
    log_url: str


class Repository:
    """
    :param github: how GitHub is reached; `patiently` is shared by all that is done with it.
    :param name: owner/name. Whether there is such a repository is not asked yet.
    :raises DeliveryError: when it is not a repository's name.
    """

    def __init__(self, github: GitHub, name: str) -> None:
        self._patiently = github.patiently
        # PyGithub 2.8 needs the argument that 2.10 calls deprecated.
        self._client = github.client.get_repo(check("repository", name), lazy=True)
        self.name = name

    def set_status(
        self, commit: str, context: str, state: str, description: str, target_url: str = ""
    ) -> bool:
        """Makes a commit's status in this context what is given.

        :param state: pending, success, failure or error.
        :param description: one line for people; cut to what GitHub takes.
        :returns: whether it was anything else before.
        """
        wanted = (state, _short(description), target_url)

        def bring_about() -> bool:
            subject = self._client.get_commit(check("commit", commit))
            there = [
                (each.state, each.description, each.target_url or "")
                for each in subject.get_combined_status().statuses
                if each.context == context
            ]
            if wanted in there:
                return False
            subject.create_status(
                wanted[0],
                description=wanted[1],
                context=context,
                **({"target_url": target_url} if target_url else {}),
            )
            return True

        return self._patiently(bring_about, f"status {context} of {commit[:7]} on {self.name}")

    def set_deployment(self, wanted: Deployment) -> bool:
        """Makes a deployment and its newest status what is given. When it is a success, older
        deployments of the environment become inactive.

        :returns: whether the deployment is new or had another state before.
        """
        return self._patiently(
            lambda: self._bring_about(wanted),
            f"deployment of {wanted.commit[:7]} to {wanted.environment} on {self.name}",
        )

    def set_tag(self, tag: str, commit: str, movable: bool) -> bool:
        """Makes a lightweight tag point to a commit.

        :param tag: its name, without refs/tags/.
        :param movable: whether it may point elsewhere now.
        :returns: whether it pointed elsewhere or was missing before.
        :raises DeliveryError: when it points elsewhere and may not be moved.
        """

        def bring_about() -> bool:
            reference = self._reference(f"tags/{tag}")
            if reference is None:
                self._client.create_git_ref(f"refs/tags/{tag}", commit)
                return True
            if reference.object.sha == commit:
                return False
            if not movable:
                raise DeliveryError(
                    f"tag {tag} of {self.name} points to {reference.object.sha[:7]}, not to "
                    f"{commit[:7]}; delete it on GitHub, or publish a new version"
                )
            reference.edit(commit, force=True)
            return True

        return self._patiently(bring_about, f"tag {tag} on {self.name}")

    def check_name(self) -> None:
        """Asks whether the repository is there, by this name.

        :raises DeliveryError: when it is not, or is called otherwise now. GitHub redirects after a
            repository was renamed, but a redirected write has no effect and is no error.
        """
        self._patiently(self._client.update, f"repository {self.name}")
        if self._client.full_name != self.name:
            raise DeliveryError(
                f"{self.name} is now {plain(self._client.full_name)} on GitHub; use that name"
            )

    def default_branch(self) -> str:
        """Returns the name of the default branch.

        :raises DeliveryError: when there is no repository by this name.
        """
        self.check_name()
        return self._client.default_branch

    def verify_push(self, branch: str, commit: str) -> None:
        """Asks whether a branch is at a commit, or has it in its history.

        That the repository knows the commit would not be enough: it also knows those of its forks
        and of pull requests that nobody has merged.

        :raises DeliveryError: when it has not.
        """

        def ask() -> bool:
            head = self._client.get_branch(check("branch", branch)).commit.sha
            return (
                head == check("commit", commit)
                or self._client.compare(commit, head).status == "ahead"
            )

        if not self._patiently(ask, f"{commit[:7]} on {branch} of {self.name}"):
            raise DeliveryError(
                f"nothing built: according to GitHub, {branch} of {self.name} does not contain "
                f"{commit[:7]}"
            )

    def _bring_about(self, wanted: Deployment) -> bool:
        found = self._deployment(wanted) or self._client.create_deployment(
            wanted.commit,
            environment=wanted.environment,
            auto_merge=False,
            required_contexts=[],
            payload={"key": wanted.key},
            description=_short(wanted.description),
            production_environment=wanted.production,
        )
        changed = _newest_state(found) != wanted.state
        if changed:
            _add_status(found, wanted.state, _short(wanted.description), wanted.log_url)
        if wanted.state == "success":
            self._deactivate_before(found)
        return changed

    def _deployment(self, wanted: Deployment) -> GitHubDeployment | None:
        """Returns the deployment with this key; of two the first, or None."""
        there = [
            each
            for each in self._client.get_deployments(
                sha=wanted.commit, environment=wanted.environment
            )
            if _key_of(each) == wanted.key
        ]
        return min(there, key=lambda each: each.id) if there else None

    def _deactivate_before(self, current: GitHubDeployment) -> None:
        """Makes older deployments inactive. GitHub does so only where no user is met."""
        older = (
            each
            for each in self._client.get_deployments(environment=current.environment)
            if each.id < current.id and _key_of(each)
        )
        for _, deployment in zip(range(OLDER_DEPLOYMENTS), older):
            state = _newest_state(deployment)
            if state == "inactive":
                return
            if state not in OVER:
                _add_status(deployment, "inactive", "", "")

    def _reference(self, name: str) -> GitRef | None:
        from github import UnknownObjectException

        try:
            reference = self._client.get_git_ref(name)
            reference.complete()
            return reference
        except UnknownObjectException:
            return None


def tag_of_version(version: str) -> str:
    """Returns a version as it may stand in a tag's name, as DEP-14 of Debian spells it."""
    text = re.sub(r"\.(?=\.|$|lock$)", ".#", version.replace("~", "_"))
    return text.replace(":", "%")


def _key_of(deployment: GitHubDeployment) -> str | None:
    """Returns the key this module gave a deployment; None for others'."""
    from github import BadAttributeException

    try:
        return (deployment.payload or {}).get("key")
    except BadAttributeException:
        return None  # somebody else's, whose payload is text


def _newest_state(deployment: GitHubDeployment) -> str | None:
    return next((status.state for status in deployment.get_statuses()), None)


def _add_status(deployment: GitHubDeployment, state: str, description: str, log_url: str) -> None:
    """PyGithub's own create_status knows only what log_url was called before."""
    body = {"state": state, "description": description, "auto_inactive": False}
    if log_url:
        body["log_url"] = log_url
    deployment.requester.requestJsonAndCheck("POST", f"{deployment.url}/statuses", input=body)


def _short(text: str) -> str:
    """Returns text as GitHub takes it for a description."""
    text = plain(text)
    return text if len(text) <= DESCRIPTION_LENGTH else text[: DESCRIPTION_LENGTH - 1] + "…"
