"""Twenty steps of LoRA by our session are those of transformers' Trainer with PEFT."""

from __future__ import annotations

from typing import Any

import pytest

from milora.bench import loss_curves

STEPS = 20


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_loss_curve_is_the_trainers(tiny_model: Any, lora_plan: Any, attention: str) -> None:
    base = tiny_model("llama").requires_grad_(False)
    base.set_attn_implementation(attention)
    ours, peer = loss_curves(base, lora_plan(base, rank=8), tokens=24, batch=8, steps=STEPS)
    assert len(ours) == len(peer) == STEPS
    assert max(abs(own - other) for own, other in zip(ours, peer, strict=True)) < 1e-5
    assert ours[-1] < ours[0] - 1e-3
