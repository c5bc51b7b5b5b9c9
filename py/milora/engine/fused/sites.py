"""Where adapters sit on a decoder, whichever way the engine runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Slot:
    """Where a module's output stands in its group's: columns from ``start`` to ``stop``."""

    group: int
    start: int
    stop: int


@dataclass(frozen=True)
class Site:
    """A linear module; ``weight`` gives its weight, [out, in], out of whatever form it is held in."""

    slot: Slot
    in_features: int
    weight: Callable[[], Tensor]
    bias: Tensor | None


@dataclass(frozen=True)
class Sites:
    """A decoder's linear modules.

    ``layer_paths``: full paths, by which adapters name layers. ``layers``: of each, the sites by their path in it.
    ``num_groups``: modules of one group share an input and are computed as one product.
    """

    layer_paths: tuple[str, ...]
    layers: tuple[Mapping[str, Site], ...]
    num_groups: int
    vocabulary: int
    dtype: torch.dtype
    device: torch.device
