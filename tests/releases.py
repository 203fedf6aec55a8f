"""Releases and stages as the tests need them."""

from __future__ import annotations

from delivery.application import Application
from delivery.configuration import Configuration
from delivery.releases import File, Release, package_version
from delivery.rollout.plan import Order

COMMITS = ["a" * 40, "b" * 40, "c" * 40, "d" * 40]
# Of an operator who lets applications choose.
POLICY = Configuration(
    {"policy": {"largest_batch": "100%", "largest_failure_budget": 9}}
).policies.of("shop")
SETTINGS = {
    "package": {"architecture": "all"},
    "role": "app",
    "stages": ["canary", "production"],
    "rollout": {"batch_size": 1, "failure_budget": 0, "healthy_deadline_s": 2, "min_healthy_s": 0},
}


def published(application, number=1, upstream="1.0", commit="", **settings):
    """Publishes build `number` of the application; returns its Target."""
    commit = commit or COMMITS[number - 1]
    application.builds.start(commit, "acme/shop", "main", "alice")
    application.builds.finish(commit, passed=True)
    build = application.builds.get(commit).number
    version = package_version(upstream, build, commit)
    release = Release(
        version=version,
        commit=commit,
        branch="main",
        repository="acme/shop",
        build=build,
        by="alice",
        package=File(f"shop_{version}_all.deb", f"{number:064x}", 1),
        settings=dict(SETTINGS, **settings),
        metadata={},
    )
    application.releases.publish(release)
    return release.target


def begun(application, stage, target, batches, by, kind, source=None):
    """Begins a rollout; returns it."""
    return application.rollouts.begin(Order(kind, stage, target, batches, by, source=source))


def settled(application, stage, target, kind="deploy", by="alice", source=None):
    """Brings a stage to a target, as a rollout that succeeds does."""
    rollout = begun(application, stage, target, [["node-1"]], by, kind, source)
    application.rollouts.assign(rollout, ["node-1"])
    return application.rollouts.settle(application.rollouts.record_batch(rollout, {}))


def failed(application, stage, target, reason="node-1: is broken"):
    """A rollout that fails."""
    rollout = begun(application, stage, target, [["node-1"]], "alice", "deploy")
    application.rollouts.assign(rollout, ["node-1"])
    rollout = application.rollouts.record_batch(rollout, {"node-1": "is broken"}, reason)
    return application.rollouts.fail(rollout)


def shop(store):
    return Application(store, "shop")
