"""`systemctl` for services: see systemctl(1)."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from typing import Any, Callable, Iterator

from sandbox.systemd import journal
from sandbox.systemd.execution import CannotRun, Context
from sandbox.systemd.supervisor import runs, start, state_of
from sandbox.systemd.unit import (
    DIRECTORIES,
    STATE_DIRECTORY,
    UnitError,
    find,
    full_name,
    is_enabled,
    is_masked,
    links,
    load,
    needs_reload,
)

HELP = """\
A stand-in for systemd on the hosts of cicd_canary's sandbox, for services only.
It starts, supervises and restarts what a unit's file says; it has no dependencies between units, no
sockets, timers, cgroups or sandboxing. `status` names the settings it does not act upon.
"""
NOT_ACTIVE, NOT_FOUND = 3, 4
LINES = 10


class Options(argparse.Namespace):
    verb: str
    units: list[str]
    now: bool
    quiet: bool
    no_block: bool
    property: list[str]
    value: bool
    lines: int
    signal: str
    only_value: str | None


def main(arguments: list[str]) -> int:
    """Run `systemctl`; returns its exit status."""
    options = parser().parse_intermixed_args(arguments, Options())
    if options.only_value:
        options.property, options.value = [options.only_value], True
    if options.version:
        print(journal.VERSION)
        return 0
    if options.user:
        return complain("Failed to connect to bus: No medium found", 1)
    STATE_DIRECTORY.mkdir(parents=True, exist_ok=True)
    verb = VERBS.get(options.verb)
    if not verb:
        return complain(
            f"Unknown command verb {options.verb} for the sandbox's stand-in, which has: "
            + ", ".join(sorted(VERBS)),
            1,
        )
    try:
        return verb(options)
    except UnitError as error:
        return complain(str(error), error.status)


def complain(message: str, status: int) -> int:
    print(message, file=sys.stderr)
    return status


def each(action: Callable[[str, Options], int], verb: str = "") -> Callable[[Options], int]:
    """The verb that does something with every unit; its status is the first failure's."""

    def run(options: Options) -> int:
        if not options.units:
            return complain("Too few arguments.", 1)
        statuses = []
        for given in options.units:
            name = given
            try:
                name = full_name(given)
                statuses.append(action(name, options))
            except (UnitError, CannotRun) as error:
                failed = f"Failed to {verb} {name}: " if verb else ""
                statuses.append(complain(f"{failed}{error}", getattr(error, "status", 1)))
        return next((status for status in statuses if status), 0)

    return run


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """No other systemctl changes the unit meanwhile."""
    with open(STATE_DIRECTORY / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def init_script(name: str) -> str | None:
    """The init script that systemd would make a unit of."""
    path = f"/etc/init.d/{name[: -len('.service')]}"
    return path if not find(name) and os.access(path, os.X_OK) else None


def run_init_script(path: str, action: str) -> int:
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "SYSTEMCTL_SKIP_REDIRECT": "1",
    }
    return subprocess.run([path, action], env=environment, stdin=subprocess.DEVNULL).returncode


# --- starting and stopping ------------------------------------------------------------------------


def start_unit(name: str, options: Options) -> int:
    script = init_script(name)
    if script:
        return run_init_script(script, "start")
    with locked(name):
        return _start(name, options)


def _start(name: str, options: Options) -> int:
    if state_of(name).get("active") in ("active", "activating"):
        warn_if_changed(name)
        return 0
    warn_if_changed(name)
    unit = load(name)
    unit.check()
    wait = start(unit)
    if options.no_block:
        return 0
    result = wait()
    if result == "done":
        return 0
    because = {
        "exit-code": "the control process exited with error code",
        "timeout": "a timeout was exceeded",
        "signal": "a fatal signal was delivered to the control process",
        "resources": "of unavailable resources or another system error",
        "protocol": "the service did not take the steps required by its unit configuration",
    }.get(result, f"of {result}")
    return complain(
        f"Job for {name} failed because {because}.\n"
        f'See "systemctl status {name}" and "journalctl -xeu {name}" for details.',
        1,
    )


def stop_unit(name: str, options: Options) -> int:
    script = init_script(name)
    if script:
        return run_init_script(script, "stop")
    if not find(name) and not state_of(name):
        raise UnitError(f"Unit {name} not loaded.", 5)
    with locked(name):
        _stop(name, options)
    return 0


