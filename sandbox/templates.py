"""The templates of small applications for `script/sandbox add`, one directory each.

A file that is the same in another template is a link to that one; an application gets a file. In
a template's files, and in their names, some words are replaced: @NAME@ and @PORT@ of the
application, @SECONDPORT@ where there are two, and @ARCHITECTURE@, the machine's as Debian calls it.
"""

from __future__ import annotations

import difflib
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.fleet import SERVICE_PATH

DIRECTORY = Path(__file__).resolve().parent / "templates"


class TemplateError(Exception):
    """Why a template cannot be used, and what to do, in one line."""


@dataclass(frozen=True)
class Template:
    """One kind of application.

    about: a line for the list. programs: what it needs on build and application hosts, which share
    the machine's programs: the Debian packages by program. version_file: where its version stands.
    parts: of a repository with several applications, their directories, by what follows its name in
    theirs.
    """

    kind: str
    about: str
    programs: dict[str, str] = field(default_factory=dict)
    version_file: str = "VERSION"
    path: str = SERVICE_PATH
    parts: dict[str, str] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return DIRECTORY / self.kind

    def paths(self, name: str) -> dict[str, str]:
        """The directory of each application in a repository of that name, by its own name."""
        return {f"{name}-{end}": path for end, path in self.parts.items()} or {name: "."}

    def missing(self) -> list[str]:
        """The Debian packages of the programs that this machine does not have."""
        return [
            package
            for program, packages in self.programs.items()
            if not shutil.which(program, path=self.path)
            for package in packages.split()
        ]

    def require_programs(self) -> None:
        missing = self.missing()
        if missing:
            raise TemplateError(
                f"kind {self.kind} needs {' '.join(missing)}; run "
                f"apt-get install {' '.join(missing)}, then start the fleet again"
            )

    def put(self, directory: Path, name: str, port: int) -> None:
        """Make an application of the template in a directory that does not exist."""
        words = {
            "@NAME@": name,
            "@PORT@": str(port),
            "@SECONDPORT@": str(port + 1),
            "@ARCHITECTURE@": machine_architecture(),
        }
        for source in sorted(self.directory.rglob("*")):
            target = directory / replaced(str(source.relative_to(self.directory)), words)
            if source.is_dir() or "__pycache__" in source.parts:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(replaced(source.read_text(), words))
            target.chmod(source.stat().st_mode & 0o777)


def replaced(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def machine_architecture() -> str:
    """The machine's architecture as Debian calls it, such as amd64."""
    return subprocess.run(
        ["dpkg", "--print-architecture"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


TEMPLATES = {
    each.kind: each
    for each in (
        Template("python", "Python, http.server", {}, "pyproject.toml"),
        Template("node", "Node.js, http", {"node": "nodejs"}, "package.json"),
        Template("php", "PHP, its built-in server", {"php": "php-cli"}, "composer.json"),
        Template("perl", "Perl, IO::Socket", {"perl": "perl"}),
        Template("ruby", "Ruby, TCPServer", {"ruby": "ruby"}),
        Template("c", "C: package.build runs make", {"gcc": "gcc libc6-dev", "make": "make"}),
        Template(
            "go",
            "Go: package.build runs go build",
            {"go": "golang-go"},
            path=f"{SERVICE_PATH}:/usr/local/go/bin",
        ),
        Template(
            "java",
            "Java: package.build makes a jar",
            {"javac": "default-jdk-headless", "java": "default-jre-headless"},
            "pom.xml",
        ),
        Template("static", "static files, some made by package.build"),
        Template("daemon", "a systemd unit starts it: package.systemd_unit", {}, "pyproject.toml"),
        Template("depends", "needs other Debian packages: package.depends", {}, "pyproject.toml"),
        Template(
            "debian", "described by debian/control and debian/changelog", {}, "debian/changelog"
        ),
        Template(
            "monorepo",
            "two applications, NAME-api and NAME-web, and a library they share",
            parts={"api": "services/api", "web": "services/web"},
        ),
    )
}


def find(kind: str) -> Template:
    """The template of that kind; TemplateError with the nearest ones if there is none."""
    if kind not in TEMPLATES:
        near = difflib.get_close_matches(kind, TEMPLATES, n=1, cutoff=0.6)
        kinds = f"kinds: {' '.join(TEMPLATES)}; for another, --directory DIR --port N"
        hint = f"nearest: {near[0]}" if near else kinds
        raise TemplateError(f"no template {kind}; {hint}")
    return TEMPLATES[kind]
