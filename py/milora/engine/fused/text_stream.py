"""The text of a request while its tokens come: what is certain of it, and where a stop string ends it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

DecodeIds = Callable[[Sequence[int]], str]
"""The text of generated ids as it follows its prompt."""

_INCOMPLETE = "\ufffd"


class TextStream:
    """Text is given out once it cannot change any more: whole characters, and no beginning of a stop string."""

    def __init__(self, decode: DecodeIds | None, stop_strings: Sequence[str]) -> None:
        self._decode = decode
        self._stop_strings = stop_strings
        self._given = 0
        self.text = ""
        self.has_stopped = False

    def update(self, ids: Sequence[int], *, is_last: bool) -> str:
        """The text that has become certain, told all ids so far (the end token left out)."""
        if self._decode is None:
            return ""
        text = self._decode(ids)
        places = [place for stop in self._stop_strings if (place := text.find(stop)) >= 0]
        if places:
            self.has_stopped = True
            text = text[: min(places)]
        self.text = text
        certain = len(text) if is_last or self.has_stopped else self._certain(text)
        fresh = text[self._given : certain]
        self._given = max(self._given, certain)
        return fresh

    def _certain(self, text: str) -> int:
        end = len(text.rstrip(_INCOMPLETE))
        for stop in self._stop_strings:
            for length in range(len(stop) - 1, 0, -1):
                if text.endswith(stop[:length]):
                    end = min(end, len(text) - length)
                    break
        return end
