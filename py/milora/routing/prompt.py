"""Where the prompt is: which tokens of a forward pass the routers may look at.

Shapes: B rows, T tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from milora.errors import MiloraError

IGNORED_LABEL = -100


@dataclass(frozen=True)
class ForwardInputs:
    """What a forward pass of the causal LM was given."""

    attention_mask: object | None
    labels: Tensor | None
    past_is_filled: bool


def _unsupported(message: str) -> MiloraError:
    return MiloraError("adapter/unsupported", message)


def explicit_prompt(mask_BT: Tensor, hidden_BTD: Tensor) -> Tensor:
    """The prompt as the caller marked it."""
    if mask_BT.shape != hidden_BTD.shape[:2]:
        raise _unsupported(
            f"The prompt mask has shape {tuple(mask_BT.shape)}, the forward pass has [rows, tokens] = "
            f"{list(hidden_BTD.shape[:2])}; give one boolean for each token."
        )
    return mask_BT.to(device=hidden_BTD.device, dtype=torch.bool)


def generation_prompt(mask_BT: Tensor, hidden_BTD: Tensor) -> Tensor:
    """The prompt of a ``generate`` call: its first tokens, for each beam; tokens generated or drafted do not count."""
    rows, tokens = hidden_BTD.shape[:2]
    if tokens < mask_BT.shape[1]:
        raise _unsupported(
            f"A prefill of {tokens} of the prompt's {mask_BT.shape[1]} tokens: chunked prefill is not possible with a "
            "routed adapter, whose decision depends on the whole prompt."
        )
    if rows % mask_BT.shape[0] != 0:
        raise _unsupported(f"{rows} rows in a forward pass of generate() with {mask_BT.shape[0]} prompts.")
    mask_BT = mask_BT.to(hidden_BTD.device).repeat_interleave(rows // mask_BT.shape[0], dim=0)
    return torch.nn.functional.pad(mask_BT, (0, tokens - mask_BT.shape[1]), value=False)


def inferred_prompt(inputs: ForwardInputs, hidden_BTD: Tensor) -> Tensor:
    """The prompt of a plain forward pass: where labels are given the tokens with label -100, else every real token.

    With labels, one read from the device checks that each row has a prompt.
    """
    mask_BT = _real_tokens(inputs.attention_mask, hidden_BTD)
    if inputs.labels is None:
        return mask_BT
    labels_BT = inputs.labels.to(hidden_BTD.device)
    if labels_BT.shape != mask_BT.shape:
        raise _unsupported(f"Labels of shape {tuple(labels_BT.shape)} for {list(mask_BT.shape)} [rows, tokens].")
    prompt_BT = mask_BT & (labels_BT == IGNORED_LABEL)
    if bool((mask_BT.any(dim=1) & ~prompt_BT.any(dim=1)).any()):
        raise _unsupported(
            "A row's labels mark no token as its prompt. A routed adapter decides from the prompt: set the labels of "
            "the prompt's tokens to -100, or mark them with context.prompt(mask)."
        )
    return prompt_BT


def _real_tokens(attention_mask: object | None, hidden_BTD: Tensor) -> Tensor:
    shape = hidden_BTD.shape[:2]
    if attention_mask is None:
        return torch.ones(shape, dtype=torch.bool, device=hidden_BTD.device)
    if not isinstance(attention_mask, Tensor) or attention_mask.dim() != 2:
        found = f"{attention_mask.dim()} dimensions" if isinstance(attention_mask, Tensor) else "several masks"
        raise _unsupported(
            f"An attention mask of {found} does not say which tokens are the prompt. Give the mask as [rows, tokens], "
            "or mark the prompt with context.prompt(mask)."
        )
    if attention_mask.shape != shape:
        raise _unsupported(
            f"An attention mask of shape {tuple(attention_mask.shape)} beside {list(shape)} [rows, tokens] and an "
            "empty KV cache: the prompt is not known."
        )
    return attention_mask.to(hidden_BTD.device) != 0
