"""Parallel-Adapter and each candidate of Learned-Adapter against a plain float64 reference; what a place costs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from milora.checkpoint import attach_adapter
from milora.tuners.base import BLOCK_ATTRIBUTE
from milora.tuners.learned_adapter import ARCHITECTURES

SEQUENTIAL = [name for name in ARCHITECTURES if name.startswith("sequential")]
PARALLEL = [name for name in ARCHITECTURES if name.startswith("parallel")]
Build = Callable[..., Any]


@pytest.fixture
def build(tiny_model: Build, planned: Build, randomize: Build) -> Build:
    """``build("MILORA_LEARNED_ADAPTER", place={"architecture": None})``: a float64 model with a moved adapter."""

    def make(peft_type: str, **settings: Any) -> Any:
        base = tiny_model("llama").double().requires_grad_(False)
        plan = planned(base, peft_type, only=["attention", "ffn"], bottleneck=5, **settings)
        model = attach_adapter(base, plan, "default")
        randomize(model, "default", seed=3, scale=0.5)
        return model.eval()

    return make


def activated(name: str, inner: Tensor, numerator: Tensor | None, denominator: Tensor | None) -> Tensor:
    if name == "rational":
        assert numerator is not None
        assert denominator is not None
        top = torch.stack([a * inner**power for power, a in enumerate(numerator)]).sum(dim=0)
        bottom = torch.stack([b * inner ** (power + 1) for power, b in enumerate(denominator)]).sum(dim=0)
        return top / (1 + bottom.abs())
    return {
        "identity": inner,
        "relu": torch.where(inner > 0, inner, torch.zeros_like(inner)),
        "gelu": 0.5 * inner * (1 + torch.erf(inner / math.sqrt(2))),
        "silu": inner / (1 + torch.exp(-inner)),
        "tanh": (torch.exp(2 * inner) - 1) / (torch.exp(2 * inner) + 1),
    }[name]


def assert_is_reference(model: Any, prefix: str, architecture: str, scale: float) -> None:
    """Output and the gradients of the input and of every parameter, at an FFN."""
    block = model.get_base_model().model.layers[1].mlp
    layer = getattr(block, BLOCK_ATTRIBUTE)
    names = [name for name in layer.adapter_layer_names if "default" in getattr(layer, name)]
    held: dict[str, Tensor] = {name.removeprefix(prefix): getattr(layer, name)["default"] for name in names}
    coefficients = {"numerator", "denominator"} if architecture.endswith("rational") else set()
    assert set(held) == {"down", "up", *coefficients}
    placement, activation = architecture.split("-")
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 4, 32, dtype=torch.float64, generator=generator).requires_grad_(True)
    y = block.down_proj(functional.silu(block.gate_proj(x)) * block.up_proj(x))
    inner = (x if placement == "parallel" else y) @ held["down"].T
    added = activated(activation, inner, held.get("numerator"), held.get("denominator")) @ held["up"].T
    actual, expected = block(x), y + scale * added
    assert float((expected - y).detach().abs().max()) > 0.1
    assert torch.allclose(actual, expected, rtol=0, atol=1e-10)
    inputs = [x, *held.values()]
    found = torch.autograd.grad(actual.square().sum(), inputs)
    wanted = torch.autograd.grad(expected.square().sum(), inputs)
    for one, other in zip(found, wanted, strict=True):
        assert float(other.abs().max()) > 0
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [4.0, 1.0])
def test_a_parallel_adapter_and_its_gradients(build: Build, scale: float) -> None:
    model = build("MILORA_PARALLEL_ADAPTER", scale=scale)
    assert_is_reference(model, "milora_parallel_adapter_", "parallel-relu", scale)


@pytest.mark.parametrize("architecture", [*SEQUENTIAL, *PARALLEL])
def test_each_found_architecture_and_its_gradients(build: Build, architecture: str) -> None:
    model = build("MILORA_LEARNED_ADAPTER", place={"architecture": architecture})
    assert_is_reference(model, "milora_learned_adapter_", architecture, 1.0)


def num_linear_calls(model: Any, monkeypatch: pytest.MonkeyPatch) -> int:
    """Products with a weight in a forward pass."""
    calls: list[None] = []
    original = functional.linear

    def counted(*args: Any, **kwargs: Any) -> Tensor:
        calls.append(None)
        return original(*args, **kwargs)

    with monkeypatch.context() as patched, torch.no_grad():
        patched.setattr(functional, "linear", counted)
        model(input_ids=torch.arange(2, 8)[None])
    return len(calls)


@pytest.mark.parametrize(
    ("left", "products"),
    [
        (list(ARCHITECTURES), 3),  # W_down at either placement, W_up once
        (["sequential-relu", "parallel-tanh"], 3),
        ([*SEQUENTIAL, "skip"], 2),
        (["parallel-gelu"], 2),
        (["skip"], 0),
    ],
)
def test_candidates_that_were_dropped_cost_nothing(
    build: Build, monkeypatch: pytest.MonkeyPatch, left: list[str], products: int
) -> None:
    model = build("MILORA_LEARNED_ADAPTER", place={"architecture": None})
    with model.disable_adapter():
        plain = num_linear_calls(model, monkeypatch)
    blocks = [block for block in model.modules() if hasattr(block, BLOCK_ATTRIBUTE)]
    assert len(blocks) == 6
    for block in blocks:
        getattr(block, BLOCK_ATTRIBUTE).left["default"] = [ARCHITECTURES.index(name) for name in left]
    assert num_linear_calls(model, monkeypatch) == plain + 6 * products


def test_a_found_adapter_is_two_products_a_place_and_none_where_it_skips(
    tiny_model: Build, planned: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tiny_model("llama")
    plain = num_linear_calls(base, monkeypatch)
    settings = {"bottleneck": 5, "place": {"architecture": "sequential-tanh"}}
    plan = planned(base, "MILORA_LEARNED_ADAPTER", only=["attention", "ffn"], **settings)
    plan["layers"] = [plan["layers"][0], {**plan["layers"][2], "modules": plan["layers"][2]["modules"][:1]}]
    model = attach_adapter(base, plan, "default")
    assert num_linear_calls(model, monkeypatch) == plain + 2 * 3
    layers: Any = model.get_base_model().get_submodule("model.layers")
    assert not any(hasattr(block, BLOCK_ATTRIBUTE) for block in layers[1].modules())
    assert not hasattr(layers[2].mlp, BLOCK_ATTRIBUTE)
