"""The line of a failed build's log on Jenkins that says why: the last one that a script printed."""

from __future__ import annotations

import re

from delivery.names import plain
from delivery.workspace import LAST_LINE_LENGTH, clean_log

# What the job does after the scripts, and what Jenkins writes itself.
AFTER_THE_SCRIPTS = "(Declarative: Post Actions)"
BY_JENKINS = re.compile(
    r"\s*$|\[Pipeline\]|Finished: |ERROR: script returned exit code|\+ "
    r'|Stage ".*" skipped due to|Build step .* marked build as failure'
)


def last_line(log: str) -> str:
    """Returns the last line that a script printed; empty if there is none.

    :param log: the end of a build's log.
    """
    lines = clean_log(log).partition(AFTER_THE_SCRIPTS)[0].splitlines()
    printed = [line for line in lines if not BY_JENKINS.match(line)]
    return plain(printed[-1])[:LAST_LINE_LENGTH] if printed else ""
