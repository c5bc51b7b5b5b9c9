"""The baselines' layers against plain references in float64, gradients too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from milora.checkpoint import attach_adapter
from milora.tuners import split_parameters
from milora.tuners.base import BLOCK_ATTRIBUTE
from milora.tuners.learned_adapter import ARCHITECTURES
from milora.tuners.methods import hooks_of

ALL = ["q", "k", "v", "o", "gate", "up", "down"]
PLANS: dict[str, tuple[str, dict[str, Any]]] = {
    "bitfit": ("MILORA_BITFIT", {"only": ALL, "vector": 3}),
    "ia3": ("MILORA_IA3", {"only": ["q", "k", "up"], "vector": 3}),
    "moelora": ("MILORA_MOELORA", {"only": ALL, "r": 8, "lora_alpha": 4.0, "experts": 4, "top_k": 2}),
    "parallel": ("MILORA_PARALLEL_ADAPTER", {"only": ["attention", "ffn"], "bottleneck": 5, "scale": 4.0}),
    "learned": (
        "MILORA_LEARNED_ADAPTER",
        {"only": ["attention", "ffn"], "bottleneck": 5, "place": {"architecture": None}},
    ),
}

Build = Callable[..., Any]


@pytest.fixture
def build(tiny_model: Build, planned: Build, randomize: Build) -> Build:
    """``build("bitfit", "llama")``: a float64 model with a moved adapter."""

    def make(method: str, family: str = "llama", seed: int = 3, **changes: Any) -> Any:
        base = tiny_model(family).double()
        peft_type, settings = PLANS[method]
        model = attach_adapter(base, planned(base, peft_type, **{**settings, **changes}), "default")
        randomize(model, "default", seed=seed, scale=0.5)
        return model.eval()

    return make


def parameters_of(module: Any, prefix: str) -> dict[str, Tensor]:
    """What a layer holds for the adapter, by the container's name without its prefix."""
    names = module.adapter_layer_names
    return {name.removeprefix(prefix): getattr(module, name)["default"] for name in names if getattr(module, name)}


def rational(x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    top = sum(a * x**power for power, a in enumerate(numerator))
    bottom = sum(b * x ** (power + 1) for power, b in enumerate(denominator))
    assert isinstance(top, Tensor)
    assert isinstance(bottom, Tensor)
    return top / (1 + bottom.abs())


def bitfit(p: dict[str, Tensor], x: Tensor, y: Tensor, config: Any) -> Tensor:
    return y + torch.einsum("v,vo->o", p["vector"], p["projection"])


def ia3(p: dict[str, Tensor], x: Tensor, y: Tensor, config: Any) -> Tensor:
    return y * (1 + torch.einsum("v,vo->o", p["vector"], p["projection"]))


def moelora(p: dict[str, Tensor], x: Tensor, y: Tensor, config: Any) -> Tensor:
    """Token by token, expert by expert."""
    size = config.r // config.experts
    rows: list[Tensor] = []
    for token, out in zip(x.flatten(0, -2), y.flatten(0, -2), strict=True):
        probabilities = torch.softmax(p["router"] @ token, dim=0)
        kept = sorted(range(config.experts), key=lambda e: -float(probabilities[e]))[: config.top_k]
        total = sum(probabilities[e] for e in kept)
        for expert in kept:
            columns = slice(expert * size, (expert + 1) * size)
            gate = config.top_k * probabilities[expert] / total
            inner = p["down"][columns] @ token
            out = out + config.lora_alpha / config.r * gate * (p["up"][:, columns] @ inner)
        rows.append(out)
    return torch.stack(rows).view_as(y)


@pytest.mark.parametrize(("method", "reference"), [("bitfit", bitfit), ("ia3", ia3), ("moelora", moelora)])
def test_a_linear_layer_is_its_reference(build: Build, method: str, reference: Any) -> None:
    model = build(method)
    layer = model.get_base_model().model.layers[1].self_attn.q_proj
    config = model.peft_config["default"]
    mine = parameters_of(layer, layer.adapter_layer_names[0].rpartition("_")[0] + "_")
    x = torch.randn(2, 5, layer.get_base_layer().in_features, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 5, layer.get_base_layer().out_features, dtype=torch.float64)
    inputs = [x, *mine.values()]
    actual = layer(x)
    expected = reference(mine, x, layer.get_base_layer()(x), config)
    assert torch.allclose(actual, expected, rtol=0, atol=1e-10)
    gradients = torch.autograd.grad((actual * weight).sum(), inputs)
    references = torch.autograd.grad((expected * weight).sum(), inputs)
    for found, wanted in zip(gradients, references, strict=True):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-9)
        assert float(wanted.abs().max()) > 0


