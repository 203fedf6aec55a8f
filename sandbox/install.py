"""Installs the Debian packages the sandbox is made of.

    python3 -m sandbox.install [--languages]

Says what it installs, does nothing when everything is there, starts no service and leaves the
machine's APT sources as they were. Consul is not part of Debian 12: it is taken from Debian 11
(`bullseye`) on the mirror, and checked with the signing key, that the machine already uses.
--languages installs those of the templates instead, but for Go, which is large.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator

from sandbox.templates import TEMPLATES

PACKAGES = [
    "aptly",
    "bubblewrap",
    "curl",
    "e2fsprogs",
    "git",
    "gnupg",
    "haproxy",
    "iproute2",
    "jq",
    "nftables",
    "openssh-client",
    "openssh-server",
    "procps",
    "python3",
    "python3-venv",
    "shellcheck",
    "slirp4netns",
    "util-linux",
]
NOT_INSTALLED = ("go",)  # templates whose language is too large to install for a test
CONSUL_SUITE = "bullseye"
SERVICES = {"haproxy": "haproxy", "openssh-server": "ssh", "consul": "consul"}
POLICY = Path("/usr/sbin/policy-rc.d")
START_NOTHING = """\
#!/bin/sh
# written by sandbox/install.py while it installs: start no service
exit 101
"""

Progress = Callable[[str], None]


class InstallError(Exception):
    """What could not be installed, and what to do about it, in one line."""


def install(progress: Progress = print) -> None:
    """Install what is missing.

    progress: called with one line for each thing about to be done.
    Raises InstallError when a package cannot be had.
    """
    missing = missing_packages()
    if not missing:
        return
    if os.geteuid() != 0:
        raise InstallError(f"not installed: {' '.join(missing)}; run this as root to install them")
    from_debian = [package for package in missing if package != "consul"]
    with no_service_starts():
        if from_debian:
            progress(f"installing {' '.join(from_debian)} from Debian")
            apt_get("update")
            apt_get("install", "--yes", "--no-install-recommends", *from_debian)
        if "consul" in missing:
            progress(f"installing consul from Debian {CONSUL_SUITE}")
            install_consul()
    for package in missing:
        if package in SERVICES:
            subprocess.run(["update-rc.d", SERVICES[package], "disable"], capture_output=True)


def install_languages(progress: Progress = print) -> None:
    """Install what the templates need and the machine lacks; InstallError as above."""
    lacking = [each.missing() for kind, each in TEMPLATES.items() if kind not in NOT_INSTALLED]
    missing = sorted({package for packages in lacking for package in packages})
    if missing:
        progress(f"installing {' '.join(missing)} from Debian")
        with no_service_starts():
            apt_get("update")
            apt_get("install", "--yes", "--no-install-recommends", *missing)


def missing_packages() -> list[str]:
    """The Debian packages the sandbox needs and the machine does not have."""
    wanted = [*PACKAGES, "consul"]
    if not shutil.which("node", path="/usr/local/bin:/usr/bin:/bin"):
        wanted.append("nodejs")
    shown = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *wanted],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    lines = shown.stdout.splitlines()
    installed = {line.split()[0] for line in lines if line.endswith(" installed")}
    return [package for package in wanted if package not in installed]


def install_consul() -> None:
    """Download consul's package from the older suite, and install it with the machine's own APT."""
    with tempfile.TemporaryDirectory(prefix="cicd-consul-") as directory:
        for part in ("lists/partial", "archives/partial", "sources"):
            Path(directory, part).mkdir(parents=True)
        Path(directory, "sources/consul.sources").write_text(consul_source())
        older_suite = [
            "-o",
            "Dir::Etc::sourcelist=/dev/null",
            "-o",
            f"Dir::Etc::sourceparts={directory}/sources",
            "-o",
            f"Dir::State::lists={directory}/lists",
            "-o",
            f"Dir::Cache={directory}",
            "-o",
            "APT::Sandbox::User=root",
        ]
        apt_get(*older_suite, "update")
        apt_get(*older_suite, "download", "consul", cwd=directory)
        package = next(Path(directory).glob("consul_*.deb"))
        apt_get("install", "--yes", "--no-install-recommends", str(package))


def consul_source() -> str:
    """A deb822 source for the older suite, made from the machine's own source for Debian's."""
    codename = debian_codename()
    for source in machine_sources():
        types, suites = source.get("types", "").split(), source.get("suites", "").split()
        if "deb" in types and codename in suites and "main" in source.get("components", "").split():
            fields = {
                "Types": "deb",
                "URIs": source["uris"],
                "Suites": CONSUL_SUITE,
                "Components": "main",
            }
            if "signed-by" in source:
                fields["Signed-By"] = source["signed-by"]
            return "".join(f"{name}: {value}\n" for name, value in fields.items())
    raise InstallError(
        f"no APT source for Debian {codename} main in /etc/apt to install consul from; "
        "add one, or install consul yourself"
    )


def debian_codename() -> str:
    release = Path("/etc/os-release").read_text()
    found = re.search(r"^VERSION_CODENAME=\"?([a-z]+)\"?$", release, re.MULTILINE)
    if not found:
        raise InstallError("/etc/os-release has no VERSION_CODENAME; the sandbox needs Debian 12")
    return found.group(1)


def machine_sources() -> Iterator[dict[str, str]]:
    """The machine's APT sources of either format, as deb822 fields with lower-case names."""
    etc = Path("/etc/apt")
    for path in sorted(etc.glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", path.read_text()):
            yield deb822_fields(stanza)
    for path in [etc / "sources.list", *sorted(etc.glob("sources.list.d/*.list"))]:
        for line in path.read_text().splitlines() if path.exists() else []:
            found = re.fullmatch(
                r"deb\s+(?:\[(.*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)(?:#.*)?", line.strip()
            )
            if found:
                options, uri, suite, components = found.groups()
                yield {
                    **dict(re.findall(r"([\w-]+)=(\S+)", options or "")),
                    "types": "deb",
                    "uris": uri,
                    "suites": suite,
                    "components": components.strip(),
                }


def deb822_fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace() and name:
            fields[name] += "\n" + line
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.lower()
            fields[name] = value.strip()
    return fields


@contextmanager
def no_service_starts() -> Iterator[None]:
    """Have Debian's maintainer scripts start nothing, and put their policy back afterwards."""
    before = POLICY.read_text() if POLICY.exists() else START_NOTHING
    mode = POLICY.stat().st_mode if POLICY.exists() else 0o755
    POLICY.write_text(START_NOTHING)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        # A policy of ours that was there already was left by a run that was killed.
        if before == START_NOTHING:
            POLICY.unlink()
        else:
            POLICY.write_text(before)
            POLICY.chmod(mode)


def apt_get(*arguments: str, cwd: str = "/") -> None:
    """Run apt-get, and print what it says, line by line."""
    process = subprocess.Popen(
        ["apt-get", "-q", *arguments],
        cwd=cwd,
        env=dict(os.environ, DEBIAN_FRONTEND="noninteractive"),
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line.rstrip())
    if process.wait():
        said = [line for line in lines if line.startswith("E:")]
        reason = (said or lines or ["no output"])[-1]
        raise InstallError(f"apt-get {arguments[-1]} failed: {reason}")


if __name__ == "__main__":
    try:
        if sys.argv[1:] == ["--languages"]:
            install_languages()
        else:
            install()
    except InstallError as error:
        sys.exit(f"sandbox.install: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
