"""The pack's configuration, and what is made from it."""

from __future__ import annotations

import random
from typing import Any, Mapping

from delivery import schema
from delivery.discovery import Discovery
from delivery.errors import DeliveryError
from delivery.git_url import clone_url, web_url
from delivery.names import check_applications
from delivery.policy import Policies
from delivery.remote import Host, Ssh
from delivery.sources import Sources
from delivery.store import Store
from delivery.zones import Zone

LEAST_SECRET = 8  # characters; shorter ones are in many a word


class Configuration:
    """
    :param values: as StackStorm hands them to an action or a sensor (config.schema.yaml).
    :raises DeliveryError: for a key or a value that config.schema.yaml does not have, by name.
    """

    def __init__(self, values: Mapping[str, Any] | None) -> None:
        self._values = schema.complete(values or {})
        self._ssh: Ssh | None = None
        # These refuse what the schema cannot.
        check_applications("permissions.applications", self.section("permissions")["applications"])
        self._sources = Sources(self.section("applications"))
        self.policies = Policies(self.section("policy"))

    def section(self, name: str) -> dict[str, Any]:
        """Returns a section: what is set, and the default of each key that has one."""
        section: dict[str, Any] = self._values[name]
        return section

    def store(self) -> Store:
        consul = self.section("consul")
        return Store(consul["url"], consul.get("token"), consul["kv_prefix"])

    def discovery(self) -> Discovery:
        return Discovery(self.store())

    def build_service(self) -> str:
        """Returns the name of the build hosts' service in Consul."""
        return str(self.section("build")["service"])

    def build_tag(self) -> str:
        """Returns the tag that the service carries on build hosts that may be used."""
        return str(self.section("build")["tag"])

    def build_host(self) -> Host:
        """Returns any of the build hosts that Consul knows.

        :raises DeliveryError: when there is none.
        """
        return random.choice(self.discovery().service_hosts(self.build_service(), self.build_tag()))

    def sources(self) -> Sources:
        """Returns which applications the repositories hold."""
        return self._sources

    def build_ssh(self) -> Ssh:
        """Returns the way to build hosts and to the host of the repository."""
        return self.ssh(keep_connection_s=30)

    def git_url(self) -> str:
        """Returns what owner/name.git is appended to for cloning."""
        return str(self.section("github")["git_url"])

    def clone_url(self, repository: str) -> str:
        """Returns where to clone owner/name from."""
        return clone_url(self.git_url(), repository)

    def web_url(self) -> str:
        """Returns where the repositories' pages are; empty where the git server has none."""
        return web_url(self.git_url())

    def zone(self) -> Zone:
        """Returns the zone in which people are told times.

        :raises DeliveryError: when it is none.
        """
        return Zone(self.section("chat")["time_zone"])

    def refuse_secrets(self, what: str, text: str) -> None:
        """Refuses free text with a secret in it. StackStorm renders a template in a parameter, and
        has this configuration in scope when it does.

        :param what: is said, in the error.
        :raises DeliveryError: when one of the configuration's secrets is part of the text.
        """
        for secret in schema.secrets(self._values):
            if len(secret) >= LEAST_SECRET and secret in text:
                raise DeliveryError(
                    f"{what} holds a secret of the configuration: write it without, and in words, "
                    "not in a template"
                )

    def ssh(self, keep_connection_s: int = 0) -> Ssh:
        """Returns the way to other hosts, always the same one.

        :param keep_connection_s: seconds for which a connection stays open for the next command;
            a build host is asked many small things in a row, others are asked one.
        """
        if self._ssh is None:
            ssh = self.section("ssh")
            self._ssh = Ssh(
                ssh["user"],
                ssh.get("key_file"),
                ssh.get("known_hosts_file"),
                connect_timeout_s=ssh["connect_timeout_s"],
                keep_connection_s=keep_connection_s,
            )
        return self._ssh

    @property
    def waited_s(self) -> float:
        """Seconds spent waiting for commands on other hosts."""
        return round(self._ssh.waited_s, 3) if self._ssh else 0.0
