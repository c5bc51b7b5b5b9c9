"""Small facts about torch and transformers that routing depends on."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from milora.errors import MiloraError

CACHE_NAMES = ("cache", "past_key_values", "past_key_value", "layer_past")
"""The names under which transformers has passed the KV cache; 5.24 renames it."""


def find_cache(args: Sequence[object], kwargs: Mapping[str, object]) -> object | None:
    """The KV cache among a call's arguments, or None."""
    for name in CACHE_NAMES:
        if kwargs.get(name) is not None:
            return kwargs[name]
    return next((value for value in args if hasattr(value, "get_seq_length")), None)


def cache_length(cache: object, layer: int = 0) -> int:
    """Tokens that a KV cache holds for a layer. A static cache keeps it as a tensor: one read from the device."""
    length = getattr(cache, "get_seq_length", None)
    if length is None:
        raise MiloraError(
            "adapter/unsupported",
            f"Found a KV cache of type {type(cache).__name__}; a routed adapter needs a transformers Cache.",
        )
    return int(length(layer))


def in_backward() -> bool:
    """True while autograd runs a backward pass: gradient checkpointing is recomputing a layer."""
    return torch._C._current_graph_task_id() != -1


def refuse_reentrant_checkpointing(layer: nn.Module) -> None:
    """Raises where a decoder layer would be checkpointed reentrantly: the gates' gradient would be lost.

    Raises:
        MiloraError: ``adapter/unsupported``.
    """
    if not (layer.training and getattr(layer, "gradient_checkpointing", False)):
        return
    function = getattr(layer, "_gradient_checkpointing_func", None)
    if isinstance(function, functools.partial) and not function.keywords.get("use_reentrant", True):
        return
    raise reentrant_checkpointing_refused()


def reentrant_checkpointing_refused() -> MiloraError:
    """The error for gradient checkpointing whose forward pass makes no graph, so that a router's part is lost."""
    return MiloraError(
        "adapter/unsupported",
        "Reentrant gradient checkpointing gives a routed adapter wrong gradients. Enable it with "
        'gradient_checkpointing_kwargs={"use_reentrant": False}.',
    )


def remove_hooks(module: nn.Module, owner: object) -> None:
    """Removes the forward hooks of a module that are bound methods of ``owner``."""
    groups = (
        (module._forward_pre_hooks, (module._forward_pre_hooks_with_kwargs,)),
        (module._forward_hooks, (module._forward_hooks_with_kwargs, module._forward_hooks_always_called)),
    )
    for hooks, extras in groups:
        for key in [key for key, hook in hooks.items() if getattr(hook, "__self__", None) is owner]:
            del hooks[key]
            for extra in extras:
                extra.pop(key, None)
