"""The shell that `delivery.workspace` runs on build hosts.

Each script is constant: what varies is its $1, $2 and so on. All but CREATE come after PRELUDE,
take the workspace's path first, and start in it.
"""

from __future__ import annotations

from delivery import isolation

REFUSED = 65  # the exit status of `refuse`: something in the repository has to change

# $1 the directory of all workspaces, $2 minutes after which one is stale, then Isolation.arguments.
CREATE = (
    isolation.FUNCTIONS
    + isolation.PREPARE
    + """
set -eu
umask 077
export LC_ALL=C.UTF-8
root=$1 stale_after=$2 programs=$3 installed_by=$4
shift 4
for program in $programs; do
    command -v "$program" >/dev/null || fail "$program is not installed; run $installed_by"
done
mkdir -p "$root"
if [ -L "$root" ] || [ ! -O "$root" ]; then
    fail "$root belongs to another user; remove it"
fi
find "$root" -mindepth 1 -maxdepth 1 -mmin "+$stale_after" | while read -r stale; do
    discard "$stale"
done
workspace=$(mktemp -d "$root/XXXXXXXXXX")
trap '[ $? = 0 ] || discard "$workspace"' EXIT
prepare "$@"
echo "$workspace"
"""
)

# Goes before every script below.
PRELUDE = (
    isolation.FUNCTIONS
    + """
set -eu
umask 022
export LC_ALL=C.UTF-8 GIT_TERMINAL_PROMPT=0
workspace=$1
shift
cd "$workspace" 2>/dev/null || { echo "workspace $workspace no longer exists" >&2; exit 1; }
# What is cloned. source leads to it, or to the application's directory in it.
top=$(pwd -P)/box/checkout
[ -d box/checkout ] || top=$(pwd -P)/box/source
refuse() { printf '%s\\n' "$1" >&2; exit 65; }  # something in the repository has to change
require_source() {      # a build could have made a link of the application's directory
    case $(realpath source 2>/dev/null)/ in
        "$top/"*) [ -d source/ ] || refuse "the application's directory is gone" ;;
        *) refuse "the application's directory leads outside the repository" ;;
    esac
}
require_script() {      # a path below source/
    [ -e "source/$1" ] ||
        refuse "$1 is missing; add it to the repository (exit 0 is enough)"
    case $(realpath "source/$1") in
        "$top/"*) ;;
        *) refuse "$1 points outside the repository" ;;
    esac
    [ -f "source/$1" ] || refuse "$1 is not a file"
    [ -x "source/$1" ] || refuse "$1 is not executable; run git update-index --chmod=+x $1"
    [ "$(head -c 2 "source/$1" | tr -d '\\0')" = '#!' ] ||
        refuse "$1 has no interpreter line; start it with one such as #!/bin/sh"
}
"""
)

REMOVE = (
    isolation.FUNCTIONS
    + """
set -eu
discard "$1"
"""
)

CHECK_OUT = """
url=$1 commit=$2 branch=$3 path=$4 server=$5
# This host's credentials go to the repository's own server alone, whatever .gitmodules says. git
# has made whole URLs of relative ones before they are looked at.
update_submodules() {
    [ -n "$(git ls-files --stage | grep -m 1 '^160000')" ] || return 0
    git submodule init --quiet 2>"$workspace/git.log" ||
        refuse ".gitmodules: $(tail -n 1 "$workspace/git.log")"
    git config --get-regexp '^submodule[.].*[.]url$' | while read -r key place; do
        case $place in
            */../* | */.. | *[!A-Za-z0-9._~:/@+-]*) ;;
            "$server"/*) continue ;;
        esac
        refuse "submodule ${key#submodule.}: $place is not on $server; no other is fetched"
    done || exit
    GIT_ALLOW_PROTOCOL=${server%%:*} git submodule update --quiet 2>"$workspace/git.log" ||
        refuse "submodules: $(grep -m 1 '^fatal:' "$workspace/git.log" ||
            tail -n 1 "$workspace/git.log")"
    git ls-files --stage | sed -n 's/^160000 [^\t]*\t//p' | while read -r inside; do
        [ -e "$inside/.git" ] || continue
        (cd "$inside" && update_submodules) || exit
    done || exit
}
command -v git >/dev/null || fail "git is not installed; run apt-get install git"
rm -rf --one-file-system source box/source box/checkout
directory=box/source
[ -z "$path" ] || directory=box/checkout
git -c init.defaultBranch=checkout init --quiet "$directory"
cd "$directory"
# Else git tidies up in the background, and writes here while the workspace is being removed.
git config gc.auto 0
git config maintenance.auto false
git remote add origin "$url"
# The branch, and not the commit alone: a server hands out what is only on a pull request too.
tip=refs/remotes/origin/$branch
git fetch --quiet --tags origin "+refs/heads/$branch:$tip" 2>"$workspace/git.log" ||
    fail "$(grep -m 1 '^fatal:' "$workspace/git.log" || tail -n 1 "$workspace/git.log")"
git merge-base --is-ancestor "$commit" "$tip" 2>/dev/null ||
    fail "commit $commit is not on branch $branch of $url"
git checkout --quiet --detach "$commit"
update_submodules
[ "$(git rev-parse HEAD)" = "$commit" ] || fail "the checkout is not commit $commit"
if [ -n "$path" ]; then
    [ -d "$path" ] && [ "$(realpath "$path")" = "$(pwd -P)/$path" ] ||
        refuse "the repository has no directory $path; correct applications in the pack's \
configuration"
fi
at=$(git show -s --format=%ct HEAD)
cd "$workspace"
ln -s "$directory${path:+/$path}" source
# The checkout is the build's to write, but what git itself goes by stays root's.
read -r uid rest < isolation
chown --recursive --no-dereference "$uid:$uid" "$directory"
# What a build makes of the time of a file is the same wherever and whenever it runs.
find "$directory" -name .git -prune -o -exec touch --no-dereference --date="@$at" {} +
git -c safe.directory='*' -C "$directory" update-index -q --refresh || :
chown --recursive --no-dereference 0:0 "$directory/.git"
echo "$at"
"""

