"""A prompt for chat at a terminal: lines are typed while commands run and announcements come."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import time
from types import FrameType
from typing import Any, Callable, Iterator, TextIO

from packengine import chat
from packengine.engine import Engine

HISTORY_LINES = 1000
LOOK_FOR_SERVE_S = 2
_NARROWEST = 20


def converse(engine: Engine, user: str, out: TextIO) -> int:
    """Prompts for lines until Ctrl-D or `quit`, while answers and announcements appear above.

    A command runs in the background, so that the next can be typed. Whoever leaves waits for what
    runs; Ctrl-C then ends it.

    :returns: the exit code, 130 if something was ended by Ctrl-C.
    """
    # Closing the window must not end a workflow half way: it ends the lines instead.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    terminal = Terminal(out, f"{user}> ")
    room = chat.Room(engine, user, terminal, terminal.columns(), tells_steps=True)

    served = _Served(engine)

    def look() -> None:
        room.width = terminal.columns()
        room.look()
        served.tell(room)

    room.write(f"Hello {user}. {chat.PREFIX}help lists the commands, Ctrl-D or quit leaves.")
    served.tell(room)
    history = os.path.join(engine.data_dir, "chat_history")
    with terminal.history(history), terminal.interrupts():
        while True:
            try:
                line = terminal.ask(look, room.completions)
            except EOFError:
                terminal.write("\n")
                break
            if chat.is_farewell(line):
                break
            room.start(line)
    return _leave(engine, room)


def _leave(engine: Engine, room: chat.Room) -> int:
    running = room.running()
    if not running:
        return 0
    room.write(
        f"Still running: {', '.join(chat.PREFIX + command for command in running)}. "
        "Leaving when it has ended; Ctrl-C ends it now, half way."
    )
    try:
        while room.running():
            time.sleep(chat.LOOK_INTERVAL)
            room.look()
        room.look()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would leave it half ended
        engine.stop_background(0)
        room.write(f"Ended half way: {', '.join(chat.PREFIX + each for each in running)}.")
        return 130
    return 0


class _Served:
    """Whether the engine's `serve` runs, told when that changes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._runs = True
        self._looks_again = 0.0

    def tell(self, room: chat.Room) -> None:
        if time.monotonic() < self._looks_again:
            return
        self._looks_again = time.monotonic() + LOOK_FOR_SERVE_S
        runs = _is_served(self._engine)
        if self._runs and not runs:
            room.write("No serve runs on this data directory: nothing is received or announced.")
        elif runs and not self._runs:
            room.write("A serve runs again.")
        self._runs = runs


def _is_served(engine: Engine) -> bool:
    try:
        with open(os.path.join(engine.data_dir, "serve.lock"), encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False


class Terminal:
    """A terminal with a prompt; what is written while it asks appears above the line typed.

    GNU readline edits the line. Python calls a function of ours ten times a second while readline
    waits for a key, in the same thread, so nothing else writes to the terminal meanwhile. Where
    readline is another library, the line is drawn again as far as Python knows it.

    :param prompt: stands before each line.
    """

    def __init__(self, out: TextIO, prompt: str) -> None:
        import readline  # Not at the top: it may write to a terminal when it is imported.

        self._readline = readline
        self._library = _Library.load(readline)
        self._out = out
        self._prompt = prompt
        self._asking = False
        self._above = False
        self._interrupted = False

    @staticmethod
    def columns() -> int:
        """Returns how many columns the terminal has now."""
        return max(_NARROWEST, shutil.get_terminal_size((chat.WIDTH, 24)).columns)

    def ask(self, idle: Callable[[], None], complete: Callable[[str], list[str]]) -> str:
        """Returns a line that was typed.

        :param idle: called again and again meanwhile; may write.
        :param complete: returns what the last word of a line may become.
        :raises EOFError: after Ctrl-D.
        """
        self._readline.set_completer_delims(" \t")
        self._readline.set_completer(self._completer(complete))
        self._readline.parse_and_bind("tab: complete")
        with _calling_while_waiting(lambda: self._idle(idle)):
            self._asking = True
            try:
                return input(self._prompt)
            finally:
                self._asking = False

    def write(self, text: str) -> None:
        if self._asking and not self._above:
            self._above = True
            if self._library:
                self._library.clear()
            else:
                text = f"\r\033[K{text}"
        with contextlib.suppress(OSError):  # The window may have been closed.
            self._out.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._out.flush()

    @contextlib.contextmanager
    def history(self, path: str) -> Iterator[None]:
        """Remembers what is typed from one chat to the next, the last thousand lines."""
        with contextlib.suppress(OSError):
            self._readline.read_history_file(path)
        self._readline.set_history_length(HISTORY_LINES)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                self._readline.write_history_file(path)

    @contextlib.contextmanager
    def interrupts(self) -> Iterator[None]:
        """Has Ctrl-C clear the line, and do nothing else."""

        def interrupt(_: int, __: FrameType | None) -> None:
            # An exception would be lost: Python is in a function that readline calls.
            self._interrupted = True

        before = signal.signal(signal.SIGINT, interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _idle(self, idle: Callable[[], None]) -> None:
        try:
            idle()
            if self._interrupted:
                self.write(f"{self._prompt}{self._readline.get_line_buffer()}^C\n")
            if self._above:
                self._draw_again()
        finally:
            self._above = self._interrupted = False

    def _draw_again(self) -> None:
        if self._library:
            self.flush()
            self._library.draw(empty=self._interrupted)
        else:
            self._out.write(f"{self._prompt}{self._readline.get_line_buffer()}")
            self.flush()

    def _completer(self, complete: Callable[[str], list[str]]) -> Callable[[str, int], str | None]:
        def answer(_: str, number: int) -> str | None:
            typed = self._readline.get_line_buffer()[: self._readline.get_endidx()]
            found = complete(typed)
            if number >= len(found):
                return None
            return found[number] + (" " if len(found) == 1 else "")

        return answer


class _Library:
    """The functions of GNU readline that Python's module does not offer."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._end = ctypes.c_int.in_dll(library, "rl_end")
        self._point = ctypes.c_int.in_dll(library, "rl_point")
        self._clear = library.rl_clear_visible_line
        self._on_new_line = library.rl_on_new_line
        self._redisplay = library.rl_redisplay

    @classmethod
    def load(cls, readline: Any) -> _Library | None:
        """Returns the library that a module of Python's uses, None when it is another one."""
        try:
            return cls(ctypes.CDLL(getattr(readline, "__file__", None)))
        except (OSError, ValueError, AttributeError):
            return None

    def clear(self) -> None:
        """Takes prompt and line off the terminal, however many rows they have."""
        self._clear()

    def draw(self, empty: bool) -> None:
        """Draws prompt and line below what was written, the cursor where it was in it."""
        if empty:
            self._library.rl_delete_text(0, self._end.value)
            self._point.value = 0
        self._on_new_line()
        self._redisplay()


@contextlib.contextmanager
def _calling_while_waiting(function: Callable[[], None]) -> Iterator[None]:
    """Has Python call a function while it waits for a key, in the thread that waits."""

    def call() -> int:
        function()
        return 0

    hook = ctypes.c_void_p.in_dll(ctypes.pythonapi, "PyOS_InputHook")
    before = hook.value
    callback = ctypes.PYFUNCTYPE(ctypes.c_int)(call)
    hook.value = ctypes.cast(callback, ctypes.c_void_p).value
    try:
        yield
    finally:
        hook.value = before
