"""Runs inside the sandbox: see script/bench."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT / "actions" / "lib"))

from bench import delivery, engine, upgrade  # noqa: E402
from bench.measure import BenchError  # noqa: E402
from sandbox.world import World  # noqa: E402

PARTS = {"engine": engine.run, "delivery": delivery.run, "upgrade": upgrade.run}


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--repeat", type=int, required=True)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(
        f"\n{os.cpu_count()} cores, Python {platform.python_version()}, load {load:.1f} "
        "before it began"
    )
    world = World.load()
    try:
        for part in options.parts:
            PARTS[part](world, options.repeat)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
