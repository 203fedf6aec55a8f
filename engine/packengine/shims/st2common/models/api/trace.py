"""What ties the triggers and executions of one story together."""

from __future__ import annotations


class TraceContext:
    """An existing trace by its id, or a new one by a tag.

    :param id_: id of a trace that exists, or None.
    :param trace_tag: free text chosen by whoever dispatches, or None.
    """

    def __init__(self, id_: str | None = None, trace_tag: str | None = None) -> None:
        self.id_ = id_
        self.trace_tag = trace_tag

    def __str__(self) -> str:
        return f"{{id_: {self.id_}, trace_tag: {self.trace_tag}}}"
