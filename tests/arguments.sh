# shellcheck shell=bash
# For script/test and script/acceptance: what cannot be run is said at once, not after minutes.

require_tests() { # ARGUMENT...; ends the program unless each word that is no option is there
    local word before=''
    for word in "$@"; do
        # A word after an option may be its value.
        if [[ $word != -* && $before != -* && ! -e ${word%%::*} ]]; then
            echo "$0: $word is no test file or directory here; see --help" >&2
            exit 2
        fi
        before=$word
    done
}
