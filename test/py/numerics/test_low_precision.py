"""What (IA)³ and MOELoRA compute in float32, whatever is around it: a bf16 base, a bf16 adapter, autocast."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from milora.checkpoint import attach_adapter
from milora.routing.context import routing_context

SETTINGS: dict[str, dict[str, Any]] = {
    "MILORA_IA3": {"vector": 8},
    "MILORA_MOELORA": {"r": 8, "lora_alpha": 8.0, "experts": 4, "top_k": 2},
}
AROUND = ["bf16 base", "all bf16", "autocast"]


@pytest.fixture
def build(
    tiny_model: Callable[..., Any], planned: Callable[..., Any], randomize: Callable[..., None]
) -> Callable[..., Any]:
    """``build("MILORA_IA3", "all bf16", scale=0.01)``: a model with a moved adapter on q."""

    def make(method: str, around: str, scale: float) -> Any:
        base = tiny_model("llama").to(torch.bfloat16 if around == "bf16 base" else torch.float32)
        model = attach_adapter(base, planned(base, method, only=["q"], **SETTINGS[method]), "default")
        randomize(model, "default", scale=scale)
        return model.to(torch.bfloat16) if around == "all bf16" else model

    return make


def autocast(around: str) -> Any:
    return torch.autocast("cpu", torch.bfloat16) if around == "autocast" else contextlib.nullcontext()


def inputs(layer: Any) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 64, 32, generator=generator).to(layer.get_base_layer().weight.dtype)


@pytest.mark.parametrize("around", AROUND)
def test_a_scale_near_one_is_not_rounded_to_one(build: Callable[..., Any], around: str) -> None:
    layer = build("MILORA_IA3", around, 1e-4).get_base_model().model.layers[0].self_attn.q_proj
    vector, projection = (
        getattr(layer, f"milora_ia3_{name}")["default"].double() for name in ("vector", "projection")
    )
    change = vector @ projection
    assert 0 < float(change.detach().abs().max()) < 2**-9, "in bf16 the scale would not be 1: the test is blind"
    x = inputs(layer)
    output = torch.ones(2, 64, layer.get_base_layer().out_features, dtype=x.dtype)
    with autocast(around):
        scale = layer.adapt("default", x, output)
    assert scale.dtype == torch.float32
    assert torch.allclose(scale.double() - 1, change.expand_as(scale), rtol=0, atol=1e-7)


@pytest.mark.parametrize("around", AROUND)
def test_a_tokens_router_is_in_float32(build: Callable[..., Any], around: str) -> None:
    model = build("MILORA_MOELORA", around, 1.0)
    layer = model.get_base_model().model.layers[0].self_attn.q_proj
    x = inputs(layer)
    router = layer.milora_moelora_router["default"]
    expected = torch.softmax(x.double() @ router.double().T, dim=-1).flatten(0, -2)
    rounded = torch.softmax(x.bfloat16() @ router.bfloat16().T, dim=-1).flatten(0, -2)
    assert not torch.allclose(rounded.double(), expected, rtol=0, atol=1e-3), "bf16 would do: the test is blind"
    context = routing_context(model)
    assert context is not None
    real = torch.ones(x.shape[:2], dtype=torch.bool)
    with autocast(around), context.prompt(real), context.record() as record:
        layer(x)
    (found,) = record.probabilities
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), expected, rtol=0, atol=1e-6)
    chosen = torch.zeros_like(expected, dtype=torch.bool).scatter(-1, expected.topk(2, dim=-1).indices, value=True)
    assert torch.equal(record.gates[:, 0] > 0, chosen)
