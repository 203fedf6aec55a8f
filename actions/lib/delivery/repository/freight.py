"""An APT repository kept by Freight (https://github.com/freight-team/freight), a few shell scripts.

Freight's own configuration says where the repository is; which architectures it has and which key
signs it says the pack's. Each time it goes through all packages of the distribution, which takes
about 0.06 s for each: `keep.releases` says how many there are.
"""

from __future__ import annotations

from typing import Any, Mapping

from delivery.repository import Repository

# Freight reads the file given with -c after all others, so what is here is what it works with.
FUNCTIONS = r"""
locate() {      # Freight's configuration
    [ -r "$1" ] || fail "Freight's configuration $1 is missing; create it with VARLIB and VARCACHE"
    {
        echo VARLIB=/var/lib/freight VARCACHE=/var/cache/freight
        echo ". $1"
        echo "ARCHS='$architectures' GPG='$key'"
    } > freight.conf
    root=$(set +eu; . ./freight.conf >/dev/null; printf %s "$VARLIB")
    public=$(set +eu; . ./freight.conf >/dev/null; printf %s "$VARCACHE")
    library=apt/$distribution/$component
}
taken_by() {
    if [ -e "$root/$library/$file" ]; then sha256sum "$root/$library/$file" | cut -d ' ' -f 1; fi
}
store() {
    attempt add -c "$scratch/freight.conf" "$file" "$library"
}
drop() {
    rm -f "$root/$library/$file" "$root/$library/$file-control"
}
publish() {
    attempt cache -c "$scratch/freight.conf" "apt/$distribution"
}
"""


class Freight(Repository):
    """The repository production is expected to use."""

    name = "freight"
    programs = ("freight", "gpg", "gpgv", "flock")
    installed_by = (
        "apt-get install freight gnupg gpgv util-linux (not in Debian itself: see "
        "https://github.com/freight-team/freight#installation)"
    )
    functions = FUNCTIONS

    @classmethod
    def tool_values(cls, config: Mapping[str, Any]) -> list[str]:
        return [config["freight_conf"]]
