"""In bf16 the engine's error, against float32, is no more than that of transformers with the tuner."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor

from milora.engine.fused import FusedDecoder, mixed
from milora.engine.fused.plan import PlanCompiler
from milora.engine.fused.prompt_routing import PromptRouting, RowDecision
from milora.engine.fused.resident import read_resident
from milora.errors import MiloraError
from milora.routing.override import make_override

_PROMPTS = ([5, 9, 33, 2, 71, 14], [8, 8, 50], [90, 3, 4, 61])
_REST = [17, 40, 23, 6, 77, 12]


def _gates(layers: int, experts: int) -> Tensor:
    """A decision, so that rounding cannot choose other experts."""
    return torch.linspace(0.4, 1.3, layers * experts).view(1, layers, experts)


@torch.no_grad()
def _reference(model: Any, prompt: list[int], routed: bool) -> Tensor:
    ids = torch.tensor([[*prompt, *_REST]])
    changed = contextlib.nullcontext()
    if routed:
        changed = model.get_base_model().milora_routing_context.override(decision=_gates(3, 7))
    with changed:
        return model(input_ids=ids).logits[0, len(prompt) - 1 :].float()


def _engine_logits(decoder: FusedDecoder, adapters: list[Any]) -> list[Tensor]:
    cache = decoder.new_cache()
    cache.fit(3, 20, 0)
    decisions: list[RowDecision | None] = []
    rows: list[list[Tensor]] = []
    for row, (prompt, (adapter, override)) in enumerate(zip(_PROMPTS, adapters, strict=True)):
        routing = PromptRouting(adapter, [len(prompt)], override)
        rows.append([decoder.prefill([prompt], cache, row, routing.updates)[0]])
        decisions.append(routing.decisions()[0])
    plan = PlanCompiler(decoder.parts.sites).compile(decisions)
    for step, token in enumerate(_REST):
        logits = decoder.decode([token] * 3, [len(prompt) + step for prompt in _PROMPTS], cache, plan)
        for row, found in zip(rows, logits, strict=True):
            row.append(found)
    return [torch.stack(row) for row in rows]


@pytest.mark.parametrize("gather_cost", [0, 10**12], ids=["batched", "stacked"])
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_bf16_is_no_less_exact_than_the_tuners(
    name: str, gather_cost: int, decoder_model: Any, make_tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed, "_GATHER_COST", gather_cost)
    kinds = ("milora", "midora", "dora")
    override = make_override(None, None, _gates(3, 7))
    decoder = FusedDecoder(decoder_model(name).to(torch.bfloat16))
    adapters, ours, theirs = [], 0.0, 0.0
    exact, rounded = [], []
    for seed, (kind, prompt) in enumerate(zip(kinds, _PROMPTS, strict=True)):
        # The exact model's weights are the rounded ones.
        wide = decoder_model(name).to(torch.bfloat16).float()
        tenant = make_tenant(kind, wide, seed=seed)
        exact.append(_reference(tenant.model, prompt, kind != "dora"))
        narrow = make_tenant(kind, decoder_model(name).to(torch.bfloat16), seed=seed)
        rounded.append(_reference(narrow.model, prompt, kind != "dora"))
        adapter = read_resident(decoder.parts.sites, kind, tenant.config, tenant.tensors)
        adapters.append((adapter, None if kind == "dora" else override))
    for found, expected, reference in zip(_engine_logits(decoder, adapters), exact, rounded, strict=True):
        ours += float((found - expected).square().mean())
        theirs += float((reference - expected).square().mean())
    assert 0 < ours <= 1.3 * theirs


def test_sums_in_float32_below_float32_are_refused(decoder_model: Any, make_tenant: Any) -> None:
    tenant = make_tenant("milora", decoder_model("llama"))
    config = {**tenant.config, "accumulate": "float32"}
    read_resident(FusedDecoder(decoder_model("llama")).parts.sites, "wide", config, tenant.tensors)
    decoder = FusedDecoder(decoder_model("llama").to(torch.bfloat16))
    with pytest.raises(MiloraError) as caught:
        read_resident(decoder.parts.sites, "wide", config, tenant.tensors)
    assert caught.value.code == "adapter/unsupported"
