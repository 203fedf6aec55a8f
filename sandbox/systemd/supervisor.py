"""Runs one service: starts it, restarts it, stops it, and keeps what it writes."""

from __future__ import annotations

import ctypes
import json
import os
import re
import secrets
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any, Callable, NoReturn

from sandbox import namespaces
from sandbox.systemd import journal
from sandbox.systemd.execution import STEPS, CannotRun, Command, Context
from sandbox.systemd.unit import STATE_DIRECTORY, Unit, UnitError, keep, seconds

PR_SET_CHILD_SUBREAPER = 36
CLEAN_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
AFTER_KILL_S = 10


class Failed(Exception):
    """The service did not start, or has ended: why, in systemd's word for it."""


class StopAsked(Exception):
    """Somebody stops the service while it starts."""


def state_of(name: str) -> dict[str, Any]:
    """What a service's supervisor wrote last; of an inactive one, nothing."""
    try:
        state: dict[str, Any] = json.loads((STATE_DIRECTORY / f"{name}.json").read_text())
    except (OSError, ValueError):
        return {}
    if state["active"] not in ("failed", "inactive") and not runs(state["supervisor"]):
        return {**state, "active": "failed", "sub": "failed", "main": 0, "result": "signal"}
    return state


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start(unit: Unit) -> Callable[[], str]:
    """Fork the unit's supervisor; returns what waits for the start and says its result."""
    read, write = os.pipe()
    forked = os.fork()
    if forked == 0:
        try:
            if os.fork() == 0:
                os.close(read)
                Supervisor(unit, write).run()
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(forked, 0)

    def result() -> str:
        with os.fdopen(read) as answer:
            return answer.read() or "protocol"

    return result


