"""The templates of script/sandbox add: what they hold, and that both packagers take them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sandbox import addition, checkout, templates  # noqa: E402
from sandbox.addition import AdditionError, Wanted  # noqa: E402
from sandbox.templates import DIRECTORY, TEMPLATES, TemplateError  # noqa: E402

from .local_host import LocalShell  # noqa: E402
from .repositories import Repository  # noqa: E402
from .test_packaging import (  # noqa: E402
    TOOLS,
    Builder,
    clean_builder,
    control_file,
    fields_of,
    installed,
    members,
    needs,
)

NAME, PORT = "shop", 8083
SCRIPTS = ["script/cisetup", "script/cibuild", "script/post-inst"]


@pytest.fixture(params=TEMPLATES)
def template(request):
    return TEMPLATES[request.param]


@pytest.fixture
def application(template, tmp_path):
    """An application made of the template; skips where its language is missing."""
    if template.missing():
        pytest.skip(f"not installed: {' '.join(template.missing())}")
    template.put(tmp_path / NAME, NAME, PORT)
    return tmp_path / NAME


def test_every_directory_is_a_kind_and_has_a_line():
    assert {path.name for path in DIRECTORY.iterdir()} == set(TEMPLATES)
    assert all(each.about for each in TEMPLATES.values())


def test_nothing_is_left_to_replace(template, tmp_path):
    template.put(tmp_path / NAME, NAME, PORT)

    made = [path for path in (tmp_path / NAME).rglob("*") if path.is_file()]
    assert not [path for path in made if re.search(r"@[A-Z]+@", str(path))]
    for path in made:
        words = set(re.findall(r"@[A-Z]+@", path.read_text()))
        assert words <= {"@VERSION@"}, path  # of the static site's own build
    assert str(PORT) in "".join(path.read_text() for path in made)


def test_the_scripts_are_there_and_executable(template):
    for path in template.paths(NAME).values():
        for script in SCRIPTS:
            file = template.directory / path / script
            assert file.read_text().startswith("#!")
            assert file.stat().st_mode & 0o111 == 0o111


def test_it_builds_and_its_own_tests_pass(template, application):
    for path in template.paths(NAME).values():
        for script in SCRIPTS[:2]:
            done = subprocess.run(
                [f"./{script}"],
                cwd=application / path,
                env={"PATH": template.path, "HOME": os.environ["HOME"], "LANG": "C.UTF-8"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("tool", [pytest.param(tool, marks=needs(tool)) for tool in TOOLS])
def test_it_is_packaged_and_every_field_is_parsed(tool, template, application, tmp_path):
    if template.parts:
        pytest.skip("its two applications are packaged by script/test-corpus")
    ssh = LocalShell(PATH=f"{os.environ['PATH']}:{template.path}:{Path(sys.executable).parent}")
    with clean_builder(ssh, tmp_path, tool) as builder:
        deb, _ = builder.package(commit_of(builder, application), "1.0.0-7.0123abc")

        fields = fields_of(control_file(deb, "control"))
        assert (fields["Package"], fields["Version"]) == (NAME, "1.0.0-7.0123abc")
        assert all(fields.values()), fields
        assert fields["Description"] not in ("", NAME)
        assert fields["Maintainer"] != "root@localhost" or template.version_file == "VERSION"
        assert installed(deb, tmp_path / "root") == fields["Description"]
        assert members(deb, "--ctrl-tarfile")["/postinst"].mode == 0o755
        assert not [name for name in members(deb) if "/opt/" in name and "test" in name]


def commit_of(builder: Builder, directory: Path) -> str:
    files = {str(path.relative_to(directory)): path for path in directory.rglob("*")}
    files = {name: path for name, path in files.items() if path.is_file()}
    repository: Repository = builder.repository
    return repository.commit(
        {name: path.read_text() for name, path in files.items()},
        executable=[name for name, path in files.items() if path.stat().st_mode & 0o111],
    )


# --- what is refused -----------------------------------------------------------------------------


@pytest.fixture
def world():
    return SimpleNamespace(
        applications={"shop": 8081, "notes": 8082},
        hosts={"canary-1": SimpleNamespace(runs_applications=True, pid=None)},
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Forum", "Forum is no name for an application; use lower-case letters"),
        ("a b", "a b is no name"),
        ("shop", "shop is in use; applications: shop notes"),
        ("canary-1", "canary-1 is a name in the fleet itself"),
        ("dpkg", "dpkg is a Debian package on the hosts"),
    ],
)
def test_a_name_that_cannot_be_says_why(world, name, reason):
    with pytest.raises(AdditionError, match=f"^{reason}"):
        addition.check_name(world, name)


def test_a_port_in_use_is_named_with_the_next_free_one(world):
    with pytest.raises(AdditionError, match="port 8082 is notes's; the next free one is 8083"):
        addition.check_port(world, 8082)


def test_an_unknown_kind_is_answered_with_the_nearest():
    with pytest.raises(TemplateError, match="^no template pyton; nearest: python$"):
        templates.find("pyton")
    with pytest.raises(TemplateError, match="^no template rust; kinds: python .*--directory DIR"):
        templates.find("rust")


def test_a_missing_language_says_what_to_install():
    of_no_machine = templates.Template("cobol", "", {"cobc-of-nowhere": "gnucobol"})
    with pytest.raises(TemplateError, match="needs gnucobol; run apt-get install gnucobol"):
        of_no_machine.require_programs()


def test_a_directory_without_the_scripts_says_how_to_make_them(tmp_path):
    (tmp_path / "script").mkdir()
    (tmp_path / "script/cibuild").write_text("#!/bin/sh\n")
    with pytest.raises(AdditionError) as refused:
        addition.check_directory(tmp_path)
    assert "has no script/cisetup and no script/post-inst;" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/bin/sh\r\ntrue\r\n", "the line ends of Windows; run sed -i 's/\\r$//' script/cisetup"),
        ("echo hello\n", "script/cisetup does not say what runs it; begin it with #!/bin/sh"),
        ("", "script/cisetup does not say what runs it; begin it with #!/bin/sh"),
    ],
)
def test_a_script_that_nothing_could_run_is_refused(tmp_path, text, words):
    (tmp_path / "script").mkdir()
    for path in SCRIPTS:
        (tmp_path / path).write_text("#!/bin/sh\n")
        (tmp_path / path).chmod(0o755)
    addition.check_directory(tmp_path)
    (tmp_path / SCRIPTS[0]).write_bytes(text.encode())
    with pytest.raises(AdditionError) as refused:
        addition.check_directory(tmp_path)
    assert words in str(refused.value)


def test_what_makes_missing_scripts_does(tmp_path):
    with pytest.raises(AdditionError) as refused:
        addition.check_directory(tmp_path)
    command = re.search("type there: (.*) \\(docs", str(refused.value)).group(1)
    subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True)
    addition.check_directory(tmp_path)


def test_a_checkout_on_no_branch_is_left_as_it_is(tmp_path):
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    author = ["-c", "user.name=a", "-c", "user.email=a@acme.example"]
    subprocess.run([*git, *author, "commit", "-q", "--allow-empty", "-m", "One"], check=True)
    subprocess.run([*git, "checkout", "-q", "--detach"], check=True)
    with pytest.raises(checkout.CheckoutError, match="is on no branch; run git switch -c main"):
        checkout.prepare(tmp_path, "shop")
    assert not subprocess.run([*git, "remote"], capture_output=True, check=True).stdout


def test_a_script_that_cannot_be_executed_is_named(tmp_path):
    (tmp_path / "script").mkdir()
    for path in SCRIPTS:
        (tmp_path / path).write_text("#!/bin/sh\n")
    (tmp_path / SCRIPTS[0]).chmod(0o755)
    with pytest.raises(AdditionError, match="run chmod \\+x script/cibuild script/post-inst"):
        addition.check_directory(tmp_path)


def test_a_directory_that_is_there_is_not_written_to(world, tmp_path):
    wanted = Wanted("forum", tmp_path, kind="python")
    with pytest.raises(AdditionError, match="is there already"):
        addition.from_template(world, wanted, [SimpleNamespace(name="forum", port=8083)])
    assert not list(tmp_path.iterdir())


def test_the_page_lists_every_kind():
    page = (ROOT / "docs/sandbox.md").read_text()
    assert re.findall(r"(?m)^\| `([a-z]+)` \|", page) == list(TEMPLATES)
