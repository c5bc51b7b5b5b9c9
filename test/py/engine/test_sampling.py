"""Drawn tokens against transformers' own processors, with the same generator."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from milora.engine.fused.request import Sampling
from milora.engine.fused.sampling import TokenChooser

_VOCABULARY = 50


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.7, seed=1),
        Sampling(temperature=1.0, top_k=7, seed=2),
        Sampling(temperature=1.4, top_p=0.6, seed=3),
        Sampling(temperature=0.9, top_k=9, top_p=0.8, repetition_penalty=1.7, seed=4),
    ],
)
def test_draws_are_those_of_transformers_processors(sampling: Sampling) -> None:
    processors = LogitsProcessorList()
    if sampling.repetition_penalty != 1:
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    processors.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    prompt = [3, 9, 9]
    chooser = TokenChooser(sampling, prompt, _VOCABULARY, torch.device("cpu"))
    reference = torch.Generator().manual_seed(sampling.seed)
    logits = torch.randn(40, _VOCABULARY, generator=torch.Generator().manual_seed(9)) * 3
    ids = list(prompt)
    for row in logits:
        scores = processors(torch.LongTensor([ids]), row.clone().unsqueeze(0))
        expected = int(torch.multinomial(scores.softmax(dim=-1)[0], 1, generator=reference))
        assert chooser.choose(row, int(row.argmax())) == expected
        ids.append(expected)


def test_a_penalty_moves_the_most_probable_token() -> None:
    chooser = TokenChooser(Sampling(repetition_penalty=2.0), [0, 1], 4, torch.device("cpu"))
    assert chooser.choose(torch.tensor([4.0, -1.0, 2.5, -1.5]), 0) == 2
    assert chooser.choose(torch.tensor([4.0, -1.0, 2.5, -1.5]), 0) == 0
