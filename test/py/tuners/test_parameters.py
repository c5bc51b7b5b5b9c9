"""An adapter's parameters: their number, their split, and the seed that decides their start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from milora.checkpoint import attach_adapter
from milora.tuners import count_parameters, split_parameters

CASES = ["milora-llama", "milora-gemma2", "milora-qwen3", "milora-phi3", "lora-llama"]
RANK = 4


@pytest.fixture(params=CASES)
def attach(
    request: pytest.FixtureRequest,
    tiny_model: Callable[..., Any],
    milora_plan: Callable[..., dict[str, Any]],
    lora_plan: Callable[..., dict[str, Any]],
) -> Callable[..., Any]:
    """``attach(seed=0)`` gives a new base with a new adapter of the case's method."""
    method, _, family = request.param.partition("-")
    plan = milora_plan if method == "milora" else lora_plan

    def build(seed: int = 0) -> Any:
        base = tiny_model(family)
        return attach_adapter(base, plan(base, rank=RANK), "default", seed=seed)

    return build


def test_parameter_counts(attach: Callable[..., Any]) -> None:
    model = attach()
    config = model.get_base_model().config
    linears = [
        m.get_base_layer() for name, m in model.named_modules() if name.endswith("_proj") and hasattr(m, "base_layer")
    ]
    adapters = sum(RANK * (linear.in_features + linear.out_features) for linear in linears)
    layers, hidden = config.num_hidden_layers, config.hidden_size
    routed = "MILORA" in str(model.peft_config["default"].peft_type)
    router = layers * hidden + hidden * len(linears) if routed else 0
    activation = layers * 12 if routed else 0
    counts = count_parameters(model, "default")
    assert counts == {"trainable": adapters + router + activation, "router": router, "activation": activation}
    omega, theta = split_parameters(model, "default")
    assert sum(p.numel() for p in theta.values()) == activation
    assert sum(p.numel() for p in (*omega.values(), *theta.values())) == counts["trainable"]
    named = dict(model.named_parameters())
    assert all(named[name] is parameter for name, parameter in {**omega, **theta}.items())
    assert {name for name, parameter in named.items() if parameter.requires_grad} == {*omega, *theta}


def test_a_seed_decides_the_start_and_leaves_the_generator_alone(attach: Callable[..., Any]) -> None:
    torch.manual_seed(123)
    expected = torch.rand(1)
    torch.manual_seed(123)
    states = []
    for seed in (7, 7, 8):
        omega, theta = split_parameters(attach(seed), "default")
        states.append({**omega, **theta})
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any(not torch.equal(states[0][name], states[2][name]) for name in states[0])
