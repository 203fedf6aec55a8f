"""What cicd-converge installs beside its package, with the real apt-get and packages of a moment.

Its functions are called without `main`; dpkg only writes down what it is told.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from shell_functions import calling

PROGRAMS = ("apt-get", "dpkg-deb", "dpkg-scanpackages")

# After the functions of the program. Prints what dpkg would do, or the problem.
PREPARE = """
APP=shop health_path=/ scratch=$ROOT/scratch packages=$ROOT/packages conf_dir=$ROOT/conf
cache_dir=$ROOT
source_list=$ROOT/sources/cicd.list dpkg_status=$ROOT/status
run_dpkg() { echo "dpkg ${*##*/}"; }
apt-mark() { :; }
log() { :; }
prepare "$1" || echo "problem: $problem"
"""


class Machine:
    """A host that has nothing installed, our source, and another one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("scratch", "packages", "conf", "sources", "apt/lists/partial", "ours"):
            (root / folder).mkdir(parents=True)
        (root / "debian").mkdir()
        (root / "status").touch()
        (root / "apt.conf").write_text(
            f'Dir::State "{root}/apt";\nDir::State::Lists "{root}/apt/lists";\n'
            f'Dir::Cache "{root}/apt";\nDir::Etc::sourcelist "/dev/null";\n'
            f'Dir::Etc::sourceparts "{root}/sources";\nAPT::Architecture "amd64";\n'
        )

    def package(self, place: str, name: str, version: str, **fields: str) -> None:
        tree = self.root / "tree"
        (tree / "DEBIAN").mkdir(parents=True)
        fields = {
            "Package": name,
            "Version": version,
            "Architecture": "all",
            "Maintainer": "A <a@acme.example>",
            "Description": "sample",
            **fields,
        }
        (tree / "DEBIAN/control").write_text("".join(f"{k}: {v}\n" for k, v in fields.items()))
        file = self.root / place / f"{name}_{version}.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(file)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        shutil.rmtree(tree)

    def installed(self, name: str, version: str, **fields: str) -> None:
        fields = {
            "Package": name,
            "Status": "install ok installed",
            "Maintainer": "A <a@acme.example>",
            "Architecture": "all",
            "Version": version,
            "Description": "sample",
            **fields,
        }
        with (self.root / "status").open("a") as status:
            status.write("".join(f"{k}: {v}\n" for k, v in fields.items()) + "\n")

    def prepare(self, version: str) -> str:
        """Returns what dpkg is told to do before the package is installed, or the problem."""
        for place, file in (("ours", "cicd.list"), ("debian", "debian.list")):
            with (self.root / place / "Packages").open("w") as index:
                subprocess.run(
                    ["dpkg-scanpackages", "--multiversion", "."],
                    cwd=str(self.root / place),
                    check=True,
                    stdout=index,
                    stderr=subprocess.DEVNULL,
                )
            source = f"deb [trusted=yes] copy:{self.root / place} ./\n"
            (self.root / "sources" / file).write_text(source)
        return subprocess.run(
            calling("cicd-converge", PREPARE, version),
            env={
                "PATH": os.environ["PATH"],
                "ROOT": str(self.root),
                "APT_CONFIG": str(self.root / "apt.conf"),
            },
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=120,
        ).stdout.strip()


@pytest.fixture
def machine(tmp_path):
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed; apt-get install apt dpkg-dev")
    return Machine(tmp_path)


def test_only_what_a_package_depends_on_is_installed_before_it(machine):
    machine.package("debian", "libfoo1", "2")
    for place in ("packages", "ours", "debian"):
        machine.package(place, "shop", "1", Depends="libfoo1 (>= 2)")

    assert machine.prepare("1") == "dpkg --install libfoo1_2_all.deb"


def test_a_dependency_that_is_there_installs_nothing(machine):
    machine.installed("libfoo1", "2")
    for place in ("packages", "ours"):
        machine.package(place, "shop", "1", Depends="libfoo1 (>= 2)")

    assert machine.prepare("1") == ""


def test_a_release_of_another_application_is_no_dependency_to_install(machine):
    machine.installed("notes", "1")
    machine.package("ours", "notes", "2")
    for place in ("packages", "ours"):
        machine.package(place, "shop", "1", Depends="notes (>= 2)")

    assert machine.prepare("1") == (
        "problem: shop 1 needs notes (>= 2), but the host's APT sources have 1"
    )
    (machine.root / "conf/notes.conf").touch()
    assert machine.prepare("1").endswith(
        "; notes is an application: it comes here by its own rollouts only"
    )


def test_an_application_that_another_one_depends_on_is_updated(machine):
    machine.installed("shop", "1")
    machine.installed("notes", "1", Depends="libc6 | awk, shop (<< 2), no-such")
    machine.package("debian", "libfoo1", "2")
    machine.package("packages", "shop", "2", Depends="libfoo1")

    assert machine.prepare("2") == "dpkg --install libfoo1_2_all.deb"


