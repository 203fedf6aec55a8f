"""A working directory on a build host, for as long as one commit is built or packaged there.

    workspace = Workspace.create(ssh, host, Isolation.configured(configuration))
    try:
        workspace.check_out(clone_url("https://github.com", "acme/shop"), commit, branch)
        workspace.require_scripts(["script/cibuild"])
        run = workspace.run_script("script/cibuild", {"CICD_COMMIT": commit}, timeout_s=600)
        sources = workspace.read_sources([".cicd.yaml", "package.json"])
        workspace.write("metadata.json", b"{}")
    finally:
        workspace.remove()

Another process finds it again with `Workspace(ssh, host, workspace.id)`: what one step of a
workflow has to leave to the next goes into files here (`write`, `read`). `source` leads to the
application that is checked out, below `box/`, which is all that its scripts can write to
(`delivery.isolation`). Only constant scripts (workspace_scripts.py) run over there; every value is
a positional argument of one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Collection, Sequence

from delivery import names
from delivery import workspace_scripts as scripts
from delivery.commits import KEPT, Ancestry, Commit, read_ancestry, read_log
from delivery.errors import DeliveryError
from delivery.git_url import server_of
from delivery.isolation import RUN_SCRIPT, Isolation
from delivery.remote import Host, RemoteError, Result, Ssh

ROOT = "/var/tmp/cicd-canary"  # noqa: S108 - its owner is checked by CREATE
STALE_AFTER_MIN = 24 * 60
SOURCE_FILE_LIMIT = 1024 * 1024  # bytes
SOURCE_FILES_LIMIT = 8 * 1024 * 1024  # bytes of all that are read
LOG_LINES = 100
LAST_LINE_LENGTH = 200  # characters of a log's last line in a reason
LOG_BYTES = 16 * 1024
GRACE_S = 30
NOT_FOUND = 127  # what env, timeout and shells exit with
NOT_RUN = re.compile(r"env: .\./script/[a-z]+.: No such file")

WORKSPACE_ID = re.compile(r"[A-Za-z0-9]{10}")
FILE_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}\.[a-z]{1,8}")
SCRIPT_PATH = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*/)*[A-Za-z0-9_][A-Za-z0-9._-]*")
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,60}")
BATCH_HEADER = re.compile(rb"(?P<size>[0-9]{1,9}) (?P<path>[A-Za-z0-9._+@/-]+)\n")


class RefusedSource(DeliveryError):
    """Something in the repository has to change; no other attempt will do better."""


@dataclass(frozen=True)
class Sources:
    """Files of a commit by path (those asked for that exist), its `git describe` (may be empty),
    when it was committed, in seconds since 1970, and the number of commits of its history, itself
    included (None where the history is not all there)."""

    files: dict[str, bytes]
    describe: str
    committed_at: int
    commits: int | None = None


@dataclass(frozen=True)
class ScriptRun:
    """How a script of the checkout ended; `log` is the end of what it printed, cleaned, and
    `reached` the limit that it ran into, in words, as far as that can be known."""

    path: str
    exit_status: int
    seconds: float
    timed_out: bool
    log: str
    reached: str = ""

    def failure(self, timeout_s: float) -> str:
        """Returns in one line why it failed, with the last line it printed; empty if it did not.

        :param timeout_s: the seconds it had.
        """
        if not (self.timed_out or self.exit_status):
            return ""
        if self.reached:
            return f"{self.path} {self.reached}"
        how = (
            f"timed out after {timeout_s:g} s"
            if self.timed_out
            else f"exited with {self.exit_status}"
        )
        if self.exit_status == NOT_FOUND and NOT_RUN.search(self.log):
            return (
                f"{self.path} cannot be run: its first line names a program that is not there; "
                f"where it has the line ends of Windows: sed -i 's/\\r$//' {self.path}"
            )
        last = (self.log.strip().splitlines() or [""])[-1].strip()[:LAST_LINE_LENGTH]
        return f"{self.path} {how}: {last}" if last else f"{self.path} {how} and printed nothing"


class Workspace:
    """A directory below ROOT on one host; `create` makes one, the constructor finds it again."""

    def __init__(self, ssh: Ssh, host: Host, workspace_id: str) -> None:
        self.ssh = ssh
        self.host = host
        self.id = _matching(WORKSPACE_ID, workspace_id, "the id of a workspace")
        self.path = f"{ROOT}/{self.id}"

    @classmethod
    def create(cls, ssh: Ssh, host: Host, isolation: Isolation) -> Workspace:
        """Makes an empty workspace; those a crashed run left more than a day ago are removed.

        :param isolation: what the scripts that run there may use.
        :raises RemoteError: also when the host lacks a program for that.
        """
        made = ssh.run(
            host,
            [
                *("sh", "-c", scripts.CREATE, "create", ROOT, str(STALE_AFTER_MIN)),
                *isolation.arguments(),
            ],
            what="create a workspace",
        )
        return cls(ssh, host, made.text.strip().rpartition("/")[2])

    def shell(
        self, script: str, *values: str, what: str, stdin: bytes = b"", timeout_s: float = 60
    ) -> Result:
        """Runs a constant script in the workspace; `values` are its $1, $2 and so on.

        :param what: the script in words, for the error.
        :raises RefusedSource: when it fails over what is in the repository.
        :raises RemoteError: when it fails otherwise.
        """
        try:
            return self.ssh.run(
                self.host, self._command(script, what, *values), stdin, timeout_s, what=what
            )
        except RemoteError as error:
            if error.result and error.result.exit_status == scripts.REFUSED:
                raise RefusedSource(error.result.reason) from None
            raise

    def check_out(
        self, url: str, commit: str, branch: str, path: str = "", timeout_s: float = 600
    ) -> int:
        """Checks out exactly this commit, with all tags; returns when it was committed (seconds).

        :param url: from `clone_url`.
        :param branch: has to have the commit in its history.
        :param path: the application's directory, which `source/` will be; empty for all of it.
        :raises RefusedSource: when there is no such directory, or a submodule on another server.
        :raises RemoteError: when the commit is not on the branch.
        """
        names.check("commit", commit)
        names.check("branch", branch)
        if path:
            names.check("path", path)
        done = self.shell(
            scripts.CHECK_OUT,
            url,
            commit,
            branch,
            path,
            server_of(url),
            timeout_s=timeout_s,
            what=f"check out {commit[:7]} of {url}",
        )
        return int(done.text)

    def read_sources(self, paths: Sequence[str], base: str = "") -> Sources:
        """Reads files of the commit that is checked out, in one call. Of debian/changelog it is
        the newest entry, or the beginning where the host lacks dpkg-parsechangelog.

        :param paths: below `base`; `*` is any name and `**` any directories, as in git's globs.
        :param base: a directory of the repository; by default its root.
        :raises RefusedSource: for a symbolic link, a file of more than 1 MiB, or more than 8 MiB.
        """
        below = f"{names.check('path', base)}/" if base else ""
        read = self.shell(
            scripts.READ_SOURCES,
            str(SOURCE_FILE_LIMIT),
            str(SOURCE_FILES_LIMIT),
            base,
            *(below + path for path in paths),
            what="read the project's files",
        )
        describe, committed_at, commits, rest = read.stdout.split(b"\n", 3)
        files = _split_batch(rest)
        return Sources(
            {path[len(below) :]: content for path, content in files.items()},
            describe.decode("utf-8", "replace"),
            int(committed_at),
            int(commits) or None,
        )

    def log(self, commit: str, paths: Sequence[str] = ()) -> Sequence[Commit]:
        """Returns the newest commits of the history that ends with this one, newest first.

        :param paths: from the top of the repository; only what changed one of them, unless empty.
        """
        names.check("commit", commit)
        read = self.shell(
            scripts.LOG, commit, str(KEPT), *_paths(paths), what="read the newest commits"
        )
        return read_log(read.stdout)

    def ancestry(self, commit: str, others: Collection[str]) -> Ancestry:
        """Returns where other commits are in the history of this one, as far as git knows them."""
        asked = {names.check("commit", each) for each in others} - {names.check("commit", commit)}
        read = self.shell(scripts.ANCESTRY, commit, *sorted(asked), what="order the commits")
        return read_ancestry(read.text, asked)

    def require_paths(self, paths: Sequence[str]) -> None:
        """
        :param paths: from the top of the repository.
        :raises RefusedSource: naming the first that the commit does not have.
        """
        self.shell(scripts.REQUIRE_PATHS, *_paths(paths), what="look for what it depends on")

    def require_scripts(self, paths: Sequence[str]) -> None:
        """
        :raises RefusedSource: naming the first script that is missing or could not be run.
        """
        for path in paths:
            _matching(SCRIPT_PATH, path, "the path of a script")
        self.shell(scripts.REQUIRE_SCRIPTS, *paths, what="check the scripts")

    def run_script(self, path: str, environment: dict[str, str], timeout_s: float) -> ScriptRun:
        """Runs a script of the checkout there, isolated, with CI=true in its environment.

        It is ended with all it started after timeout_s, and what it left running is ended too.
        """
        _matching(SCRIPT_PATH, path, "the path of a script")
        variables = [
            f"{_matching(VARIABLE, name, 'a variable')}={value}"
            for name, value in environment.items()
        ]
        done = self.shell(
            RUN_SCRIPT,
            path,
            f"{timeout_s:g}",
            str(LOG_BYTES),
            str(LOG_LINES),
            *variables,
            timeout_s=timeout_s + GRACE_S,
            what=f"run {path}",
        )
        first_line, reached, log = done.text.split("\n", 2)
        status, started, ended = first_line.split()
        seconds = float(ended) - float(started)
        return ScriptRun(
            path,
            int(status),
            round(seconds, 3),
            int(status) in (124, 137) and seconds >= timeout_s,
            clean_log(log),
            reached,
        )

    def write(self, name: str, data: bytes) -> None:
        """Leaves a file in the workspace (not in the checkout) for a later step."""
        self.shell(
            scripts.WRITE,
            _matching(FILE_NAME, name, "a file's name"),
            stdin=data,
            what=f"write {name}",
        )

    def read(self, name: str) -> bytes:
        """Reads a file that an earlier step has left.

        :raises RemoteError: when it is not there.
        """
        return self.shell(
            scripts.READ, _matching(FILE_NAME, name, "a file's name"), what=f"read {name}"
        ).stdout

    def send(
        self, package: str, host: Host, argv: Sequence[str], timeout_s: float, what: str
    ) -> Result:
        """Runs a command on another host, or on this one, that reads a package of the workspace.

        :param package: its file's name, below `package/`.
        :raises RemoteError: when either end fails.
        """
        return self.ssh.pipe(
            self.host,
            self._command(scripts.SEND, f"send {package}", package),
            host,
            argv,
            timeout_s,
            what=what,
        )

    def _command(self, script: str, what: str, *values: str) -> list[str]:
        return ["sh", "-c", scripts.PRELUDE + script, what, self.path, *values]

    def remove(self) -> None:
        """Ends what still runs for it and removes it; fine when it is gone already."""
        self.ssh.run(
            self.host,
            ["sh", "-c", scripts.REMOVE, "remove", self.path],
            timeout_s=300,
            what="remove the workspace",
        )


def _paths(paths: Sequence[str]) -> Sequence[str]:
    return [names.check("path", path) for path in paths]


def clean_log(text: str) -> str:
    """A log a terminal or a chat can show: without colours and other control sequences."""
    text = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", text.replace("\r\n", "\n"))
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text)


def _matching(pattern: re.Pattern[str], text: object, what: str) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise DeliveryError(f"{names.shown(text)} is not {what}")
    return text


def _split_batch(output: bytes) -> dict[str, bytes]:
    """Takes `git cat-file --batch='%(objectsize) %(rest)'` apart into contents by path.

    :raises DeliveryError: when it is anything else: a build host runs what anybody pushes.
    """
    files = {}
    while output:
        header = BATCH_HEADER.match(output)
        if not header or int(header.group("size")) > SOURCE_FILE_LIMIT:
            raise DeliveryError(
                f"the build host's answer is not git's: {names.shown(output[:80])}; remove the "
                "workspace and look at git there"
            )
        end = header.end() + int(header.group("size"))
        files[header.group("path").decode()] = output[header.end() : end]
        output = output[end + 1 :]
    return files
