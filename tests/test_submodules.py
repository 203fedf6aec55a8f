"""Submodules: from the repository's own server, and from nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from delivery.git_url import server_of
from delivery.workspace import RefusedSource, Workspace

from .local_host import ISOLATION, LocalShell
from .repositories import Repository


class Server:
    """A git server: two owners' repositories, and one that is elsewhere."""

    def __init__(self, root: Path) -> None:
        for name in ("server/acme", "server/other", "elsewhere/acme"):
            (root / name).mkdir(parents=True)
        self.shop = Repository(root / "server/acme/shop.git")
        self.library = Repository(root / "server/acme/library.git")
        self.others = Repository(root / "server/other/library.git")
        self.elsewhere = Repository(root / "elsewhere/acme/library.git")
        for each in (self.library, self.others, self.elsewhere):
            each.commit({"word": str(each.path)})

    def shop_with(self, url: str, of: Repository | None = None, into: Repository | None = None):
        """Commits a submodule to shop; returns the commit."""
        of, into = of or self.library, into or self.shop
        commit = of.git("rev-parse", "refs/heads/main")
        into.commit({".gitmodules": f'[submodule "lib"]\n\tpath = lib\n\turl = {url}\n'})
        into.git("update-index", "--add", "--cacheinfo", f"160000,{commit},lib")
        return into.commit({"with": "a submodule"})


@pytest.fixture
def server(tmp_path):
    return Server(tmp_path)


@pytest.fixture
def workspace():
    ssh = LocalShell()
    made = Workspace.create(ssh, ssh.host, ISOLATION)
    yield made
    made.remove()


@pytest.mark.parametrize("url", ["../library.git", "{server}/acme/library.git"])
def test_a_submodule_on_the_same_server_is_fetched(server, workspace, url):
    commit = server.shop_with(url.format(server=f"file://{server.shop.path.parents[1]}"))
    workspace.check_out(server.shop.url, commit, "main")
    assert Path(workspace.path, "source/lib/word").read_text() == str(server.library.path)


def test_another_owners_on_the_same_server_is_fetched(server, workspace):
    commit = server.shop_with("../../other/library.git", server.others)
    workspace.check_out(server.shop.url, commit, "main")
    assert Path(workspace.path, "source/lib/word").read_text() == str(server.others.path)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc",
        "../../../elsewhere/acme/library.git",
        "https://evil.example/acme/library.git",
        "ssh://git@evil.example/acme/library.git",
        "git@evil.example:acme/library.git",
        "/etc",
        "{server}/../elsewhere/acme/library.git",
        "{server}.evil.example/library.git",
    ],
)
def test_one_elsewhere_is_refused_and_nothing_is_asked_there(server, workspace, url):
    commit = server.shop_with(url.format(server=f"file://{server.shop.path.parents[1]}"))
    with pytest.raises(RefusedSource, match="^submodule lib.url: .* is not on file:///") as refused:
        workspace.check_out(server.shop.url, commit, "main")
    assert "\n" not in str(refused.value)
    assert not Path(workspace.path, "box/source/lib/word").exists()


@pytest.mark.parametrize("url", ["ext::sh -c touch% /tmp/x", "-u./payload", "fd::17", "x\x01y"])
def test_what_git_would_run_is_refused(server, workspace, url):
    with pytest.raises(RefusedSource, match="^(submodule|.gitmodules)"):
        workspace.check_out(server.shop.url, server.shop_with(url), "main")


def test_a_submodule_of_a_submodule_is_held_to_the_same(server, workspace):
    server.shop_with(f"file://{server.elsewhere.path}", server.elsewhere, server.library)
    commit = server.shop_with("../library.git")
    with pytest.raises(RefusedSource, match="^submodule lib.url: .*elsewhere.* is not on file:///"):
        workspace.check_out(server.shop.url, commit, "main")


def test_a_submodule_that_gitmodules_does_not_describe_is_refused(server, workspace):
    commit = server.library.git("rev-parse", "refs/heads/main")
    server.shop.git("update-index", "--add", "--cacheinfo", f"160000,{commit},lib")
    commit = server.shop.commit({"a": "b"})
    with pytest.raises(RefusedSource, match="No url found for submodule path 'lib'"):
        workspace.check_out(server.shop.url, commit, "main")


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://github.com/acme/shop.git", "https://github.com"),
        ("https://git.example:8443/git/acme/shop.git", "https://git.example:8443"),
        ("ssh://git@github.com/acme/shop.git", "ssh://git@github.com"),
        ("file:///srv/git/acme/shop.git", "file:///srv/git"),
    ],
)
def test_a_server_is_its_protocol_and_host(url, server):
    assert server_of(url) == server
