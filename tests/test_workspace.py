"""Working directories on a build host, with real git repositories."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from waiting import wait_for

from delivery.errors import DeliveryError
from delivery.git_url import clone_url
from delivery.remote import RemoteError
from delivery.workspace import ROOT, RefusedSource, ScriptRun, Workspace, clean_log

from .local_host import ISOLATION, LocalShell
from .repositories import Repository


@pytest.fixture
def ssh():
    return LocalShell()


@pytest.fixture
def workspace(ssh):
    made = Workspace.create(ssh, ssh.host, ISOLATION)
    yield made
    made.remove()


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "shop.git")


def test_a_workspace_is_private_and_below_its_root(workspace):
    assert Path(workspace.path).parent == Path(ROOT)
    assert os.stat(workspace.path).st_mode & 0o777 == 0o700


def test_a_script_whose_program_is_not_there_says_what_to_do():
    log = "env: \u2018./script/cisetup\u2019: No such file or directory\n"
    assert ScriptRun("script/cisetup", 127, 0.1, False, log).failure(60) == (
        "script/cisetup cannot be run: its first line names a program that is not there; where it "
        "has the line ends of Windows: sed -i 's/\\r$//' script/cisetup"
    )
    log = "script/cisetup: 3: npm: not found"
    assert "exited with 127: " + log in ScriptRun("script/cisetup", 127, 1, False, log).failure(60)


def test_removing_twice_is_fine_and_leaves_nothing(workspace):
    workspace.remove()
    workspace.remove()

    assert not os.path.exists(workspace.path)


def test_a_workspace_that_is_gone_says_so(workspace):
    workspace.remove()

    with pytest.raises(RemoteError, match="no longer exists"):
        workspace.read("package.json")


@pytest.mark.parametrize("workspace_id", ["", "..", "../../etc", "abc", "abcdefghi\n"])
def test_an_id_that_could_lead_elsewhere_is_refused(ssh, workspace_id):
    with pytest.raises(DeliveryError, match="is not the id of a workspace"):
        Workspace(ssh, ssh.host, workspace_id)


def test_a_workspace_left_by_a_crashed_run_is_removed_after_a_day(ssh):
    stale, recent = (Workspace.create(ssh, ssh.host, ISOLATION) for _ in range(2))
    for workspace, hours in ((stale, 25), (recent, 23)):
        then = time.time() - hours * 3600
        os.utime(workspace.path, (then, then))

    new = Workspace.create(ssh, ssh.host, ISOLATION)

    assert not os.path.exists(stale.path)
    assert os.path.exists(recent.path)
    for workspace in (recent, new):
        workspace.remove()


def test_a_file_left_by_one_step_is_read_by_the_next(ssh, workspace):
    workspace.write("metadata.json", b'{"a": "\xc3\xa4\\n"}')

    assert Workspace(ssh, ssh.host, workspace.id).read("metadata.json") == (b'{"a": "\xc3\xa4\\n"}')


@pytest.mark.parametrize("name", ["../x.json", "/etc/passwd", "a/b.json", ".x", "-n.json", "a"])
def test_a_file_name_that_leads_out_of_the_workspace_is_refused(workspace, name):
    with pytest.raises(DeliveryError, match="is not a file's name"):
        workspace.write(name, b"")


def test_reading_a_file_nobody_wrote_names_it(workspace):
    with pytest.raises(RemoteError, match="package.json is missing in workspace"):
        workspace.read("package.json")


def test_the_exact_commit_is_checked_out_not_the_tip(workspace, repository):
    commit = repository.commit({"VERSION": "1"})
    repository.commit({"VERSION": "2"})

    committed_at = workspace.check_out(repository.url, commit, "main")

    assert Path(workspace.path, "source/VERSION").read_text() == "1"
    assert committed_at == repository.committed_at(commit)


def test_a_server_that_hands_out_only_branches_is_asked_for_the_branch(workspace, repository):
    repository.git("config", "protocol.version", "0")
    repository.git("config", "uploadpack.allowAnySHA1InWant", "false")
    commit = repository.commit({"VERSION": "1"}, branch="feature/x")
    repository.commit({"VERSION": "2"}, branch="feature/x")

    workspace.check_out(repository.url, commit, "feature/x")

    assert Path(workspace.path, "source/VERSION").read_text() == "1"


def test_a_commit_that_is_nowhere_is_named_with_its_branch(workspace, repository):
    repository.commit({"VERSION": "1"})

    with pytest.raises(RemoteError, match=f"commit {'a' * 40} is not on branch main of"):
        workspace.check_out(repository.url, "a" * 40, "main")


def test_a_commit_of_a_pull_request_alone_is_on_no_branch(workspace, repository):
    repository.commit({"VERSION": "1"})
    commit = repository.commit({"VERSION": "2"}, branch="theirs")
    repository.git("update-ref", "refs/pull/1/head", commit)
    repository.git("update-ref", "-d", "refs/heads/theirs")
    repository.git("tag", "v2", commit)

    with pytest.raises(RemoteError, match=f"commit {commit} is not on branch main of"):
        workspace.check_out(repository.url, commit, "main")
    with pytest.raises(RemoteError, match="fatal: couldn't find remote ref refs/heads/theirs"):
        workspace.check_out(repository.url, commit, "theirs")


def test_a_repository_that_is_not_there_is_named(workspace, tmp_path):
    with pytest.raises(RemoteError, match="check out aaaaaaa of file:///nowhere/x.git: fatal: "):
        workspace.check_out("file:///nowhere/x.git", "a" * 40, "main")


def test_checking_out_again_starts_afresh(workspace, repository):
    commit = repository.commit({"VERSION": "1"})
    workspace.check_out(repository.url, commit, "main")
    Path(workspace.path, "source/left-over").touch()

    workspace.check_out(repository.url, commit, "main")

    assert not Path(workspace.path, "source/left-over").exists()


@pytest.mark.parametrize("commit", ["", "HEAD", "main", "a" * 39, "A" * 40, "--upload-pack=id"])
def test_only_a_whole_commit_id_is_checked_out(workspace, commit):
    with pytest.raises(DeliveryError, match="not a valid commit"):
        workspace.check_out("file:///x.git", commit, "main")


@pytest.mark.parametrize("branch", ["", "-x", "a b", "../x", "; rm -rf /", "a\n", "a.lock"])
def test_what_could_not_be_a_branch_is_refused(workspace, branch):
    with pytest.raises(DeliveryError, match="not a valid branch"):
        workspace.check_out("file:///x.git", "a" * 40, branch)


@pytest.mark.parametrize(
    ("git_url", "url"),
    [
        ("https://github.com", "https://github.com/acme/shop.git"),
        ("http://github", "http://github/acme/shop.git"),
        ("ssh://git@git.example:2222/base", "ssh://git@git.example:2222/base/acme/shop.git"),
        ("file:///srv/git", "file:///srv/git/acme/shop.git"),
    ],
)
def test_a_clone_url_is_the_server_and_the_repository(git_url, url):
    assert clone_url(git_url, "acme/shop") == url


@pytest.mark.parametrize(
    "git_url",
    [
        "",
        "github.com",
        "ext::sh -c id",
        "https://user:token@github.com",
        "https://github.com/",
        "--upload-pack=id",
        "https://github.com;id",
        "git@github.com:acme",
    ],
)
def test_a_git_url_that_is_no_servers_address_is_refused(git_url):
    with pytest.raises(DeliveryError, match="github.git_url"):
        clone_url(git_url, "acme/shop")


@pytest.mark.parametrize("repository", ["shop", "../shop", "a/b/c", "acme/shop\n", "a/-b;c"])
def test_a_repository_that_is_not_owner_and_name_is_refused(repository):
    with pytest.raises(DeliveryError, match="not a valid repository"):
        clone_url("https://github.com", repository)


def test_the_projects_files_are_read_from_the_commit_in_one_call(workspace, repository):
    commit = repository.commit(
        {"VERSION": "1.0\n", "debian/control": "Source: shop\n", "package.json": "{}"}
    )
    repository.git("tag", "v1.0.0", commit)
    repository.git("tag", "deployed/production", commit)
    workspace.check_out(repository.url, commit, "main")
    Path(workspace.path, "source/VERSION").write_text("changed by the build")

    sources = workspace.read_sources([".cicd.yaml", "VERSION", "debian/control", "package.json"])

    assert sources.files == {
        "VERSION": b"1.0\n",
        "debian/control": b"Source: shop\n",
        "package.json": b"{}",
    }
    assert sources.describe == "v1.0.0"
    assert sources.committed_at == repository.committed_at(commit)
    assert sources.commits == 1


def test_files_are_found_by_pattern_and_below_a_directory(workspace, repository):
    files = dict.fromkeys(
        (
            "shop.gemspec",
            "apps/a/a.gemspec",
            "apps/a/lib/a/b/version.rb",
            "apps/a/lib/version.rb",
            "apps/a/sub/c.gemspec",
            "apps/ab/d.gemspec",
            "apps/a/\u00e4 [x].gemspec",
        ),
        "x",
    )
    workspace.check_out(repository.url, repository.commit(files), "main")
    patterns = ["*.gemspec", "lib/**/version.rb"]

    assert list(workspace.read_sources(patterns).files) == ["shop.gemspec"]
    below = workspace.read_sources(patterns, "apps/a").files
    assert {"a.gemspec", "lib/a/b/version.rb", "lib/version.rb"} == {
        path for path in below if path.isascii() and " " not in path
    }


@pytest.mark.parametrize("base", ["..", "/etc", "a/../..", "a b", "*", "-x", "a/"])
def test_a_base_that_could_lead_elsewhere_is_refused(workspace, base):
    with pytest.raises(DeliveryError, match="is not a valid path"):
        workspace.read_sources(["VERSION"], base)


CHANGELOG = """shop (1:2.0-3) unstable; urgency=medium

  * Sells.

 -- Ada <ada@example.org>  Mon, 06 May 2024 07:08:09 +0000

