"""``generate`` of a model instance, wrapped so that the routers know where the prompt ends.

Without it a forward pass inside ``generate`` cannot tell the prompt from what was generated (``use_cache=False``),
from a draft (assisted decoding) or from padding (a static cache passes 4-D masks only).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from milora.errors import MiloraError
from milora.routing.context import adapter_names_refused, routing_context
from milora.routing.hooks import cache_length, find_cache


def wrap_generate(model: nn.Module) -> None:
    """Wraps ``generate`` on this instance, once. A partial, not a closure, so that copies and pickles work."""
    if _is_wrapped(model) or not hasattr(model, "generate"):
        return
    original = model.__dict__.get("generate")
    object.__setattr__(model, "generate", functools.partial(generate_with_prompt, model, original))


def unwrap_generate(model: nn.Module) -> None:
    """Restores ``generate`` as it was before :func:`wrap_generate`."""
    if not _is_wrapped(model):
        return
    original = model.__dict__["generate"].args[1]
    object.__delattr__(model, "generate")
    if original is not None:
        object.__setattr__(model, "generate", original)


def _is_wrapped(model: nn.Module) -> bool:
    generate = model.__dict__.get("generate")
    return isinstance(generate, functools.partial) and generate.func is generate_with_prompt


def generate_with_prompt(model: Any, original: Callable[..., Any] | None, *args: Any, **kwargs: Any) -> Any:
    """Calls ``generate`` with the prompt known to the routers.

    Raises:
        MiloraError: ``adapter/unsupported`` for chunked prefill, a paged cache and ``adapter_names``.
    """
    call = original if original is not None else functools.partial(type(model).generate, model)
    context = routing_context(model)
    if context is None:
        return call(*args, **kwargs)
    _refuse_unsupported(model, args, kwargs)
    prompt, given_mask = _prompt_inputs(args, kwargs)
    if prompt is None:
        return call(*args, **kwargs)
    if given_mask is None:
        # Pinned here, by transformers' own rule, so that the routers and the attention agree on the padding.
        given_mask = _mask_by_padding(model, prompt, args, kwargs)
        if prompt.dim() == 2:
            kwargs["attention_mask"] = given_mask
    # A mask longer than the prompt belongs to a continued cache, whose decision is already made.
    mask = given_mask[:, -prompt.shape[1] :] != 0
    with context.generation(mask, continues_earlier_prompt=_continues_earlier_prompt(model, args, kwargs)):
        return call(*args, **kwargs)


def _continues_earlier_prompt(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """True for a cache that holds tokens; an assistant's cache is that of the same prompt, drafted on."""
    cache = find_cache((), kwargs)
    if cache is None or _setting(model, "is_assistant", args, kwargs):
        return False
    return cache_length(cache) > 0


def _setting(model: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A generation setting as ``generate`` resolves it: keyword, generation config of the call, of the model."""
    if kwargs.get(name) is not None:
        return kwargs[name]
    config = kwargs.get("generation_config") or (args[1] if len(args) > 1 else None)
    value = getattr(config, name, None)
    return value if value is not None else getattr(model.generation_config, name, None)


def _refuse_unsupported(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if kwargs.get("adapter_names") is not None:
        raise adapter_names_refused()
    if (size := _setting(model, "prefill_chunk_size", args, kwargs)) is not None:
        raise MiloraError(
            "adapter/unsupported",
            f"prefill_chunk_size={size}: chunked prefill is not possible with a routed adapter, whose decision "
            "depends on the whole prompt. Leave prefill_chunk_size out.",
        )
    if _setting(model, "cache_implementation", args, kwargs) == "paged":
        raise MiloraError(
            "adapter/unsupported", "Continuous batching (a paged cache) is not possible with a routed adapter."
        )


def _prompt_inputs(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor | None, Tensor | None]:
    inputs = kwargs.get("inputs_embeds")
    if inputs is None:
        inputs = args[0] if args and args[0] is not None else kwargs.get("inputs", kwargs.get("input_ids"))
    mask = kwargs.get("attention_mask")
    return (inputs if isinstance(inputs, Tensor) else None), (mask if isinstance(mask, Tensor) else None)


def _mask_by_padding(model: Any, prompt: Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """Padding is told from the pad token only where it is not also an end token."""
    ones = torch.ones(prompt.shape[:2], dtype=torch.long, device=prompt.device)
    pad = _setting(model, "pad_token_id", args, kwargs)
    end = _setting(model, "eos_token_id", args, kwargs)
    ends = end if isinstance(end, list | tuple) else [end]
    if prompt.dim() != 2 or pad is None or pad in ends:
        return ones
    padding = prompt == pad
    return torch.where(padding.any(), (~padding).long(), ones)
