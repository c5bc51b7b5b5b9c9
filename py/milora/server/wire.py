"""JSON that loses nothing: the twin of ``ts/bridge/wire.ts``.

What JSON or JavaScript cannot hold travels as an object with one key:
``{"$float": "nan" | "inf" | "-inf" | "-0.0"}``, ``{"$int": "<digits>"}`` for an integer beyond 2**53 - 1, and
``{"$object": {…}}`` around a mapping whose own keys start with ``$``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

MAX_SAFE_INTEGER = 2**53 - 1

# An integer of 16 digits or more may be beyond 2**53 - 1. A match inside a string only costs the slow path.
_LONG_INTEGER = re.compile(r"(?:^|[\[:,])-?\d{16,}(?:$|[\],}])")
_COMPACT = (",", ":")


def dumps(value: object, default: Callable[[Any], Any] | None = None) -> tuple[str, bool]:
    """JSON text of a value, and whether tags are in it.

    Args:
        value: What JSON can hold, with any float and any integer.
        default: As in :func:`json.dumps`.

    Raises:
        TypeError: the value holds something that JSON cannot.
        ValueError, RecursionError: the value contains itself.
    """
    try:
        text = json.dumps(value, allow_nan=False, separators=_COMPACT, default=default)
    except ValueError:
        return _dumps_tagged(value, default), True
    if '"$' in text or _LONG_INTEGER.search(text):
        return _dumps_tagged(value, default), True
    return text, False


def loads(text: str) -> Any:
    """The value of a JSON text with or without tags."""
    if '"$' not in text:
        return json.loads(text)
    return _untag(json.loads(text))


def _dumps_tagged(value: object, default: Callable[[Any], Any] | None) -> str:
    return json.dumps(_tag(value), allow_nan=False, separators=_COMPACT, default=default)


def _tag(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(float(value))}
    if isinstance(value, int):
        return value if -MAX_SAFE_INTEGER <= value <= MAX_SAFE_INTEGER else {"$int": str(int(value))}
    if isinstance(value, (list, tuple)):
        return [_tag(item) for item in value]
    if isinstance(value, dict):
        tagged = {key: _tag(item) for key, item in value.items()}
        clashes = any(isinstance(key, str) and key.startswith("$") for key in value)
        return {"$object": tagged} if clashes else tagged
    return value


def _untag(value: Any) -> Any:
    if isinstance(value, list):
        return [_untag(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, inner),) = value.items()
        if key == "$float":
            return float(inner)
        if key == "$int":
            return int(inner)
        if key == "$object":
            value = inner
    return {key: _untag(item) for key, item in value.items()}
