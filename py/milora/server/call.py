"""What an operation gets beside its input: progress, log, and the question whether to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

from milora.errors import CancelledError

LogLevel = Literal["debug", "info", "warning", "error"]

# At most 20 progress events a second; the first and the last of a stage are always sent.
MIN_SECONDS_BETWEEN_EVENTS = 0.05


class Flag(Protocol):
    """What a call asks before it goes on."""

    def __getitem__(self, index: int, /) -> int: ...


def _ignore(_event: dict[str, Any]) -> None:
    return None


class Call:
    """One running operation; without arguments, a call that nobody watches or cancels (for use without a bridge).

    Args:
        emit: Takes an event for the caller (``BackendEvent`` of ``ts/backend/backend.ts``).
        flag: One byte; not 0 = the caller asks the call to end.
    """

    __slots__ = ("_emit", "_flag", "_next_event", "_stage")

    def __init__(self, emit: Callable[[dict[str, Any]], None] = _ignore, flag: Flag = b"\0") -> None:
        self._emit = emit
        self._flag = flag
        self._stage: str | None = None
        self._next_event = 0.0

    def check(self) -> None:
        """Raises :class:`CancelledError` if the caller asked the call to end; costs about 0.1 µs."""
        if self._flag[0]:
            raise CancelledError

    def step(self, stage: str, done: int, total: int) -> None:
        """Tells the caller how far a stage is, then checks as :meth:`check` does.

        Args:
            stage: What is being done, a few words.
            done: Units done, 0 to ``total``.
            total: Units in all.
        """
        if self._flag[0]:
            raise CancelledError
        now = time.monotonic()
        if now < self._next_event and stage == self._stage and done < total:
            return
        self._stage = stage
        self._next_event = now + MIN_SECONDS_BETWEEN_EVENTS
        self._emit({"type": "progress", "stage": stage, "done": done, "total": total})

    def emit(self, event: dict[str, Any]) -> None:
        """Passes on an event of another process that works for this call."""
        self._emit(event)

    def log(self, level: LogLevel, text: str) -> None:
        """Sends a line to the caller's log."""
        self._emit({"type": "log", "stream": "log", "level": level, "text": text})
