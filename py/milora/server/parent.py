"""Python never outlives the Node process that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
SECONDS_BETWEEN_LOOKS = 0.5


def die_with_parent(parent: int, watch: str) -> None:
    """Ends this process when ``parent`` ends, also in the middle of a call.

    Args:
        parent: Process id of Node.
        watch: ``signal`` (the kernel kills this process; Linux only), ``poll`` (a thread looks twice a second), or
            ``auto``.
    """
    if watch == "signal" or (watch == "auto" and sys.platform == "linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    else:
        threading.Thread(target=_poll, args=(parent,), daemon=True, name="milora-parent-watch").start()
    # The parent may have ended before it was watched.
    if os.getppid() != parent:
        os._exit(1)


def _poll(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)
