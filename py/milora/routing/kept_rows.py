"""What methods keep of each prompt on its KV cache, and the cache's rows chosen anew together with it.

Kept on the cache no state goes stale, and deep copies carry it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from torch import Tensor

_ATTRIBUTE = "_milora_kept"


class KeptRows(Protocol):
    """Values of an adapter, a row for each row of the cache."""

    def select_rows(self, rows: Tensor) -> None:
        """Becomes the values of ``rows``, indices that may repeat, [new rows]."""
        ...


Kept = TypeVar("Kept", bound=KeptRows)


def kept_rows(cache: object, kind: type[Kept], adapter: str) -> Kept | None:
    """What an adapter keeps of that kind on a KV cache, or None."""
    found = getattr(cache, _ATTRIBUTE, {}).get((kind.__name__, adapter))
    return found if isinstance(found, kind) else None


def keep_rows(cache: object, kind: type[Kept], adapter: str, make: Callable[[], Kept]) -> Kept:
    """As :func:`kept_rows`, made where there is nothing yet."""
    found = kept_rows(cache, kind, adapter)
    if found is not None:
        return found
    by_kind: dict[tuple[str, str], KeptRows] = getattr(cache, _ATTRIBUTE, {})
    setattr(cache, _ATTRIBUTE, by_kind)
    made = by_kind[kind.__name__, adapter] = make()
    return made


def select_cache_rows(cache: Any, rows: Tensor) -> None:
    """Makes a transformers cache that of ``rows``, indices that may repeat, with all that methods keep on it."""
    cache.reorder_cache(rows)
    by_kind: dict[tuple[str, str], KeptRows] = getattr(cache, _ATTRIBUTE, {})
    for kept in by_kind.values():
        kept.select_rows(rows)
