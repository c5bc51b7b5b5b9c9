"""The log-likelihood of given continuations after their prompt, each prompt computed once for all of its choices.

One pass computes prompts and choices together where the model allows it; else choices follow on the prompts' KV cache.

Shapes: B prompts, T tokens of the longest prompt, C choices of all prompts, L choices of more than one token, A input
tokens of the longest of them, N predicted tokens, V vocabulary.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from milora.data import Prompt, TextEncoder, TokenRow, fit_row
from milora.engine.adapters import ActiveModel
from milora.engine.attention import long_attention
from milora.engine.choice_rows import Question, choice_rows, longest_row
from milora.engine.dora import cached_dora
from milora.engine.packing import packed
from milora.errors import MiloraError
from milora.models import causal_model, logits_at
from milora.routing.kept_rows import select_cache_rows

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class ScoringRow:
    """A prompt and the continuations to score; a continuation brings its own leading space."""

    prompt: Prompt
    choices: tuple[str, ...]


@dataclass(frozen=True)
class ChoiceScore:
    """Summed log-likelihood in nats of a continuation's tokens; no end token is counted.

    ``truncated``: the prompt before it was cut at its start.
    """

    log_likelihood: float
    tokens: int
    truncated: bool = False


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

    Args:
        active: The model.
        encoder: Its tokenizer.
        rows: What to score.
        micro_batch: Rows that go through the model at once: prompts with all of their choices, or prompts first, then
            choices behind them.
        max_length: A prompt is cut at its start until its longest choice fits in; None: the model has no limit.
        on_step: Told the choices scored and their number.

    Raises:
        MiloraError: ``input/invalid-spec`` for an empty choice, or one too long for the model's context;
            ``training/non-finite``.
    """
    questions = _questions(encoder, rows, max_length)
    total = sum(len(question.choices) for question in questions)
    scores: dict[int, list[ChoiceScore]] = {}
    with cached_dora(active.model):
        for chunk, in_one_pass in _batches(questions, longest_row(active.model), micro_batch):
            on_step(sum(map(len, scores.values())), total)
            asked = [questions[index] for index in chunk]
            if in_one_pass:
                values = iter(_sums_in_one_pass(active, asked, encoder.pad_id))
            else:
                with long_attention(active.model, len(asked[-1].prompt_ids)):
                    values = iter(_sums_behind_prompts(active, asked, encoder.pad_id, micro_batch))
            for index in chunk:
                question = questions[index]
                scores[index] = [ChoiceScore(next(values), len(ids), question.truncated) for ids in question.choices]
    on_step(total, total)
    if not all(math.isfinite(choice.log_likelihood) for row in scores.values() for choice in row):
        message = "The log-likelihood of a choice is not finite: the adapter or the dtype overflows."
        raise MiloraError("training/non-finite", message, hint="Try dtype float32.")
    return [scores[index] for index in range(len(rows))]


def _questions(encoder: TextEncoder, rows: Sequence[ScoringRow], max_length: int | None) -> list[Question]:
    prompts = encoder.prompt_ids([row.prompt for row in rows])
    choices = iter(encoder.continuation_ids([choice for row in rows for choice in row.choices]))
    questions: list[Question] = []
    for index, (row, prompt_ids) in enumerate(zip(rows, prompts, strict=True)):
        ids = [tuple(next(choices)) for _ in row.choices]
        fitted: list[TokenRow] = []
        for position, choice_ids in enumerate(ids):
            longest = len(prompt_ids) + len(choice_ids) if max_length is None else max_length
            fitted.append(fit_row(prompt_ids, list(choice_ids), len(encoder.start_ids), longest))
            if not fitted[-1].answer_ids:
                fault = "longer than the model's context" if choice_ids else "empty"
                path = f"rows[{index}].choices[{position}]"
                raise MiloraError("input/invalid-spec", f"The choice at {path} is {fault}.", path=path)
        # Cut for the longest choice, so that all choices are compared after the same prompt.
        prompt = min((row.prompt_ids for row in fitted), key=len)
        questions.append(Question(prompt, tuple(ids), truncated=any(row.truncated for row in fitted)))
    return questions


def _batches(questions: Sequence[Question], longest: int, micro_batch: int) -> Iterator[tuple[list[int], bool]]:
    """Indices of questions of similar length, and whether one pass computes them: rows of up to ``longest`` tokens."""
    for in_one_pass in (True, False):
        lengths = {
            index: question.row_tokens if in_one_pass else len(question.prompt_ids)
            for index, question in enumerate(questions)
            if (question.row_tokens <= longest) == in_one_pass
        }
        order = sorted(lengths, key=lengths.__getitem__)
        for cut in packed([lengths[index] for index in order], micro_batch):
            yield [order[place] for place in cut], in_one_pass


def _sums_in_one_pass(active: ActiveModel, questions: Sequence[Question], pad_id: int) -> list[float]:
    """The log-likelihoods of all choices, question by question, from rows that hold a prompt and its choices."""
    device = next(active.model.parameters()).device
    rows = choice_rows(questions, pad_id, device, causal_model(active.model).dtype)
    with _prompt_at(active, rows.is_prompt):
        logits_NV, _ = logits_at(
            active.model,
            rows.predicting,
            input_ids=rows.ids,
            attention_mask=rows.mask,
            position_ids=rows.positions,
            use_cache=False,
        )
    found = functional.log_softmax(logits_NV, dim=-1)[rows.sources, rows.targets].cpu().double()
    num_choices = sum(len(question.choices) for question in questions)
    return torch.zeros(num_choices, dtype=torch.float64).index_add_(0, rows.owners, found).tolist()


