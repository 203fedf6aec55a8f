"""The signed APT repository that hosts install from: one interface, one file per tool
(`delivery.tools`).

    new = TOOLS.create(configuration).add(workspace, package)

Whatever the tool: packages may be added at once, every version stays (a rollback needs it), the
same package twice is fine, another one under a version that is taken is refused, and what was
published is read back: the signature, the index under it, and the package's SHA-256 in that.
"""

from __future__ import annotations

import shlex
from abc import ABC
from typing import TYPE_CHECKING, Any, ClassVar, Mapping

from delivery.errors import DeliveryError
from delivery.names import shown
from delivery.packaging import Package
from delivery.settings import ARCHITECTURES
from delivery.tools import Registry, Tool
from delivery.workspace import Workspace

if TYPE_CHECKING:
    from delivery.configuration import Configuration

TIMEOUT_S = 300
LOCK_TIMEOUT_S = 120


class Repository(Tool, ABC):
    """An APT repository on the build host that the workspace is on.

    A tool is its programs, of which the first is its command, and five shell functions. They find
    $name, $version, $architecture, $file, $distribution, $component, $key and $architectures as
    they are below:

    - `locate`, whose arguments are `tool_values`, sets root, which is locked, and public, which
      apt is served from;
    - `taken_by` prints the SHA-256 of the package that has the version, or nothing;
    - `store` takes package/$file in, and `publish` makes public of all that was taken in.

    :param config: section `repository` of the configuration.
    :raises DeliveryError: for an architecture that is none.
    """

    role = "repository"
    required: ClassVar[Mapping[str, str]] = {
        "gpg_key": "set it to the signing key on the build host"
    }
    functions: ClassVar[str]

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.distribution: str = config["distribution"]
        self.component: str = config["component"]
        self.gpg_key: str = config["gpg_key"]
        self.architectures: list[str] = list(config["architectures"])
        self.tool_values: list[str] = []
        for architecture in self.architectures:
            if architecture == "all" or architecture not in ARCHITECTURES:
                raise DeliveryError(
                    f"repository.architectures: unknown architecture {shown(architecture)}; "
                    f"expected some of {', '.join(ARCHITECTURES[1:])}"
                )

    @classmethod
    def configured(cls, configuration: Configuration) -> Repository:
        return cls(cls.section(configuration))

    @classmethod
    def check_of_build_host(cls, section: Mapping[str, Any]) -> str:
        if cls.missing(section):
            return ""
        key = shlex.quote(section["gpg_key"])
        return f"""
! command -v gpg >/dev/null || gpg --batch --list-secret-keys -- {key} >/dev/null 2>&1 ||
    echo "no secret key "{key}" on this host; import it, or correct repository.gpg_key"
"""

    def add(self, workspace: Workspace, package: Package) -> bool:
        """Adds a package of the workspace, publishes it and reads it back.

        :returns: whether it was added now; false when this very package was there already.
        :raises RemoteError: when another package has this version (with both SHA-256), the tool
            is missing or fails, or what was published is not what was added.
        """
        done = workspace.shell(
            VERIFY + self.functions + ADD,
            " ".join(self.programs),
            self.installed_by,
            self.distribution,
            self.component,
            self.gpg_key,
            " ".join(self.architectures),
            " ".join(self.architectures_of(package)),
            package.file,
            package.name,
            package.version,
            package.architecture,
            package.sha256,
            str(LOCK_TIMEOUT_S),
            *self.tool_values,
            timeout_s=TIMEOUT_S,
            what=f"add {package.file} to {self.distribution}",
        )
        return done.text.strip() == "added"

    def architectures_of(self, package: Package) -> list[str]:
        """The architectures in whose index the package has to be found."""
        if package.architecture == "all":
            return self.architectures
        if package.architecture not in self.architectures:
            raise DeliveryError(
                f"{package.file} is for {package.architecture}, not one of "
                f"repository.architectures ({', '.join(self.architectures)})"
            )
        return [package.architecture]


