"""Adapter names that PEFT can hold without losing weights."""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import nn

from milora.errors import MiloraError

_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")

_OWN_COMPONENTS: tuple[str, ...] = (
    "base_layer",
    "prompt_router",
    "block_adapter",
    "lora_A",
    "lora_B",
    "lora_E",
    "ranknum",
    "lora_dropout",
    "lora_embedding_A",
    "lora_embedding_B",
    "lora_magnitude_vector",
    "modules_to_save",
    "original_module",
    "base_model",
    "weight",
    "bias",
)


def check_adapter_name(model: nn.Module, name: str, prefix: str, others: Iterable[str] = ()) -> None:
    """Raises where PEFT would mix the name up with a part of a parameter's path and lose weights on saving.

    Args:
        model: The base model, with or without adapters.
        name: The new adapter's name.
        prefix: What PEFT tells the weights of the adapter's method by.
        others: The names of the adapters that the model has.

    Raises:
        MiloraError: ``adapter/bad-name``.
    """
    others = set(others)
    if not _PATTERN.fullmatch(name):
        raise _bad(name, "it has other characters than letters, digits, - and _, or does not start with one")
    if name in others:
        raise _bad(name, "the model already has an adapter of this name")
    if name in prefix or name.startswith(prefix):
        raise _bad(name, f"it is a part of {prefix}, by which PEFT tells its weights, or begins with it")
    if hasattr(nn.ParameterDict, name) or hasattr(nn.ModuleDict, name):
        raise _bad(name, "torch's containers use it themselves")
    components: set[str] = set(_OWN_COMPONENTS)
    for path, _ in model.named_modules():
        components.update(path.split("."))
    for path, _ in model.named_parameters():
        components.update(path.split("."))
    if name in components - others:
        raise _bad(name, "a module or parameter of the model has this name, and PEFT would lose weights on saving")


def _bad(name: str, reason: str) -> MiloraError:
    return MiloraError(
        "adapter/bad-name",
        f"An adapter cannot be named {name!r}: {reason}. Choose another name, such as 'my-adapter'.",
        found=name,
    )
