"""The command line of the sandbox; see script/sandbox."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import sys
from pathlib import Path
from typing import NoReturn

from sandbox import addition, manager, pace, templates
from sandbox.checkout import CheckoutError
from sandbox.fleet import HEALTH, MOST_HOSTS, PROJECT, plan_fleet
from sandbox.repositories import GitHubError
from sandbox.world import DIRECTORY, World, WorldError, enter_command, host_environment

REFUSALS = (
    manager.SandboxError,
    WorldError,
    GitHubError,
    CheckoutError,
    addition.AdditionError,
    templates.TemplateError,
)
REPOSITORY = re.compile(r"/(acme/[a-z][a-z0-9-]{1,61})\.git")


def main(arguments: list[str]) -> int:
    """Run one command of script/sandbox; returns its exit status."""
    options = parser().parse_args(world_after_action(arguments))
    try:
        return options.action(options)
    except BrokenPipeError:  # who reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (*REFUSALS, OSError) as error:
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
        "--repository-host",
        action="store_true",
        help="give the APT repository a host of its own; by default it is on the build host",
    )
    run.add_argument(
        "--second-build-host",
        action="store_true",
        help="have two build hosts, and the APT repository on a host of its own",
    )
    run.add_argument(
        "--reachable",
        action="store_true",
        help="link the fleet to this machine's network and run the command there",
    )
    run.add_argument("--quiet", action="store_true", help="do not show the steps")
    run.set_defaults(action=run_world)
    adder = actions.add_parser(
        "add",
        help="add an application to a running fleet: from a template, or your own",
        description="Adds an application to a running fleet.",
        epilog=kinds(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    adder.add_argument("name", metavar="NAME", help="name of the application")
    adder.add_argument("--template", metavar="KIND", default="", help="kind of the template")
    adder.add_argument(
        "--directory",
        type=Path,
        metavar="DIR",
        help="the application's own directory; with --template, where to make it (.sandbox/NAME)",
    )
    adder.add_argument(
        "--port", type=int, metavar="N", help="port of its service (with --template, a free one)"
    )
    adder.add_argument(
        "--health", metavar="PATH", default=HEALTH, help=f"path of its health check ({HEALTH})"
    )
    adder.set_defaults(action=add_application)
    lists_kinds = actions.add_parser("templates", help="list the templates for add")
    lists_kinds.set_defaults(action=list_templates)
    git = actions.add_parser("git", help="what git calls in a checkout that add has made")
    git.add_argument("program", choices=["receive-pack", "upload-pack"])
    git.add_argument("repository", metavar="/OWNER/NAME.git")
    git.set_defaults(action=serve_git)
    lister = actions.add_parser("list", help="list the running fleets and their hosts")
    lister.set_defaults(action=list_worlds)
    execute = actions.add_parser("exec", help="run a command on a host")
    shell = actions.add_parser("shell", help="open a shell on a host")
    for command in (adder, execute, shell):
        command.add_argument(
            "--world",
            type=int,
            metavar="PID",
            help="id of the fleet, if several are running; see list",
        )
    for command in (execute, shell):
        command.add_argument(
            "host", metavar="HOST", help="name of a host, or sandbox for the fleet's own machine"
        )
    for command in (run, execute):
        command.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND...")
    execute.set_defaults(action=enter_host)
    shell.set_defaults(action=enter_host, command=["--", "bash"])
    return top


def world_after_action(arguments: list[str]) -> list[str]:
    """Moves --world PID to where it is read; people write it before the action too, and last."""
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    for place, word in enumerate(ours):
        if word == "--world" or word.startswith("--world="):
            after = place + (2 if word == "--world" else 1)
            rest = arguments[:place] + arguments[after:]
            return [*rest[:1], *arguments[place:after], *rest[1:]]
    return arguments


def host_count(text: str) -> int:
    if not text.isdigit() or not 0 <= int(text) <= MOST_HOSTS:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 to {MOST_HOSTS}")
    return int(text)


def run_world(options: argparse.Namespace) -> int:
    def progress(step: str, seconds: float) -> None:
        if not options.quiet:
            remark = pace.remark(step, seconds)
            line = f"sandbox: {step:<14}{seconds:6.2f} s  {remark}".rstrip()
            print(line, file=sys.stderr, flush=True)

    hosts = plan_fleet(
        options.canary,
        options.production,
        options.repository_host or options.second_build_host,
        options.second_build_host,
    )
    return manager.run(command_of(options), hosts, progress, options.reachable)


def list_worlds(_: argparse.Namespace) -> int:
    for pid, world in sorted(running_worlds().items()):
        print(f"world {pid}  started from {world.project}")
        for host in world.hosts.values():
            state = "" if host.pid else "  stopped"
            print(f"  {host.name:<16} {host.address:<12} {host.kind}{state}")
    return 0


def list_templates(_: argparse.Namespace) -> int:
    print(kinds())
    return 0


def kinds() -> str:
    lines = [f"  {each.kind:<10}{each.about}" for each in templates.TEMPLATES.values()]
    return "\n".join(["kinds:", *lines])


def add_application(options: argparse.Namespace) -> int:
    """Add an application from inside the world, which this enters unless it is there already."""
    directory = Path(os.path.abspath(options.directory or PROJECT / ".sandbox" / options.name))
    if not options.template and not (options.directory and options.port):
        missing = "--port" if options.directory else "--template or --directory"
        raise addition.AdditionError(
            f"{missing} is missing; use --template KIND, or --directory DIR --port N for an "
            "application of your own; script/sandbox templates lists the kinds"
        )
    if options.template:
        templates.find(options.template)
    if not os.environ.get("CICD_SANDBOX"):
        pid, _ = chosen_world(options.world)
        again = [str(PROJECT / "script/sandbox"), "add", options.name, "--health", options.health]
        again += ["--directory", str(directory)]
        if options.template:
            again += ["--template", options.template]
        if options.port:
            again += ["--port", str(options.port)]
        if options.world:
            again += ["--world", str(options.world)]
        environment = dict(host_environment(), CICD_SANDBOX=str(DIRECTORY))
        enter(pid, again, environment)
    wanted = addition.Wanted(
        options.name, directory, options.template, options.port, options.health
    )
    tell(addition.add(World.load(), wanted), options.world)
    return 0


def tell(added: addition.Added, world: int | None) -> None:
    names = [each.name for each in added.applications]
    for each in added.applications:
        print(
            f"{each.name} is added: http://{each.name}/ in the fleet, port {each.port} on its hosts"
        )
    lines = [(f"cd {shlex.quote(str(added.directory))}", ""), (added.push, "to the canary")]
    lines += [(f"!deploy status {name}", "in the chat; when it is live:") for name in names[:1]]
    lines += [(f"!deploy promote {name}", "to production") for name in names]
    ask = [str(PROJECT / "script/sandbox"), "exec", *(["--world", str(world)] if world else [])]
    ask += ["lb", "--", "curl", "-s", f"http://{names[0]}{added.applications[0].health}"]
    lines += [(shlex.join(ask), "")]
    print(f"Checkout: {added.directory}\n\nNext:")
    for command, comment in lines:
        print(f"  {command:<34} # {comment}" if comment else f"  {command}")
    if not added.is_served:
        print(
            "\nNo engine receives pushes in this fleet; script/demo --keep brings up one that does."
        )


def serve_git(options: argparse.Namespace) -> int:
    """Become git's program on the GitHub of the world that has the repository."""
    repository = REPOSITORY.fullmatch(options.repository)
    if not repository:
        raise WorldError(f"{options.repository} is no repository of a fleet")
    for pid, world in running_worlds().items():
        bare = f"{DIRECTORY}/hosts/github/upper/srv/github/{repository.group(1)}.git"
        first = world.host("github").pid
        if first and Path(f"/proc/{pid}/root{bare}").is_dir():
            program = ["/usr/bin/env", f"PYTHONPATH={PROJECT}", "/usr/bin/python3"]
            program += ["-m", "sandbox.github.pack", options.program, repository.group(1)]
            command = enter_command(pid, enter_command(first, program))
            os.execvpe("nsenter", command, host_environment())
    raise WorldError(
        f"no running fleet has {repository.group(1)}; start one, then script/sandbox add it again"
    )


