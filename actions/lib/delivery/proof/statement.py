"""What is stated of a release: the provenance of its package, and what became of it.

Sources: in-toto Statement v1 (https://in-toto.io/Statement/v1), its predicate SLSA provenance v1
(https://slsa.dev/spec/v1.0/provenance). What a host decides by is in `externalParameters`.
"""

from __future__ import annotations

from typing import Any, Sequence

from delivery.build_record import Build
from delivery.proof.sbom import Sbom
from delivery.releases import Release
from delivery.rollout.record import Rollout

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
ROLLOUT = "urn:cicd-canary:rollout:v1"
BUILD_TYPE = "urn:cicd-canary:package:v1"
BUILD_HOST = "urn:cicd-canary:build-host:"
REPRODUCED_BY = "cicdcanary_reproducedBy"  # an extension field, named as SLSA says


def provenance(
    application: str,
    release: Release,
    build: Build,
    git_url: str,
    builders: Sequence[str],
    at: str,
    sbom: Sbom | None = None,
) -> dict[str, Any]:
    """Returns the statement that a release's package was built of its commit.

    :param git_url: what owner/name.git is appended to for cloning.
    :param builders: node names in Consul of the build hosts that have made it, each by itself.
    :param at: when it was published, ISO 8601 in UTC.
    :param sbom: what the build left.
    """
    run = f"{application}-{release.build}"
    if build.ci.get("url"):
        run = build.ci["url"]
    return _statement(
        release,
        PROVENANCE,
        {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "application": application,
                    "version": release.version,
                    "repository": release.repository,
                    "branch": release.branch,
                    "path": build.path,
                },
                "internalParameters": {"build": release.build, "pushedBy": release.by},
                "resolvedDependencies": [
                    {
                        "uri": f"git+{git_url}/{release.repository}@refs/heads/{release.branch}",
                        "digest": {"gitCommit": release.commit},
                    }
                ],
            },
            "runDetails": {
                "builder": {
                    "id": f"{BUILD_HOST}{builders[0]}",
                    REPRODUCED_BY: [f"{BUILD_HOST}{each}" for each in builders[1:]],
                },
                "metadata": {
                    "invocationId": str(run),
                    "startedOn": build.started_at,
                    "finishedOn": at,
                },
                "byproducts": [sbom.byproduct] if sbom else [],
            },
        },
    )


def rolled_out(release: Release, rollout: Rollout) -> dict[str, Any]:
    """Returns the statement that a stage has settled on a release."""
    return _statement(
        release,
        ROLLOUT,
        {
            "version": release.version,
            "stage": rollout.stage,
            "kind": rollout.kind,
            "by": rollout.by,
            "deployment": rollout.deployment,
            "settledAt": rollout.since,
        },
    )


def _statement(release: Release, kind: str, predicate: dict[str, Any]) -> dict[str, Any]:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": release.package.file, "digest": {"sha256": release.package.sha256}}],
        "predicateType": kind,
        "predicate": predicate,
    }
