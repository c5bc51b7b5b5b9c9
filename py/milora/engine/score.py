"""The log-likelihood of given continuations after their prompt."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from milora.data import Batch, Prompt, TextEncoder, TokenRow, collate, fit_row
from milora.engine.adapters import ActiveModel
from milora.engine.dora import cached_dora
from milora.errors import MiloraError
from milora.models import answer_logits

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class ScoringRow:
    """A prompt and the continuations to score; a continuation brings its own leading space."""

    prompt: Prompt
    choices: tuple[str, ...]


@dataclass(frozen=True)
class ChoiceScore:
    """Summed log-likelihood in nats of a continuation's tokens; no end token is counted."""

    log_likelihood: float
    tokens: int


@torch.no_grad()
def score_choices(
    active: ActiveModel,
    encoder: TextEncoder,
    rows: Sequence[ScoringRow],
    *,
    micro_batch: int,
    max_length: int | None,
    on_step: OnStep,
) -> list[list[ChoiceScore]]:
    """Scores every choice of every row, in batches of similar length; routers see the prompt only.

    Raises:
        MiloraError: ``input/invalid-spec`` for an empty choice, or one too long for the model's context;
            ``training/non-finite``.
    """
    pairs = _token_rows(encoder, rows, max_length)
    order = sorted(range(len(pairs)), key=lambda index: pairs[index].length)
    device = next(active.model.parameters()).device
    sums: list[tuple[list[int], Tensor]] = []
    with cached_dora(active.model):
        for begin in range(0, len(order), micro_batch):
            on_step(begin, len(order))
            chunk = order[begin : begin + micro_batch]
            sums.append((chunk, _row_sums(active, collate([pairs[index] for index in chunk], encoder.pad_id, device))))
    on_step(len(order), len(order))
    scores = [0.0] * len(pairs)
    for chunk, values in sums:
        for index, value in zip(chunk, values.tolist(), strict=True):
            scores[index] = value
    if not all(map(math.isfinite, scores)):
        message = "The log-likelihood of a choice is not finite: the adapter or the dtype overflows."
        raise MiloraError("training/non-finite", message, hint="Try dtype float32.")
    flat = iter(zip(scores, pairs, strict=True))
    return [
        [ChoiceScore(score, len(pair.answer_ids)) for score, pair in (next(flat) for _ in row.choices)] for row in rows
    ]


def _token_rows(encoder: TextEncoder, rows: Sequence[ScoringRow], max_length: int | None) -> list[TokenRow]:
    prompts = encoder.prompt_ids([row.prompt for row in rows])
    choices = iter(encoder.continuation_ids([choice for row in rows for choice in row.choices]))
    pairs: list[TokenRow] = []
    for index, (row, prompt_ids) in enumerate(zip(rows, prompts, strict=True)):
        for position in range(len(row.choices)):
            answer_ids = next(choices)
            longest = len(prompt_ids) + len(answer_ids) if max_length is None else max_length
            pair = fit_row(prompt_ids, answer_ids, len(encoder.start_ids), longest)
            if not pair.answer_ids:
                fault = "longer than the model's context" if answer_ids else "empty"
                path = f"rows[{index}].choices[{position}]"
                raise MiloraError("input/invalid-spec", f"The choice at {path} is {fault}.", path=path)
            pairs.append(pair)
    return pairs


def _row_sums(active: ActiveModel, batch: Batch) -> Tensor:
    context = active.context
    with context.prompt(batch.prompt_mask) if context is not None else contextlib.nullcontext():
        logits = answer_logits(active.model, batch)
    token_losses = functional.cross_entropy(logits, batch.targets, reduction="none").cpu().double()
    sums = torch.zeros(batch.input_ids.shape[0], dtype=torch.float64)
    return sums.index_add(0, batch.row_of_target.cpu(), -token_losses)
