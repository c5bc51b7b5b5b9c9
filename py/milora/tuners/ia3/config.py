"""The config of an (IA)³ adapter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from milora.tuners.base import PlannedConfig, is_positive


@dataclass
class Ia3Config(PlannedConfig):
    """The config of an (IA)³ adapter, one to one with ``ts/spec/adapters/ia3.ts``.

    Args:
        vector: Dimension of v.
    """

    type_name: ClassVar[str] = "MILORA_IA3"

    vector: int = field(default=128)

    def problems(self) -> list[str]:
        """What contradicts itself, one sentence each."""
        own = (
            []
            if is_positive(self.vector)
            else [f"vector is {self.vector!r}; it must be a whole number of at least 1."]
        )
        return own + super().problems()