# Reads from the commit, not from the files: what a build wrote and where a link leads is no matter.
# Git expands the patterns; `ls-tree` would take them by the letter. Of a changelog the newest entry
# is read; dpkg's parser of that runs no code of the repository, given the format and its directory.
# Tags of an application in a directory are api/v1.2.0 or services/api/v1.2.0; it goes by those of
# the whole repository only where it has none of its own. A file whose name has a blank, a quote or
# a line's end in it is none of those asked for; it is left out before anything reads its name.
READ_SOURCES = r"""
limit=$1 limit_of_all=$2 base=$3
shift 3
version() {
    git describe --tags --match "$1v[0-9]*" --match "$1[0-9]*" ${2:+--match "$2v[0-9]*"} \
        ${2:+--match "$2[0-9]*"} 2>/dev/null
}
newest_entry() {
    cd "$workspace"
    head -c 65536 > changelog
    { dpkg-parsechangelog -F debian -l changelog 2>/dev/null || cat changelog; } | head -c 65536
}
cd "$top/.git"
export GIT_DIR=$PWD
described=
[ -z "$base" ] || described=$(version "$base/" "${base##*/}/") || :
[ -n "$described" ] || described=$(version "") || :
echo "${described##*/}"
git show -s --format=%ct HEAD
if [ -s shallow ]; then echo 0; else git rev-list --count HEAD; fi
for pattern do
    set -- "$@" ":(top,glob)$pattern"
    shift
done
git diff-tree -r --no-renames --name-only -z "$(git hash-object -t tree /dev/null)" HEAD -- "$@" |
    LC_ALL=C grep -azxE '[A-Za-z0-9._+@/-]+' | head -z -n 500 |
    xargs -0 -r git ls-tree --full-tree -l HEAD -- | {
    all=0
    while read -r mode type object size path; do
        [ "$type" = blob ] || continue
        [ "$mode" != 120000 ] || refuse "$path is a symbolic link; replace it with a file"
        case $path in
            debian/changelog | */debian/changelog)
                object=$(git cat-file blob "$object" | newest_entry | git hash-object -w --stdin)
                size=65536
                ;;
        esac
        [ "$size" -le "$limit" ] || refuse "$path has $size bytes; the limit is $limit"
        all=$((all + size))
        [ "$all" -le "$limit_of_all" ] ||
            refuse "$path and the files before it have $all bytes; the limit is $limit_of_all"
        printf '%s %s\n' "$object" "$path"
    done
} > "$workspace/sources.list"
git cat-file --batch='%(objectsize) %(rest)' < "$workspace/sources.list"
"""

# Three lines of each commit, of a bounded length. Where branches meet, the commits of one come
# before those of the other, so that what is new comes first. The rest are paths from the top.
LOG = r"""
commit=$1 number=$2
shift 2
cd "$top/.git"
export GIT_DIR=$PWD GIT_LITERAL_PATHSPECS=1
git -c log.showSignature=false log --no-mailmap --topo-order --no-decorate --no-color \
    --max-count="$number" --format='%H%n%an%n%s' "$commit" -- "$@" | cut --bytes=-1000
"""

# Says of each of the other commits whether it is before $1 in git's history, or after it. One that
# is not on the branch, or beyond the end of a shallow clone, is neither.
ANCESTRY = r"""
commit=$1
shift
cd "$top/.git"
export GIT_DIR=$PWD
is_before() { git merge-base --is-ancestor "$1" "$2" 2>/dev/null; }
for other do
    if is_before "$other" "$commit"; then
        echo "after $other"
    elif is_before "$commit" "$other"; then
        echo "before $other"
    fi
done
"""

REQUIRE_SCRIPTS = """
require_source
for path do require_script "$path"; done
"""

# Says for each of the paths, which begin at the top, whether the commit has it.
REQUIRE_PATHS = """
cd "$top/.git"
export GIT_DIR=$PWD
for path do
    git cat-file -e "HEAD:$path" 2>/dev/null ||
        refuse "depends_on: the repository has no $path; correct or delete it"
done
"""

WRITE = """
cat > "$1.new"
mv "$1.new" "$1"
"""

READ = """
[ -f "$1" ] || fail "$1 is missing in workspace $workspace; the previous step did not write it"
cat "$1"
"""

SEND = """
[ -f "package/$1" ] || fail "$1 is missing in workspace $workspace; build the package first"
cat "package/$1"
"""
