"""Go: go.mod, which names the module and nothing else of use."""

from __future__ import annotations

import re
from typing import Any

from delivery.metadata.reader import Reader, text_of


def go_mod(raw: bytes) -> dict[str, Any]:
    module = re.search(r'^module[ \t]+"?([^\s"]+)', text_of(raw), re.MULTILINE)
    if not module:
        raise ValueError("no module line; add one such as module example.org/shop")
    path = re.sub(r"/v[0-9]+$", "", module.group(1))
    return {
        "name": path.rpartition("/")[2],
        "module": f"https://{path}" if "." in path.partition("/")[0] else None,
    }


READERS = (Reader("go.mod", go_mod, {"name": ("name",), "homepage": ("module",)}),)
