"""Reads the files of a pack, whatever stands where a file should."""

from __future__ import annotations

import os
import stat


def read_text(path: str) -> str:
    """Returns a file's text.

    :raises OSError: when it cannot be read, or is no regular file: reading a pipe would wait for
        somebody to write.
    :raises UnicodeDecodeError: when it is not UTF-8.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(f"{path} is no regular file")
    with open(path, encoding="utf-8") as stream:
        return stream.read()
