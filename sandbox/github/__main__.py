"""The sandbox's GitHub, as the program of its host.

Arguments: the addresses of its web pages and of its API, which stand in what it answers.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sandbox.github.commits import GitCommits
from sandbox.github.rest import GitHub
from sandbox.github.server import Server
from sandbox.github.shapes import Site

ROOT = Path("/srv/github")
PORT = 80


def main(html_url: str, api_url: str) -> None:
    site = Site(html_url, api_url)
    with Server("", PORT) as server:
        server.github = GitHub(site, lambda full_name: GitCommits(ROOT / f"{full_name}.git"))
        print(f"listening on port {PORT}", file=sys.stderr, flush=True)
        server.serve_forever()


main(*sys.argv[1:])
