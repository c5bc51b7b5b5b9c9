"""Saved AdaLoRA adapters whose least important singular values are left out."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Mapping, Sequence

import torch
from peft import AdaLoraConfig
from peft.config import PeftConfig
from torch import Tensor

# What PEFT and torch say of every module that lost all its values, or of the pattern itself: nothing is amiss.
_FALSE_ALARMS = (
    r"Adapter .* LoRA tensor\(s\) have invalid shape",
    "The following rank_pattern keys did not match any targeted module",
    "Initializing zero-element tensors is a no-op",
)
_STANDARD_DEVIATION = 0.02
"""Of new singular vectors, as PEFT draws them."""


@contextlib.contextmanager
def no_false_alarms(config: PeftConfig) -> Iterator[None]:
    """Inside, the warnings that a pruned AdaLoRA adapter brings about are not shown; all others are."""
    with warnings.catch_warnings():
        for message in _FALSE_ALARMS if isinstance(config, AdaLoraConfig) else ():
            warnings.filterwarnings("ignore", message=message)
        yield


def unpruned(tensors: Mapping[str, Tensor], pattern: Mapping[str, Sequence[bool]]) -> dict[str, Tensor]:
    """The same adapter with all its singular values again, those left out zero between new singular vectors.

    It computes what it did, and what was left out can grow again.

    Args:
        tensors: By the keys of the adapter's file.
        pattern: The config's ``rank_pattern``: for each module which values were kept.
    """
    whole = dict(tensors)
    generator = torch.Generator().manual_seed(0)
    for name, kept in pattern.items():
        module = f"base_model.model.{name.removesuffix('.lora_E')}"
        places = torch.tensor(kept, dtype=torch.bool)
        for part, dim in (("lora_A", 0), ("lora_B", 1), ("lora_E", 0)):
            found = tensors[f"{module}.{part}"]
            shape = list(found.shape)
            shape[dim] = len(kept)
            fresh = torch.randn(shape, generator=generator) * (0.0 if part == "lora_E" else _STANDARD_DEVIATION)
            whole[f"{module}.{part}"] = fresh.to(found).index_copy(dim, places.nonzero().flatten(), found)
    return whole
