"""Releases and stages as the tests need them."""

from __future__ import annotations

from delivery.release import Application, Target, package_version

COMMITS = ["a" * 40, "b" * 40, "c" * 40, "d" * 40]
SETTINGS = {
    "role": "app",
    "stages": ["canary", "production"],
    "rollout": {"batch_size": 1, "failure_budget": 0, "healthy_deadline_s": 2, "min_healthy_s": 0},
}


def published(application, number=1, **settings):
    """Publishes build `number` of the application; returns its Target."""
    commit = COMMITS[number - 1]
    application.start_build(commit, "acme/shop", "main", "alice")
    application.finish_build(commit, passed=True)
    build = application.build(commit)["number"]
    version = package_version("1.0", build, commit)
    sha256 = f"{number:064x}"
    application.publish(
        {
            "version": version,
            "commit": commit,
            "branch": "main",
            "repository": "acme/shop",
            "build": build,
            "by": "alice",
            "settings": dict(SETTINGS, **settings),
            "metadata": {},
            "package": {"file": f"shop_{version}_all.deb", "sha256": sha256, "size_bytes": 1},
        }
    )
    return Target(version, sha256)


def settled(application, stage, target, kind="deploy", by="alice", source=None):
    """Brings a stage to a target, as a rollout that succeeds does."""
    rollout = application.begin_rollout(stage, target, [["node-1"]], by, kind, source=source)
    application.assign(rollout, ["node-1"])
    return application.finish_rollout(application.record_batch(rollout, {}))


def failed(application, stage, target, reason="node-1: is broken"):
    """A rollout that fails."""
    rollout = application.begin_rollout(stage, target, [["node-1"]], "alice", "deploy")
    application.assign(rollout, ["node-1"])
    rollout = application.record_batch(rollout, {"node-1": "is broken"}, reason)
    return application.fail_rollout(rollout)


def shop(store):
    return Application(store, "shop")
