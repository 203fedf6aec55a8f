"""Why requests failed: how, when, and what the delivery did on the hosts then."""

from __future__ import annotations

import time
from typing import Any, Iterator, Sequence

from demo.pipeline import seconds_of
from demo.traffic import Reply
from sandbox import pace

MOST = 5  # kinds of failures that are told


def explained(failed: Sequence[Reply], steps: Sequence[Any]) -> Iterator[str]:
    """Yields a line for each kind of failure, and one on how busy the machine is.

    :param failed: requests, `at` on this process's monotonic clock.
    :param steps: executions of the pipeline's steps.
    """
    kinds: dict[str, list[Reply]] = {}
    for reply in failed:
        kinds.setdefault(reply.problem, []).append(reply)
    by_number = sorted(kinds.items(), key=lambda each: -len(each[1]))
    for problem, replies in by_number[:MOST]:
        first, last = min(each.at for each in replies), max(each.at for each in replies)
        when = f"at {_clock(first)}" if last - first < 1 else f"{_clock(first)} to {_clock(last)}"
        longest = max(each.after_s for each in replies)
        yield (
            f"{len(replies)} x {problem}; {when} UTC, after {longest:.1f} s at most, "
            f"{_then(replies, steps)}"
        )
    if len(kinds) > MOST:
        yield f"and {len(kinds) - MOST} other kinds"
    if failed:
        yield f"This machine has a {pace.load()} now: a host or a client that gets no time is late."


def _then(replies: Sequence[Reply], steps: Sequence[Any]) -> str:
    """Returns what ran when requests failed: `while update_batch ran (production-2)`."""
    running = []
    for step in steps:
        began, ended = seconds_of(step.start_timestamp), seconds_of(step.end_timestamp)
        if any(
            began <= _wall(each.at + each.after_s) and _wall(each.at) <= ended for each in replies
        ):
            running.append(_name(step))
    return (
        f"while {', '.join(dict.fromkeys(running))} ran"
        if running
        else "while nothing was deployed"
    )


def _name(step: Any) -> str:
    """Returns a step's name and, of a batch, what the rollout had left to do and what failed."""
    name: str = step.task_name or step.action.split(".")[1]
    result = step.result.get("result") if isinstance(step.result, dict) else None
    if not isinstance(result, dict) or "remaining" not in result:
        return name
    batch = result["batches"] - result["remaining"]
    failed = "".join(f"; {host}: {why}" for host, why in sorted(result["failed_hosts"].items()))
    return f"{name} (batch {batch} of {result['batches']} in {result['stage']}{failed})"


def _wall(at: float) -> float:
    return time.time() - time.monotonic() + at


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(_wall(at)))
