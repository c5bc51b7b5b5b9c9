"""A real checkpoint, with the massive activations that random models lack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import milora
from milora.checkpoint import attach_adapter
from milora.routing.context import routing_context

NUM_NEW = 8
LONG = "The harbour master counted the boats twice, wrote the number down, and went home. " * 12


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> Any:
    return AutoTokenizer.from_pretrained(smollm2, padding_side="left")


@pytest.fixture(scope="module")
def base(smollm2: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval()


@pytest.fixture
def model(base: Any, milora_plan: Callable[..., dict[str, Any]], randomize: Callable[..., None]) -> Any:
    attached: Any = attach_adapter(base, milora_plan(base, rank=8, alpha=8.0, top_k=3), "default")
    randomize(attached, "default", scale=0.02)
    yield attached.eval()
    attached.base_model.unload()


@pytest.mark.parametrize("beams", [1, 3])
def test_a_short_prompt_beside_a_long_one(model: Any, tokenizer: Any, beams: int) -> None:
    settings = {"max_new_tokens": NUM_NEW, "do_sample": False, "num_beams": beams}
    batch = tokenizer(["Hi", LONG], return_tensors="pt", padding=True)
    assert batch["input_ids"].shape[1] >= 200
    together = model.generate(**batch, **settings)[:, batch["input_ids"].shape[1] :]
    for row, prompt in enumerate(("Hi", LONG)):
        alone = tokenizer(prompt, return_tensors="pt")
        new = model.generate(**alone, **settings)[:, alone["input_ids"].shape[1] :]
        assert together[row, : new.shape[1]].tolist() == new[0].tolist()


def test_normalised_states_keep_prompts_apart(model: Any, tokenizer: Any) -> None:
    prompts = ["Hi", LONG, "def add(a, b):", "What is the capital of France?", "7 8 9 10"]
    batch = tokenizer(prompts, return_tensors="pt", padding=True)
    context = routing_context(model)
    assert context is not None
    with torch.no_grad(), context.record() as record:
        model(**batch, use_cache=False)
    probabilities = torch.stack(record.probabilities)
    assert torch.isfinite(probabilities).all()
    # A collapsed router has a balance loss near the number of experts, and the same probabilities for every prompt.
    balance = record.balance_loss()
    assert balance is not None
    assert float(balance) < 3
    assert float(probabilities.std(dim=1).mean()) > 1e-3
    routed = milora.route(model, batch)
    assert routed.sum(dim=-1).unique().tolist() == [3]
    assert len({tuple(row.flatten().tolist()) for row in routed}) == len(prompts)
