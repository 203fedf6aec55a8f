"""What the embedded engine costs: an action and a workflow that do nothing, and memory at rest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Callable

from bench.measure import BenchError, row, seconds, show
from demo.__main__ import serving_engine
from packengine.engine import Engine
from sandbox.world import World

PROJECT = Path(__file__).resolve().parent.parent
PACK = str(PROJECT / "bench" / "pack")
SETTLE_S = 5


def run(world: World, repeat: int) -> None:
    """Prints the tables."""
    with Engine(packs=[PACK], data_dir=str(world.directory / "bench-engine")) as engine:
        actions(engine, repeat)
    with serving_engine(world, world.directory / "bench-idle"):
        memory()


def actions(engine: Engine, repeat: int) -> None:
    command = [
        str(PROJECT / "script" / "engine"),
        "--data-dir",
        engine.data_dir,
        "--pack",
        PACK,
        "run",
        "bench.nothing",
    ]
    kinds: dict[str, Callable[[], None]] = {
        "python3 -c pass, for comparison": lambda: quietly([sys.executable, "-c", "pass"]),
        "action that does nothing": lambda: succeed(engine, "bench.nothing"),
        "workflow of ten such tasks": lambda: succeed(engine, "bench.ten_times_nothing"),
        "script/engine run of the action": lambda: quietly(command),
    }
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for work in kinds.values():
        work()
    for _ in range(repeat):
        for kind, work in kinds.items():
            taken[kind].append(seconds(work))
    bare = median(taken["python3 -c pass, for comparison"])
    show(
        f"Embedded engine: seconds, of {repeat} runs each",
        ["", "median", "least", "most", "of bare"],
        [row(kind, each, f"{median(each) / bare:.1f} x") for kind, each in taken.items()],
    )


def memory() -> None:
    """Shows what `script/engine serve` with this pack and its two sensors holds at rest."""
    time.sleep(SETTLE_S)
    (main,) = children_of(os.getpid())
    processes = [("engine", main), *(("a sensor", pid) for pid in children_of(main))]
    rows = [[name, *(f"{size:.1f}" for size in memory_of(pid))] for name, pid in processes]
    rows.append(
        ["together", *(f"{sum(float(each[column]) for each in rows):.1f}" for column in (1, 2))]
    )
    show(
        "Embedded engine, serving and idle: MiB (RSS counts shared pages for every process, "
        "PSS once)",
        ["", "RSS", "PSS"],
        rows,
    )


def succeed(engine: Engine, action: str) -> None:
    status = engine.run(action).status
    if status != "succeeded":
        raise BenchError(f"{action} {status}")


def quietly(command: list[str]) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def children_of(pid: int) -> list[int]:
    listed = subprocess.run(["pgrep", "--parent", str(pid)], stdout=subprocess.PIPE, text=True)
    return [int(child) for child in listed.stdout.split()]


def memory_of(pid: int) -> list[float]:
    """Returns RSS and PSS of a process in MiB."""
    said = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = [re.search(rf"(?m)^{kind}: +(\d+) kB", said) for kind in ("Rss", "Pss")]
    return [int(each.group(1)) / 1024 for each in found if each]
