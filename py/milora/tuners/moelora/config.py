"""The config of a MOELoRA adapter."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from milora.tuners.base import PlannedConfig, is_positive


@dataclass
class MoeloraConfig(PlannedConfig):
    """The config of a MOELoRA adapter, one to one with ``ts/spec/adapters/moelora.ts``.

    Args:
        r: Columns of A, of all a module's experts together.
        lora_alpha: The update's scale is alpha / r.
        lora_dropout: Dropout on the adapter's input in training.
        experts: Experts of a module; each has r / experts ranks.
        top_k: Experts active for a token.
    """

    type_name: ClassVar[str] = "MILORA_MOELORA"

    r: int = field(default=32)
    lora_alpha: float = field(default=32.0)
    lora_dropout: float = field(default=0.0)
    experts: int = field(default=8)
    top_k: int = field(default=4)

    def problems(self) -> list[str]:
        """What contradicts itself, one sentence each."""
        own = [
            f"{name} is {getattr(self, name)!r}; it must be a whole number of at least 1."
            for name in ("r", "experts", "top_k")
            if not is_positive(getattr(self, name))
        ]
        if not own and self.r % self.experts:
            own.append(f"r is {self.r}; it must be a multiple of experts, {self.experts}.")
        if not own and self.top_k > self.experts:
            own.append(f"top_k is {self.top_k}; allowed: 1 to experts, {self.experts}.")
        return own + super().problems()
