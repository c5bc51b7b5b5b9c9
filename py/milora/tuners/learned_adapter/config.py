"""The config of a Learned-Adapter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import NoneType
from typing import ClassVar, Literal

from milora.tuners.base import PlannedConfig, is_positive

PLACEMENTS = ("sequential", "parallel")
ACTIVATIONS = ("identity", "relu", "gelu", "silu", "tanh", "rational")
SKIP = "skip"

ARCHITECTURES = (*(f"{placement}-{activation}" for placement in PLACEMENTS for activation in ACTIVATIONS), SKIP)
"""Every architecture that a place can have, in the order of its architecture weights."""


@dataclass
class LearnedAdapterConfig(PlannedConfig):
    """The config of a Learned-Adapter, one to one with ``ts/spec/adapters/learned-adapter.ts``.

    Each place has an ``architecture``, one of :data:`ARCHITECTURES` but skip, or None while it is searched.

    Args:
        bottleneck: Width between W_down and W_up.
    """

    type_name: ClassVar[str] = "MILORA_LEARNED_ADAPTER"
    site_kind: ClassVar[Literal["linear", "block"]] = "block"
    site_fields: ClassVar[Mapping[str, type | tuple[type, ...]]] = {"architecture": (str, NoneType)}

    bottleneck: int = field(default=160)

    def problems(self) -> list[str]:
        """What contradicts itself, one sentence each."""
        own: list[str] = []
        if not is_positive(self.bottleneck):
            own.append(f"bottleneck is {self.bottleneck!r}; it must be a whole number of at least 1.")
        own += super().problems()
        if own:
            return own
        found = {site.settings["architecture"] for site in self.sites.values()}
        unknown = sorted(str(name) for name in found if name is not None and name not in ARCHITECTURES[:-1])
        if unknown:
            own.append(f"architecture is {unknown[0]!r}; allowed: {', '.join(ARCHITECTURES[:-1])}.")
        if None in found and len(found) > 1:
            own.append("Some places have an architecture and some have none; a search is over all of them.")
        return own
