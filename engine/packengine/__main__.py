"""`python -m packengine`: the engine's command line."""

from __future__ import annotations

import sys

from packengine.cli import main

if __name__ == "__main__":
    sys.exit(main())
