"""Choices scored with a prompt that is computed once = each choice as a whole row, for the whole matrix."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from milora.data import Prompt
from milora.engine import ScoringRow, score_choices
from milora.engine.adapters import ActiveModel
from milora.engine.choice_rows import longest_row
from milora.routing.context import routing_context


class NumberEncoder:
    """Texts are token ids in words."""

    pad_id = 0
    start_ids: tuple[int, ...] = ()

    def prompt_ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        return self.continuation_ids([prompt.text for prompt in prompts])

    def continuation_ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [[int(word) for word in text.split()] for text in texts]


# Unequal prompts, beyond gemma2's sliding window too, unequal choices, a choice of one token and a row with only such.
LENGTHS: list[tuple[int, tuple[int, ...]]] = [(3, (1, 5)), (90, (4, 2, 1)), (20, (1, 1)), (41, (7, 3, 3, 6))]


def numbered_rows() -> list[ScoringRow]:
    generator = torch.Generator().manual_seed(3)

    def text(length: int) -> str:
        return " ".join(str(token) for token in torch.randint(2, 96, (length,), generator=generator).tolist())

    return [ScoringRow(Prompt(text(prompt)), tuple(text(length) for length in choices)) for prompt, choices in LENGTHS]


def scored(model: Any, micro_batch: int) -> list[list[float]]:
    context = routing_context(model)
    scores = score_choices(
        ActiveModel(model, context, context),
        NumberEncoder(),  # pyright: ignore[reportArgumentType]
        numbered_rows(),
        micro_batch=micro_batch,
        max_length=None,
        on_step=lambda done, total: None,
    )
    return [[choice.log_likelihood for choice in row] for row in scores]


@torch.no_grad()
def whole_rows(model: Any) -> list[list[float]]:
    """One forward pass without a cache for each choice, the sum in float64."""
    encoder, context = NumberEncoder(), routing_context(model)
    expected: list[list[float]] = []
    for row in numbered_rows():
        expected.append([])
        prompt = encoder.prompt_ids([row.prompt])[0]
        for choice in encoder.continuation_ids(row.choices):
            ids = torch.tensor([prompt + choice])
            mask = torch.arange(ids.shape[1])[None] < len(prompt)
            with context.prompt(mask) if context is not None else contextlib.nullcontext():
                logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].double()
            chosen = logits.log_softmax(dim=-1).gather(1, torch.tensor(choice)[:, None])
            expected[-1].append(float(chosen.sum()))
    return expected


@pytest.mark.parametrize(("micro_batch", "longest"), [(1, 64), (7, 0), (32, 64), (32, 1024)])
def test_scores_with_a_shared_prompt_equal_whole_rows(
    case: Any, micro_batch: int, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = case.model()
    windows = {"gemma2": 64}
    assert longest_row(model) == windows.get(case.family, 1024)
    # Rows that are longer are scored in two passes: with 0 all of them, with 64 some.
    monkeypatch.setattr("milora.engine.score.longest_row", lambda model: min(longest, longest_row(model)))
    expected = whole_rows(model)
    for found_row, expected_row in zip(scored(model, micro_batch), expected, strict=True):
        assert found_row == pytest.approx(expected_row, abs=1e-4)
    base = whole_rows(case.base())
    assert abs(base[1][0] - expected[1][0]) > 1e-2, "the adapter changes nothing: the test is blind"
