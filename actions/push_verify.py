from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.github import GitHub
from delivery.github_repository import Repository
from delivery.webhook import BRANCH_REF


class PushVerify(DeliveryAction):
    def deliver(self, repository: str, ref: str, commit: str) -> dict[str, Any]:
        branch = ref[len(BRANCH_REF) :]
        github = Repository(GitHub(self.configuration.section("github")), repository)
        default_branch = github.default_branch()
        sources = self.configuration.sources().of(repository)
        apps = [each.app for each in sources if each.is_built(branch, default_branch)]
        if not apps:
            return {"verified": False, "reason": f"branch {branch} is not configured to be built"}
        github.verify_push(branch, commit)
        return {
            "verified": True,
            "apps": apps,
            "branch": branch,
            "default_branch": default_branch,
        }
