"""The engine's adapters by name and version: on the device within a budget, the others parked.

A version stays here while it has its name or a request, and is forgotten with the last of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor

from milora.engine.fused.parking import park, unpark
from milora.engine.fused.resident import ResidentAdapter, read_resident, resident_bytes
from milora.engine.fused.sites import Sites
from milora.errors import MiloraError


@dataclass(frozen=True)
class AdapterInfo:
    """A version of an adapter.

    ``version``: the number of the load that brought it, from 1. ``resident``: on the device now. ``requests``: those
    that wait or run with it. ``unloading``: its name is gone or another's, and its requests are the last ones.
    """

    name: str
    version: int
    num_bytes: int
    resident: bool
    pinned: bool
    requests: int
    unloading: bool


@dataclass
class _Version:
    number: int
    pinned: bool
    last_use: int = 0
    parked: Tensor | None = None


class AdapterStore:
    """Adapters on one decoder.

    Args:
        sites: The decoder's modules.
        budget: Bytes that adapters may take on the device; None: no bound.
    """

    def __init__(self, sites: Sites, budget: int | None) -> None:
        self._sites = sites
        self._budget = budget
        self._named: dict[str, ResidentAdapter] = {}
        self._versions: WeakKeyDictionary[ResidentAdapter, _Version] = WeakKeyDictionary()
        self._num_loads = 0
        self._num_uses = 0

    @property
    def names(self) -> tuple[str, ...]:
        """Of the loaded adapters."""
        return tuple(self._named)

    def load(
        self,
        name: str,
        config: dict[str, Any],
        tensors: dict[str, Tensor],
        *,
        pinned: bool,
        in_use: Collection[ResidentAdapter],
    ) -> ResidentAdapter:
        """Takes an adapter in, in place of one of that name, which stays with the requests that have it.

        Where adapters with requests, ``in_use``, leave no room, it is parked until its own first request.

        Raises:
            MiloraError: ``memory/exhausted`` for one that the budget could never hold; those of
                :func:`milora.engine.fused.resident.read_resident`. The one that had the name keeps it.
        """
        num_bytes = resident_bytes(tensors, self._sites.dtype)
        replaced = self._named.get(name)
        self._check_budget(name, num_bytes, pinned, None if replaced in in_use else replaced)
        has_room = self._make_room(num_bytes, in_use, replaced)
        adapter = read_resident(self._sites, name, config, tensors)
        parked = None if has_room else park(adapter.tensors)
        if replaced is not None:
            self._versions[replaced].pinned = False
        self._num_loads += 1
        self._named[name] = adapter
        self._versions[adapter] = _Version(self._num_loads, pinned, parked=parked)
        self.use([adapter])
        return adapter

    def unload(self, name: str) -> None:
        """Lets go of a name; the adapter stays with the requests that have it.

        Raises:
            MiloraError: ``adapter/not-found``.
        """
        self._versions[self.named(name)].pinned = False
        del self._named[name]

    def named(self, name: str) -> ResidentAdapter:
        """The adapter that has a name now.

        Raises:
            MiloraError: ``adapter/not-found``.
        """
        if name in self._named:
            return self._named[name]
        known = ", ".join(self._named) or "none"
        close = get_close_matches(name, self._named, n=1)
        if any(adapter.name == name for adapter in self._versions):
            reason, hint = "it is being unloaded, and only requests under way still have it", "Load it again first."
        else:
            reason, hint = "there is none of that name", "Load the adapter into the engine first."
            hint = f"Did you mean {close[0]!r}?" if close else hint
        message = f"The engine has no adapter {name!r}: {reason}; loaded: {known}. {hint}"
        raise MiloraError("adapter/not-found", message, found=name, allowed=known, hint=hint)

    def bring(self, adapter: ResidentAdapter, in_use: Collection[ResidentAdapter]) -> bool:
        """Sees to it that an adapter is on the device; False where those ``in_use`` leave no room."""
        version = self._versions[adapter]
        if version.parked is not None:
            if not self._make_room(adapter.num_bytes, in_use):
                return False
            unpark(adapter.tensors, version.parked)
            version.parked = None
        return True

    def use(self, adapters: Collection[ResidentAdapter]) -> None:
        """Takes down that adapters were in use until now."""
        self._num_uses += 1
        for adapter in adapters:
            self._versions[adapter].last_use = self._num_uses

    def infos(self, requests: Mapping[ResidentAdapter, int]) -> tuple[AdapterInfo, ...]:
        """The versions that have a name or requests, in the order in which they were loaded, told those requests."""
        return tuple(
            AdapterInfo(
                name=adapter.name,
                version=version.number,
                num_bytes=adapter.num_bytes,
                resident=version.parked is None,
                pinned=version.pinned,
                requests=requests.get(adapter, 0),
                unloading=self._named.get(adapter.name) is not adapter,
            )
            for adapter, version in list(self._versions.items())
            if self._named.get(adapter.name) is adapter or adapter in requests
        )

    def _make_room(
        self, num_bytes: int, in_use: Collection[ResidentAdapter], replaced: ResidentAdapter | None = None
    ) -> bool:
        """Parks the least recently used adapters until so many bytes are free, or none if that would not do."""
        if self._budget is None:
            return True
        resident = [(adapter, version) for adapter, version in self._versions.items() if version.parked is None]
        excess = sum(adapter.num_bytes for adapter, _ in resident) + num_bytes - self._budget
        idle = [
            (adapter, version)
            for adapter, version in resident
            if adapter not in in_use and (adapter is replaced or not version.pinned)
        ]
        if excess > sum(adapter.num_bytes for adapter, _ in idle):
            return False
        for adapter, version in sorted(idle, key=lambda pair: pair[1].last_use):
            if excess <= 0:
                break
            version.parked = park(adapter.tensors)
            excess -= adapter.num_bytes
        return True

    def _check_budget(self, name: str, num_bytes: int, pinned: bool, forgotten: ResidentAdapter | None) -> None:
        """Refuses what would leave some adapter without any chance to come to the device."""
        if self._budget is None:
            return
        sizes = {True: [0], False: [0]}
        sizes[pinned].append(num_bytes)
        for adapter, version in self._versions.items():
            if adapter is not forgotten:
                sizes[version.pinned and adapter.name != name].append(adapter.num_bytes)
        fixed, largest = sum(sizes[True]), max(sizes[False])
        if fixed + largest <= self._budget:
            return
        raise MiloraError(
            "memory/exhausted",
            f"With the adapter {name!r} of {num_bytes} bytes, pinned adapters take {fixed} bytes and the largest "
            f"other one {largest}; adapterMemory is {self._budget} bytes.",
            found=str(fixed + largest),
            allowed=str(self._budget),
            hint="Give the engine a larger adapterMemory, or pin fewer adapters.",
        )