def _sums_behind_prompts(
    active: ActiveModel, questions: Sequence[Question], pad_id: int, micro_batch: int
) -> list[float]:
    """As :func:`_sums_in_one_pass`, the prompts first, then the choices behind their KV cache."""
    device = next(active.model.parameters()).device
    prompts = _padded([question.prompt_ids for question in questions], pad_id, device, left=True)
    choices = [ids for question in questions for ids in question.choices]
    row_of_choice_C = torch.tensor([row for row, question in enumerate(questions) for _ in question.choices])
    first_logits_BV, cache = _prompt_logits(active, prompts)
    first_ids_C = torch.tensor([ids[0] for ids in choices])
    sums_C = functional.log_softmax(first_logits_BV, dim=-1)[row_of_choice_C, first_ids_C].cpu().double()
    longer = sorted(
        (index for index, ids in enumerate(choices) if len(ids) > 1), key=lambda index: len(choices[index])
    )
    cuts = packed([len(choices[index]) - 1 for index in longer], micro_batch, width=prompts.ids.shape[1])
    for cut in cuts:
        chosen = [longer[place] for place in cut]
        rows_L = row_of_choice_C[chosen].to(device)
        # The last pass needs the prompts' own cache no more.
        behind = cache if cut is cuts[-1] else copy.deepcopy(cache)
        select_cache_rows(behind, rows_L)
        rest = _rest_sums(active, _select(prompts, rows_L), [choices[index] for index in chosen], pad_id, behind)
        sums_C[chosen] += rest
    return sums_C.tolist()


@dataclass(frozen=True)
class _Padded:
    """Token ids, [rows, length], and 1 at each token that is no padding."""

    ids: Tensor
    mask: Tensor


def _padded(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device, *, left: bool) -> _Padded:
    width = max(map(len, rows))

    def filled(row: Sequence[int], fill: int) -> list[int]:
        padding = [fill] * (width - len(row))
        return [*padding, *row] if left else [*row, *padding]

    ids = torch.tensor([filled(row, pad_id) for row in rows], device=device)
    mask = torch.tensor([filled([1] * len(row), 0) for row in rows], device=device)
    return _Padded(ids, mask)


def _select(padded: _Padded, rows: Tensor) -> _Padded:
    return _Padded(padded.ids[rows], padded.mask[rows])


def _prompt_logits(active: ActiveModel, prompts: _Padded) -> tuple[Tensor, Any]:
    """Logits of each prompt's next token, [B, V], and the KV cache that the prompts leave."""
    rows, width = prompts.ids.shape
    last_B = torch.arange(rows, device=prompts.ids.device) * width + width - 1
    inputs = {"input_ids": prompts.ids, "attention_mask": prompts.mask}
    positions_BT = prompts.mask.cumsum(dim=1) - 1
    with _prompt_at(active, prompts.mask != 0):
        return logits_at(active.model, last_B, **inputs, **_positions(active.model, positions_BT), use_cache=True)


def _prompt_at(active: ActiveModel, is_prompt: Tensor) -> contextlib.AbstractContextManager[None]:
    """Tells the active adapter, if it asks, where the prompt is."""
    return contextlib.nullcontext() if active.context is None else active.context.prompt(is_prompt)


def _rest_sums(
    active: ActiveModel, prompts: _Padded, choices: Sequence[Sequence[int]], pad_id: int, cache: Any
) -> Tensor:
    """The log-likelihoods of all tokens but each choice's first, [L], behind prompts that the KV cache holds."""
    device = prompts.ids.device
    inputs = _padded([ids[:-1] for ids in choices], pad_id, device, left=False)
    targets_LA = _padded([ids[1:] for ids in choices], pad_id, device, left=False).ids
    predicted_N = inputs.mask.flatten().nonzero().squeeze(1)
    positions_LA = prompts.mask.sum(dim=1, keepdim=True) + torch.arange(inputs.ids.shape[1], device=device)
    logits_NV, _ = logits_at(
        active.model,
        predicted_N,
        input_ids=inputs.ids,
        attention_mask=torch.cat([prompts.mask, inputs.mask], dim=1),
        **_positions(active.model, positions_LA),
        past_key_values=cache,
        use_cache=True,
    )
    losses_N = functional.cross_entropy(logits_NV, targets_LA.flatten()[predicted_N], reduction="none")
    row_of_N = predicted_N // inputs.ids.shape[1]
    return torch.zeros(len(choices), dtype=torch.float64).index_add_(0, row_of_N.cpu(), -losses_N.cpu().double())


def _positions(model: nn.Module, positions: Tensor) -> dict[str, Tensor]:
    """Position ids, for models that take them."""
    takes = "position_ids" in inspect.signature(causal_model(model).forward).parameters
    return {"position_ids": positions.clamp(min=0)} if takes else {}