TOOLS = Registry(Repository, __name__)


# A shell function for the tools' scripts. Reads back what is published in directory $1: prints
# what is wrong and returns 1 unless InRelease of distribution $2 is signed with key $3, the
# indexes of component $4 for architectures $5 are those it names, and each has package $6 version
# $7 architecture $8 with the SHA-256 $9, and the file it points to has that too.
VERIFY = r"""
verify() (
    distribution=$1/dists/$2
    gpg --batch --export "$3" > keyring.gpg
    rm -f Release
    if ! gpgv --quiet --keyring "$workspace/keyring.gpg" --output Release \
            "$distribution/InRelease" 2>gpgv.log; then
        echo "$distribution/InRelease is not signed with $3"
        return 1
    fi
    for architecture in $5; do
        index=$4/binary-$architecture/Packages
        sum=$(sha256sum < "$distribution/$index") || sum=missing
        if ! grep -q "^ ${sum%% *}  *[0-9]*  *$index\$" Release; then
            echo "$distribution/InRelease does not list the current $index"
            return 1
        fi
        found=$(awk -v package="$6" -v version="$7" -v architecture="$8" '
            BEGIN { RS = ""; FS = "\n" }
            {
                split("", field)
                for (line = 1; line <= NF; line++) {
                    colon = index($line, ": ")
                    field[substr($line, 1, colon - 1)] = substr($line, colon + 2)
                }
                if (field["Package"] == package && field["Version"] == version \
                    && field["Architecture"] == architecture)
                    print field["SHA256"], field["Filename"]
            }' "$distribution/$index")
        if [ "${found%% *}" != "$9" ]; then
            echo "$distribution/$index has SHA-256 ${found%% *} for $6 $7, expected $9"
            return 1
        fi
        file=$1/${found#* }
        sum=$(sha256sum < "$file" 2>/dev/null) || sum=missing
        if [ "${sum%% *}" != "$9" ]; then
            echo "$file has SHA-256 ${sum%% *}, expected $9"
            return 1
        fi
    done
)
"""

# Goes after VERIFY and a tool's functions. $1 the tool's programs, $2 what installs them,
# $3 distribution, $4 component, $5 key, $6 all architectures, $7 those of the package, $8 its file,
# $9 name, $10 version, $11 architecture, $12 SHA-256, $13 seconds to wait for the lock, then what
# `locate` takes. Prints "added" or "present".
ADD = r"""
programs=$1 installed_by=$2 distribution=$3 component=$4 key=$5 architectures=$6 expected_in=$7
file=$8 name=$9 version=${10} architecture=${11} sha256=${12} patience=${13}
shift 13
for program in $programs; do
    command -v "$program" >/dev/null || fail "$program is not installed; run $installed_by"
done
tool=${programs%% *}
gpg --batch --list-secret-keys "$key" >/dev/null 2>&1 ||
    fail "no secret key $key on this host; import it, or correct repository.gpg_key"
# The lock is this shell's alone: an agent that gpg leaves running must not hold on to it.
tool() { "$tool" "$@" 9>&-; }
attempt() {
    tool "$@" >tool.log 2>&1 ||
        fail "$tool $1: $(grep -m 1 -E '^(gpg|ERROR): ' tool.log || tail -n 1 tool.log)"
}
check() {
    verify "$public" "$distribution" "$key" "$component" "$expected_in" "$name" "$version" \
        "$architecture" "$sha256"
}

is=$(dpkg-deb --show --showformat='${Package} ${Version} ${Architecture}' "package/$file")
[ "$is $file" = "$name $version $architecture ${name}_${version}_$architecture.deb" ] ||
    fail "$file contains $is, not $name $version $architecture"
sum=$(sha256sum < "package/$file")
[ "${sum%% *}" = "$sha256" ] || fail "$file has changed since it was made"

locate "$@"
mkdir -p "$root"
exec 9>"$root/cicd-canary.lock"
flock --timeout "$patience" 9 || fail "$root is locked for more than $patience s"

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
