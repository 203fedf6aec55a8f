"""Makes the pack importable to its tests, under StackStorm's test runner and without it."""

from __future__ import annotations

import importlib.util
import os
import sys
import uuid

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PACK_PATHS = [
    os.path.join(ROOT, *parts)
    for parts in (("actions", "lib"), ("actions",), ("sensors",), ("tests",))
]

for path in PACK_PATHS:
    if path not in sys.path:
        sys.path.insert(0, path)

if importlib.util.find_spec("st2tests") is None:
    sys.path.append(os.path.join(ROOT, "engine", "packengine", "shims"))
else:
    # st2-run-pack-tests has what the pack needs, not what these need.
    collect_ignore = ["acceptance", "end_to_end"]
    # st2tests would make this process's threads green when it is imported, after modules that then
    # block all of them. Actions run with real threads; sensors are tried in tests/acceptance.
    import st2common.util.monkey_patch

    st2common.util.monkey_patch.monkey_patch = lambda **_: None


@pytest.fixture(scope="session")
def consul_url():
    """A real Consul, one for all tests; each takes a prefix of its own."""
    from consul_server import running_consul

    with running_consul() as url:
        yield url


@pytest.fixture
def store(consul_url):
    """An empty store."""
    from delivery.store import Store

    return Store(consul_url, prefix="test-" + uuid.uuid4().hex)
