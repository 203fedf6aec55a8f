"""What services write, and `journalctl`, which shows it: see journalctl(1)."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import socket
import sys
import time
from pathlib import Path
from typing import Iterable, Iterator, NamedTuple

from sandbox.systemd.unit import UnitError, full_name

DIRECTORY = Path("/var/log/journal-stand-in")
MOST_BYTES = 4 << 20  # of one unit's file; the one before it is kept
MOST_CHARACTERS = 4096  # of a line
TIME = re.compile(r"[0-9]+\.[0-9]{3}")
ITSELF = "systemd"
VERSION = "systemd 252 (the stand-in of cicd_canary's sandbox, not systemd)"


class Line(NamedTuple):
    """at: seconds since 1970. who: `systemd`, or the program and its PID."""

    at: float
    who: str
    text: str


def write(unit: str, who: str, text: str) -> None:
    """Add lines to a unit's journal; on a full disk they are lost, as journald's are."""
    path = DIRECTORY / f"{unit}.log"
    lines = [f"{time.time():.3f}\t{who}\t{line[:MOST_CHARACTERS]}\n" for line in text.splitlines()]
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > MOST_BYTES:
            path.rename(path.with_suffix(".log.1"))
        with open(path, "a", errors="replace") as file:
            file.writelines(lines)


def read(unit: str) -> Iterator[Line]:
    """A unit's journal, the oldest line first."""
    for suffix in (".log.1", ".log"):
        path = DIRECTORY / f"{unit}{suffix}"
        if path.exists():
            for line in path.read_text(errors="replace").splitlines():
                at, _, rest = line.partition("\t")
                who, _, text = rest.partition("\t")
                if TIME.fullmatch(at):  # not the half of a line, of a full disk or a crash
                    yield Line(float(at), who, text)


def by_time(lines: Iterable[Line]) -> list[Line]:
    """Lines of one moment stay in the order in which they came."""
    return sorted(lines, key=lambda line: line.at)


def shown(line: Line, output: str = "short") -> str:
    if output == "cat":
        return line.text
    when = time.strftime("%b %d %H:%M:%S", time.localtime(line.at))
    return f"{when} {socket.gethostname()} {line.who}: {line.text}"


def main(arguments: list[str]) -> int:
    """Run `journalctl`; returns its exit status."""
    options = parser().parse_args(arguments)
    if options.version:
        print(VERSION)
        return 0
    try:
        units = [full_name(unit) for unit in options.unit]
        since = seconds_since_1970(options.since) if options.since else 0.0
        own = [full_name(match.partition("=")[2]) for match in options.match if is_match(match)]
    except UnitError as error:
        print(f"journalctl: {error}", file=sys.stderr)
        return 1
    every = [path.name[: -len(".log")] for path in DIRECTORY.glob("*.log")]
    wanted = units + own or every
    lines = by_time(
        line
        for unit in wanted
        for line in read(unit)
        if line.at >= since and not (unit in own and line.who == ITSELF)
    )
    count = 10 if options.lines is None and options.follow else options.lines
    chosen = lines if count is None else lines[max(0, len(lines) - count) :]
    for line in reversed(chosen) if options.reverse else chosen:
        print(shown(line, options.output))
    if not chosen and not options.quiet:
        print("-- No entries --")
    if options.follow:
        follow(wanted, options.output)
    return 0


def follow(units: list[str], output: str) -> None:
    """Show what comes, until interrupted."""
    last = time.time()
    try:
        while True:
            sys.stdout.flush()
            time.sleep(0.2)
            for line in by_time(line for unit in units for line in read(unit) if line.at > last):
                last = line.at
                print(shown(line, output))
    except KeyboardInterrupt:
        pass


def is_match(text: str) -> bool:
    if text.startswith("_SYSTEMD_UNIT="):
        return True
    raise UnitError(f"the sandbox's stand-in matches _SYSTEMD_UNIT= only, not {text}")


def seconds_since_1970(text: str) -> float:
    """`@1700000000`, `2026-01-31 12:00:00`, `today`, `-5min` or `5 min ago`."""
    if re.fullmatch(r"@\d+(\.\d+)?", text):
        return float(text[1:])
    if text == "today":
        return time.mktime((*time.localtime()[:3], 0, 0, 0, 0, 0, -1))
    ago = re.fullmatch(r"-?(\d+)\s*(s|sec|min|h|hour|d|day)s?( ago)?", text)
    if ago:
        size = {"s": 1, "m": 60, "h": 3600, "d": 86400}[ago[2][0]]
        return time.time() - int(ago[1]) * size
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"):
        try:
            return time.mktime(time.strptime(text, form))
        except ValueError:
            continue
    raise UnitError(f"Failed to parse timestamp: {text}")


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="journalctl",
        description="What services wrote: the stand-in of cicd_canary's sandbox, not systemd.",
    )
    found.add_argument("match", nargs="*", help="_SYSTEMD_UNIT=UNIT: without systemd's own lines")
    found.add_argument("-u", "--unit", action="append", default=[])
    found.add_argument("-n", "--lines", type=int, nargs="?", const=10)
    found.add_argument("-o", "--output", choices=["short", "cat", "short-iso"], default="short")
    found.add_argument("-S", "--since")
    found.add_argument("-f", "--follow", action="store_true")
    found.add_argument("-r", "--reverse", action="store_true")
    found.add_argument("-q", "--quiet", action="store_true")
    for option in (["-e", "--pager-end"], ["-x", "--catalog"], ["-b", "--boot"], ["--no-pager"]):
        found.add_argument(*option, action="store_true", help=argparse.SUPPRESS)
    found.add_argument("--version", action="store_true")
    return found


def program() -> int:
    try:
        return main(sys.argv[1:])
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
