"""A routing decision: which experts of a layer a prompt uses and with which gates, and where it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from milora.routing.kept_rows import keep_rows, kept_rows


@dataclass
class LayerDecision:
    """What the experts of one layer read in a forward pass.

    ``gates``: [rows, experts]; None: 1 for the chosen experts of every row (a fixed policy). ``chosen``: the experts
    that any row uses, known on the host in decoding and with a fixed policy only; None means: compute all of them
    (prefill and training, where reading it would synchronise with the device). ``zero_is_constant``: a gate of 0 has
    no gradient, so that the rows that have it may be left out.
    """

    gates: Tensor | None
    chosen: frozenset[int] | None = None
    zero_is_constant: bool = False


@dataclass
class PromptDecision:
    """One adapter's decision for the prompts of one KV cache, by layer."""

    gates: dict[int, Tensor] = field(default_factory=dict)
    chosen: dict[int, frozenset[int]] | None = None

    def put(self, layer: int, gates: Tensor) -> None:
        """Keeps a layer's gates at prefill; a decision read to the host earlier is void."""
        self.gates[layer] = gates
        self.chosen = None

    def select_rows(self, rows: Tensor) -> None:
        """Becomes the decision of ``rows``, indices that may repeat, [new rows]."""
        self.gates = {layer: gates.index_select(0, rows.to(gates.device)) for layer, gates in self.gates.items()}
        self.chosen = None

    def layer(self, layer: int) -> LayerDecision:
        """A layer's decision for decoding; the first call reads all layers to the host at once."""
        if self.chosen is None:
            self.chosen = self._read()
        return LayerDecision(self.gates[layer], self.chosen[layer])

    def _read(self) -> dict[int, frozenset[int]]:
        layers = list(self.gates)
        device = self.gates[layers[0]].device
        used = [(self.gates[layer].detach() != 0).any(dim=0).to(device) for layer in layers]
        rows = stack_experts(used).tolist()
        chosen = [frozenset(index for index, use in enumerate(row) if use) for row in rows]
        return dict(zip(layers, chosen, strict=True))


def stack_experts(tensors: list[Tensor]) -> Tensor:
    """Stacks tensors of several layers along a new dimension before the last; fewer experts are padded with zeros."""
    most = max(tensor.shape[-1] for tensor in tensors)
    padded = [functional.pad(tensor, (0, most - tensor.shape[-1])) for tensor in tensors]
    return torch.stack(padded, dim=-2)


def cached_decision(cache: object, adapter: str) -> PromptDecision | None:
    """The adapter's decision on a KV cache, or None."""
    return kept_rows(cache, PromptDecision, adapter)


def keep_decision(cache: object, adapter: str) -> PromptDecision:
    """The adapter's decision on a KV cache, made empty where there is none."""
    return keep_rows(cache, PromptDecision, adapter, PromptDecision)
