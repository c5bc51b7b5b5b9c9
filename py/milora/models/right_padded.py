"""Masks of right-padded rows for sdpa, with nothing read from the device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from milora.models.answer_head import causal_model

MakeMask = Callable[..., Tensor | None]


@contextlib.contextmanager
def right_padded(model: nn.Module) -> Iterator[None]:
    """Inside, sdpa's causal masks leave padding out: it lies at the right, where no token sees it.

    transformers reads the whole padding mask to find out whether it can be left out, which on a GPU waits for all that
    was asked of it before. Without it a padded batch needs no mask at all, and gets the kernels that know causal
    attention alone. Masks that let a token see what is behind it stay as they are, as do those of eager attention,
    which nobody reads.
    """
    name = str(causal_model(model).config._attn_implementation)
    if not name.endswith("sdpa"):
        yield
        return
    original: MakeMask = ALL_MASK_ATTENTION_FUNCTIONS[name]

    def make_mask(*args: Any, **options: Any) -> Tensor | None:
        if options.get("allow_is_causal_skip", False):
            options["attention_mask"] = None
        return original(*args, **options)

    ALL_MASK_ATTENTION_FUNCTIONS[name] = make_mask
    try:
        yield
    finally:
        del ALL_MASK_ATTENTION_FUNCTIONS[name]
        if ALL_MASK_ATTENTION_FUNCTIONS[name] is not original:
            # Someone else's replacement was there before.
            ALL_MASK_ATTENTION_FUNCTIONS[name] = original
