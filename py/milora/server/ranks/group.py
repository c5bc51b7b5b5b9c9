"""The group of ranks that the open model runs on."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from milora.errors import MiloraError
from milora.server.call import Call
from milora.server.ranks.routes import ROUTES

Operation = Callable[[dict[str, Any], Call], dict[str, Any]]


class RankGroup(Protocol):
    """Ranks that answer operations as one process would."""

    def run(self, name: str, payload: dict[str, Any], call: Call) -> dict[str, Any]:
        """Runs an operation on the ranks that it belongs to."""
        ...

    def close(self) -> None:
        """Ends the ranks."""
        ...


_group: RankGroup | None = None


def close() -> None:
    """Ends the open group, if any; from then on operations run in this process."""
    global _group
    ending, _group = _group, None
    if ending is not None:
        ending.close()


def open_group(scale: dict[str, Any] | None, call: Call) -> None:
    """Ends the open group and opens that of a spec's ``scale``: one rank without an address is this process.

    Raises:
        MiloraError: see :func:`milora.server.ranks.ray_group.open_ray_group`.
    """
    global _group
    close()
    if scale is None or (scale["ranks"] == 1 and scale["address"] is None):
        return
    with needs_ray():
        from milora.server.ranks.ray_group import open_ray_group
    _group = open_ray_group(scale, call)


@contextlib.contextmanager
def needs_ray(path: str = "scale") -> Iterator[None]:
    """Around the import of a module that imports Ray, which is an optional package; ``path``: what asked for it.

    Raises:
        MiloraError: ``environment/missing-package``.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        message = "What runs on Ray needs the Python package ray, which is not installed here."
        hint = f'Install it with pip install "ray>=2.60,<3" (the extra `ray`), or leave {path} out.'
        raise MiloraError("environment/missing-package", message, path=path, hint=hint) from error


def on_ranks(name: str, operation: Operation) -> Operation:
    """Wraps an operation: it runs on the open group, or without one in this process."""
    if ROUTES[name] == "driver":
        return operation

    @functools.wraps(operation)
    def wrapped(payload: dict[str, Any], call: Call) -> dict[str, Any]:
        if name == "openModel":
            open_group(payload.pop("scale", None), call)
        if _group is None:
            return operation(payload, call)
        try:
            return _group.run(name, payload, call)
        finally:
            if name == "closeModel":
                close()

    return wrapped
