"""The summed loss of answer tokens by chunks of them: the memory of logits is bounded, however many tokens there are.

The states of the answer positions are computed once. Then the model's own head runs over one chunk of them after the
other; a chunk's loss and its gradient at the states are made there and then, and its logits are gone before the next
chunk's. The backward pass finds the gradient ready: nothing is computed twice.

Shapes: N answer tokens, D features, V vocabulary.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from milora.data.batch import Batch
from milora.models.answer_head import Head, answer_states, causal_model

LOGITS_AT_ONCE = 2**23
"""Answer tokens × vocabulary of a chunk at most: 32 MiB of float32, of which three are alive at a time.

On a CPU in float32, 272 answer tokens of a vocabulary of 49,152 take the same time in chunks of 128 to 341 as at once.
"""


def answer_nll(model: nn.Module, batch: Batch) -> Tensor:
    """The negative log-likelihood of the batch's answer tokens, summed, float32 (float64 of a float64 model).

    Its gradient reaches what trains below the head; the head is frozen.
    """
    vocabulary: int = causal_model(model).config.get_text_config().vocab_size
    num_chunks = math.ceil(batch.num_answer_tokens * vocabulary / LOGITS_AT_ONCE)
    states_ND, head = answer_states(model, batch)
    if num_chunks <= 1:
        # Autograd's own order of products: the steps are those of any other loop to the last bits.
        return functional.cross_entropy(head(states_ND), batch.targets, reduction="sum")
    nll = _ChunkedNll.apply(states_ND, head, batch.targets, num_chunks)
    assert isinstance(nll, Tensor)
    return nll


class _ChunkedNll(torch.autograd.Function):
    """Σ −log softmax(head(states))[target]; only the states have a gradient."""

    @staticmethod
    def forward(ctx: Any, states_ND: Tensor, head: Head, targets_N: Tensor, num_chunks: int) -> Tensor:
        wants_gradient = ctx.needs_input_grad[0]
        sums: list[Tensor] = []
        gradients: list[Tensor] = []
        for states, targets in zip(
            states_ND.tensor_split(num_chunks), targets_N.tensor_split(num_chunks), strict=True
        ):
            with torch.set_grad_enabled(wants_gradient):
                leaf = states.detach().requires_grad_(wants_gradient)
                nll = functional.cross_entropy(head(leaf), targets, reduction="sum")
            if wants_gradient:
                gradients += torch.autograd.grad(nll, leaf)
            sums.append(nll.detach())
        ctx.save_for_backward(torch.cat(gradients) if wants_gradient else None)
        return torch.stack(sums).sum()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: Any
    ) -> tuple[Tensor | None, ...]:
        (gradient_ND,) = ctx.saved_tensors
        return gradient_ND * grad_outputs[0], None, None, None
