"""A frozen base of which each rank holds a part: FSDP2 over its decoder layers.

A layer's weights are gathered for its own forward and backward pass and let go of behind each. All ranks must make the
same passes in the same order, for each takes part in every gathering.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
import torch.distributed as distributed
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from milora.models.answer_head import causal_model, decoder_of
from milora.models.describe import decoder_layers

SHARDED_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1048576"}
"""Variables of a process that holds a part: on a CPU glibc then gives a layer's memory back at once, in place of
keeping ever more of it."""


def shard_base(model: nn.Module, device: torch.device) -> None:
    """Leaves this rank its part of each decoder layer; embeddings, last norm and head stay whole on every rank.

    Args:
        model: A frozen causal language model without adapters, on the CPU.
        device: Where it goes, a layer at a time, so that the device never holds it whole.
    """
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    decoder = decoder_of(model)
    _, layers = decoder_layers(model)
    for layer in layers:
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    sharded = set(layers.parameters())
    outside = {parameter for parameter in decoder.parameters() if parameter not in sharded}
    # The one that is called first: it tells the layers where a pass begins and ends.
    fully_shard(decoder, mesh=mesh, reshard_after_forward=True, ignored_params=outside)
    model.to(device)


def is_sharded(model: nn.Module) -> bool:
    """Whether the model's base is held in parts."""
    return any(isinstance(layer, FSDPModule) for layer in _layers(model))


def own_part(parameter: Tensor) -> Tensor:
    """What this rank holds of a parameter: rows that follow those of the rank before, or all of it."""
    return parameter.to_local() if isinstance(parameter, DTensor) else parameter


@contextlib.contextmanager
def whole_base(model: nn.Module) -> Iterator[None]:
    """Inside, every rank holds the whole base, for what reads weights outside a pass; no pass is made here."""
    sharded = [layer for layer in _layers(model) if isinstance(layer, FSDPModule)]
    for layer in sharded:
        layer.unshard()
    try:
        yield
    finally:
        for layer in sharded:
            layer.reshard()


def _layers(model: nn.Module) -> nn.ModuleList:
    return decoder_layers(causal_model(model))[1]
