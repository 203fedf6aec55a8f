from __future__ import annotations

from unittest import mock

from action_test_case import ConsulActionTestCase
from consul_server import register
from repository_refresh import RepositoryRefresh

from delivery import repository
from delivery.remote import RemoteError

AT = "2026-11-28T12:00:00Z"


class TestRepositoryRefresh(ConsulActionTestCase):
    """The tools are tried in test_repository.py; here it is which hosts are asked."""

    action_cls = RepositoryRefresh

    def setUp(self):
        super().setUp()
        for number in (1, 2):
            register(self.url, f"build-{number}", f"10.0.0.{number}", "build", ["build::host"])
        self.tool = mock.Mock()
        created = mock.patch.object(repository.TOOLS, "create", return_value=self.tool)
        created.start()
        self.addCleanup(created.stop)

    def test_refreshes_the_index_of_every_build_host(self):
        self.tool.refresh.side_effect = [AT, None]
        succeeded, result = self.act()
        self.assertTrue(succeeded, result)
        self.assertEqual(result["refreshed"], {"build-1": AT, "build-2": None})

    def test_refreshes_the_only_one_where_the_repository_has_a_host_of_its_own(self):
        self.config["repository"] = {"service": "repository"}
        register(self.url, "keeper", "10.0.0.9", "repository", ["repository::host"])
        self.tool.refresh.return_value = AT
        self.assertEqual(self.act()[1]["refreshed"], {"keeper": AT})

    def test_one_that_fails_does_not_keep_the_others_from_it_and_is_named(self):
        self.tool.refresh.side_effect = [RemoteError("build-1: no secret key"), AT]
        self.assert_fails("build-1: no secret key")
        self.assertEqual(self.tool.refresh.call_count, 2)
