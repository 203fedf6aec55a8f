"""A working directory on a build host, for as long as one commit is built or packaged there.

    workspace = Workspace.create(ssh, host)
    try:
        workspace.check_out(clone_url("https://github.com", "acme/shop"), commit, branch)
        workspace.require_scripts(["script/cibuild"])
        run = workspace.run_script("script/cibuild", {"CICD_COMMIT": commit}, timeout_s=600)
        sources = workspace.read_sources([".cicd.yaml", "package.json"])
        workspace.write("metadata.json", b"{}")
    finally:
        workspace.remove()

Another process finds it again with `Workspace(ssh, host, workspace.id)`: what one step of a
workflow has to leave to the next goes into files here (`write`, `read`). The checkout is in
`source/`. Only constant scripts run over there; every value is a positional argument of one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Sequence

from delivery import names
from delivery.errors import DeliveryError
from delivery.remote import Host, RemoteError, Result, Ssh

ROOT = "/var/tmp/cicd-canary"
STALE_AFTER_MIN = 24 * 60
SOURCE_FILE_LIMIT = 1024 * 1024
LOG_LINES = 100
LOG_BYTES = 16 * 1024
GRACE_S = 30
REFUSED = 65

WORKSPACE_ID = re.compile(r"[A-Za-z0-9]{10}")
FILE_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}\.[a-z]{1,8}")
SCRIPT_PATH = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*/)*[A-Za-z0-9_][A-Za-z0-9._-]*")
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]{0,60}")
GIT_URL = re.compile(
    r"(https?://|ssh://([a-z0-9_-]+@)?|file:///)"
    r"[A-Za-z0-9._~:/\[\]-]*[A-Za-z0-9\]]"
)

CREATE = """
set -eu
umask 077
root=$1
mkdir -p "$root"
if [ -L "$root" ] || [ ! -O "$root" ]; then
    echo "$root belongs to another user: remove it" >&2
    exit 1