def block_reference(p: dict[str, Tensor], x: Tensor, y: Tensor, weights: dict[str, float | Tensor]) -> Tensor:
    functions: dict[str, Any] = {
        "identity": lambda z: z,
        "relu": lambda z: z.clamp(min=0),
        "gelu": lambda z: 0.5 * z * (1 + torch.erf(z / math.sqrt(2))),
        "silu": lambda z: z / (1 + torch.exp(-z)),
        "tanh": lambda z: (torch.exp(2 * z) - 1) / (torch.exp(2 * z) + 1),
        "rational": lambda z: rational(z, p["numerator"], p["denominator"]),
    }
    out = y
    for name, weight in weights.items():
        if name == "skip":
            continue
        placement, activation = name.split("-")
        out = out + weight * (functions[activation]((x if placement == "parallel" else y) @ p["down"].T) @ p["up"].T)
    return out


@pytest.mark.parametrize("family", ["llama", "gemma2", "phi3"])
@pytest.mark.parametrize("left", [None, [3], [1, 8, 12], [5, 11]])
def test_a_learned_adapter_mixes_what_is_left(build: Build, family: str, left: list[int] | None) -> None:
    model = build("learned", family)
    block = model.get_base_model().model.layers[0].mlp
    adapter = getattr(block, BLOCK_ATTRIBUTE)
    if left is not None:
        adapter.left["default"] = left
    indices = adapter.left["default"]
    p = parameters_of(adapter, "milora_learned_adapter_")
    softmax = torch.softmax(p["choice"][indices], dim=0)
    weights: dict[str, Any] = {ARCHITECTURES[index]: softmax[place] for place, index in enumerate(indices)}
    x = torch.randn(2, 4, 32, dtype=torch.float64)
    with model.disable_adapter():
        y = block(x)
    actual, expected = block(x), block_reference(p, x, y, weights)
    assert torch.allclose(actual, expected, rtol=0, atol=1e-10)
    inputs = [p["down"], p["up"], p["choice"]]
    found = torch.autograd.grad(actual.square().sum(), inputs, allow_unused=True)
    wanted = torch.autograd.grad(expected.square().sum(), inputs, allow_unused=True)
    for one, other in zip(found, wanted, strict=True):
        assert one is not None
        assert other is not None
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


def test_a_parallel_adapter_is_its_reference(build: Build) -> None:
    model = build("parallel")
    block = model.get_base_model().model.layers[0].mlp
    p = parameters_of(getattr(block, BLOCK_ATTRIBUTE), "milora_parallel_adapter_")
    x = torch.randn(2, 4, 32, dtype=torch.float64)
    with model.disable_adapter():
        y = block(x)
    assert torch.allclose(block(x), block_reference(p, x, y, {"parallel-relu": 4.0}), rtol=0, atol=1e-10)


def test_a_search_ends_with_one_architecture_a_place_that_costs_nothing_else(build: Build, tiny_model: Build) -> None:
    model = build("learned")
    hooks = hooks_of(model, "default")
    counts = [hooks.prune(model, "default") for _ in range(len(ARCHITECTURES) - 1)]
    assert counts == list(range(len(ARCHITECTURES) - 1, 0, -1))
    assert hooks.prune(model, "default") == 1, "the last candidate stays"
    config = hooks.discretised(model, "default")
    chosen = {
        f"{layer['path']}.{module['module']}": module["architecture"]
        for layer in config["layers"]
        for module in layer["modules"]
    }
    blocks = {
        f"model.layers.{index}.{name}": getattr(layer.get_submodule(name), BLOCK_ATTRIBUTE)
        for index, layer in enumerate(model.get_base_model().model.layers)
        for name in ("self_attn", "mlp")
    }
    for path, block in blocks.items():
        assert chosen.get(path, "skip") == block.best("default")
    found = attach_adapter(tiny_model("llama").double(), config, "found").eval()
    omega, theta = split_parameters(found, "found")
    assert theta == {}
    rationals = sum(name.endswith("rational") for name in chosen.values())
    assert sum(p.numel() for p in omega.values()) == len(chosen) * 2 * 5 * 32 + 12 * rationals
    # With the search's weights it computes what the search's last forward pass did.
    target = dict(found.named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if (other := target.get(name.replace(".default", ".found"))) is not None:
                other.copy_(parameter)
    ids = torch.arange(2, 12)[None]
    with torch.no_grad():
        assert torch.allclose(found(input_ids=ids).logits, model(input_ids=ids).logits, rtol=0, atol=1e-9)
