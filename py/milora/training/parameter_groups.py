"""Parameters of Ω that are stepped otherwise than the rest: LoRA+'s B matrices, and those without weight decay."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from milora.errors import MiloraError

# PEFT's name of a LoRA's B matrix, and those of our methods that are made of LoRA modules.
_B_CONTAINERS = {"lora_B", "milora_prompt_up", "milora_moelora_up", "milora_ssp_up"}


def lora_plus_factors(parameters: Mapping[str, nn.Parameter], adapter: str, ratio: float) -> dict[str, float]:
    """The factor of the rate of each B matrix of a LoRA (LoRA+, Hayou et al. 2024); nothing for the ratio 1.

    Raises:
        MiloraError: ``adapter/unsupported`` for an adapter without such matrices.
    """
    if ratio == 1:
        return {}
    factors = {name: ratio for name in parameters if not _B_CONTAINERS.isdisjoint(name.split("."))}
    if not factors:
        message = f"The adapter {adapter!r} has no LoRA B matrices that LoRA+ could give another learning rate."
        hint = "Set train.loraPlusRatio to 1, or use a method of the LoRA family."
        raise MiloraError("adapter/unsupported", message, path="train.loraPlusRatio", found=str(ratio), hint=hint)
    return factors


def vectors(parameters: Mapping[str, nn.Parameter]) -> list[str]:
    """Names of the parameters with fewer than two dimensions: biases, scales."""
    return [name for name, parameter in parameters.items() if parameter.dim() < 2]