"""


@pytest.mark.parametrize("parsed", [True, False])
def test_of_a_changelog_the_newest_entry_is_read_however_long_it_is(repository, tmp_path, parsed):
    if parsed and not shutil.which("dpkg-parsechangelog"):
        pytest.skip("dpkg-parsechangelog is not installed: apt-get install dpkg-dev")
    if not parsed:
        (tmp_path / "dpkg-parsechangelog").write_text("#!/bin/sh\nexit 127\n")
        (tmp_path / "dpkg-parsechangelog").chmod(0o755)
    ssh = LocalShell(PATH=f"{tmp_path}:{os.environ['PATH']}")
    older = CHANGELOG.replace("1:2.0-3", "1.0-1") * 10000
    commit = repository.commit({"debian/changelog": CHANGELOG + older, "a/debian/changelog": "x"})
    workspace = Workspace.create(ssh, ssh.host, ISOLATION)
    try:
        workspace.check_out(repository.url, commit, "main")
        read = workspace.read_sources(["debian/changelog"]).files["debian/changelog"].decode()
        nonsense = workspace.read_sources(["debian/changelog"], "a").files
    finally:
        workspace.remove()

    assert read.startswith("Source: shop\nVersion: 1:2.0-3\n" if parsed else CHANGELOG)
    assert len(read) <= 65536
    assert nonsense == {"debian/changelog": b"x"}


def test_of_a_history_that_is_cut_off_the_commits_are_not_counted(workspace, repository):
    repository.commit({"VERSION": "1"})
    commit = repository.commit({"VERSION": "2"})
    workspace.check_out(repository.url, commit, "main")
    assert workspace.read_sources([]).commits == 2

    Path(workspace.path, "source/.git/shallow").write_text(f"{commit}\n")

    assert workspace.read_sources([]).commits is None


def test_a_commit_without_tags_and_without_files_reads_as_nothing(workspace, repository):
    workspace.check_out(repository.url, repository.commit({"x": ""}), "main")

    sources = workspace.read_sources(["VERSION"])

    assert (sources.files, sources.describe) == ({}, "")


def test_a_link_is_never_read(workspace, repository):
    commit = repository.commit({"x": ""}, links={"VERSION": "/etc/passwd", "debian": "/etc"})
    workspace.check_out(repository.url, commit, "main")

    assert workspace.read_sources(["debian/passwd"]).files == {}
    with pytest.raises(RefusedSource, match="VERSION is a symbolic link"):
        workspace.read_sources(["VERSION"])


def test_a_file_that_is_too_large_is_refused(workspace, repository):
    workspace.check_out(repository.url, repository.commit({"VERSION": "1" * 1048577}), "main")

    with pytest.raises(RefusedSource, match="VERSION has 1048577 bytes; the limit is 1048576"):
        workspace.read_sources(["VERSION"])


@pytest.mark.parametrize(
    "name", ["a\nHEAD:big VERSION\nHEAD:x y.gemspec", "a\\nHEAD:big VERSION", 'a".gemspec', "ä b.x"]
)
def test_a_files_name_is_never_taken_for_more_than_a_name(workspace, repository, name):
    commit = repository.commit({"big": "1" * 1048577, f"{name}.gemspec": "", "b.gemspec": "b"})
    workspace.check_out(repository.url, commit, "main")

    assert workspace.read_sources(["*.gemspec", "VERSION"]).files == {"b.gemspec": b"b"}


def test_files_that_are_too_large_together_are_refused(workspace, repository):
    files = {f"lib/{letter}/version.rb": "1" * 1048576 for letter in "abcdefghi"}
    workspace.check_out(repository.url, repository.commit(files), "main")

    with pytest.raises(RefusedSource, match="have 9437184 bytes; the limit is 8388608"):
        workspace.read_sources(["lib/**/version.rb"])


@pytest.mark.parametrize("answer", ["1048577 VERSION", "9 a b", "no header", "x"])
def test_an_answer_that_is_not_gits_is_refused(repository, tmp_path, answer):
    fake = tmp_path / "git"
    git = shutil.which("git")
    fake.write_text(f"#!/bin/sh\n[ $1 != cat-file ] || exec echo '{answer}'\nexec {git} \"$@\"\n")
    ssh = LocalShell(PATH=f"{tmp_path}:{os.environ['PATH']}")
    workspace = Workspace.create(ssh, ssh.host, ISOLATION)
    try:
        workspace.check_out(repository.url, repository.commit({"VERSION": "1"}), "main")
        fake.chmod(0o755)
        with pytest.raises(DeliveryError, match="the build host's answer is not git's: "):
            workspace.read_sources(["VERSION"])
    finally:
        workspace.remove()


def check_out_script(workspace, repository, text, executable=True):
    commit = repository.commit({"script/x": text}, executable=["script/x"] if executable else [])
    workspace.check_out(repository.url, commit, "main")


def test_a_missing_script_is_named(workspace, repository):
    check_out_script(workspace, repository, "#!/bin/sh\n")

    with pytest.raises(RefusedSource, match="^script/cibuild is missing; add it to the repository"):
        workspace.require_scripts(["script/x", "script/cibuild"])


def test_a_script_that_is_not_executable_says_how_to_make_it_so(workspace, repository):
    check_out_script(workspace, repository, "#!/bin/sh\n", executable=False)

    with pytest.raises(RefusedSource, match=r"git update-index --chmod=\+x script/x"):
        workspace.require_scripts(["script/x"])


def test_a_script_that_does_not_say_what_runs_it_is_refused(workspace, repository):
    check_out_script(workspace, repository, "exit 0\n")

    with pytest.raises(RefusedSource, match="script/x has no interpreter line"):
        workspace.require_scripts(["script/x"])


def test_a_script_that_is_a_link_out_of_the_repository_is_refused(workspace, repository):
    workspace.check_out(
        repository.url, repository.commit({}, links={"script/x": "/bin/ls"}), "main"
    )

    with pytest.raises(RefusedSource, match="script/x points outside the repository"):
        workspace.require_scripts(["script/x"])


def test_a_script_runs_in_the_checkout_with_its_environment(workspace, repository):
    check_out_script(
        workspace, repository, '#!/bin/sh\npwd\necho "$CI|$CICD_BRANCH" >&2\ncat\nexit 7\n'
    )

    run = workspace.run_script("script/x", {"CICD_BRANCH": "$(id) ä"}, timeout_s=10)

    assert (run.exit_status, run.timed_out) == (7, False)
    assert run.log == "/build/source\ntrue|$(id) ä\n"


def test_of_a_long_log_the_end_is_kept(workspace, repository):
    check_out_script(workspace, repository, "#!/bin/sh\nseq 100000\n")

    run = workspace.run_script("script/x", {}, timeout_s=10)

    assert run.log.split() == [str(number) for number in range(99901, 100001)]


def test_a_log_of_one_endless_line_is_cut(workspace, repository):
    check_out_script(workspace, repository, "#!/bin/sh\nhead -c 1000000 /dev/zero | tr '\\0' x\n")

    assert len(workspace.run_script("script/x", {}, timeout_s=10).log) == 16 * 1024


def processes_of(workspace):
    """What runs for the build, by its user."""
    uid = Path(workspace.path, "isolation").read_text().split()[0]
    return [each for each in Path("/proc").glob("[0-9]*") if is_of(uid, each)]


def is_of(uid, process):
    try:
        return f"\nUid:\t{uid}\t" in (process / "status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_script_that_takes_too_long_is_ended_with_what_it_started(workspace, repository):
    check_out_script(workspace, repository, "#!/bin/sh\necho begun\nsleep 600 &\nsleep 600\n")

    run = workspace.run_script("script/x", {}, timeout_s=1)

    assert run.timed_out
    assert 1 <= run.seconds < 60
    assert run.log == "begun\n"
    assert processes_of(workspace) == []


def test_a_server_a_script_left_running_is_ended_and_does_not_hold_things_up(workspace, repository):
    check_out_script(
        workspace, repository, "#!/bin/sh\n(setsid sleep 600 &) &\nsleep 600 &\nsleep 0.2\nexit 0\n"
    )

    run = workspace.run_script("script/x", {}, timeout_s=30)

    assert (run.exit_status, run.failure(30)) == (0, "")
    assert run.seconds < 10
    assert processes_of(workspace) == []


def test_removing_a_workspace_ends_the_script_that_runs_in_it(ssh, workspace, repository):
    check_out_script(workspace, repository, "#!/bin/sh\nsleep 600\n")
    with ThreadPoolExecutor() as threads:
        running = threads.submit(workspace.run_script, "script/x", {}, 60)
        wait_for(lambda: processes_of(workspace))
        workspace.remove()
        wait_for(running.done)

    assert not os.path.exists(workspace.path)


def test_a_log_is_cleaned_of_what_would_steer_a_terminal():
    assert clean_log("\x1b[31mred\x1b[0m\r\nbell\x07\ttab\n") == "red\nbell\ttab\n"
