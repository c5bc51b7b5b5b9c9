"""An adapter's parameters: their number, their split, and the seed that decides their start."""

from __future__ import annotations

from typing import Any

import torch

from milora.checkpoint import attach_adapter
from milora.tuners import count_parameters, split_parameters
from milora.tuners.milora import freeze_experts


def test_parameter_counts(case: Any) -> None:
    base = case.base()
    model = attach_adapter(base, case.plan(base), "default")
    config: Any = model.get_base_model().config
    linears = {
        name: module.get_base_layer() for name, module in model.named_modules() if hasattr(module, "base_layer")
    }
    plan = case.plan(case.base())
    if case.settings.get("method", "lora") != "lora" or "use_dora" in case.settings:
        # A method's own numerics count its parameters; here they are told apart and freed.
        _check_split(case, model)
        return
    if case.routed:
        experts = [
            (f"{layer['path']}.{expert['module']}", expert["rank"])
            for layer in plan["layers"]
            for expert in layer["experts"]
        ]
    else:
        experts = [(name, plan["r"]) for name in linears]
    assert len(experts) == len(linears)
    adapters = 0
    for path, rank in experts:
        linear = next(linear for name, linear in linears.items() if name.endswith(path))
        magnitudes = linear.out_features if plan.get("expert") == "dora" else 0
        adapters += rank * (linear.in_features + linear.out_features) + magnitudes
    router = activation = 0
    if case.learned:
        pooled = config.num_hidden_layers if plan["pooler"] == "self-attention" else 0
        router = config.hidden_size * (pooled + len(experts))
        activation = 12 * [layer["activation"] for layer in plan["layers"]].count("rational")
    counts = count_parameters(model, "default")
    assert counts == {"trainable": adapters + router + activation, "router": router, "activation": activation}
    omega, theta = split_parameters(model, "default")
    assert sum(p.numel() for p in theta.values()) == activation
    assert sum(p.numel() for p in (*omega.values(), *theta.values())) == counts["trainable"]
    named = dict(model.named_parameters())
    assert all(named[name] is parameter for name, parameter in {**omega, **theta}.items())
    assert {name for name, parameter in named.items() if parameter.requires_grad} == {*omega, *theta}
    if case.learned:
        freeze_experts(model, "default")
        assert count_parameters(model, "default") == {**counts, "trainable": router + activation}


def _check_split(case: Any, model: Any) -> None:
    counts = count_parameters(model, "default")
    omega, theta = split_parameters(model, "default")
    assert counts["trainable"] == sum(parameter.numel() for parameter in (*omega.values(), *theta.values())) > 0
    assert counts["activation"] == sum(parameter.numel() for parameter in theta.values())
    named = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert named == {*omega, *theta}


def test_a_seed_decides_the_start_and_leaves_the_generator_alone(case: Any) -> None:
    def attach(seed: int) -> Any:
        base = case.base()
        return attach_adapter(base, case.plan(base), "default", seed=seed)

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
