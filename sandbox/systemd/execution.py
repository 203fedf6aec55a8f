"""How a service's commands are run: as which user, where, with which environment and output."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, NoReturn, Sequence

from sandbox.systemd.unit import Unit, UnitError, split

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DIRECTORIES = {
    "RuntimeDirectory": "/run",
    "StateDirectory": "/var/lib",
    "CacheDirectory": "/var/cache",
    "LogsDirectory": "/var/log",
    "ConfigurationDirectory": "/etc",
}
NO_HOME = ("/", "/nonexistent", "/var/empty")
NO_SHELL = ("nologin", "false")
# The exit statuses of systemd.exec(5) for what fails before the program runs.
CHDIR, EXEC, STDOUT, GROUP, USER = 200, 203, 209, 216, 217
STEPS = {CHDIR: "CHDIR", EXEC: "EXEC", STDOUT: "STDOUT", GROUP: "GROUP", USER: "USER"}


class CannotRun(Exception):
    """What failed before a program could run; status is what the process exits with."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


@dataclass
class Command:
    """One value of ExecStart= and its like."""

    argv: list[str]
    may_fail: bool = False
    as_root: bool = False

    @classmethod
    def parse(cls, text: str, environment: Mapping[str, str]) -> Command:
        found = re.match(r"\s*([-@+!:]*)(.*)", text, re.DOTALL)
        prefix, rest = found.groups() if found else ("", text)
        words = split(rest)
        if ":" not in prefix:
            words = [part for word in words for part in expand(word, environment)]
        if "@" in prefix:  # the second word is what the program is told its name is
            del words[1:2]
        if not words:
            raise UnitError(f"{text!r} names no program")
        return cls(words, "-" in prefix, "+" in prefix or "!" in prefix)


def expand(word: str, environment: Mapping[str, str]) -> Sequence[str]:
    """`$NAME` alone becomes words, `${NAME}` a part of its word, `$$` a dollar."""
    alone = re.fullmatch(r"\$([A-Za-z_]\w*)", word)
    if alone:
        return environment.get(alone[1], "").split()
    return [
        re.sub(
            r"\$(?:\{([A-Za-z_]\w*)\}|(\$))",
            lambda found: "$" if found[2] else environment.get(str(found[1]), ""),
            word,
        )
    ]


@dataclass
class Context:
    """What the commands of one service have in common."""

    unit: Unit
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, unit: Unit, **more: str) -> Context:
        """Raises UnitError for a file of the environment that is not there."""
        context = cls(unit)
        context.environment = {"PATH": PATH, "LANG": "C.UTF-8", **more}
        if unit.service("User"):
            with contextlib.suppress(CannotRun):  # which the command will tell when it runs
                context.environment.update(about(context.user))
        for key, base in DIRECTORIES.items():
            paths = [f"{base}/{name}" for name in unit.words(key)]
            if paths:
                variable = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).upper()
                context.environment[variable] = ":".join(paths)
        for assignment in unit.words("Environment"):
            name, _, value = assignment.partition("=")
            context.environment[name] = value
        for path in unit.all("Service", "EnvironmentFile"):
            context.environment.update(read_environment(path))
        return context

    @property
    def user(self) -> pwd.struct_passwd:
        name = self.unit.service("User") or "root"
        try:
            return pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        except KeyError:
            raise CannotRun(USER, f"no user {name}") from None

    @property
    def group(self) -> int:
        name = self.unit.service("Group")
        try:
            if not name:
                return self.user.pw_gid
            return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
        except KeyError:
            raise CannotRun(GROUP, f"no group {name}") from None

    def commands(self, key: str, **more: str) -> list[Command]:
        environment = {**self.environment, **more}
        return [Command.parse(each, environment) for each in self.unit.all("Service", key)]

    def _make_directories(self) -> None:
        for key, base in DIRECTORIES.items():
            for name in self.unit.words(key):
                path = Path(base, name)
                path.mkdir(mode=0o755, parents=True, exist_ok=True)
                if key != "ConfigurationDirectory":
                    os.chown(path, self.user.pw_uid, self.group)

    def become(self, command: Command, output: int, **more: str) -> NoReturn:
        """Be the command, in a process that was forked for it; CannotRun when that fails.

        output: where what it writes goes, unless the unit says otherwise.
        """
        os.setsid()
        for number in (
            signal.SIGCHLD,
            signal.SIGTERM,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGPIPE,
        ):
            signal.signal(number, signal.SIG_DFL)
        os.umask(int(self.unit.service("UMask", "0022"), 8))
        self._redirect(output)
        user, group = self.user, self.group
        self._make_directories()
        if not command.as_root and (self.unit.service("User") or self.unit.service("Group")):
            os.setgroups(os.getgrouplist(user.pw_name, group))
            os.setgid(group)
            os.setuid(user.pw_uid)
        self._enter_working_directory(user.pw_dir)
        environment = {**self.environment, **more}
        try:
            os.execvpe(command.argv[0], command.argv, environment)
        except OSError as error:
            raise CannotRun(EXEC, str(error.strerror)) from None

    def _enter_working_directory(self, home: str) -> None:
        wanted = self.unit.service("WorkingDirectory") or "/"
        path = home if wanted.lstrip("-") == "~" else wanted.lstrip("-")
        try:
            os.chdir(path)
        except OSError as error:
            if not wanted.startswith("-"):
                raise CannotRun(CHDIR, str(error.strerror)) from None

    def _redirect(self, output: int) -> None:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        out = self._output(self.unit.service("StandardOutput"), output)
        os.dup2(out, 1)
        error = self.unit.service("StandardError", "inherit")
        os.dup2(1 if error == "inherit" else self._output(error, output), 2)

    @staticmethod
    def _output(setting: str, journal: int) -> int:
        kind, _, path = setting.partition(":")
        try:
            if kind == "null":
                return os.open(os.devnull, os.O_WRONLY)
            if kind in ("file", "append", "truncate"):
                flags = {"file": 0, "append": os.O_APPEND, "truncate": os.O_TRUNC}[kind]
                return os.open(path, os.O_WRONLY | os.O_CREAT | flags, 0o644)
        except OSError as error:
            raise CannotRun(STDOUT, f"{path}: {error.strerror}") from None
        return journal


def about(user: pwd.struct_passwd) -> dict[str, str]:
    """What a user's processes find in their environment."""
    found = {"USER": user.pw_name, "LOGNAME": user.pw_name}
    if user.pw_dir not in NO_HOME:
        found["HOME"] = user.pw_dir
    if os.path.basename(user.pw_shell) not in NO_SHELL:
        found["SHELL"] = user.pw_shell
    return found


def read_environment(path: str) -> dict[str, str]:
    """The assignments of an EnvironmentFile=, which may be missing if it begins with a dash."""
    try:
        text = Path(path.lstrip("-")).read_text()
    except OSError as error:
        if path.startswith("-"):
            return {}
        raise UnitError(f"Failed to load environment files: {path}: {error.strerror}") from None
    found = {}
    for line in re.sub(r"\\\n", "", text).splitlines():
        name, assigned, value = line.strip().partition("=")
        if assigned and not name.startswith(("#", ";")):
            value = value.strip()
            if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
                value = value[1:-1]
            found[name.strip().replace("export ", "")] = value
    return found
