"""The config of an IAPT adapter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from milora.tuners.base import PlannedConfig, is_positive


@dataclass
class IaptConfig(PlannedConfig):
    """The config of an IAPT adapter, one to one with ``ts/spec/adapters/iapt.ts``.

    Args:
        tokens: Soft tokens of a layer.
        bottleneck: Width between W_down and W_up.
    """

    type_name: ClassVar[str] = "MILORA_IAPT"
    site_kind: ClassVar[Literal["linear", "block"]] = "block"

    tokens: int = field(default=4)
    bottleneck: int = field(default=320)

    def problems(self) -> list[str]:
        """What contradicts itself, one sentence each."""
        own = [
            f"{name} is {getattr(self, name)!r}; it must be a whole number of at least 1."
            for name in ("tokens", "bottleneck")
            if not is_positive(getattr(self, name))
        ]
        return own + super().problems()
