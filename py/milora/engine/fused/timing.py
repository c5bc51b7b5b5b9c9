"""When a request was admitted, computed and first heard of."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(frozen=True)
class RequestTiming:
    """Seconds; None for what a request did not come to.

    ``queued``: from its submission to its admission. ``prefill``: from there until the logits of its prompt, and of
    those admitted with it, are known. ``first_token``: from its submission to its first token; with beams they all
    come at the end.
    """

    queued: float | None
    prefill: float | None
    first_token: float | None


@dataclass
class RequestClock:
    """Takes down the first time of each; later ones change nothing."""

    _submitted: float = field(default_factory=time.perf_counter)
    _admitted: float | None = None
    _computed: float | None = None
    _told: float | None = None

    def admit(self) -> None:
        """The request joins the batch."""
        self._admitted = time.perf_counter()

    def compute(self, now: float) -> None:
        """Its logits are known."""
        self._computed = self._computed or now

    def tell(self, now: float) -> None:
        """It has tokens."""
        self._told = self._told or now

    def timing(self) -> RequestTiming:
        """What has been taken down."""
        return RequestTiming(
            queued=_between(self._submitted, self._admitted),
            prefill=_between(self._admitted, self._computed),
            first_token=_between(self._submitted, self._told),
        )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start
