"""The way out of this process: one line of JSON a message, over the channel that pythonia opened."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections import deque
from typing import Any

from milora.server import wire
from milora.server.cancellation import cancellation


class Channel:
    """Writes messages to Node, whole and in order, from any thread.

    A message asked for while the same thread is writing one (a finaliser that runs in between) waits for its turn.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)
        self._lock = threading.RLock()
        self._waiting: deque[bytes] = deque()
        self._writing = False
        self.call_id = 0
        """The call that events belong to; 0 outside calls."""

    def queue(self, what: str | dict[str, Any]) -> None:
        """Replaces pythonia's ``Ipc.queue``: there, a value that JSON cannot hold ended Python or crashed Node.

        Raises:
            TypeError, ValueError: the message holds something that JSON cannot; nothing was sent.
        """
        self._send(what if isinstance(what, str) else serialise(what))

    def emit(self, event: dict[str, Any]) -> None:
        """Sends an event of the running call (or of none, outside a call)."""
        text, _ = wire.dumps({"c": "milora", "id": self.call_id, "event": event})
        self._send(text)

    def _send(self, text: str) -> None:
        with cancellation.shield(), self._lock:
            self._waiting.append(text.encode() + b"\n")
            if self._writing:
                return
            self._writing = True
            try:
                while self._waiting:
                    self._socket.sendall(self._waiting.popleft())
            except OSError:
                # Node is gone: nobody is left to work for, and no handler may delay the end.
                os._exit(1)
            finally:
                self._writing = False


def serialise(message: dict[str, Any]) -> str:
    """One message as text; ``"t": 1`` in it says that ``val`` holds tags.

    Raises:
        TypeError, ValueError: it holds something that JSON cannot.
    """
    if "val" not in message:
        return json.dumps(message, allow_nan=False)
    value = message["val"]
    if isinstance(value, str):
        # The reply of a typed operation comes here, of any length: it holds no number to look for.
        encoded, tagged = json.dumps(value), False
    else:
        encoded, tagged = wire.dumps(value, default=_reference)
    rest = {key: part for key, part in message.items() if key != "val"}
    if tagged:
        rest["t"] = 1
    return f'{json.dumps(rest, allow_nan=False)[:-1]}, "val": {encoded}}}'


def _reference(value: Any) -> dict[str, int]:
    # Only pythonia's own proxies of JavaScript objects have a place in a reply.
    if type(value).__module__ == "proxy" and type(value).__name__ == "Proxy":
        return {"ffid": object.__getattribute__(value, "ffid")}
    raise TypeError(f"an object of type {type(value).__module__}.{type(value).__qualname__} cannot be sent as JSON")
