"""The MiDoRA layer: its formula, its gradient, and when its weight norm is computed. And float32 accumulation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft.tuners.lora.dora import DoraLinearLayer
from torch import Tensor, nn

from milora.checkpoint import attach_adapter
from milora.routing.decision import LayerDecision
from milora.tuners import split_parameters
from milora.tuners.milora import weight_norm
from milora.tuners.milora.layer import ExpertSettings, LayerDecisions, MiloraLinear, trainable_dtype

IN, OUT, RANK, ALPHA = 5, 4, 2, 3.0
IDS = torch.arange(2, 14)[None]


def expert(
    dtype: torch.dtype = torch.float64, size: tuple[int, int] = (IN, OUT), move: float = 0.4, **settings: Any
) -> MiloraLinear:
    torch.manual_seed(2)
    base = nn.Linear(*size, dtype=torch.float64).to(dtype).requires_grad_(False)
    module = MiloraLinear(base, LayerDecisions())
    module.set_adapter("default")
    module.update_layer("default", ExpertSettings(0, RANK, ALPHA, 0.0, **settings), inference_mode=False)
    with torch.no_grad():
        for parameter in (module.milora_prompt_up["default"], *module.milora_prompt_magnitude.values()):
            parameter.add_(move * torch.randn_like(parameter))
    return module


def run(module: MiloraLinear, x: Tensor, gates: list[float] | Tensor | None) -> Tensor:
    dtype = trainable_dtype(x.dtype)
    gate = torch.as_tensor(gates, dtype=dtype)[:, None] if gates is not None else None
    module.decisions["default"] = LayerDecision(gate, None if gate is not None else frozenset({0}))
    return module(x)


def test_a_new_expert_is_the_base() -> None:
    module = expert(kind="dora", move=0.0)
    x = torch.randn(2, 3, IN, dtype=torch.float64)
    base: Any = module.get_base_layer()
    assert torch.allclose(run(module, x, [1.0, 0.3]), base(x), rtol=0, atol=1e-12)
    rows = [math.sqrt(sum(value**2 for value in row)) for row in base.weight.tolist()]
    assert module.milora_prompt_magnitude["default"].tolist() == pytest.approx(rows, abs=1e-12)


def test_the_layer_is_dora_weighted_by_the_gate() -> None:
    """y = base + gate · (dora - base) for a base with a bias, with PEFT's own DoRA as the reference."""
    module = expert(kind="dora")
    down, up = (container["default"] for container in (module.milora_prompt_down, module.milora_prompt_up))
    base: Any = module.get_base_layer()
    shrink, expand = (nn.Linear(IN, RANK, bias=False).double(), nn.Linear(RANK, OUT, bias=False).double())
    with torch.no_grad():
        shrink.weight.copy_(down)
        expand.weight.copy_(up)
    peft = DoraLinearLayer(fan_in_fan_out=False)
    peft.update_layer(base_layer=base, lora_A=shrink.weight, lora_B=expand.weight, scaling=ALPHA / RANK)
    peft.double()
    with torch.no_grad():
        torch.as_tensor(peft.weight).copy_(module.milora_prompt_magnitude["default"])
    x = torch.randn(3, 2, IN, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    plain = base(x)
    change = peft(x, lora_A=shrink, lora_B=expand, scaling=ALPHA / RANK, base_layer=base, base_result=plain)
    gates = torch.tensor([1.0, 0.25, 0.0], dtype=torch.float64)
    actual = run(module, x, gates)
    assert torch.allclose(actual, plain + gates.view(-1, 1, 1) * change, rtol=0, atol=1e-10)
    assert torch.equal(actual[2], plain[2]), "an inactive expert is not exactly the base"
    assert torch.allclose(run(module, x, None), plain + change, rtol=0, atol=1e-10)
    assert not torch.allclose(actual[0], plain[0], atol=1e-2)
    ours = torch.autograd.grad(run(module, x, None).square().sum(), [down, up])
    theirs = torch.autograd.grad((plain + change).square().sum(), [shrink.weight, expand.weight])
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-10 * max(1.0, float(other.abs().max())))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_gradcheck_of_the_layer(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the norm held, as it is in the backward pass."""
    module = expert(kind=kind)
    weights = [module.milora_prompt_down["default"], module.milora_prompt_up["default"]]
    weights += [*module.milora_prompt_magnitude.values()]
    held = weight_norm.row_norms(
        weight_norm.base_weight(module.get_base_layer()), weights[0], weights[1], ALPHA / RANK
    )
    monkeypatch.setattr(module.weight_norms, "norms", lambda *_args: held)
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(2, 3, IN, dtype=torch.float64, generator=generator).requires_grad_()
    gates = torch.rand(2, dtype=torch.float64, generator=generator).requires_grad_()

    def function(x: Tensor, gates: Tensor, *weights: Tensor) -> Tensor:
        parameters = dict(zip((name for name, _ in named), weights, strict=True))
        module.decisions["default"] = LayerDecision(gates[:, None])
        return torch.func.functional_call(module, parameters, (x,))

    named = [(name, p) for name, p in module.named_parameters() if "milora" in name]
    assert torch.autograd.gradcheck(function, (x, gates, *(p.detach().requires_grad_() for _, p in named)))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each weight norm computed."""
    calls: list[int] = []
    original = weight_norm.row_norms

    def counting(*args: Any) -> Tensor:
        calls.append(1)
        return original(*args)

    monkeypatch.setattr(weight_norm, "row_norms", counting)
    return calls


@pytest.fixture
def midora(
    tiny_model: Callable[..., Any], milora_plan: Callable[..., dict[str, Any]], randomize: Callable[..., None]
) -> Any:
    base = tiny_model("llama")
    model = attach_adapter(base, milora_plan(base, expert="dora"), "default")
    randomize(model, "default")
    return model.eval()


def test_the_norm_is_computed_once_a_decision(midora: Any, counted: list[int]) -> None:
    modules = 3 * 7
    with torch.no_grad():
        midora.generate(input_ids=IDS, max_new_tokens=6, do_sample=False, num_beams=3)
        assert len(counted) == modules
        before = midora(input_ids=IDS).logits
        assert len(counted) == modules, "unchanged weights: nothing to compute"
        omega, _ = split_parameters(midora, "default")
        first = [value for name, value in omega.items() if "milora_prompt_up" in name and "layers.0." in name]
        for value in first:
            value.add_(0.1)
        after = midora(input_ids=IDS).logits
        modules_computed = modules + len(first)
        assert len(counted) == modules_computed, "seven modules changed"
    assert not torch.equal(before, after)
    midora.double()
    with torch.no_grad():
        midora(input_ids=IDS)
        assert len(counted) == modules_computed + modules, "all moved"
        midora.get_base_model().model.layers[0].mlp.up_proj.get_base_layer().weight.mul_(1.5)
        midora(input_ids=IDS)
        assert len(counted) == modules_computed + modules + 1, "a base weight changed"
        midora.train()
        midora.eval()
        midora(input_ids=IDS)
        assert len(counted) == modules_computed + 2 * modules + 1, (
            "training may change weights in ways that cannot be seen"
        )


def test_the_norm_is_computed_in_each_forward_pass_of_training(midora: Any, counted: list[int]) -> None:
    midora.train()
    for step in (1, 2):
        loss = midora(input_ids=IDS, use_cache=False).logits.square().mean()
        assert len(counted) == step * 3 * 7
        loss.backward()
    omega, _ = split_parameters(midora, "default")
    assert all(parameter.grad is not None for name, parameter in omega.items() if "magnitude" in name)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_float32_accumulation_rounds_once(kind: Any) -> None:
    """A change below half an ulp is lost in base + change; accumulated, it moves the outputs by its mean."""
    size = (64, 512)
    gate = [1.0, 1.0]
    x = torch.randn(2, 40, 64, generator=torch.Generator().manual_seed(8)).to(torch.bfloat16)
    base_only = expert(torch.bfloat16, size, move=0.0).base_layer(x)
    exact = expert(torch.float32, size, move=2e-4, kind=kind)
    with torch.no_grad():
        changed = run(exact, x.float(), gate) - exact.base_layer(x.float())
    gains = {}
    for accumulate in ("base", "float32"):
        module = expert(torch.bfloat16, size, move=0.0, kind=kind, accumulate=accumulate)
        still = run(module, x, gate).detach().float()
        with torch.no_grad():
            for name in ("milora_prompt_down", "milora_prompt_up"):
                getattr(module, name)["default"].copy_(getattr(exact, name)["default"])
            for name, value in exact.milora_prompt_magnitude.items():
                module.milora_prompt_magnitude[name].add_(value - row_norm(exact))
        moved = run(module, x, gate)
        assert moved.dtype == torch.bfloat16
        gains[accumulate] = float(((moved.float() - still) * changed).sum() / changed.square().sum())
        if accumulate == "base":
            assert torch.equal(still, base_only.float())
    assert gains["float32"] == pytest.approx(1, abs=0.1)
    assert abs(gains["base"] - 1) > 2 * abs(gains["float32"] - 1)


def row_norm(module: MiloraLinear) -> Tensor:
    return weight_norm.row_norms(weight_norm.base_weight(module.get_base_layer()))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_float32_accumulation_has_the_same_gradients_and_changes_no_float32_base(kind: Any) -> None:
    x = torch.randn(2, 3, IN, generator=torch.Generator().manual_seed(1))
    one = run(expert(torch.float32, kind=kind), x, [1.0, 0.5])
    other = run(expert(torch.float32, kind=kind, accumulate="float32"), x, [1.0, 0.5])
    assert torch.equal(one, other)
    gradients = []
    for accumulate in ("base", "float32"):
        module = expert(torch.bfloat16, kind=kind, accumulate=accumulate)
        given = x.to(torch.bfloat16).requires_grad_()
        gate = torch.tensor([1.0, 0.5], requires_grad=True)
        run(module, given, gate).float().square().sum().backward()
        found = {name: parameter.grad for name, parameter in module.named_parameters() if parameter.requires_grad}
        assert module.get_base_layer().weight.grad is None
        gradients.append({**found, "x": given.grad, "gate": gate.grad})
    for name, expected in gradients[0].items():
        bound = 0.05 * float(expected.float().abs().max())
        assert torch.allclose(gradients[1][name].float(), expected.float(), rtol=0, atol=bound), name
