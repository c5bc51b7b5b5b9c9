"""The config of a Parallel-Adapter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from milora.tuners.base import PlannedConfig, is_positive


@dataclass
class ParallelAdapterConfig(PlannedConfig):
    """The config of a Parallel-Adapter, one to one with ``ts/spec/adapters/parallel-adapter.ts``.

    Args:
        bottleneck: Width between W_down and W_up.
        scale: s, by which the adapter's output is scaled.
    """

    type_name: ClassVar[str] = "MILORA_PARALLEL_ADAPTER"
    site_kind: ClassVar[Literal["linear", "block"]] = "block"

    bottleneck: int = field(default=160)
    scale: float = field(default=4.0)

    def problems(self) -> list[str]:
        """What contradicts itself, one sentence each."""
        own: list[str] = []
        if not is_positive(self.bottleneck):
            own.append(f"bottleneck is {self.bottleneck!r}; it must be a whole number of at least 1.")
        if not is_positive(self.scale, (int, float)):
            own.append(f"scale is {self.scale!r}; it must be above 0.")
        return own + super().problems()
