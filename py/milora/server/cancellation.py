"""How a running call is asked to end: a byte in a file that both sides map, and SIGUSR1 when nobody looks at it."""

from __future__ import annotations

import mmap
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from milora.errors import CancelledError


class Cancellation:
    """The state of the one call that runs.

    Node alone writes the byte: it is lowered before each call is sent and raised to end the call.
    """

    def __init__(self) -> None:
        self.flag: mmap.mmap | bytes = b"\0"
        self.active = False
        self._shielded = 0
        self._deferred = False

    def open(self, path: str) -> None:
        """Maps the one-byte file that Node writes, and listens to SIGUSR1 where there is one."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            self.flag = mmap.mmap(descriptor, 1, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        signal.signal(signal.SIGUSR1, self._on_signal)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within it, SIGUSR1 raises :class:`CancelledError` if the byte is raised; outside, it is ignored."""
        self.active = True
        try:
            yield
        finally:
            self.active = False

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Puts off a signal's :class:`CancelledError` until the outermost shield ends: half a message is none."""
        if threading.current_thread() is not threading.main_thread():
            # Python runs signal handlers on the main thread only.
            yield
            return
        self._shielded += 1
        try:
            yield
        finally:
            self._shielded -= 1
        if self._deferred and self._shielded == 0:
            self._deferred = False
            if self.active:
                raise CancelledError

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if not self.active or not self.flag[0]:
            return
        if self._shielded:
            self._deferred = True
            return
        raise CancelledError


cancellation = Cancellation()
