"""The table of adopted objects: raw Python objects that typed operations name by an id."""

from __future__ import annotations

import itertools
from typing import Any

from milora.errors import MiloraError

_objects: dict[str, Any] = {}
_numbers = itertools.count(1)


def adopt(value: Any) -> str:
    """Keeps an object alive and gives its id, such as ``object-1``."""
    identifier = f"object-{next(_numbers)}"
    _objects[identifier] = value
    return identifier


def get(identifier: str) -> Any:
    """The object of an id.

    Raises:
        MiloraError: ``input/unknown-name``, there is no such id, or it was released.
    """
    if identifier not in _objects:
        raise _unknown(identifier)
    return _objects[identifier]


def release(identifier: str) -> None:
    """Lets go of an object.

    Raises:
        MiloraError: ``input/unknown-name``, there is no such id, or it was released before.
    """
    if identifier not in _objects:
        raise _unknown(identifier)
    del _objects[identifier]


def _unknown(identifier: str) -> MiloraError:
    known = ", ".join(_objects) or "none"
    return MiloraError(
        "input/unknown-name",
        f"There is no adopted object {identifier!r} in this session.",
        found=identifier,
        allowed=known,
        hint="Adopt the object first; an id ends with its release and with its session.",
    )
