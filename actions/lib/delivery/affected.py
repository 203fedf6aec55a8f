"""Whether a commit changes anything of an application that shares its repository with others.

    finding = look(configuration, application, source, commit, branch)
    finding.affected, finding.why      # False, nothing below services/api changed since 0123abc

git answers, on a build host: it can clone the repository in any case, with or without a token for
GitHub's API, and its answer is not cut off as the list of files of a push is. The commit is
compared with the last one of the branch that was built and passed, so that what a failed or missed
build has changed counts again. When there is no answer the application is built, and why is
recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Sequence

from delivery import settings
from delivery.errors import DeliveryError
from delivery.isolation import Isolation
from delivery.names import check, plain
from delivery.sources import Source
from delivery.store import ConsulUnreachable
from delivery.workspace import Workspace

if TYPE_CHECKING:
    from delivery.application import Application
    from delivery.configuration import Configuration

REASON_LIMIT = 200  # characters of why there was no answer

FETCH_TIMEOUT_S = 120

# A repository of its own, without files and, where the server can do that, without their contents.
FETCH = """
url=$1 base=$2 commit=$3 branch=$4
command -v git >/dev/null || fail "git is not installed; run apt-get install git"
git init --quiet --bare compared
cd compared
git config gc.auto 0
git config maintenance.auto false
git remote add origin "$url"
has() { git cat-file -e "$1^{commit}" 2>/dev/null; }
git fetch --quiet --no-tags --depth=1 --filter=blob:none origin "$base" "$commit" 2>/dev/null ||
    git fetch --quiet --no-tags origin "refs/heads/$branch" 2>../git.log ||
    fail "$(grep -m 1 '^fatal:' ../git.log || tail -n 1 ../git.log)"
has "$base" || fail "${base%"${base#???????}"} is not on branch $branch any more"
has "$commit" || fail "${commit%"${commit#???????}"} is not on branch $branch"
"""

# The file, if there is one; a link or a directory is none.
SHOW = """
commit=$1 path=$2 limit=$3
cd compared
entry=$(git ls-tree "$commit" -- "$path")
case $entry in "100"*) ;; *) exit 0 ;; esac
git cat-file blob "$commit:$path" | head -c "$limit"
"""

# Prints those of the paths whose content differs, at any depth.
DIFFERING = """
base=$1 commit=$2
shift 2
cd compared
export GIT_LITERAL_PATHSPECS=1
for path do
    status=0
    git diff-tree -r --quiet --no-renames "$base" "$commit" -- "$path" || status=$?
    [ "$status" -le 1 ] || fail "git diff-tree ended with $status"
    [ "$status" = 0 ] || echo "$path"
done
"""

# Prints a link among the paths, if there is one; its target may be anywhere.
A_LINK = """
commit=$1
shift
cd compared
git ls-tree -r --full-tree "$commit" -- "$@" | sed -n '/^120000/{s/^[^\t]*\t//p;q}'
"""


class Finding(NamedTuple):
    """Whether an application is to be built, and why in one line."""

    affected: bool
    why: str


def look(
    configuration: Configuration,
    application: Application,
    source: Source,
    commit: str,
    branch: str,
) -> Finding:
    """Compares a commit with the last one that passed.

    :raises ConsulUnreachable: while Consul is away.
    """
    base = application.builds.last_passed(branch, source.path)
    if base is None:
        return Finding(True, f"no build of {branch} has passed lately")
    try:
        workspace = Workspace.create(
            configuration.build_ssh(),
            configuration.build_host(),
            Isolation.configured(configuration),
        )
        try:
            paths, changed, link = _compare(
                workspace,
                configuration.clone_url(source.repository),
                source,
                base.commit,
                commit,
                branch,
            )
        finally:
            workspace.remove()
    except ConsulUnreachable:
        raise
    except DeliveryError as error:
        reason = plain(str(error))[:REASON_LIMIT]
        return Finding(True, f"not compared with {base.commit[:7]}: {reason}")
    return _judge(paths, changed, link, base.commit)


def _compare(
    workspace: Workspace, url: str, source: Source, base: str, commit: str, branch: str
) -> tuple[Sequence[str], Sequence[str], str]:
    """Returns the paths that the application is made of, those of them that are not the same in
    the two commits, and a link among them, empty if there is none."""
    workspace.shell(
        FETCH,
        url,
        check("commit", base),
        check("commit", commit),
        check("branch", branch),
        timeout_s=FETCH_TIMEOUT_S,
        what=f"fetch {commit[:7]} of {url}",
    )
    file = f"{source.path}/{settings.FILE}"
    limit = str(settings.SIZE_LIMIT + 1)
    text = workspace.shell(SHOW, commit, file, limit, what=f"read {file}").stdout
    paths = [source.path, *settings.load(text or None, source.app).depends_on]
    differing = workspace.shell(DIFFERING, base, commit, *paths, what=f"compare with {base[:7]}")
    link = workspace.shell(A_LINK, commit, *paths, what="look for links").text.strip()
    return paths, differing.text.split(), link


def _judge(paths: Sequence[str], changed: Sequence[str], link: str, base: str) -> Finding:
    since = f"changed since {base[:7]}"
    if changed:
        return Finding(True, f"{' and '.join(changed[:3])} {since}")
    if link:
        return Finding(
            True, f"{plain(link)[:REASON_LIMIT]} is a link, and its target may have {since}"
        )
    return Finding(False, f"nothing below {' or '.join(paths[:5])} {since}")
