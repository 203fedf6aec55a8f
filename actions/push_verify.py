from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.github import GitHub
from delivery.github_repository import Repository
from delivery.webhook import BRANCH_REF, application_of, is_built


class PushVerify(DeliveryAction):
    def deliver(self, repository: str, ref: str, commit: str) -> dict[str, Any]:
        branch = ref[len(BRANCH_REF) :]
        settings = self.configuration.section("applications").get(repository) or {}
        github = Repository(GitHub(self.configuration.section("github")), repository)
        default_branch = github.default_branch()
        if not is_built(branch, settings, default_branch):
            return {"verified": False, "reason": f"branch {branch} is not configured to be built"}
        github.verify_push(branch, commit)
        return {
            "verified": True,
            "app": application_of(repository, settings),
            "branch": branch,
            "default_branch": default_branch,
        }
