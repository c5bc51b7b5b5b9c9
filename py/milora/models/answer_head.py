"""The head at the needed positions only: no tensor of rows × length × vocabulary is ever made."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from milora.data.batch import Batch
from milora.errors import MiloraError


def answer_logits(model: nn.Module, batch: Batch) -> Tensor:
    """Logits that predict the batch's answer tokens, float32 (float64 of a float64 model),
    [answer tokens, vocabulary].

    The states of the answer positions are picked between the decoder and the model's own head, so whatever the head
    does (scaling, soft-capping) is done, at these positions only.
    """
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    return logits_at(model, batch.positions, **inputs, use_cache=False)[0]


def logits_at(model: nn.Module, positions: Tensor, **inputs: Any) -> tuple[Tensor, Any]:
    """Logits at the flat ``positions`` of [rows, length], [positions, vocabulary], and the KV cache (None: not used).

    They are float32 (float64 of a float64 model).
    """
    with _keep_positions(decoder_of(model), positions):
        output = model(**inputs)
    logits = output.logits[0]
    return (logits if logits.dtype == torch.float64 else logits.float()), getattr(output, "past_key_values", None)


def run_decoder(model: nn.Module, batch: Batch) -> None:
    """One forward pass for what it leaves behind (routing records): the head sees a single position."""
    first = torch.zeros(1, dtype=torch.long, device=batch.input_ids.device)
    with _keep_positions(decoder_of(model), first):
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)


def causal_model(model: nn.Module) -> Any:
    """The causal language model itself, whether or not PEFT wraps it."""
    get_base = getattr(model, "get_base_model", None)
    return model if get_base is None else get_base()


def decoder_of(model: nn.Module) -> nn.Module:
    """The decoder below the head of a causal language model, whether or not PEFT wraps it.

    Raises:
        MiloraError: ``model/unsupported`` when the model does not tell decoder and head apart.
    """
    base = causal_model(model)
    decoder = base.get_decoder()
    if decoder is base:
        message = f"{type(base).__name__} does not tell its decoder and its head apart."
        raise MiloraError("model/unsupported", message, found=type(base).__name__)
    return decoder


@contextlib.contextmanager
def _keep_positions(decoder: nn.Module, positions: Tensor) -> Iterator[None]:
    """Replaces the decoder's output [rows, length, d] by its states at the flat ``positions``: [1, positions, d]."""

    def pick(_module: nn.Module, _arguments: Any, output: Any) -> Any:
        hidden_BTD = output[0]
        picked = hidden_BTD.flatten(0, 1).index_select(0, positions).unsqueeze(0)
        if isinstance(output, tuple):
            return (picked, *output[1:])
        output.last_hidden_state = picked
        return output

    handle = decoder.register_forward_hook(pick)
    try:
        yield
    finally:
        handle.remove()
