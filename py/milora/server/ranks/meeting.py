"""Where driver and ranks meet: a store of ``torch.distributed`` that the driver holds for them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

# torch exports them at run time alone.
from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]

_EVENTS = "events"
_CANCELLED = "cancelled"


class Meeting:
    """One end of it. A rank that can no longer reach the driver's end gets an error from every method."""

    def __init__(self, store: Any) -> None:
        self._store: Any = store

    @classmethod
    def held(cls, host: str, seconds: float) -> Meeting:
        """The driver's end, at a free port."""
        timeout = timedelta(seconds=seconds)
        meeting = cls(TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=timeout))
        meeting.cancel(0)
        return meeting

    @classmethod
    def joined(cls, host: str, port: int, seconds: float) -> Meeting:
        """A rank's end."""
        return cls(TCPStore(host, port, is_master=False, timeout=timedelta(seconds=seconds)))

    def again(self) -> Meeting:
        """Another connection, for another thread."""
        return Meeting(self._store.clone())

    def close(self) -> None:
        """Lets go of it; with the driver's end all connections end."""
        self._store = None

    @property
    def port(self) -> int:
        """Where the driver's end listens."""
        return self._store.port

    def of_group(self) -> Any:
        """The part of it in which a process group is made."""
        return PrefixStore("group", self._store)

    def tell(self, event: dict[str, Any]) -> None:
        """Sends an event to the driver."""
        self._store.queue_push(_EVENTS, json.dumps(event))

    def told(self) -> list[dict[str, Any]]:
        """The events that came, oldest first."""
        events: list[dict[str, Any]] = []
        while self._store.queue_len(_EVENTS) > 0:
            events.append(json.loads(self._store.queue_pop(_EVENTS)))
        return events

    def cancel(self, number: int) -> None:
        """Wants a call ended, by its number."""
        self._store.set(_CANCELLED, str(number))

    def cancelled(self) -> int:
        """The number of the call that was last wanted ended."""
        return self._store.add(_CANCELLED, 0)
