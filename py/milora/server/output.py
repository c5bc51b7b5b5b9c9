"""Python's stdout, stderr, warnings and log records as events, so that nothing reaches the user's terminal unasked."""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any, TextIO

from milora.server.call import LogLevel

Emit = Callable[[dict[str, Any]], None]

# A line without an end (a progress bar, a dump) is sent in pieces of this many characters.
MAX_LINE_CHARACTERS = 8192


class LineWriter(io.TextIOBase):
    """A text stream that sends each line as an event; code that asks for the descriptor gets the process's own."""

    def __init__(self, stream: str, level: LogLevel, options: tuple[TextIO, Emit]) -> None:
        super().__init__()
        self._stream = stream
        self._level = level
        self._original, self._emit = options
        self._lock = threading.RLock()
        # print() writes a line and its end apart: what threads write at once must not mix.
        self._rests: dict[int, str] = {}

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return "utf-8"

    @property
    def buffer(self) -> Any:
        """The process's own stream of bytes; Node reads it too."""
        return getattr(self._original, "buffer", self._original)

    def fileno(self) -> int:
        return self._original.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        with self._lock:
            thread = threading.get_ident()
            *lines, rest = (self._rests.pop(thread, "") + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
            while len(rest) > MAX_LINE_CHARACTERS:
                lines.append(rest[:MAX_LINE_CHARACTERS])
                rest = rest[MAX_LINE_CHARACTERS:]
            if rest:
                self._rests[thread] = rest
            for line in lines:
                self._send(line)
        return len(text)

    def finish_line(self) -> None:
        """Sends what was written since the last line end."""
        with self._lock:
            rests, self._rests = list(self._rests.values()), {}
            for rest in rests:
                self._send(rest)

    def _send(self, line: str) -> None:
        if line:
            self._emit({"type": "log", "stream": self._stream, "level": self._level, "text": line})


class EventHandler(logging.Handler):
    """Sends the records of Python's ``logging`` (and of ``warnings``, through it) as events."""

    def __init__(self, emit: Emit) -> None:
        super().__init__(logging.WARNING)
        self._emit = emit

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = f"{record.name}: {record.getMessage()}"
            self._emit({"type": "log", "stream": "log", "level": _level_of(record), "text": text})
        except (TypeError, ValueError):
            self.handleError(record)


def capture(emit: Emit) -> Callable[[], None]:
    """Makes ``sys.stdout``, ``sys.stderr``, ``logging`` and ``warnings`` send events.

    Returns:
        A function that sends the unfinished lines.
    """
    writers = (
        LineWriter("stdout", "info", (sys.stdout, emit)),
        LineWriter("stderr", "warning", (sys.stderr, emit)),
    )
    sys.stdout, sys.stderr = writers
    logging.getLogger().addHandler(EventHandler(emit))
    logging.captureWarnings(True)
    # Libraries tell each other of later versions; here their versions are pinned, and no user can act on it.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft|torch)(\.|$)")

    def finish_lines() -> None:
        for writer in writers:
            writer.finish_line()

    return finish_lines


def _level_of(record: logging.LogRecord) -> LogLevel:
    return "error" if record.levelno >= logging.ERROR else "warning"