def enter_host(options: argparse.Namespace) -> int:
    """Become the command on the host: first into the world, then into the host."""
    pid, world = chosen_world(options.world)
    command = command_of(options)
    environment = host_environment()
    if options.host == "sandbox":
        environment["CICD_SANDBOX"] = str(DIRECTORY)
    else:
        first = world.host(options.host).pid
        if first is None:
            raise WorldError(f"{options.host} is stopped")
        command = enter_command(first, at_terminal(command))
    enter(pid, command, environment)


def enter(pid: int, command: list[str], environment: dict[str, str]) -> NoReturn:
    """Become a command in the namespaces of a process, to which Ctrl-C is left.

    `nsenter` waits for the command; ended by Ctrl-C it would give the terminal back meanwhile.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.execvpe("nsenter", enter_command(pid, at_terminal(command)), environment)


def at_terminal(command: list[str]) -> list[str]:
    return ["/usr/bin/env", "--default-signal=INT", *command]


def chosen_world(wanted: int | None) -> tuple[int, World]:
    """The running world of that id, or the only one, or the only one of this checkout."""
    worlds = running_worlds()
    if wanted is None and len(worlds) > 1:
        worlds = {pid: each for pid, each in worlds.items() if each.project == PROJECT} or worlds
    if wanted is None and len(worlds) > 1:
        ids = " or ".join(map(str, worlds))
        raise WorldError(
            f"several fleets are running; choose one with --world {ids}; "
            "script/sandbox list shows them"
        )
    if not worlds or wanted not in (None, *worlds):
        raise WorldError(
            "no such fleet is running; start one with script/demo --keep, or with "
            "script/sandbox run -- COMMAND"
        )
    pid = wanted or next(iter(worlds))
    return pid, worlds[pid]


def command_of(options: argparse.Namespace) -> list[str]:
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise WorldError("no command given; add -- COMMAND...")
    return command


def running_worlds() -> dict[int, World]:
    """Every running world, by its first process's PID."""
    if os.geteuid() != 0:
        raise WorldError("not root; run it as root, because only root sees into a fleet")
    worlds = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "comm").read_text().strip() == manager.PROCESS_NAME:
                directory = Path(f"{process}/root{DIRECTORY}")
                worlds[int(process.name)] = World.load(directory)
        except OSError:
            continue  # it ended meanwhile, or is still coming up
    return worlds
