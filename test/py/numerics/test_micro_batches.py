"""The gradients of a step are the same for any micro-batch, and with recomputed layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from milora.checkpoint import attach_adapter
from milora.data import Dataset, TokenRow
from milora.training import TrainingSession, TrainingSettings
from milora.training.recomputation import recompute_layers

ANSWERS = [1, 200, 2, 150, 3, 97, 1, 40, 5, 180, 8, 1, 64, 20, 120, 11]
ROWS = range(len(ANSWERS))


@pytest.fixture
def dataset() -> Dataset:
    generator = torch.Generator().manual_seed(11)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(2, 96, (count,), generator=generator).tolist())

    return Dataset(tuple(TokenRow(ids(3 + 7 * index % 23), ids(answer)) for index, answer in enumerate(ANSWERS)), "")


@pytest.mark.parametrize("method", ["lora", "milora"])
def test_the_gradient_depends_on_neither(
    method: str, dataset: Dataset, tiny_model: Callable[..., Any], milora_plan: Any, lora_plan: Any, randomize: Any
) -> None:
    def gradient(micro_batch: int, recompute: bool) -> tuple[float, dict[str, Tensor]]:
        base = tiny_model("llama").requires_grad_(False)
        model = attach_adapter(base, (milora_plan if method == "milora" else lora_plan)(base), "default", seed=1)
        randomize(model, "default", scale=0.1)
        settings = TrainingSettings(micro_batch=micro_batch, balance=0.1)
        session = TrainingSession(model, "default", settings, pad_id=0)
        recompute_layers(base, recompute)
        session.model.train()
        loss = session._accumulate(session._rows(dataset, ROWS), "weights").loss
        assert loss is not None
        return float(loss), dict(zip(session.weights.parameters, session.weights.take_gradients(), strict=True))

    loss, expected = gradient(16, False)
    largest = max(float(value.abs().max()) for value in expected.values())
    assert largest > 1e-2
    for micro_batch in (1, 4, 16):
        for recompute in (False, True):
            other_loss, found = gradient(micro_batch, recompute)
            assert other_loss == pytest.approx(loss, abs=1e-6)
            for name, value in expected.items():
                assert torch.allclose(found[name], value, rtol=0, atol=1e-6), (name, micro_batch, recompute)
