"""The SBOM that a build has left: a CycloneDX or SPDX document beside what is packaged.

    look(workspace, recipe)                 # once package.build has run
    sbom = Sbom.found_in(workspace)         # by the steps after that; None where there is none

The document is a build's: on the build host its size, SHA-256 and the words that tell its format
are looked at, and nothing else of it is read.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from delivery.errors import DeliveryError
from delivery.names import shown
from delivery.packaging import Recipe
from delivery.workspace import Workspace

SBOM_FILE = "sbom.json"
LIMIT = 32 * 1024 * 1024  # bytes
# The file names that CycloneDX and SPDX recommend.
NAMES = tuple(
    f"{stem}.{extension}"
    for stem in ("bom", "sbom")
    for extension in ("json", "xml", "cdx.json", "cdx.xml", "spdx.json", "spdx")
)
FORMATS = {  # as registered with IANA
    "application/vnd.cyclonedx+json": "CycloneDX, JSON",
    "application/vnd.cyclonedx+xml": "CycloneDX, XML",
    "application/spdx+json": "SPDX, JSON",
    "text/spdx": "SPDX, tag-value",
}
SHA256 = re.compile(r"[0-9a-f]{64}")

# $1 the limit in bytes, $2 whether the one path has to be an SBOM, then paths below source/. Prints
# the media type, SHA-256 and path of the first that is one, a line each.
LOOK = r"""
limit=$1 required=$2
shift 2
require_source
matches() { tr '\t\r\n' '   ' < "$1" | LC_ALL=C grep -aqE "$2"; }
media_type() {
    case $(head -c 1024 "$1" | LC_ALL=C tr -d ' \t\r\n\000\357\273\277' | head -c 1) in
        '{')
            if matches "$1" '"bomFormat" *: *"CycloneDX"'; then
                echo application/vnd.cyclonedx+json
            elif matches "$1" '"spdxVersion" *: *"SPDX-[0-9]|"@context" *: *"https://spdx[.]org/'
            then
                echo application/spdx+json
            fi ;;
        '<')
            if matches "$1" '[ :a-z]="http://cyclonedx[.]org/schema/bom/'; then
                echo application/vnd.cyclonedx+xml
            fi ;;
        *) if matches "$1" '(^| )SPDXVersion: *SPDX-[0-9]'; then echo text/spdx; fi ;;
    esac
}
missing() { [ -z "$required" ] || refuse "package.sbom: $1"; }
for path do
    if [ "$(realpath -e "source/$path" 2>/dev/null)" != "$(realpath source)/$path" ] ||
            [ ! -f "source/$path" ]; then
        missing "$path is not a file that the build has left; have package.build write it there"
        continue
    fi
    size=$(stat --format=%s "source/$path")
    if [ "$size" -gt "$limit" ]; then
        missing "$path has $size bytes; the limit is $limit"
        continue
    fi
    type=$(media_type "source/$path")
    if [ -z "$type" ]; then
        missing "$path is neither CycloneDX (JSON, XML) nor SPDX (JSON, tag-value); have \
package.build write one of these"
        continue
    fi
    sha256=$(sha256sum < "source/$path")
    printf '%s\n' "$type" "${sha256%% *}" "$path"
    break
done
"""


class Sbom(NamedTuple):
    """A document by its path in the application's directory; `media_type` is one of FORMATS."""

    path: str
    media_type: str
    sha256: str

    @property
    def byproduct(self) -> dict[str, Any]:
        """What SLSA's provenance says of it: a ResourceDescriptor of in-toto."""
        return {
            "name": self.path,
            "digest": {"sha256": self.sha256},
            "mediaType": self.media_type,
        }

    @classmethod
    def found_in(cls, workspace: Workspace) -> Sbom | None:
        """
        :raises DeliveryError: when a build host has left anything else.
        """
        left = json.loads(workspace.read(SBOM_FILE))
        return _checked(left) if left else None


def look(workspace: Workspace, recipe: Recipe) -> Sbom | None:
    """Looks for the SBOM, and leaves what it is for the steps after this.

    :raises RefusedSource: when package.sbom is missing, or is none.
    """
    settings = recipe.settings["package"]
    configured = settings.get("sbom")
    below_root = [f"{settings['root']}/{name}" for name in NAMES if settings["root"] != "."]
    paths = [configured] if configured else [*below_root, *NAMES]
    found = workspace.shell(
        LOOK, str(LIMIT), "yes" if configured else "", *paths, what="look for an SBOM"
    ).text.splitlines()
    sbom = _checked([found[2], found[0], found[1]]) if found else None
    workspace.write(SBOM_FILE, json.dumps(sbom).encode())
    return sbom


def _checked(values: Any) -> Sbom:
    try:
        sbom = Sbom(*values)
        if sbom.media_type in FORMATS and SHA256.fullmatch(sbom.sha256):
            return sbom
    except (TypeError, IndexError):
        pass
    raise DeliveryError(f"the build host's answer is no SBOM: {shown(str(values)[:200])}")
