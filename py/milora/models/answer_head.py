"""The head at the needed positions only: no tensor of rows × length × vocabulary is ever made.

Shapes: B rows, T tokens, N positions, D features, V vocabulary.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from milora.data.batch import Batch
from milora.errors import MiloraError

Head = Callable[[Tensor], Tensor]
"""From the decoder's states [N, D] to logits [N, V], float32 (float64 of a float64 model)."""


def answer_states(model: nn.Module, batch: Batch) -> tuple[Tensor, Head]:
    """The decoder's states that predict the batch's answer tokens, [N, D], and the model's own head.

    The head is what the causal model does behind its decoder (scaling, soft-capping), whatever that is. It may be
    asked any number of times, for any part of the states.
    """
    inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "use_cache": False}
    causal, decoder = causal_model(model), decoder_of(model)
    with _keep_positions(decoder, batch.positions[:0]) as outputs:
        model(**inputs)
    (output,) = outputs

    def head(states_ND: Tensor) -> Tensor:
        # Hooks of model and decoder have seen this forward pass (a router's, a search's): none is to see it again.
        with _decoder_gives(causal, decoder, _with_states(output, states_ND.unsqueeze(0))):
            return _wide(causal.forward(**inputs).logits[0])

    return _picked(output, batch.positions), head


def logits_at(model: nn.Module, positions: Tensor, **inputs: Any) -> tuple[Tensor, Any]:
    """Logits at the flat ``positions`` of [B, T], [N, V], and the KV cache (None: not used).

    They are float32 (float64 of a float64 model).
    """
    with _keep_positions(decoder_of(model), positions):
        output = model(**inputs)
    return _wide(output.logits[0]), getattr(output, "past_key_values", None)


def run_decoder(model: nn.Module, batch: Batch) -> None:
    """One forward pass for what it leaves behind (routing records): the head sees no position."""
    with _keep_positions(decoder_of(model), batch.input_ids.new_empty(0)):
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
def _keep_positions(decoder: nn.Module, positions_N: Tensor) -> Iterator[list[Any]]:
    """What follows the decoder sees its states at the flat positions alone, [1, N, D]; gives its whole outputs."""
    outputs: list[Any] = []

    def pick(_module: nn.Module, _arguments: Any, output: Any) -> Any:
        outputs.append(output)
        return _with_states(output, _picked(output, positions_N).unsqueeze(0))

    handle = decoder.register_forward_hook(pick)
    try:
        yield outputs
    finally:
        handle.remove()


class _Given(nn.Module):
    """Stands in for a decoder whose output is known."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self._output = output

    def forward(self, *_arguments: Any, **_options: Any) -> Any:
        return self._output


@contextlib.contextmanager
def _decoder_gives(causal: nn.Module, decoder: nn.Module, output: Any) -> Iterator[None]:
    """Inside, the causal model finds a decoder that computes nothing and gives ``output``."""
    path = next(name for name, module in causal.named_modules() if module is decoder)
    parent, _, name = path.rpartition(".")
    owner = causal.get_submodule(parent)
    setattr(owner, name, _Given(output))
    try:
        yield
    finally:
        setattr(owner, name, decoder)


def _picked(output: Any, positions_N: Tensor) -> Tensor:
    hidden_BTD = output[0]
    return hidden_BTD.flatten(0, 1).index_select(0, positions_N)


def _with_states(output: Any, hidden: Tensor) -> Any:
    """A copy of a decoder's output with other states."""
    if isinstance(output, tuple):
        return (hidden, *output[1:])
    return type(output)(**{**output, "last_hidden_state": hidden})


def _wide(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()
