"""Attention that needs no memory for the square of a long prompt."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn

from milora.models import causal_model, has_sdpa

# Eager attention is chosen on a CPU in bf16 for the backward pass. Without one it is the slower from some hundred
# tokens on: the 135 M model takes half as long with SDPA at 1,024, a quarter at 4,096, where eager attention needs 1.5
# GB a row.
_longest_eager = 1024


def longest_eager() -> int:
    """Tokens of a row up to which eager attention is not the slower one."""
    return _longest_eager


@contextlib.contextmanager
def long_attention(model: nn.Module, tokens: int) -> Iterator[None]:
    """Inside, a model with eager attention has SDPA where ``tokens``, a row's prompt and answer, are many.

    Nothing changes where SDPA would compute something else (soft-capped logits), and where an adapter has put itself
    in the attention's place.
    """
    base = causal_model(model)
    config = base.config
    if tokens <= _longest_eager or config._attn_implementation != "eager" or not has_sdpa(type(base), config):
        yield
        return
    base.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        base.set_attn_implementation("eager")
