"""The store against a real Consul."""

from __future__ import annotations

import socket
import threading

import pytest

from delivery.errors import DeliveryError
from delivery.store import ConsulUnreachable, LostRace, Store


def test_a_transaction_is_all_or_nothing(store):
    store.commit([store.set("a", "1", None)])
    with pytest.raises(LostRace):
        store.commit([store.set("b", "2", None), store.set("a", "again", None)])
    assert store.get("b") is None
    assert store.get("a").value == "1"


def test_a_key_changed_by_another_is_not_overwritten(store):
    store.commit([store.set("a", "1", None)])
    read = store.get("a")
    store.commit([store.set("a", "2", read)])
    with pytest.raises(LostRace):
        store.commit([store.set("a", "3", read)])
    assert store.get("a").value == "2"


def test_a_lock_belongs_to_one_session(store):
    mine, yours = store.sessions.open("mine", 60), store.sessions.open("yours", 60)
    store.commit([store.lock("lock", "mine", mine)])
    with pytest.raises(LostRace):
        store.commit([store.lock("lock", "yours", yours)])
    assert store.lock_holder("lock") == "mine"
    store.sessions.close(mine)
    assert store.lock_holder("lock") is None
    store.commit([store.lock("lock", "yours", yours)])
    assert store.lock_holder("lock") == "yours"


def test_a_write_guarded_by_a_lapsed_lock_is_refused(store):
    session = store.sessions.open("mine", 60)
    store.commit([store.lock("lock", "mine", session)])
    store.sessions.close(session)
    with pytest.raises(LostRace):
        store.commit([store.holds("lock", session), store.set("a", "1", None)])
    assert store.get("a") is None


def test_renewing_a_session_that_has_ended_says_so(store):
    session = store.sessions.open("mine", 60)
    assert store.sessions.renew(session)
    store.sessions.close(session)
    assert not store.sessions.renew(session)


def test_a_waiting_reader_wakes_when_a_key_changes(store):
    _, index = store.wait_for_keys(0, 1)
    timer = threading.Timer(0.2, lambda: store.commit([store.set("a", "1", None)]))
    timer.start()
    keys, later = store.wait_for_keys(index, 10)
    timer.join()
    assert keys == ["a"]
    assert later != index


def test_folders_are_the_names_below_the_prefix(store):
    store.commit([store.set("shop/lock", "", None), store.set("notes/lock", "", None)])
    assert sorted(store.folders()) == ["notes", "shop"]


def test_more_changes_than_consul_takes_are_refused_before_they_are_sent(store):
    with pytest.raises(DeliveryError, match="65 changes in one step; Consul's limit is 64"):
        store.commit([store.set(str(number), "", None) for number in range(65)])
    assert store.keys() == []


def test_an_unreachable_consul_is_a_clear_error_after_bounded_retries():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        store = Store(f"http://127.0.0.1:{closed.getsockname()[1]}")
        with pytest.raises(ConsulUnreachable, match="did not answer after 3 attempts.*consul.url"):
            store.get("a")


@pytest.mark.parametrize("url", ["consul:8500", "ftp://consul", "http://"])
def test_a_malformed_address_is_refused_by_name(url):
    with pytest.raises(DeliveryError, match="consul.url is"):
        Store(url)


def test_the_token_is_sent_with_transactions_too():
    """py-consul 1.x leaves it out there."""
    store = Store("http://127.0.0.1:1", token="the-token")
    assert store.client.http.session.headers["X-Consul-Token"] == "the-token"
