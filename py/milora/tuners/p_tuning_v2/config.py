"""The config of a P-tuning v2 adapter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from milora.tuners.base import PlannedConfig, is_positive


@dataclass
class PTuningV2Config(PlannedConfig):
    """The config of a P-tuning v2 adapter, one to one with ``ts/spec/adapters/p-tuning-v2.ts``.

    Args:
        tokens: Soft tokens of a layer.
        embedding: Width of their embedding, which is projected to the hidden size.
    """

    type_name: ClassVar[str] = "MILORA_P_TUNING_V2"
    site_kind: ClassVar[Literal["linear", "block"]] = "block"

    tokens: int = field(default=16)
    embedding: int = field(default=640)

    def problems(self) -> list[str]:
        """What contradicts itself, one sentence each."""
        own = [
            f"{name} is {getattr(self, name)!r}; it must be a whole number of at least 1."
            for name in ("tokens", "embedding")
            if not is_positive(getattr(self, name))
        ]
        return own + super().problems()
