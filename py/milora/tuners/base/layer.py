"""The layers of an adapter: one that wraps a linear module, one that is a child of a block and hooks into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from milora.tuners.base.config import PlannedConfig, Site

BLOCK_ATTRIBUTE = "block_adapter"
"""A block adapter's name in its block; without the prefix, by which PEFT would skip it when deleting adapters."""


def trainable_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of trainables over a base of ``dtype``: float32, or float64 over float64."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def new_parameter(value: Tensor, like: Tensor) -> nn.Parameter:
    """A trainable parameter of the value, on the device of the base's ``like`` and in the dtype of trainables.

    Values are drawn on the CPU, so that a seed means the same everywhere.
    """
    device = torch.device("cpu") if like.device.type == "meta" else like.device
    return nn.Parameter(value.to(device=device, dtype=trainable_dtype(like.dtype)))


class AdapterLayer(nn.Module, BaseTunerLayer):
    """What a method puts at one place of a model, for each of its adapters.

    A method lists its containers in ``adapter_layer_names`` (names start with the method's prefix), and says in
    :meth:`add_parameters` what a new adapter holds and in :meth:`adapt` what it does. Parameters in the containers of
    ``validation_layer_names`` are trained on D_val (Θ), those of ``router_layer_names`` are counted as routers.
    """

    validation_layer_names: tuple[str, ...] = ()
    router_layer_names: tuple[str, ...] = ()
    other_param_names = ("adapter_sites",)

    def __init__(self) -> None:
        super().__init__()
        self.adapter_sites: dict[str, tuple[PlannedConfig, Site]] = {}
        for name in self.adapter_layer_names:
            setattr(self, name, nn.ParameterDict())
        self._disable_adapters = False
        self.merged_adapters: list[str] = []

    def add_adapter(self, adapter: str, config: Any, site: Site, like: Tensor, *, inference_mode: bool) -> None:
        """Adds an adapter; ``like`` is a weight of the base at this place."""
        self.adapter_sites[adapter] = (config, site)
        self.add_parameters(adapter, config, site, like)
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def add_parameters(self, adapter: str, config: Any, site: Site, like: Tensor) -> None:
        """Makes a new adapter's parameters with :func:`new_parameter`."""
        raise NotImplementedError

    def adapt(self, adapter: str, x: Tensor, output: Tensor) -> Tensor:
        """The place's output with the adapter, from its input [B, T, in] and its output so far [B, T, out]."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return "milora." + super().__repr__()


class LinearAdapter(AdapterLayer):
    """An adapter on a linear module: ``y = adapt(…adapt(base(x)))`` over the active adapters."""

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The module's output for inputs [B, T, in] (or [B, in])."""
        output: Tensor = self.base_layer(x, *args, **kwargs)
        for adapter in active_adapters_of(self):
            output = self.adapt(adapter, x, output).to(output.dtype)
        return output


class BlockAdapter(AdapterLayer):
    """An adapter of a block (attention or FFN): a child of the block that hooks into it; the block is never wrapped.

    Input and output of :meth:`adapt` are the block's, both [B, T, D]. A method that needs more than the block's
    forward hook overrides :meth:`attach`.
    """

    @property
    def weight(self) -> Tensor:
        """A block adapter wraps no module; without this, PEFT's property would look for a base layer for ever."""
        raise AttributeError("a block adapter has no weight")

    @property
    def bias(self) -> Tensor:
        """As :attr:`weight`."""
        raise AttributeError("a block adapter has no bias")

    def attach(self, model: nn.Module, layer: nn.Module, block: nn.Module, site: Site) -> None:
        """Registers the hooks, as bound methods of this object; called once, when the child is made."""
        block.register_forward_hook(self.after_block, with_kwargs=True)

    def after_block(self, block: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> Any:
        """The block's forward hook; an attention block's output is a tuple whose first entry is the states."""
        adapters = active_adapters_of(self)
        if not adapters:
            return None
        x = args[0] if args else kwargs["hidden_states"]
        states: Tensor = output[0] if isinstance(output, tuple) else output
        for adapter in adapters:
            states = self.adapt(adapter, x, states).to(states.dtype)
        return (states, *output[1:]) if isinstance(output, tuple) else states


def active_adapters_of(layer: AdapterLayer) -> list[str]:
    """The adapters that act in a forward pass, in order; none where they are disabled."""
    if layer.disable_adapters:
        return []
    return [name for name in layer.active_adapters if name in layer.adapter_sites]
