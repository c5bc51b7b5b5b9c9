"""The config of an SSP adapter: a search among candidates, or the kept ones alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from milora.tuners.base import PlannedConfig, Site, is_positive
from milora.tuners.ssp.budget import check_budget


@dataclass
class SspConfig(PlannedConfig):
    """The config of an SSP adapter, one to one with ``ts/spec/adapters/ssp.ts``.

    Each place tells whether it has a LoRA module (``lora``) and a bias (``bias``); in a search both, always.

    Args:
        r: Rank of the LoRA modules.
        lora_alpha: Their scale is lora_alpha / r.
        budget: Parameters that the search may keep; None: the search is over, and the adapter is what it kept.
        temperature: β, by which the differences of the structural parameters count.

    Raises:
        MiloraError: ``input/invalid-spec`` for a budget that no choice of candidates has; else as the base.
    """

    type_name: ClassVar[str] = "MILORA_SSP"
    site_fields: ClassVar[Mapping[str, type | tuple[type, ...]]] = {"lora": bool, "bias": bool}

    r: int = field(default=64)
    lora_alpha: float = field(default=64.0)
    budget: int | None = field(default=None)
    temperature: float = field(default=1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.budget is not None:
            check_budget([size for site in self.sites.values() for size in self.sizes(site)], self.budget)

    def sizes(self, site: Site) -> tuple[int, int]:
        """Parameters of a place's candidates: its LoRA module and its bias."""
        return self.r * (site.in_features + site.out_features), site.out_features

    def problems(self) -> list[str]:
        """What contradicts itself, one sentence each."""
        own = [] if is_positive(self.r) else [f"r is {self.r!r}; it must be a whole number of at least 1."]
        if not is_positive(self.lora_alpha, (int, float)):
            own.append(f"lora_alpha is {self.lora_alpha!r}; it must be above 0.")
        if not is_positive(self.temperature, (int, float)):
            own.append(f"temperature is {self.temperature!r}; it must be above 0.")
        if self.budget is not None and not is_positive(self.budget):
            own.append(f"budget is {self.budget!r}; it must be a whole number of at least 1, or null.")
        return own + super().problems()

    def _layer_problems(self, index: int, layer: Any) -> list[str]:
        problems = super()._layer_problems(index, layer)
        if problems:
            return problems
        needed = "both, lora and bias: in a search both are candidates" if self.budget is not None else "lora or bias"
        enough = all if self.budget is not None else any
        return [
            f"layers[{index}] ({layer['path']}).modules[{place}] must have {needed}."
            for place, module in enumerate(layer["modules"])
            if not enough((module["lora"], module["bias"]))
        ]
