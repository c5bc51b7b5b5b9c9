"""The parameters of one adapter: which there are, how many, and how bi-level training splits them."""

from __future__ import annotations

from collections.abc import Iterator

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from torch.nn import Parameter

from milora.tuners.milora import MiloraLinear, MiloraRouter

_ACTIVATION_CONTAINERS = ("milora_prompt_numerator", "milora_prompt_denominator")


def split_parameters(model: nn.Module, adapter: str) -> tuple[dict[str, Parameter], dict[str, Parameter]]:
    """Splits what trains of an adapter for bi-level training (the paper, section 3.4): Ω and Θ.

    Parameters that :func:`freeze_experts` froze are in neither.

    Returns:
        Ω (all but the activations' coefficients) and Θ (the coefficients; empty where no activation is learned), by
        full name in the model's order.
    """
    omega: dict[str, Parameter] = {}
    theta: dict[str, Parameter] = {}
    for name, container, _, parameter in _adapter_parameters(model, adapter):
        (theta if container in _ACTIVATION_CONTAINERS else omega)[name] = parameter
    return omega, theta


def count_parameters(model: nn.Module, adapter: str) -> dict[str, int]:
    """Counts what trains: ``trainable`` all, ``router`` W_sa and W_r, ``activation`` the coefficients."""
    counts = {"trainable": 0, "router": 0, "activation": 0}
    for _, container, layer, parameter in _adapter_parameters(model, adapter):
        counts["trainable"] += parameter.numel()
        if container in _ACTIVATION_CONTAINERS:
            counts["activation"] += parameter.numel()
        elif isinstance(layer, MiloraRouter):
            counts["router"] += parameter.numel()
    return counts


def freeze_experts(model: nn.Module, adapter: str) -> None:
    """Freezes an adapter's experts for good, so that only its routers train, whatever PEFT activates later."""
    for module in model.modules():
        if not isinstance(module, MiloraLinear) or adapter not in module.milora_prompt_settings:
            continue
        # PEFT keeps what an adapter declares as not trainable, in an attribute of the class until one is set.
        module.frozen_peft_weight_names = {
            **module.frozen_peft_weight_names,
            adapter: MiloraLinear.adapter_layer_names,
        }
        module.set_requires_grad(adapter, False)


def _adapter_parameters(model: nn.Module, adapter: str) -> Iterator[tuple[str, str, nn.Module, Parameter]]:
    """Full name, container, tuner layer and parameter, for each parameter of an adapter that is not frozen."""
    for path, layer in model.named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        assert isinstance(layer, nn.Module)
        for container_name in layer.adapter_layer_names:
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
