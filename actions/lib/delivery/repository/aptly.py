"""An APT repository kept by aptly (https://www.aptly.info), as its own configuration says."""

from __future__ import annotations

from delivery.repository import Repository

FUNCTIONS = r"""
locate() {
    root=$(tool config show | sed -n 's/^ *"rootDir": "\(.*\)",*$/\1/p')
    [ -n "$root" ] || fail "aptly config show has no rootDir"
    public=$root/public
    repository=cicd-$distribution-$component
}
taken_by() {
    tool repo search -format='{{.SHA256}}' "$repository" \
        "$name (= $version), \$Architecture (= $architecture)" 2>/dev/null || :
}
store() {
    tool repo show "$repository" >/dev/null 2>&1 ||
        attempt repo create -distribution="$distribution" -component="$component" "$repository"
    attempt repo add "$repository" "$file"
}
drop() {        # by its key: versions that only compare equal are others
    attempt repo remove "$repository" "${name}_${version}_$architecture"
}
tidy() {
    attempt db cleanup
}
publish() {
    if tool publish list -raw | grep -qxF ". $distribution"; then
        attempt publish update -batch -gpg-key="$key" -skip-contents "$distribution"
    else
        attempt publish repo -batch -gpg-key="$key" -skip-contents -acquire-by-hash \
            -architectures="$(echo $architectures | tr ' ' ,)" "$repository"
    fi
}
"""


class Aptly(Repository):
    """The repository of the embedded default: Debian has it, and it needs no set-up."""

    name = "aptly"
    programs = ("aptly", "gpg", "gpgv", "flock")
    installed_by = "apt-get install aptly gnupg gpgv util-linux"
    functions = FUNCTIONS
