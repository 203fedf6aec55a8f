"""The proof that a rollout holds its lock."""

from __future__ import annotations

import pytest
from waiting import wait_for

from delivery.rollout import lock
from delivery.rollout.lock import HeldLock, LockLost
from delivery.store import ConsulUnreachable


@pytest.fixture(autouse=True)
def _renewed_often(monkeypatch):
    monkeypatch.setattr(lock, "RENEW_S", 0.02)


def is_lost(held: HeldLock) -> str:
    try:
        held.require()
    except LockLost as lost:
        return str(lost)
    return ""


def test_a_lock_that_is_renewed_is_proven(monkeypatch):
    renewals = []

    def renew():
        renewals.append(1)
        return True

    monkeypatch.setattr(lock, "LOCK_TTL_S", 0.5)
    with HeldLock(renew) as held:
        wait_for(lambda: len(renewals) > 40, what="renewals")
        held.require()
    known = len(renewals)
    wait_for(lambda: not held._keeper.is_alive(), what="the end of the thread")
    assert len(renewals) == known


def test_an_outage_that_is_shorter_than_the_lock_is_survived():
    answers = iter([ConsulUnreachable("no route")] * 3)
    renewals = []

    def renew():
        for error in answers:
            raise error
        renewals.append(1)
        return True

    with HeldLock(renew) as held:
        wait_for(lambda: renewals, what="a renewal after the outage")
        held.require()


def test_a_lock_is_lost_when_consul_was_not_heard_for_its_length(monkeypatch):
    def renew():
        raise ConsulUnreachable("no route")

    monkeypatch.setattr(lock, "LOCK_TTL_S", 0.1)
    with HeldLock(renew) as held:
        held.require()
        said = wait_for(lambda: is_lost(held), what="the loss of the lock")
    assert said.startswith("the rollout has lost its lock: Consul has not confirmed it for ")


def test_a_lock_is_lost_when_consul_has_ended_it():
    with HeldLock(lambda: False) as held:
        said = wait_for(lambda: is_lost(held), what="the loss of the lock")
    assert "Consul has ended it" in said


def test_whatever_ends_the_renewals_loses_the_lock():
    def renew():
        raise KeyError("ID")

    with HeldLock(renew) as held:
        assert "KeyError: 'ID'" in wait_for(lambda: is_lost(held), what="the loss of the lock")
