"""Makes the pack importable to its tests, under StackStorm's test runner and without it."""

from __future__ import annotations

import importlib.util
import os
import sys

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACK_PATHS = [
    os.path.join(ROOT, *parts)
    for parts in ((), ("actions", "lib"), ("actions",), ("sensors",), ("tests",))
]

for path in PACK_PATHS:
    if path not in sys.path:
        sys.path.insert(0, path)

STAND_INS = os.path.join("packengine", "shims")
found = importlib.util.find_spec("st2tests")
if found is None:
    sys.path.append(os.path.join(ROOT, "engine", STAND_INS))
elif STAND_INS not in str(found.origin):
    # st2-run-pack-tests has what the pack needs, not what these need.
    collect_ignore = ["acceptance", "attacks", "end_to_end"]
    if importlib.util.find_spec("packengine") is None:
        collect_ignore.append("test_content.py")
    # st2tests would make this process's threads green when it is imported, after modules that then
    # block all of them. Actions run with real threads; sensors are tried in tests/acceptance.
    import st2common.util.monkey_patch

    st2common.util.monkey_patch.monkey_patch = lambda **_: None


@pytest.fixture
def store():
    """An empty part of the run's Consul."""
    from consul_server import empty_store

    with empty_store() as store:
        yield store


@pytest.fixture
def consul_url(store):
    """Where that Consul is. What a test registers there is gone after it."""
    return store.url
