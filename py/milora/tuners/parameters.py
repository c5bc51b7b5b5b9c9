"""The parameters of one adapter: which there are, how many, and how bi-level training splits them."""

from __future__ import annotations

from collections.abc import Iterator

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from torch.nn import Parameter


def split_parameters(model: nn.Module, adapter: str) -> tuple[dict[str, Parameter], dict[str, Parameter]]:
    """Splits what trains of an adapter for bi-level training (the paper, section 3.4): Ω and Θ.

    Frozen parameters are in neither.

    Returns:
        Ω (trained on D_train) and Θ (trained on D_val: what the layers list as ``validation_layer_names``, such as the
        coefficients of MiLoRA's activations; often empty), by full name in the model's order.
    """
    omega: dict[str, Parameter] = {}
    theta: dict[str, Parameter] = {}
    for name, container, layer, parameter in _adapter_parameters(model, adapter):
        (theta if container in _listed(layer, "validation_layer_names") else omega)[name] = parameter
    return omega, theta


def count_parameters(model: nn.Module, adapter: str) -> dict[str, int]:
    """Counts what trains: ``trainable`` all, ``router`` the routers (of MiLoRA W_sa and W_r), ``activation`` Θ."""
    counts = {"trainable": 0, "router": 0, "activation": 0}
    for _, container, layer, parameter in _adapter_parameters(model, adapter):
        counts["trainable"] += parameter.numel()
        if container in _listed(layer, "validation_layer_names"):
            counts["activation"] += parameter.numel()
        elif container in _listed(layer, "router_layer_names"):
            counts["router"] += parameter.numel()
    return counts


def _listed(layer: nn.Module, attribute: str) -> tuple[str, ...]:
    """What a layer of ours lists; PEFT's own list nothing."""
    return getattr(layer, attribute, ())


def _adapter_parameters(model: nn.Module, adapter: str) -> Iterator[tuple[str, str, nn.Module, Parameter]]:
    """Full name, container, tuner layer and parameter, for each parameter of an adapter that is not frozen."""
    for path, layer in model.named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        assert isinstance(layer, nn.Module)
        # PEFT names a DoRA module's magnitudes twice.
        for container_name in dict.fromkeys(layer.adapter_layer_names):
            container = getattr(layer, container_name, None)
            if not isinstance(container, nn.ModuleDict | nn.ParameterDict) or adapter not in container:
                continue
            if container_name in layer.frozen_peft_weight_names.get(adapter, ()):
                continue
            entry = container[adapter]
            name = f"{path}.{container_name}.{adapter}" if path else f"{container_name}.{adapter}"
            if isinstance(entry, Parameter):
                yield name, container_name, layer, entry
            elif isinstance(entry, nn.Module):
                for inner, parameter in entry.named_parameters():
                    yield f"{name}.{inner}", container_name, layer, parameter