def test_a_package_that_would_remove_another_application_is_refused(machine):
    machine.package("packages", "shop", "1", Replaces="shop-old (<< 2), notes", Conflicts="notes")
    assert machine.prepare("1") == ""
    (machine.root / "conf/notes.conf").touch()

    assert machine.prepare("1") == (
        "problem: shop replaces notes, an application of this host; correct package.replaces, or "
        f"delete {machine.root}/conf/notes.conf if notes is no more"
    )


# Consul's answers are made up; the rest is the program's.
WANTED = """
APP=shop STAGE=canary order=$1
request() { echo '{"Config": {"NodeName": "canary-1"}}'; }
kv_get() {
    case $1 in
        stages/canary/version) echo 1.0-1.aaaaaaa ;;
        stages/canary/state) echo '{"deployment": "canary-2"}' ;;
    esac
}
log() { :; }
finish() { echo "reported: $2"; exit 1; }
read_what_is_wanted
echo "goes on with $desired of $deployment"
"""


@pytest.mark.skipif(not shutil.which("jq"), reason="jq: not installed; apt-get install jq")
@pytest.mark.parametrize(
    ("order", "said"),
    [
        ("", "goes on with 1.0-1.aaaaaaa of canary-2"),
        ("canary-2", "goes on with 1.0-1.aaaaaaa of canary-2"),
        (
            "canary-1",
            '{"status":"failed","reason":"the order of rollout canary-1 is out of date: the '
            "stage's is canary-2\"}",
        ),
    ],
)
def test_an_order_of_a_rollout_that_was_replaced_is_not_taken(order, said):
    ran = subprocess.run(
        calling("cicd-converge", WANTED, order),
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert ran.stdout.strip() == said
    assert ran.returncode == (1 if order == "canary-1" else 0)


# --- what comes from Consul, or from the application's user, is never run -------------------------

PUT = """
APP=shop scratch=$ROOT HEALTH_URL=http://127.0.0.1:9/
kv_get() { printf '{"settings": {"rollout": {"healthy_deadline_s": %s}}}' "$DEADLINE"; }
package_file() { echo none; }
run_dpkg() { :; }
log_files() { :; }
wait_until_healthy() { echo "waits $(($SECONDS + $1 - SECONDS)) s"; }
put 1.0-1.aaaaaaa
"""

LOGGED = """
APP=shop scratch=$ROOT health_path=/
find() { command find "$ROOT/log" "${@:3}"; }
log_files > "$scratch/began"
echo "said${1:+ late}" > "$ROOT/log/shop.log"
logged
"""


def run_functions(story, root, *arguments, **environment):
    return subprocess.run(
        calling("cicd-converge", story, *arguments),
        env={"PATH": os.environ["PATH"], "ROOT": str(root), **environment},
        cwd=str(root),
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )


@pytest.mark.skipif(not shutil.which("jq"), reason="jq: not installed; apt-get install jq")
@pytest.mark.parametrize(
    ("deadline", "seconds"),
    [
        ("90", 90),
        ("9999", 9999),
        ("null", 60),
        ("0", 60),
        ('"08"', 60),
        ("12345", 60),
        ("1.5", 60),
        ('"x[$(touch taken)]"', 60),
        ('["a", "b"]', 60),
    ],
)
def test_a_deadline_that_is_no_number_is_the_default_and_never_run(tmp_path, deadline, seconds):
    ran = run_functions(PUT, tmp_path, DEADLINE=deadline)
    assert ran.stdout.strip() == f"waits {seconds} s"
    assert not (tmp_path / "taken").exists()


def test_the_name_of_a_log_file_is_never_run(tmp_path):
    (tmp_path / "log").mkdir()
    name = "x\n9999999999 a[$(touch taken)] y.log"
    (tmp_path / "log" / name).touch()
    ran = run_functions(LOGGED, tmp_path)
    assert ran.stdout == "; its log: said"
    assert not (tmp_path / "taken").exists()


@pytest.mark.skipif(not shutil.which("jq"), reason="jq: not installed; apt-get install jq")
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("stages/canary/version", "$(id)", "the target version in Consul is malformed"),
        ("stages/canary/version", "1" * 129, "the target version in Consul is malformed"),
        ("stages/canary/version", "1.0\n2.0", "the target version in Consul is malformed"),
        ("stages/canary/state", "{", "the record of the stage in Consul is malformed"),
        (
            "stages/canary/state",
            '{"deployment": "../x"}',
            "the record of the stage in Consul is malformed",
        ),
        (
            "stages/canary/state",
            '{"deployment": {"a": 1}}',
            "the record of the stage in Consul is malformed",
        ),
    ],
)
def test_a_malformed_value_is_reported_by_its_name_and_not_used(tmp_path, key, value, said):
    story = WANTED.replace("kv_get() {", 'kv_get() { if [ "$1" = "$KEY" ]; then echo "$VALUE"; fi')
    ran = run_functions(story, tmp_path, "", KEY=key, VALUE=value)
    assert ran.stdout.strip() == f"reported: {said}"
