"""The shell that `delivery.repository` runs on the host of the repository.

Root runs AS_USER, and nothing else: the rest is the repository's user's, in a directory of its own
that is gone afterwards. Each script is START, the tool's functions, FUNCTIONS and one of those
below it; all are constant, and what varies is their $1, $2 and so on.
"""

from __future__ import annotations

# as_user USER SCRIPT NAME ARGUMENT...: sh runs the script as the user, at home and with nothing of
# root's environment but PATH.
AS_USER = r"""
as_user() (
    user=$1
    shift
    if ! uid=$(id -u -- "$user" 2>/dev/null); then
        echo "no user $user on this host; run useradd --system --create-home \
--home-dir /var/lib/$user $user" >&2
        exit 1
    fi
    if [ "$uid" = 0 ]; then
        echo "the repository must not belong to root; correct repository.user" >&2
        exit 1
    fi
    gid=$(id -g -- "$user")
    home=$(getent passwd "$user" | cut -d: -f6)
    cd /
    exec setpriv --reuid="$uid" --regid="$gid" --init-groups --no-new-privs --inh-caps=-all -- \
        env -i PATH="$PATH" HOME="$home" USER="$user" LOGNAME="$user" LC_ALL=C.UTF-8 sh -c "$@"
)
"""

# $1 the tool's programs, $2 what installs them, $3 distribution, $4 component, $5 key, $6 all
# architectures, $7 seconds to wait for the lock.
START = r"""
set -eu
umask 022
programs=$1 installed_by=$2 distribution=$3 component=$4 key=$5 architectures=$6 patience=$7
shift 7
fail() { printf '%s\n' "$1" >&2; exit 1; }
find /var/tmp -maxdepth 1 -name 'cicd-repository.*' -user "$(id -u)" -mmin +1440 \
    -exec rm -rf {} + 2>/dev/null || :
scratch=$(mktemp -d /var/tmp/cicd-repository.XXXXXXXXXX)
trap 'cd / && rm -rf "$scratch"' EXIT
trap 'exit 1' HUP INT TERM
cd "$scratch"
command=${programs%% *}
tidy() { :; }
"""

FUNCTIONS = r"""
# The lock is this shell's alone: an agent that gpg leaves running must not hold on to it.
tool() { "$command" "$@" 9>&-; }
attempt() {
    tool "$@" >tool.log 2>&1 ||
        fail "$command $1: $(grep -m 1 -E '^(gpg|ERROR): ' tool.log || tail -n 1 tool.log)"
}
has_key() { gpg --batch --list-secret-keys -- "$key" >/dev/null 2>&1; }
no_key() { echo "$USER has no secret key $key on this host; import it, or correct \
repository.gpg_key"; }
open() {        # what `locate` takes; afterwards nobody else changes the repository
    for program in $programs; do
        command -v "$program" >/dev/null || fail "$program is not installed; run $installed_by"
    done
    has_key || fail "$(no_key)"
    locate "$@"
    mkdir -p "$root" 2>/dev/null && [ -w "$root" ] ||
        fail "$USER cannot write to $root; run chown -R $USER $root"
    # Who can open a lock can hold it.
    (umask 077 && : >>"$root/cicd-canary.lock") && chmod 600 "$root/cicd-canary.lock"
    exec 9>"$root/cicd-canary.lock"
    flock --timeout "$patience" 9 || fail "$root is locked for more than $patience s"
}
# Leaves what InRelease says in ./Release; prints what is wrong and returns 1 unless it is signed.
signed() {
    gpg --batch --export "$key" > keyring.gpg
    rm -f Release
    if ! gpgv --quiet --keyring "$scratch/keyring.gpg" --output Release "$1/InRelease" 2>gpgv.log
    then
        echo "$1/InRelease is not signed with $key"
        return 1
    fi
}
# Prints version, architecture, SHA-256 and file of each entry of package $2 in the index $1.
listed() {
    awk -v package="$2" '
        BEGIN { RS = ""; FS = "\n" }
        {
            split("", field)
            for (line = 1; line <= NF; line++) {
                colon = index($line, ": ")
                field[substr($line, 1, colon - 1)] = substr($line, colon + 2)
            }
            if (field["Package"] == package)
                print field["Version"], field["Architecture"], field["SHA256"], field["Filename"]
        }' "$1"
}
published_at() { date -u -d "$(sed -n 's/^Date: //p' Release)" +%s; }  # seconds since 1970
"""

# Reads back what is published in directory $1: prints what is wrong and returns 1 unless InRelease
# of distribution $2 is signed with the key, the indexes of component $3 for architectures $4 are
# those it names, and each has package $5 version $6 architecture $7 with the SHA-256 $8, and the
# file it points to has that too.
VERIFY = r"""
verify() (
    distribution=$1/dists/$2
    signed "$distribution" || return 1
    for architecture in $4; do
        index=$3/binary-$architecture/Packages
        sum=$(sha256sum < "$distribution/$index") || sum=missing
        if ! grep -q "^ ${sum%% *}  *[0-9]*  *$index\$" Release; then
            echo "$distribution/InRelease does not list the current $index"
            return 1
        fi
        found=$(listed "$distribution/$index" "$5" | while read -r version of sha256 file; do
            [ "$version $of" != "$6 $7" ] || echo "$sha256 $file"
        done)
        if [ "${found%% *}" != "$8" ]; then
            echo "$distribution/$index has SHA-256 ${found%% *} for $5 $6, expected $8"
            return 1
        fi
        file=$1/${found#* }
        sum=$(sha256sum < "$file" 2>/dev/null) || sum=missing
        if [ "${sum%% *}" != "$8" ]; then
            echo "$file has SHA-256 ${sum%% *}, expected $8"
            return 1
        fi
    done
)
"""