fi
find "$root" -mindepth 1 -maxdepth 1 -mmin "+$2" -exec rm -rf --one-file-system {} + || :
mktemp -d "$root/XXXXXXXXXX"
"""

# Goes before every script below: they start in the workspace, with it as $workspace.
PRELUDE = """
set -eu
umask 022
export LC_ALL=C.UTF-8 GIT_TERMINAL_PROMPT=0
workspace=$1
shift
cd "$workspace" 2>/dev/null || { echo "workspace $workspace is not there any more" >&2; exit 1; }
fail() { echo "$1" >&2; exit 1; }
refuse() { echo "$1" >&2; exit 65; }    # something in the repository has to change
require_script() {      # a path below source/
    [ -e "source/$1" ] ||
        refuse "$1 is missing: add it to the repository (exit 0 may be all it does)"
    case $(realpath "source/$1") in
        "$(pwd -P)/source/"*) ;;
        *) refuse "$1 leads out of the repository" ;;
    esac
    [ -f "source/$1" ] || refuse "$1 is not a file"
    [ -x "source/$1" ] || refuse "$1 is not executable: git update-index --chmod=+x $1"
    [ "$(head -c 2 "source/$1" | tr -d '\\0')" = '#!' ] ||
        refuse "$1 does not say what runs it: make its first line #!/bin/sh or the like"
}
kill_leftovers() {
    for environment in $(grep -lzxsF "CICD_WORKSPACE=$workspace" /proc/[0-9]*/environ || :); do
        process=${environment#/proc/}
        kill -KILL "${process%/environ}" 2>/dev/null || :
    done
}
"""

REMOVE = (
    PRELUDE.replace('{ echo "workspace $workspace is not there any more" >&2; exit 1; }', "exit 0")
    + """
kill_leftovers
cd /
rm -rf --one-file-system -- "$workspace"
"""
)

CHECK_OUT = """
url=$1 commit=$2 branch=$3
command -v git >/dev/null || fail "git is not installed: apt-get install git"
rm -rf source
git -c init.defaultBranch=checkout init --quiet source
cd source
# Else git tidies up in the background, and writes here while the workspace is being removed.
git config gc.auto 0
git config maintenance.auto false
git remote add origin "$url"
fetch() { git fetch --quiet --tags origin "$1" 2>../git.log; }
if ! fetch "$commit" && ! fetch "refs/heads/$branch"; then
    fail "$(grep -m 1 '^fatal:' ../git.log || tail -n 1 ../git.log)"
fi
git cat-file -e "$commit^{commit}" 2>/dev/null ||
    fail "commit $commit is not on branch $branch of $url"
git checkout --quiet --detach "$commit"
git submodule update --quiet --init --recursive
[ "$(git rev-parse HEAD)" = "$commit" ] || fail "checked out is not commit $commit"
git show -s --format=%ct HEAD
"""

# Reads from the commit, not from the files: what a build wrote and where a link leads is no matter.
READ_SOURCES = r"""
limit=$1
shift
cd source
git describe --tags --match 'v[0-9]*' --match '[0-9]*' 2>/dev/null || echo
git show -s --format=%ct HEAD
git ls-tree --full-tree -l HEAD -- "$@" | while read -r mode type object size path; do
    [ "$type" = blob ] || continue
    [ "$mode" != 120000 ] || refuse "$path is a symbolic link: make it a file"
    [ "$size" -le "$limit" ] || refuse "$path has $size bytes, more than $limit"
    echo "$object $path"
done > ../sources.list
git cat-file --batch='%(objectsize) %(rest)' < ../sources.list
"""

REQUIRE_SCRIPTS = """
for path do require_script "$path"; done
"""

RUN_SCRIPT = """
path=$1 seconds=$2 log_bytes=$3 log_lines=$4
shift 4
mkdir -p log
log=$workspace/log/$(basename "$path").log
cd source
started=$(date +%s.%N)
status=0
env "$@" CI=true CICD_WORKSPACE="$workspace" \\
    timeout --kill-after=10 "$seconds" "./$path" >"$log" 2>&1 </dev/null || status=$?
echo "$status $started $(date +%s.%N)"
kill_leftovers
tail -c "$log_bytes" "$log" | tail -n "$log_lines"
"""

WRITE = """
cat > "$1.new"
mv "$1.new" "$1"
"""

READ = """
[ -f "$1" ] || fail "$1 is not in workspace $workspace: the step before did not write it"
cat "$1"
"""


class RefusedSource(DeliveryError):
    """Something in the repository has to change; no other attempt will do better."""


@dataclass(frozen=True)
class Sources:
    """Files of a commit by path (those asked for that exist), its `git describe` (may be empty)
    and when it was committed, in seconds since 1970."""

    files: dict[str, bytes]
    describe: str
    committed_at: int


@dataclass(frozen=True)
class ScriptRun:
    """How a script of the checkout ended; `log` is the end of what it printed, cleaned."""

    path: str
    exit_status: int
    seconds: float
    timed_out: bool
    log: str


class Workspace:
    """A directory below ROOT on one host; `create` makes one, the constructor finds it again."""

    def __init__(self, ssh: Ssh, host: Host, workspace_id: str) -> None:
        self.ssh = ssh
        self.host = host
        self.id = _matching(WORKSPACE_ID, workspace_id, "the id of a workspace")
        self.path = f"{ROOT}/{self.id}"

    @classmethod
    def create(cls, ssh: Ssh, host: Host) -> Workspace:
        """Makes an empty workspace; those a crashed run left more than a day ago are removed."""
        made = ssh.run(
            host,
            ["sh", "-c", CREATE, "create", ROOT, str(STALE_AFTER_MIN)],
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
        argv = ["sh", "-c", PRELUDE + script, what, self.path, *values]
        try:
            return self.ssh.run(self.host, argv, stdin, timeout_s, what=what)
        except RemoteError as error:
            if error.result and error.result.exit_status == REFUSED:
                raise RefusedSource(error.result.reason)
            raise

    def check_out(self, url: str, commit: str, branch: str, timeout_s: float = 600) -> int:
        """Checks out exactly this commit, with all tags; returns when it was committed (seconds).

        :param url: from `clone_url`.
        :param branch: where to look when the server does not hand out a commit by its name.
        """
        names.check("commit", commit)
        names.check("branch", branch)
        done = self.shell(
            CHECK_OUT,
            url,
            commit,
            branch,
            timeout_s=timeout_s,
            what=f"check out {commit[:7]} of {url}",
        )
        return int(done.text)

    def read_sources(self, paths: Sequence[str]) -> Sources:
        """Reads files of the commit that is checked out, in one call.

        :raises RefusedSource: for a symbolic link or a file of more than 1 MiB.
        """
        read = self.shell(
            READ_SOURCES, str(SOURCE_FILE_LIMIT), *paths, what="read the project's files"
        )
        describe, committed_at, rest = read.stdout.split(b"\n", 2)
        return Sources(_split_batch(rest), describe.decode("utf-8", "replace"), int(committed_at))

    def require_scripts(self, paths: Sequence[str]) -> None:
        """
        :raises RefusedSource: naming the first script that is missing or could not be run.
        """
        for path in paths:
            _matching(SCRIPT_PATH, path, "the path of a script")
        self.shell(REQUIRE_SCRIPTS, *paths, what="check the scripts")

    def run_script(self, path: str, environment: dict[str, str], timeout_s: float) -> ScriptRun:
        """Runs a script of the checkout, in the checkout, with CI=true in its environment.

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
        first_line, _, log = done.text.partition("\n")
        status, started, ended = first_line.split()
        seconds = float(ended) - float(started)
        return ScriptRun(
            path,
            int(status),
            round(seconds, 3),
            int(status) in (124, 137) and seconds >= timeout_s,
            clean_log(log),
        )

    def write(self, name: str, data: bytes) -> None:
        """Leaves a file in the workspace (not in the checkout) for a later step."""
        self.shell(
            WRITE, _matching(FILE_NAME, name, "a file's name"), stdin=data, what=f"write {name}"
        )

    def read(self, name: str) -> bytes:
        """Reads a file that an earlier step has left.

        :raises RemoteError: when it is not there.
        """
        return self.shell(
            READ, _matching(FILE_NAME, name, "a file's name"), what=f"read {name}"
        ).stdout

    def remove(self) -> None:
        """Ends what still runs for it and removes it; fine when it is gone already."""
        self.ssh.run(
            self.host,
            ["sh", "-c", REMOVE, "remove", self.path],
            timeout_s=300,
            what="remove the workspace",
        )


def clone_url(git_url: str, repository: str) -> str:
    """Where to clone a repository from.

    :param git_url: the pack's `github.git_url`.
    :param repository: owner/name.
    """
    if not GIT_URL.fullmatch(git_url):
        raise DeliveryError(
            f"github.git_url is not a git server's address without credentials: {git_url!r}"
        )
    return f"{git_url}/{names.check('repository', repository)}.git"


def clean_log(text: str) -> str:
    """A log a terminal or a chat can show: without colours and other control sequences."""
    text = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]", "", text.replace("\r\n", "\n"))
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text)


def _matching(pattern: re.Pattern, text: str, what: str) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise DeliveryError(f"{names.shown(text)} is not {what}")
    return text


def _split_batch(output: bytes) -> dict[str, bytes]:
    """Takes `git cat-file --batch='%(objectsize) %(rest)'` apart into contents by path."""
    files = {}
    while output:
        header, output = output.split(b"\n", 1)
        size, path = header.split(b" ", 1)
        files[path.decode()] = output[: int(size)]
        output = output[int(size) + 1 :]
    return files