def _stop(name: str, options: Options) -> None:
    state = state_of(name)
    if state.get("active") in (None, "inactive", "failed"):
        return
    os.kill(state["supervisor"], signal.SIGTERM)
    while not options.no_block and runs(state["supervisor"]):
        time.sleep(0.01)


def restart_unit(name: str, options: Options) -> int:
    script = init_script(name)
    if script:
        return run_init_script(script, "restart")
    load(name).check()
    with locked(name):
        blocking = Options(**{**vars(options), "no_block": False})
        kept = STATE_DIRECTORY / f"{name}.loaded"
        was = kept.read_text() if kept.exists() else None
        _stop(name, blocking)
        if was is not None:
            kept.write_text(was)  # it is in use all the time, so what was loaded stays
        return _start(name, options)


def try_restart_unit(name: str, options: Options) -> int:
    return restart_unit(name, options) if is_active(name) else 0


def reload_unit(name: str, options: Options) -> int:
    script = init_script(name)
    if script:
        return run_init_script(script, "reload")
    state, unit = state_of(name), load(name)
    if state.get("active") != "active":
        raise UnitError(f"{name} is not active, cannot reload.")
    if not unit.all("Service", "ExecReload"):
        raise UnitError(
            f"Job type reload is not applicable for unit {name}: it has no ExecReload= setting."
        )
    more = {"MAINPID": str(state["main"])}
    context = Context.of(unit, **more)
    for command in context.commands("ExecReload", **more):
        done = subprocess.run(
            command.argv, env=context.environment, stdin=subprocess.DEVNULL, capture_output=True
        )
        journal.write(name, command.argv[0], (done.stdout + done.stderr).decode(errors="replace"))
        if done.returncode and not command.may_fail:
            return complain(
                f"Job for {name} failed because the control process exited with error code.", 1
            )
    return 0


def reload_or_restart_unit(name: str, options: Options) -> int:
    reloads = is_active(name) and not init_script(name) and load(name).all("Service", "ExecReload")
    return reload_unit(name, options) if reloads else restart_unit(name, options)


def kill_unit(name: str, options: Options) -> int:
    state = state_of(name)
    number = getattr(signal, f"SIG{options.signal.upper().replace('SIG', '')}")
    if not state.get("main"):
        raise UnitError(f"Unit {name} is not loaded or has no main process.")
    os.kill(state["main"], number)
    return 0


def reset_failed(name: str, _: Options) -> int:
    if state_of(name).get("active") == "failed":
        (STATE_DIRECTORY / f"{name}.json").unlink()
        (STATE_DIRECTORY / f"{name}.loaded").unlink(missing_ok=True)
    return 0


