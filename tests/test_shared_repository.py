"""An application in a directory of a repository: its scripts, its files and its package."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from unittest import mock

import pytest
from repositories import Repository

from delivery import metadata, settings, workspace
from delivery.ci import Job
from delivery.ci.build_host import BuildHost
from delivery.packaging import Recipe
from delivery.packaging.layout import lay_out
from delivery.packaging.nfpm import Nfpm
from delivery.remote import RemoteError
from delivery.workspace import RefusedSource, Workspace

from .local_host import ISOLATION, LocalShell

PATH = "services/api"
SCRIPT = "#!/bin/sh\n"
FILES = {
    "VERSION": "9.9",
    ".cicd.yaml": "packge: nobody reads this",
    "script/cibuild": "exit 1",
    f"{PATH}/VERSION": "1.2.0",
    f"{PATH}/.cicd.yaml": "depends_on: [libs/common]\npackage: {root: public}\n",
    f"{PATH}/public/index.html": "the api",
    f"{PATH}/script/cisetup": SCRIPT + "pwd > where.txt",
    f"{PATH}/script/post-inst": SCRIPT,
    "services/web/index.html": "not the api",
    "libs/common/code.txt": "shared\n",
    "libs/ci/cibuild": SCRIPT
    + 'test -f script/cibuild && (cd ../../libs/common && cat code.txt) && pwd -P && echo "$PWD"',
}
LINKS = {f"{PATH}/script/cibuild": "../../../libs/ci/cibuild"}
RUN = ("libs/ci/cibuild", f"{PATH}/script/cisetup", f"{PATH}/script/post-inst")


@pytest.fixture
def ssh(tmp_path):
    with mock.patch.object(workspace, "ROOT", str(tmp_path / "workspaces")):
        shell = LocalShell()
        yield shell
        for each in (tmp_path / "workspaces").glob("*"):
            Workspace(shell, shell.host, each.name).remove()


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "tools.git")


@pytest.fixture
def checked_out(ssh, repository):
    """Returns a function that checks out what is committed."""

    def check_out(files=FILES, links=LINKS, path=PATH):
        commit = repository.commit(files, executable=RUN, links=links)
        made = Workspace.create(ssh, ssh.host, ISOLATION)
        made.check_out(repository.url, commit, "main", path)
        return made, commit

    return check_out


def read(made):
    own = made.read_sources([settings.FILE], PATH)
    chosen = settings.load(own.files.get(settings.FILE), "api")
    return made.read_sources(metadata.paths(chosen), PATH), chosen


def test_its_scripts_run_in_its_directory_and_reach_what_is_beside_it(ssh, repository):
    commit = repository.commit(FILES, executable=RUN, links=LINKS)
    job = Job("api", "acme/tools", repository.url, "main", commit, "callback", PATH)
    verdict = BuildHost(ssh, lambda: ssh.host, 60, ISOLATION).run(job)
    assert verdict.passed, (verdict.reason, verdict.log)
    shared, physical, logical = verdict.log.split()
    assert (shared, physical) == ("shared", logical)
    assert physical == f"/build/checkout/{PATH}"


def test_its_own_files_say_what_it_is(checked_out):
    made, _ = checked_out()
    sources, chosen = read(made)
    assert sources.files["VERSION"] == b"1.2.0"
    assert (chosen.package.root, chosen.depends_on) == ("public", ["libs/common"])


@pytest.mark.parametrize(
    ("tags", "described"),
    [
        (["v9.0.0"], "v9.0.0"),
        (["v9.0.0", "api/v1.2.0", "web/v7.0.0"], "v1.2.0"),
        (["v9.0.0", "services/api/1.3.0", "deployed/api/canary"], "1.3.0"),
        (["web/v7.0.0", "release/api/1.0-1.abc"], ""),
    ],
)
def test_its_own_tags_say_its_version_before_those_of_the_whole(
    checked_out, repository, tags, described
):
    commit = repository.commit(FILES)
    for tag in tags:
        repository.git("update-ref", f"refs/tags/{tag}", commit)
    made, _ = checked_out({"README.md": "2"})
    sources, _ = read(made)
    assert sources.describe.partition("-")[0] == described


def test_its_package_holds_what_is_below_its_directory(checked_out):
    made, commit = checked_out()
    sources, chosen = read(made)
    found = metadata.read(sources, chosen, commit, "acme/tools")
    recipe = Recipe("api", "1.2.0-1.abc", commit, "main", 1, found, chosen.as_dict())
    with mock.patch.object(Nfpm, "programs", ()):
        assert lay_out(made, recipe, Nfpm()) == ["postinst"]
    packaged = Path(made.path, "package/tree/opt/api")
    assert os.listdir(packaged) == ["index.html"]
    assert (packaged / "index.html").read_text() == "the api"


def test_its_commits_are_those_that_changed_it_or_what_it_depends_on(checked_out, repository):
    _, first = checked_out()
    repository.commit({"services/web/index.html": "2"})
    shared = repository.commit({"libs/common/code.txt": "2"})
    repository.commit({"services/apiary/x": "1"})
    made, commit = checked_out({"README.md": "2"}, {})
    found = made.log(commit, [PATH, "libs/common"])
    assert [each.commit for each in found] == [shared, first]
    assert len(made.log(commit)) == 5


def test_a_directory_that_is_not_there_is_named(checked_out):
    with pytest.raises(RefusedSource, match="the repository has no directory services/apy"):
        checked_out(path="services/apy")
    with pytest.raises(RefusedSource, match="has no directory services/api/VERSION"):
        checked_out(path="services/api/VERSION")


@pytest.mark.parametrize("target", ["/etc", "..", "web"])
def test_a_link_is_no_directory_of_an_application(checked_out, target):
    with pytest.raises(RefusedSource, match="the repository has no directory services/link"):
        checked_out(links={"services/link": target, **LINKS}, path="services/link")


def test_a_script_that_leads_out_of_the_repository_is_refused(checked_out):
    made, _ = checked_out(links={f"{PATH}/script/cibuild": "/bin/true"})
    with pytest.raises(RefusedSource, match="script/cibuild points outside the repository"):
        made.require_scripts(["script/cibuild"])


def test_what_it_depends_on_has_to_be_there(checked_out):
    made, _ = checked_out()
    made.require_paths(["libs/common", "VERSION"])
    with pytest.raises(RefusedSource, match="depends_on: the repository has no libs/comon"):
        made.require_paths(["libs/common", "libs/comon"])


def test_checking_out_again_leaves_nothing_of_the_time_before(checked_out, repository):
    made, commit = checked_out()
    made.check_out(repository.url, commit, "main")
    assert os.path.realpath(f"{made.path}/source") == f"{os.path.realpath(made.path)}/box/source"
    assert Path(made.path, "source/VERSION").read_text() == "9.9"
    made.check_out(repository.url, commit, "main", PATH)
    assert Path(made.path, "source/VERSION").read_text() == "1.2.0"


def test_a_failed_check_out_is_still_told_as_such(ssh, repository):
    repository.commit(FILES)
    made = Workspace.create(ssh, ssh.host, ISOLATION)
    with pytest.raises(RemoteError, match="is not on branch main"):
        made.check_out(repository.url, "a" * 40, "main", PATH)


def test_the_file_that_a_script_left_is_in_the_directory(checked_out):
    made, _ = checked_out()
    made.run_script("script/cisetup", {}, 60)
    left = Path(made.path, "box/checkout", PATH, "where.txt")
    assert subprocess.run(["test", "-f", str(left)]).returncode == 0