class Supervisor:
    """Runs in a process of its own; what descends from it is the service's."""

    def __init__(self, unit: Unit, answer: int):
        self.unit = unit
        self._answer: int | None = answer
        self._stopping = False
        self._ended: dict[int, int] = {}
        self._main = 0
        self._restarts = 0
        self._starts: list[float] = []
        self._last_status = 0
        self._partial: dict[int, bytes] = {}
        self._who: dict[int, str] = {}
        self._notify: socket.socket | None = None
        self._is_ready = False
        self._active = ("inactive", "dead")
        self.context = Context(unit)

    def run(self) -> NoReturn:
        """Until the service is stopped or has failed."""
        kept = self._answer
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nothing, number)
        for number in range(3, 256):
            if number != kept:
                try:
                    os.close(number)
                except OSError:
                    continue
        os.chdir("/")
        os.environ.clear()
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        namespaces.name_process("cicd-systemd")
        self._wakeup, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        keep(self.unit.name)
        try:
            self._live()
        except BaseException as error:
            self._say(f"{self.unit.name}: the stand-in failed: {type(error).__name__}: {error}")
            self._kill(descendants(os.getpid()), signal.SIGKILL)
            self._end("failed", "resources")
        os._exit(0)

    def _ask_to_stop(self, *_: object) -> None:
        self._stopping = True

    # --- from start to end ------------------------------------------------------------------------

    def _live(self) -> None:
        while True:
            try:
                self._start()
                self._tell_starter("")
                result = self._attend()
            except StopAsked:
                result = "success"
            except (Failed, CannotRun, UnitError) as failed:
                result = str(failed)
                if not isinstance(failed, Failed):
                    self._say(f"{self.unit.name}: {failed}")
                    result = "exit-code" if isinstance(failed, CannotRun) else "resources"
            self._stop(result)
            if self._stopping or not self._starts_again(result):
                break
            self._tell_starter(result)
            if not self._pause():
                break
        if result != "success":
            self._say(f"{self.unit.name}: Failed with result '{result}'.")
        self._end("failed" if result != "success" else "inactive", result)

    def _start(self) -> None:
        self._refuse_too_many_starts()
        self._main, self._is_ready = 0, False
        kind = self.unit.service("Type", "simple")
        # A start that may take its time says so first.
        self._become(
            "activating", "start-pre" if self.unit.all("Service", "ExecStartPre") else "start"
        )
        self._say(f"Starting {self.unit.name} - {self.unit.description}...")
        self.context = Context.of(self.unit, INVOCATION_ID=secrets.token_hex(16))
        timeout_s = self.unit.seconds(
            "TimeoutStartSec",
            self.unit.service("TimeoutSec", "infinity" if kind == "oneshot" else "90"),
        )
        deadline = time.monotonic() + timeout_s
        self._run_each("ExecStartPre", deadline)
        self._become("activating", "start")
        commands = self.context.commands("ExecStart")
        if kind == "oneshot":
            self._run_each("ExecStart", deadline)
        elif kind == "forking":
            self._finish(self._spawn(commands[0]), commands[0], deadline, "Control process")
            self._main = self._find_main(deadline)
        else:
            self._open_notify(kind)
            self._main = self._spawn(commands[0], must_run=kind == "exec")
            self._wait_until_ready(kind, deadline)
        self._run_each("ExecStartPost", deadline)
        self._become("active", "running" if self._main else "exited")
        self._say(f"Started {self.unit.name} - {self.unit.description}.")

    def _attend(self) -> str:
        """Wait until the service ends or is to be stopped; returns its result."""
        if not self._main:
            remains = self.unit.is_true("RemainAfterExit")
            forked = self.unit.service("Type") == "forking"
            while not self._stopping and (remains or (forked and descendants(os.getpid()))):
                self._pump(1.0)
            return "success"
        while self._main not in self._ended:
            if self._stopping:
                return "success"
            self._pump(None)
        status = self._ended.pop(self._main)
        self._last_status = code_of(status)
        result = "success" if self._is_clean(status) else result_of(status)
        if result != "success":
            self._say(f"{self.unit.name}: Main process exited, {described(status)}")
        self._main = 0
        if result == "success" and self.unit.is_true("RemainAfterExit"):
            self._become("active", "exited")
            while not self._stopping:
                self._pump(None)
        return result

    def _stop(self, result: str) -> None:
        if self._stopping:
            self._say(f"Stopping {self.unit.name} - {self.unit.description}...")
        self._become("deactivating", "stop")
        deadline = time.monotonic() + self.unit.seconds(
            "TimeoutStopSec", self.unit.service("TimeoutSec", "90")
        )
        if result == "success":
            self._run_quietly("ExecStop", deadline)
        mode = self.unit.service("KillMode", "control-group")
        number = getattr(signal, self.unit.service("KillSignal", "SIGTERM"), signal.SIGTERM)
        self._become("deactivating", "stop-sigterm")
        if mode == "control-group":
            self._kill(descendants(os.getpid()), number)
        elif mode in ("mixed", "process"):
            self._kill([self._main] if self._main else [], number)
        while mode != "none" and self._left(mode) and time.monotonic() < deadline:
            self._pump(min(0.5, max(0.0, deadline - time.monotonic())))
        if mode != "none" and self._left(mode):
            self._say(f"{self.unit.name}: State 'stop-sigterm' timed out. Killing.")
        if mode in ("control-group", "mixed"):
            end = time.monotonic() + AFTER_KILL_S
            while descendants(os.getpid()) and time.monotonic() < end:
                self._kill(descendants(os.getpid()), signal.SIGKILL)
                self._pump(0.05)
        self._main = 0
        self._run_quietly("ExecStopPost", time.monotonic() + 90)
        for name in self.unit.words("RuntimeDirectory"):
            remove_tree(Path("/run", name))
        if self._stopping:
            self._say(f"Stopped {self.unit.name} - {self.unit.description}.")

    def _left(self, mode: str) -> bool:
        if mode == "process":
            return bool(self._main) and runs(self._main)
        return bool(descendants(os.getpid()))

    def _end(self, active: str, result: str) -> None:
        self._become(active, "failed" if active == "failed" else "dead", result)
        if active == "inactive":  # systemd forgets a unit that is not in use
            (STATE_DIRECTORY / f"{self.unit.name}.loaded").unlink(missing_ok=True)
        self._tell_starter("" if active == "inactive" else result)

    # --- restarting -------------------------------------------------------------------------------

    def _starts_again(self, result: str) -> bool:
        abnormal = result in ("signal", "core-dump", "timeout", "watchdog")
        return {
            "always": result != "start-limit-hit",
            "on-success": result == "success",
            "on-failure": result not in ("success", "start-limit-hit", "resources"),
            "on-abnormal": abnormal,
            "on-abort": result in ("signal", "core-dump"),
        }.get(self.unit.service("Restart", "no"), False)

    def _pause(self) -> bool:
        """Wait for RestartSec=; returns whether to start again then."""
        self._become("activating", "auto-restart")
        end = time.monotonic() + self.unit.seconds("RestartSec", "100ms")
        while not self._stopping and time.monotonic() < end:
            self._pump(end - time.monotonic())
        self._restarts += 1
        if not self._stopping:
            self._say(
                f"{self.unit.name}: Scheduled restart job, restart counter is at {self._restarts}."
            )
        return not self._stopping

    def _refuse_too_many_starts(self) -> None:
        burst = int(
            self.unit.last("Unit", "StartLimitBurst", self.unit.service("StartLimitBurst", "5"))
        )
        interval = self.unit.last(
            "Unit", "StartLimitIntervalSec", self.unit.service("StartLimitInterval", "10")
        )
        now = time.monotonic()
        self._starts = [at for at in self._starts if now - at < seconds(interval)]
        if burst and len(self._starts) >= burst:
            self._say(f"{self.unit.name}: Start request repeated too quickly.")
            raise Failed("start-limit-hit")
        self._starts.append(now)

    # --- processes --------------------------------------------------------------------------------

    def _run_each(self, key: str, deadline: float) -> None:
        for command in self.context.commands(key, **self._main_pid()):
            pid = self._spawn(command)
            self._finish(pid, command, deadline, "Control process")

    def _run_quietly(self, key: str, deadline: float) -> None:
        """Commands for the end, whose failure changes nothing."""
        try:
            for command in self.context.commands(key, **self._main_pid()):
                pid = self._spawn(command)
                while pid not in self._ended and time.monotonic() < deadline:
                    self._pump(0.5)
        except (CannotRun, UnitError) as error:
            self._say(f"{self.unit.name}: {key}: {error}")

    def _main_pid(self) -> dict[str, str]:
        return {"MAINPID": str(self._main)} if self._main else {}

    def _finish(self, pid: int, command: Command, deadline: float, what: str) -> None:
        """Wait for a command's end; Failed unless it succeeds."""
        while pid not in self._ended:
            if self._stopping:
                raise StopAsked
            if time.monotonic() > deadline:
                self._say(f"{self.unit.name}: start operation timed out. Terminating.")
                raise Failed("timeout")
            self._pump(min(1.0, max(0.0, deadline - time.monotonic())))
        status = self._ended.pop(pid)
        if status and not command.may_fail and not self._is_clean(status):
            self._last_status = code_of(status)
            self._say(f"{self.unit.name}: {what} exited, {described(status)}")
            raise Failed(result_of(status))

    def _spawn(self, command: Command, must_run: bool = False) -> int:
        """Fork the command; with must_run, CannotRun unless the program was there to run."""
        output_read, output_write = os.pipe()
        error_read, error_write = os.pipe()  # closed by a successful exec
        for descriptor in (output_read, error_read, error_write):
            os.set_inheritable(descriptor, False)
        pid = os.fork()
        if pid == 0:
            try:
                signal.set_wakeup_fd(-1)
                self.context.become(
                    command, output_write, **self._main_pid(), **self._notify_socket()
                )
            except CannotRun as cannot:
                os.write(error_write, f"{cannot.status} {cannot}".encode())
                os._exit(cannot.status)
            finally:
                os._exit(1)
        os.close(output_write)
        os.close(error_write)
        self._partial[output_read] = b""
        program = self.unit.service("SyslogIdentifier") or os.path.basename(command.argv[0])
        self._who[output_read] = f"{program}[{pid}]"
        with os.fdopen(error_read) as failed:
            said = failed.read()
        if said:
            status, _, reason = said.partition(" ")
            step = f"Failed at step {STEPS[int(status)]} spawning {command.argv[0]}: {reason}"
            journal.write(self.unit.name, f"({program})[{pid}]", f"{self.unit.name}: {step}")
            if must_run:
                raise Failed("exit-code")
        return pid

    def _find_main(self, deadline: float) -> int:
        """The process that a forking service has left."""
        path = self.unit.service("PIDFile")
        if path:
            path = path if path.startswith("/") else f"/run/{path}"
            while True:
                try:
                    pid = int(Path(path).read_text())
                    if runs(pid):
                        return pid
                except (OSError, ValueError):
                    pass
                if time.monotonic() > deadline or not descendants(os.getpid()):
                    self._say(f"{self.unit.name}: Can't open PID file {path}")
                    raise Failed("protocol")
                self._pump(0.1)
        left = descendants(os.getpid())
        return min(left) if left else 0

    def _open_notify(self, kind: str) -> None:
        if kind == "notify" and not self._notify:
            path = STATE_DIRECTORY / f"{self.unit.name}.notify"
            path.unlink(missing_ok=True)
            self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._notify.bind(str(path))
            path.chmod(0o777)

    def _notify_socket(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self._notify.getsockname()} if self._notify else {}

    def _wait_until_ready(self, kind: str, deadline: float) -> None:
        while kind == "notify" and not self._is_ready:
            if self._stopping:
                raise StopAsked
            if self._main in self._ended:
                status = self._ended.pop(self._main)
                self._last_status, self._main = code_of(status), 0
                self._say(f"{self.unit.name}: Main process exited, {described(status)}")
                raise Failed("protocol" if not status else result_of(status))
            if time.monotonic() > deadline:
                self._say(f"{self.unit.name}: start operation timed out. Terminating.")
                raise Failed("timeout")
            self._pump(min(1.0, max(0.0, deadline - time.monotonic())))

    def _pump(self, timeout: float | None) -> None:
        """Wait for something to happen: output, an end, a request to stop."""
        sources: list[Any] = [self._wakeup, *self._partial]
        if self._notify:
            sources.append(self._notify)
        for source in select.select(sources, [], [], timeout)[0]:
            if source == self._wakeup:
                os.read(self._wakeup, 4096)
            elif source is self._notify:
                self._is_ready |= b"READY=1" in self._notify.recv(4096)
            else:
                self._read(source)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            self._ended[pid] = status

    def _read(self, source: int) -> None:
        got = os.read(source, 65536)
        lines = (self._partial[source] + got).split(b"\n")
        self._partial[source] = lines.pop() if got else b""
        for line in lines if got else [line for line in lines if line]:
            journal.write(self.unit.name, self._who[source], line.decode(errors="replace") or " ")
        if not got:
            os.close(source)
            del self._partial[source], self._who[source]

    def _kill(self, pids: list[int], number: int) -> None:
        for pid in pids:
            try:
                os.kill(pid, number)
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                continue

    def _is_clean(self, status: int) -> bool:
        words = self.unit.words("SuccessExitStatus")
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status) == 0 or str(os.WEXITSTATUS(status)) in words
        number = os.WTERMSIG(status)
        return number in CLEAN_SIGNALS or signal.Signals(number).name in words

    # --- what others see --------------------------------------------------------------------------

    def _become(self, active: str, sub: str, result: str = "success") -> None:
        since = time.time()
        if (active, sub) == self._active:
            return
        self._active = (active, sub)
        state = {
            "active": active,
            "sub": sub,
            "main": self._main,
            "result": result,
            "status": self._last_status,
            "since": since,
            "restarts": self._restarts,
            "supervisor": os.getpid(),
        }
        path = STATE_DIRECTORY / f"{self.unit.name}.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(state))
        fresh.rename(path)

    def _tell_starter(self, result: str) -> None:
        if self._answer is not None:
            os.write(self._answer, (result or "done").encode())
            os.close(self._answer)
            self._answer = None

    def _say(self, text: str) -> None:
        journal.write(self.unit.name, journal.ITSELF, text)


def descendants(ancestor: int) -> list[int]:
    """The processes that descend from one, but for those that have ended."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            parents[int(path.parent.name)] = int(parent)
    found = {ancestor}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return sorted(found - {ancestor})
        found |= more


def code_of(status: int) -> int:
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def result_of(status: int) -> str:
    if os.WIFSIGNALED(status):
        return "core-dump" if os.WCOREDUMP(status) else "signal"
    return "exit-code"


def described(status: int) -> str:
    """As in systemd's log: code=exited, status=1/FAILURE."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = re.sub("^SIG", "", signal.Signals(number).name)
        return f"code=killed, status={number}/{name}"
    code = os.WEXITSTATUS(status)
    name = {0: "SUCCESS", 1: "FAILURE", 2: "INVALIDARGUMENT"}.get(code, STEPS.get(code, "n/a"))
    return f"code=exited, status={code}/{name}"


def remove_tree(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for child in path.iterdir():
            remove_tree(child)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