def is_active(name: str) -> bool:
    script = init_script(name)
    if script:
        return (
            subprocess.run(
                [script, "status"],
                env={"PATH": os.environ.get("PATH", ""), "SYSTEMCTL_SKIP_REDIRECT": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ).returncode
            == 0
        )
    return state_of(name).get("active") == "active"


def start_what_is_enabled(options: Options) -> int:
    """What `default.target` does when a host starts."""
    wanted = {path.name for path in DIRECTORIES[0].glob("*.wants/*.service")}
    for name in sorted(wanted):
        try:
            start_unit(name, options)
        except UnitError as error:
            complain(str(error), 1)
    return 0


# --- enabling -------------------------------------------------------------------------------------


def enable_unit(name: str, options: Options) -> int:
    if init_script(name):
        return start_unit(name, options) if options.now else 0
    path = find(name)
    if path is None:
        raise UnitError(f"Unit file {name} does not exist.")
    if is_masked(path):
        raise UnitError(f"Unit file {name} is masked.")
    unit = load(name)
    if not unit.wanted_by:
        complain(
            f"The unit files have no installation config (WantedBy=, RequiredBy=): {name} "
            "cannot be enabled.",
            0,
        )
    for link in links(unit):
        link.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(link):
            link.symlink_to(path)
            if not options.quiet:
                print(f"Created symlink {link} → {path}.", file=sys.stderr)
    return start_unit(name, options) if options.now else 0


def disable_unit(name: str, options: Options) -> int:
    found = [path for path in DIRECTORIES[0].glob(f"*.*/{name}") if path.is_symlink()]
    if not found and not find(name) and not init_script(name):
        raise UnitError(f"Unit file {name} does not exist.")
    for link in found:
        link.unlink()
        if not options.quiet:
            print(f"Removed {link}.", file=sys.stderr)
    return stop_unit(name, options) if options.now else 0


def mask_unit(name: str, options: Options) -> int:
    path = DIRECTORIES[0] / name
    if path.is_symlink():
        path.unlink()
    if path.exists():
        raise UnitError(f"File {path} already exists.")
    path.symlink_to(os.devnull)
    return stop_unit(name, options) if options.now else 0


def unmask_unit(name: str, _: Options) -> int:
    path = DIRECTORIES[0] / name
    if path.is_symlink() and is_masked(path):
        path.unlink()
    return 0


def daemon_reload(_: Options) -> int:
    for path in STATE_DIRECTORY.glob("*.loaded"):
        path.unlink()
    return 0


# --- asking ---------------------------------------------------------------------------------------


def unit_file_state(name: str) -> str:
    path = find(name)
    if path is None:
        return "generated" if init_script(name) else ""
    if is_masked(path):
        return "masked"
    unit = load(name)
    if is_enabled(unit):
        return "enabled"
    return "disabled" if unit.wanted_by else "static"


def ask_active(options: Options) -> int:
    states = []
    for given in options.units:
        name = full_name(given)
        state = "active" if is_active(name) else state_of(name).get("active", "inactive")
        states.append(state)
        if not options.quiet:
            print(state)
    return 0 if "active" in states else NOT_ACTIVE


def ask_failed(options: Options) -> int:
    states = [state_of(full_name(given)).get("active", "inactive") for given in options.units]
    if not options.quiet:
        print("\n".join(states))
    return 0 if "failed" in states else 1


def ask_enabled(name: str, options: Options) -> int:
    state = unit_file_state(name)
    if not state:
        raise UnitError(f"Failed to get unit file state for {name}: No such file or directory")
    if not options.quiet:
        print(state)
    return 0 if state in ("enabled", "static", "generated") else 1


def properties(name: str) -> dict[str, Any]:
    state, path = state_of(name), find(name)
    masked = path is not None and is_masked(path)
    unit = None if path is None or masked else load(name)
    script = init_script(name)
    active = state.get("active", "active" if script and is_active(name) else "inactive")
    return {
        "Type": unit.service("Type", "simple") if unit else "forking" if script else "",
        "Restart": unit.service("Restart", "no") if unit else "no",
        "MainPID": state.get("main", 0),
        "Result": state.get("result", "success"),
        "NRestarts": state.get("restarts", 0),
        "ExecMainStatus": state.get("status", 0),
        "User": unit.service("User") if unit else "",
        "Id": name,
        "Names": name,
        "Description": unit.description if unit else name,
        "LoadState": "masked" if masked else "loaded" if unit or script else "not-found",
        "ActiveState": active,
        "SubState": state.get("sub", "running" if active == "active" else "dead"),
        "FragmentPath": path or "",
        "UnitFileState": unit_file_state(name),
        "NeedDaemonReload": "yes" if needs_reload(name) else "no",
        "CanReload": "yes" if unit and unit.all("Service", "ExecReload") else "no",
        "NotActedUpon": " ".join(unit.not_acted_upon) if unit else "",
    }


def show_unit(name: str, options: Options) -> int:
    found = properties(name)
    wanted = [word for words in options.property for word in words.split(",")] or list(found)
    for key in wanted:
        if key in found:
            print(found[key] if options.value else f"{key}={found[key]}")
    return 0


def cat_unit(name: str, _: Options) -> int:
    path = find(name)
    if path is None:
        raise UnitError(f"No files found for {name}.")
    print(f"# {path}\n{path.read_text(errors='replace')}", end="")
    return 0


def status_of_unit(name: str, options: Options) -> int:
    script = init_script(name)
    if script:
        print(f"{name}: an init script, which systemd makes a unit of; {script} status says:")
        return run_init_script(script, "status")
    shown = properties(name)
    if shown["LoadState"] == "not-found" and not state_of(name):
        raise UnitError(f"Unit {name} could not be found.", NOT_FOUND)
    warn_if_changed(name)
    state = state_of(name)
    mark = {"active": "●", "failed": "x"}.get(shown["ActiveState"], "○")
    since = ""
    if state:
        when = time.strftime("%a %Y-%m-%d %H:%M:%S %Z", time.localtime(state["since"]))
        since = f" since {when}; {int(time.time() - state['since'])}s ago"
    reason = f" (Result: {shown['Result']})" if shown["ActiveState"] == "failed" else ""
    sub = "" if reason else f" ({shown['SubState']})"
    lines = [
        f"{mark} {name} - {shown['Description']}",
        f"     Loaded: {shown['LoadState']} ({shown['FragmentPath']}; {shown['UnitFileState']})",
        f"     Active: {shown['ActiveState']}{sub}{reason}{since}",
    ]
    if shown["MainPID"]:
        lines.append(f"   Main PID: {shown['MainPID']}")
    lines.append("       Note: by the sandbox's stand-in for systemd")
    if shown["NotActedUpon"]:
        lines.append(f"             which does not act upon {shown['NotActedUpon']}")
    print("\n".join(lines))
    written = list(journal.read(name))
    if written and options.lines:
        print()
        for line in written[-options.lines :]:
            print(journal.shown(line))
    return 0 if shown["ActiveState"] in ("active", "activating") else NOT_ACTIVE


def list_units(options: Options) -> int:
    for path in sorted(STATE_DIRECTORY.glob("*.json")):
        name = path.name[: -len(".json")]
        state = state_of(name)
        print(f"{name:<32} {state['active']:<10} {state['sub']}")
    return 0


def warn_if_changed(name: str) -> None:
    if needs_reload(name):
        print(
            f"Warning: The unit file, source configuration file or drop-ins of {name} changed on "
            "disk. Run 'systemctl daemon-reload' to reload units.",
            file=sys.stderr,
        )


def succeed(_: Options) -> int:
    return 0


def ask_system(options: Options) -> int:
    if not options.quiet:
        print("running")
    return 0


VERBS: dict[str, Callable[[Options], int]] = {
    "cat": each(cat_unit),
    "daemon-reexec": daemon_reload,
    "daemon-reload": daemon_reload,
    "default": start_what_is_enabled,
    "disable": each(disable_unit, "disable unit"),
    "enable": each(enable_unit, "enable unit"),
    "force-reload": each(reload_or_restart_unit, "reload or restart"),
    "is-active": ask_active,
    "is-enabled": each(ask_enabled),
    "is-failed": ask_failed,
    "is-system-running": ask_system,
    "kill": each(kill_unit, "kill unit"),
    "list-unit-files": succeed,
    "list-units": list_units,
    "mask": each(mask_unit, "mask unit"),
    "preset": succeed,
    "reload": each(reload_unit, "reload"),
    "reload-or-restart": each(reload_or_restart_unit, "reload or restart"),
    "reset-failed": each(reset_failed, "reset failed state of unit"),
    "restart": each(restart_unit, "restart"),
    "show": each(show_unit),
    "start": each(start_unit, "start"),
    "status": each(status_of_unit),
    "stop": each(stop_unit, "stop"),
    "try-restart": each(try_restart_unit, "restart"),
    "unmask": each(unmask_unit, "unmask unit"),
}


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        prog="systemctl",
        description=HELP,
        epilog="Commands: " + ", ".join(sorted(VERBS)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    found.add_argument("verb", nargs="?", default="list-units", metavar="COMMAND")
    found.add_argument("units", nargs="*", metavar="UNIT")
    found.add_argument("--now", action="store_true")
    found.add_argument("-q", "--quiet", action="store_true")
    found.add_argument("--no-block", action="store_true")
    found.add_argument("-p", "--property", action="append", default=[])
    found.add_argument("-P", dest="only_value", metavar="PROPERTY")
    found.add_argument("--value", action="store_true")
    found.add_argument("-n", "--lines", type=int, default=LINES)
    found.add_argument("-s", "--signal", default="SIGTERM")
    found.add_argument("-t", "--type", help=argparse.SUPPRESS)
    found.add_argument("--state", help=argparse.SUPPRESS)
    found.add_argument("--job-mode", help=argparse.SUPPRESS)
    for option in (
        ["--no-pager"],
        ["--no-reload"],
        ["--no-ask-password"],
        ["--no-legend"],
        ["--no-warn"],
        ["--system"],
        ["--plain"],
        ["--runtime"],
        ["-l", "--full"],
        ["-a", "--all"],
        ["-f", "--force"],
    ):
        found.add_argument(*option, action="store_true", help=argparse.SUPPRESS)
    found.add_argument("--user", action="store_true", help=argparse.SUPPRESS)
    found.add_argument("--version", action="store_true")
    return found


def program() -> int:
    arguments = sys.argv[1:]
    try:
        return main(arguments)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
