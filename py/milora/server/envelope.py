"""The envelope of a reply: ``{"v": value}`` or ``{"e": [error, cause, …]}``."""

from __future__ import annotations

import errno
import sys
import traceback
from typing import Any

from milora.errors import MiloraError
from milora.server import wire
from milora.server.ranks.errors import RankError

MAX_CAUSES = 8
MAX_TRACEBACK_CHARACTERS = 20_000

_FULL = (errno.ENOSPC, errno.EDQUOT)
_MEMORY_HINT = "Use smaller micro-batches, shorter rows, a smaller model or dtype bfloat16."
_DISK_HINT = "Free space there, or choose another folder."


def of_value(value: object) -> str:
    """The envelope of a result.

    Raises:
        MiloraError: ``bridge/protocol``, the result holds something that JSON cannot.
    """
    try:
        text, _ = wire.dumps({"v": value})
    except (TypeError, ValueError, RecursionError) as error:
        message = f"The result cannot be sent: {error}. Only null, booleans, numbers, strings, lists and dicts can."
        raise MiloraError("bridge/protocol", message, found=type(value).__name__) from error
    return text


def of_error(error: BaseException) -> str:
    """The envelope of an exception with its causes; never raises."""
    text, _ = wire.dumps({"e": [each for link in _chain(error) for each in _links(link)]})
    return text


def _chain(error: BaseException) -> list[BaseException]:
    links: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and all(current is not link for link in links) and len(links) < MAX_CAUSES:
        links.append(current)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return links


def _links(error: BaseException) -> list[dict[str, Any]]:
    """An exception; one of another process as that one described it, with the causes that it had there."""
    return error.links if isinstance(error, RankError) else [_describe(error)]


def _describe(error: BaseException) -> dict[str, Any]:
    kind = type(error)
    text = "".join(traceback.format_exception(kind, error, error.__traceback__, chain=False))
    described: dict[str, Any] = {
        "type": kind.__qualname__,
        "module": kind.__module__,
        "message": _message(error),
        "traceback": text[-MAX_TRACEBACK_CHARACTERS:],
    }
    if isinstance(error, MiloraError):
        return described | {"code": error.code, "details": _plain(error.details)}
    if _is_out_of_memory(error):
        return described | {"code": "memory/exhausted", "details": {"hint": _MEMORY_HINT}}
    if _is_full_disk(error):
        details = {"hint": _DISK_HINT}
        file = getattr(error, "filename", None)
        return described | {"code": "run/disk", "details": details | ({"file": str(file)} if file else {})}
    return described


def _message(error: BaseException) -> str:
    try:
        return str(error) or type(error).__qualname__
    except Exception:  # noqa: BLE001 - the str() of a foreign exception may itself fail, in any way
        return type(error).__qualname__


def _plain(details: dict[str, object]) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, value in details.items():
        if isinstance(value, (list, tuple)):
            plain[key] = [str(item) for item in value]
        else:
            plain[key] = value if isinstance(value, int) or value is None else str(value)
    return plain


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    # torch's CPU allocator raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)


def _is_full_disk(error: BaseException) -> bool:
    for link in _chain(error):
        if isinstance(link, OSError) and link.errno in _FULL:
            return True
        # safetensors writes in Rust: its error has no errno.
        if type(link).__name__ == "SafetensorError" and "No space left on device" in str(link):
            return True
    return False
