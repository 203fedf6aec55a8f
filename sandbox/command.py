"""The command line of the sandbox; see script/sandbox."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sandbox import manager
from sandbox.fleet import MOST_HOSTS
from sandbox.world import DIRECTORY, World, WorldError, enter_command, host_environment


def main(arguments: list[str]) -> int:
    """Run one command of script/sandbox; returns its exit status."""
    options = parser().parse_args(arguments)
    try:
        return options.action(options)
    except (manager.SandboxError, WorldError, OSError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="script/sandbox", description="A small fleet on this machine."
    )
    actions = top.add_subparsers(metavar="ACTION", required=True)
    run = actions.add_parser("run", help="create a fleet, run a command in it, remove the fleet")
    run.add_argument(
        "--canary", type=host_count, default=1, metavar="N", help="number of canary hosts (1)"
    )
    run.add_argument(
        "--production",
        type=host_count,
        default=3,
        metavar="N",
        help="number of production hosts (3)",
    )
    run.add_argument(
        "--reachable",
        action="store_true",
        help="link the fleet to this machine's network and run the command there",
    )
    run.add_argument("--quiet", action="store_true", help="do not show the steps")
    run.set_defaults(action=run_world)
    lister = actions.add_parser("list", help="list the running fleets and their hosts")
    lister.set_defaults(action=list_worlds)
    execute = actions.add_parser("exec", help="run a command on a host")
    shell = actions.add_parser("shell", help="open a shell on a host")
    for command in (execute, shell):
        command.add_argument(
            "--world",
            type=int,
            metavar="PID",
            help="id of the fleet, if several are running; see list",
        )
        command.add_argument(
            "host", metavar="HOST", help="name of a host, or sandbox for the fleet's own machine"
        )
    for command in (run, execute):
        command.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND...")
    execute.set_defaults(action=enter_host)
    shell.set_defaults(action=enter_host, command=["--", "bash"])
    return top


def host_count(text: str) -> int:
    if not text.isdigit() or not 0 <= int(text) <= MOST_HOSTS:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to {MOST_HOSTS}")
    return int(text)


def run_world(options: argparse.Namespace) -> int:
    def progress(step: str, seconds: float) -> None:
        if not options.quiet:
            print(f"sandbox: {step:<14}{seconds:6.2f} s", file=sys.stderr, flush=True)

    return manager.run(
        command_of(options), options.canary, options.production, progress, options.reachable
    )


def list_worlds(_: argparse.Namespace) -> int:
    for pid, world in sorted(running_worlds().items()):
        print(f"world {pid}")
        for host in world.hosts.values():
            state = "" if host.pid else "  stopped"
            print(f"  {host.name:<16} {host.address:<12} {host.kind}{state}")
    return 0


def enter_host(options: argparse.Namespace) -> int:
    """Become the command on the host: first into the world, then into the host."""
    worlds = running_worlds()
    if options.world is None and len(worlds) > 1:
        raise WorldError(
            f"several fleets are running; choose one with --world {' or '.join(map(str, worlds))}"
        )
    if not worlds or options.world not in (None, *worlds):
        raise WorldError("no such fleet is running; start one with script/sandbox run -- COMMAND")
    pid = options.world or next(iter(worlds))
    command = command_of(options)
    environment = host_environment()
    if options.host == "sandbox":
        environment["CICD_SANDBOX"] = str(DIRECTORY)
    else:
        first = worlds[pid].host(options.host).pid
        if first is None:
            raise WorldError(f"{options.host} is stopped")
        command = enter_command(first, command)
    os.execvpe("nsenter", enter_command(pid, command), environment)


def command_of(options: argparse.Namespace) -> list[str]:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise WorldError("no command given; add -- COMMAND...")
    return command


def running_worlds() -> dict[int, World]:
    """Every running world that this process may look into, by its first process's PID."""
    worlds = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().strip() == manager.PROCESS_NAME:
                directory = Path(f"{process}/root{DIRECTORY}")
                worlds[int(process.name)] = World.load(directory)
        except OSError:
            continue  # it ended meanwhile, or is still coming up
    return worlds
