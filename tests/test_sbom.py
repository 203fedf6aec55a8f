"""The SBOM that a build leaves: what is taken for one on a build host, and what never is."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from delivery.errors import DeliveryError
from delivery.packaging import Recipe
from delivery.proof import sbom
from delivery.proof.sbom import SBOM_FILE, Sbom, look
from delivery.settings import load
from delivery.workspace import RefusedSource, Workspace

from .local_host import ISOLATION, LocalShell
from .repositories import Repository

CYCLONEDX = '{\n  "bomFormat" :\n "CycloneDX",\n  "specVersion": "1.6"}\n'
CYCLONEDX_XML = (
    '<?xml version="1.0"?>\n<bom serialNumber="x"\n xmlns="http://cyclonedx.org/schema/bom/1.6"/>'
)
SPDX = '{"SPDXID": "SPDXRef-DOCUMENT", "spdxVersion": "SPDX-2.3"}'
SPDX_3 = '{"@context": "https://spdx.org/rdf/3.0.1/spdx-context.jsonld", "@graph": []}'
SPDX_TEXT = "# of shop\nSPDXVersion: SPDX-2.3\nDataLicense: CC0-1.0\n"


class Build:
    """What a build has left in its checkout, `source`."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.source = Path(workspace.path, "source")

    def leave(self, path: str, text: str | bytes) -> None:
        file = self.source / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def look(self, settings: str = "") -> Sbom | None:
        chosen = load(settings, "shop").as_dict()
        recipe = Recipe("shop", "1-1.a", "a" * 40, "main", 1, {}, chosen)
        found = look(self.workspace, recipe)
        assert Sbom.found_in(self.workspace) == found
        return found


@pytest.fixture
def build(tmp_path):
    ssh = LocalShell()
    repository = Repository(tmp_path / "shop.git")
    commit = repository.commit({"a": "b"})
    workspace = Workspace.create(ssh, ssh.host, ISOLATION)
    try:
        workspace.check_out(repository.url, commit, "main")
        yield Build(workspace)
    finally:
        workspace.remove()


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        (CYCLONEDX, "application/vnd.cyclonedx+json"),
        (b"\xef\xbb\xbf \n" + CYCLONEDX.encode(), "application/vnd.cyclonedx+json"),
        (
            '{"x": "' + "y" * 100000 + '", "bomFormat":"CycloneDX"}',
            "application/vnd.cyclonedx+json",
        ),
        (CYCLONEDX_XML, "application/vnd.cyclonedx+xml"),
        (CYCLONEDX_XML.replace("xmlns=", "xmlns:b="), "application/vnd.cyclonedx+xml"),
        (SPDX, "application/spdx+json"),
        (SPDX_3, "application/spdx+json"),
        (SPDX_TEXT, "text/spdx"),
        (b"SPDXVersion: SPDX-2.3\n\xff\xfe\x00", "text/spdx"),
    ],
)
def test_each_format_is_recognised(build, text, media_type):
    build.leave("bom.json", text)
    whole = (build.source / "bom.json").read_bytes()
    assert build.look() == Sbom("bom.json", media_type, hashlib.sha256(whole).hexdigest())


def test_what_is_packaged_is_looked_through_before_the_rest(build):
    build.leave("bom.json", CYCLONEDX)
    build.leave("out/sbom.spdx", SPDX_TEXT)
    assert build.look().path == "bom.json"
    assert build.look("package: {root: out}").path == "out/sbom.spdx"
    assert build.look("package: {root: out, sbom: bom.json}").path == "bom.json"


@pytest.mark.parametrize(
    "text", ["", "{}", "<a/>", '{"bomFormat": "Cyclone"}', 'x "bomFormat": "CycloneDX"', b"\0" * 99]
)
def test_what_only_has_the_name_is_left_out(build, text):
    build.leave("bom.json", text)
    assert build.look() is None
    build.leave("sbom.json", SPDX)
    assert build.look().path == "sbom.json"


def test_a_build_that_leaves_none_has_none(build):
    assert build.look() is None


@pytest.mark.parametrize("settings", ["", "package: {sbom: bom.json}"])
@pytest.mark.parametrize("kind", ["link", "link to a directory", "pipe", "directory", "large"])
def test_no_link_is_followed_and_nothing_but_a_bounded_file_is_read(
    build, tmp_path, monkeypatch, settings, kind
):
    """Also of a host's own file, which could be anybody's secret."""
    (tmp_path / "bom.json").write_text(CYCLONEDX)
    path = build.source / "bom.json"
    if kind == "link":
        path.symlink_to(tmp_path / "bom.json")
    elif kind == "link to a directory":
        settings = settings.replace("bom.json", "out/bom.json") or "package: {root: out}"
        (build.source / "out").symlink_to(tmp_path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        monkeypatch.setattr(sbom, "LIMIT", len(CYCLONEDX) - 1)
        build.leave("bom.json", CYCLONEDX)
    if "sbom:" not in settings:
        assert build.look(settings) is None
        return
    why = "has 56 bytes; the limit is 55" if kind == "large" else "is not a file that the build has"
    with pytest.raises(RefusedSource, match=f"^package.sbom: (out/)?bom.json {why}"):
        build.look(settings)


def test_a_configured_one_that_is_none_is_refused(build):
    with pytest.raises(RefusedSource, match="^package.sbom: x/b.json is not a file that the build"):
        build.look("package: {sbom: x/b.json}")
    build.leave("x/b.json", "{}")
    with pytest.raises(RefusedSource, match="x/b.json is neither CycloneDX .* nor SPDX"):
        build.look("package: {sbom: x/b.json}")
    build.leave("x/b.json", SPDX)
    assert build.look("package: {sbom: x/b.json}").path == "x/b.json"


@pytest.mark.parametrize("left", ['["x"]', '["x", "text/html", "%s"]' % ("a" * 64), "5"])
def test_what_else_a_build_host_says_is_refused(build, left):
    build.workspace.write(SBOM_FILE, left.encode())
    with pytest.raises(DeliveryError, match="the build host's answer is no SBOM"):
        Sbom.found_in(build.workspace)
