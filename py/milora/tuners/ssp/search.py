"""The search's part in a forward pass: the gates of all candidates at once, because one budget binds them.

It is a hook of the decoder and holds nothing: a deep copy of the model needs nothing of its own.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from milora.models import decoder_of
from milora.tuners.base.layer import active_adapters_of
from milora.tuners.ssp.budget import draw_gates, keep_logits
from milora.tuners.ssp.config import SspConfig
from milora.tuners.ssp.layer import SspLinear


def install_search(model: nn.Module) -> None:
    """Makes a causal language model set the gates of its searching adapters before each forward pass; once."""
    decoder = decoder_of(model)
    if set_gates not in decoder._forward_pre_hooks.values():
        decoder.register_forward_pre_hook(set_gates)


def remove_search(model: nn.Module) -> None:
    """Undoes :func:`install_search`."""
    hooks = decoder_of(model)._forward_pre_hooks
    for key in [key for key, hook in hooks.items() if hook is set_gates]:
        del hooks[key]


def set_gates(decoder: nn.Module, args: object) -> None:
    """The decoder's pre-hook: in training drawn gates, one a candidate for all rows; in evaluation their p.

    A layer that gradient checkpointing recomputes finds the gates of its forward pass.
    """
    members: dict[str, list[SspLinear]] = {}
    for layer in decoder.modules():
        if isinstance(layer, SspLinear):
            for adapter in active_adapters_of(layer):
                if adapter in layer.milora_ssp_structure:
                    members.setdefault(adapter, []).append(layer)
    for adapter, layers in members.items():
        logits = search_logits(layers, adapter)
        gates = draw_gates(logits) if decoder.training else torch.sigmoid(logits)
        # One transfer for all.
        gates = gates.to(layers[0].milora_ssp_structure[adapter])
        for layer, of_layer in zip(layers, gates, strict=True):
            layer.gates[adapter] = of_layer


def search_logits(layers: list[SspLinear], adapter: str) -> Tensor:
    """The logit of p of every candidate, [modules, 2], float64, on the CPU: one read from the device."""
    config, _ = layers[0].adapter_sites[adapter]
    assert isinstance(config, SspConfig)
    assert config.budget is not None
    sizes = torch.tensor([config.sizes(layer.adapter_sites[adapter][1]) for layer in layers], dtype=torch.float64)
    return keep_logits(structure_of(layers, adapter), sizes, config.budget, config.temperature)


def structure_of(layers: list[SspLinear], adapter: str) -> Tensor:
    """α of every candidate, [modules, 2], float64, on the CPU."""
    held = [layer.milora_ssp_structure[adapter] for layer in layers]
    # A model over several devices has them on several.
    return torch.stack([structure.to(held[0].device) for structure in held]).to("cpu").double()