# $1 the architectures in whose index the package has to be, $2 its file, which comes on standard
# input, $3 name, $4 version, $5 architecture, $6 SHA-256, $7 bytes, then what `locate` takes.
# Prints "added" or "present"; exits with remote.SHORT when bytes are missing. Nothing reads the
# package before its SHA-256 is right. Fields are refused by which it would get another place than
# its name says: freight makes a path of Source, and copies the others into the index.
ADD = (
    VERIFY
    + r"""
expected_in=$1 file=$2 name=$3 version=$4 architecture=$5 sha256=$6 size=$7
shift 7
check() {
    verify "$public" "$distribution" "$component" "$expected_in" "$name" "$version" \
        "$architecture" "$sha256"
}

head -c "$((size + 1))" > "$file"
got=$(stat -c %s "$file")
[ "$got" -ge "$size" ] || { echo "$got of the $size bytes of $file have arrived" >&2; exit 66; }
sum=$(sha256sum < "$file")
[ "${sum%% *}" = "$sha256" ] || fail "$file has changed since it was made"
is=$(dpkg-deb --show --showformat='${Package} ${Version} ${Architecture}' "$file")
[ "$is $file" = "$name $version $architecture ${name}_${version}_$architecture.deb" ] ||
    fail "$file contains $is, not $name $version $architecture"
dpkg-deb --field "$file" > control
# dpkg takes blanks before the colon; other readers may end a line at a carriage return.
if tr '\r' '\n' < control | grep -vixF "Source: $name" |
        grep -qiE '^(Source|Filename|Size|MD5sum|SHA[0-9]+)[[:space:]]*:'; then
    fail "$file says in its control data what only the repository can: its source, file or sums"
fi

open "$@"
present=$(taken_by)
if [ -z "$present" ]; then
    store
    outcome=added
elif [ "$present" = "$sha256" ]; then
    outcome=present
else
    fail "$name $version exists with SHA-256 $present; this package has $sha256"
fi
if [ $outcome = added ] || ! check >/dev/null; then
    publish
    problem=$(check) || fail "$problem"
fi
echo $outcome
"""
)

# $1 the package's name, $2 the versions, then what `locate` takes.
REMOVE = r"""
name=$1 versions=$2
shift 2
still() {       # prints an index or a file in which there is still one of the versions
    for index in "$public/dists/$distribution/$component"/binary-*/Packages; do
        [ ! -e "$index" ] || listed "$index" "$name" | while read -r listed_version rest; do
            case " $versions " in *" $listed_version "*) echo "$index" ;; esac
        done
    done
    [ -d "$public/pool" ] || return 0
    for version in $versions; do
        find "$public/pool" -name "${name}_${version}_*.deb" | while read -r path; do
            # Another distribution may have it too.
            grep -qsxF "Filename: ${path#"$public/"}" "$public"/dists/*/*/binary-*/Packages ||
                echo "$path"
        done
    done
}

open "$@"
dropped=
for version in $versions; do
    for architecture in all $architectures; do
        file=${name}_${version}_$architecture.deb
        if [ -n "$(taken_by)" ]; then
            drop
            dropped=yes
        fi
    done
done
if [ -n "$dropped" ] || [ -n "$(still)" ]; then
    publish
    tidy
    left=$(still | head -n 1)
    [ -z "$left" ] || fail "$left still has a version of $name that was removed: $versions"
    problem=$(signed "$public/dists/$distribution") || fail "$problem"
fi
"""

# Its arguments are what `locate` takes. Prints the date of the new index, ISO 8601 in UTC.
REFRESH = r"""
began=$(date +%s)
open "$@"
[ -e "$public/dists/$distribution/InRelease" ] || exit 0
publish
problem=$(signed "$public/dists/$distribution") || fail "$problem"
at=$(published_at)
[ "$at" -ge "$began" ] || fail "$distribution is still that of $(date -u -d "@$at")"
date -u -d "@$at" +%Y-%m-%dT%H:%M:%SZ
"""

# $1 the age in seconds of an index that people are told of, then what `locate` takes. Prints what
# is wrong.
CHECK = r"""
due=$1
shift
for file in /etc/consul.d/*; do
    ! grep -qsE '"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"' "$file" ||
        echo "$USER can read the token in $file; run chmod 600 $file"
done
command -v gpg >/dev/null && command -v "$command" >/dev/null || exit 0   # said already
has_key || no_key
locate "$@"
[ ! -e "$root" ] || [ -w "$root" ] || echo "$USER cannot write to $root; run chown -R $USER $root"
[ -e "$public/dists/$distribution/InRelease" ] || exit 0
signed "$public/dists/$distribution" || exit 0
age=$(($(date +%s) - $(published_at)))
[ "$age" -le "$due" ] || echo "the index is $((age / 86400)) days old, and hosts refuse it in the \
end; run st2 run cicd_canary.repository_refresh and see why the rule of that name did not"
"""
