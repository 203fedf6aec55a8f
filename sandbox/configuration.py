"""The pack's configuration for a world, as it would be in StackStorm's configs directory."""

from __future__ import annotations

import textwrap
from pathlib import Path

from sandbox import fleet
from sandbox.github import TOKEN


def configuration(
    directory: Path,
    webhook_secret: str,
    receiver_address: str,
    signing_key: str,
    consul_token: str,
    repository_host: bool,
) -> str:
    """What configs/cicd_canary.yaml says.

    directory: holds the world's SSH key. repository_host: the APT repository has one of its own.
    """
    service = "\n  service: repository" if repository_host else ""
    return f"""\
---
consul:
  url: {fleet.CONSUL_URL}
  token: {consul_token}
github:
  git_url: {fleet.GITHUB_URL}
  api_url: {fleet.GITHUB_API_URL}
  token: {TOKEN}
  tags: stage
  webhook_secret: {webhook_secret}
receiver:
  host: {receiver_address}
  port: {fleet.WEBHOOK_PORT}
proof:
  signing_key: |
{textwrap.indent(signing_key, "    ")}\
ssh:
  user: root
  key_file: {directory}/ssh/id_ed25519
  known_hosts_file: {directory}/ssh/known_hosts
build:
  service: build
  tag: build::host
ci:
  tool: build_host
packaging:
  tool: nfpm
  maintainer: Acme Developers <developers@acme.example>
repository:
  tool: aptly{service}
  distribution: cicd
  component: main
  gpg_key: {fleet.REPOSITORY_KEY}
"""
