"""The cures of pythonia 1.2.6's Python side; each has a test in ``test/contract/bridge`` that shows its fault."""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from milora.errors import MiloraError
from milora.server import envelope
from milora.server.channel import Channel

# Ids of calls from Python to JavaScript share a number space with JavaScript's own, which start at 10,000.
FIRST_CALLBACK_ID = 1 << 40


class _Requests:
    """What pythonia's main loop reads from: requests only.

    The answer to a call to JavaScript that was cancelled meanwhile would end the loop.
    """

    def __init__(self, readline: Callable[[], str]) -> None:
        self._readline = readline

    def readline(self) -> str:
        while True:
            line = self._readline()
            if not line or '"action":' in line[:64]:
                return line


class Transport:
    """pythonia's bridge object, hardened in place.

    Args:
        main: pythonia's ``__main__`` module (``interface.py``); its ``ipc`` and ``bridge`` are patched.
    """

    def __init__(self, main: Any) -> None:
        self._main = main
        self._bridge: Any = main.bridge
        self.channel = Channel(int(os.environ.pop("NODE_CHANNEL_FD")))
        self.depth = 0
        """How many messages are being worked on: 1, or more inside a call from Python to JavaScript."""
        self.after_message: Callable[[], None] = lambda: None
        self._awaited: list[int] = []

    def harden(self) -> None:
        """Applies every cure; from here on no message can end this process or crash Node."""
        bridge = self._bridge
        self._main.ipc.queue = self.channel.queue
        self._main.apiin = _Requests(self._main.apiin.readline)
        bridge.onMessage = self._on_message
        bridge.read = self._read
        bridge.send_inspect = False
        bridge.executor.i = FIRST_CALLBACK_ID
        bridge.executor.ipc = self._guard_callbacks(bridge.executor.ipc)
        # At the interpreter's end, finalisers of proxies would run without the modules that they need.
        atexit.register(lambda: setattr(bridge.executor, "free", lambda _ffid: None))
        self._leave_no_trace()

    def _on_message(self, r: int, action: str, ffid: int | str, key: Any, args: Any) -> None:
        self.depth += 1
        try:
            getattr(self._bridge, action)(r, ffid, key, args)
        except BaseException as error:  # noqa: BLE001 - sys.exit() is an answer too, not the end of this process
            self.channel.queue({"r": r, "key": "error", "val": "", "sig": envelope.of_error(error)})
        finally:
            self.depth -= 1
            self.after_message()

    def _read(self) -> Any:
        while True:
            line = self._main.ipc.readline()
            if not line:
                # Node is gone while a call to it waits: an exception would only be sent to nobody.
                os._exit(1)
            message = json.loads(line)
            if "action" in message or message["r"] in self._awaited:
                return message

    def _guard_callbacks(self, ipc: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                # A second reader would take the main thread's messages.
                raise MiloraError(
                    "bridge/protocol",
                    f"JavaScript was called from the Python thread {threading.current_thread().name!r}.",
                    allowed="calls from the main thread",
                    hint="Collect the values in the thread and call JavaScript from the main thread.",
                )
            # The id that the original will use; a "raw" request brings its own.
            request = args[1] if args[0] == "raw" else self._bridge.executor.i + 1
            self._awaited.append(request)
            try:
                return ipc(*args, **kwargs)
            finally:
                self._awaited.pop()

        return guarded

    def _leave_no_trace(self) -> None:
        """Undoes what pythonia changes for everybody in this process."""
        folder = Path(self._main.__file__).resolve().parent
        # Its folder would shadow modules named Bridge, proxy, ws, interface.
        sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != folder]
        # Its patch of json hides which object could not be encoded.
        patched: Any = json.JSONEncoder.default
        json.JSONEncoder.default = getattr(patched, "default", patched)
        # multiprocessing's "spawn" would run the main module's file again in each worker.
        del self._main.__file__
