"""A step's gradients are made without reading anything from the device."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch

from milora.checkpoint import attach_adapter
from milora.training import TrainingSession, TrainingSettings

LENGTHS = [(5, 1), (9, 7), (3, 2), (14, 4), (6, 11), (2, 1), (8, 3), (4, 5)]


@pytest.mark.parametrize("method", ["lora", "milora"])
def test_gradients_are_made_on_a_device_that_has_no_numbers(
    tiny_model: Any,
    lora_plan: Any,
    milora_plan: Any,
    random_dataset: Any,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    """On the meta device every read is an error, so what runs there would wait for no GPU either."""
    # The one thing that the device lacks besides numbers.
    monkeypatch.setattr(torch, "autocast", lambda *_args, **_settings: contextlib.nullcontext())
    base = tiny_model("llama").requires_grad_(False)
    base.set_attn_implementation("eager")
    model = attach_adapter(base, (milora_plan if method == "milora" else lora_plan)(base), "tuned").to("meta")
    session = TrainingSession(model, "tuned", TrainingSettings(micro_batch=3, balance=0.1), pad_id=0)
    session.model.train()
    figures = session._accumulate(session._rows(random_dataset(LENGTHS), range(len(LENGTHS))), "weights")
    assert figures.loss is not None
    assert figures.loss.device.type == "meta"
    with pytest.raises(RuntimeError):
        figures.loss.item()
    assert all(gradient.device.type == "meta" for gradient in session.weights.take_gradients())
