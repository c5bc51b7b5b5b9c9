"""Prefill and decode plans against the tuners' own modules, alone and in mixed batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from milora.engine.fused import mixed
from milora.engine.fused.cache import KvCache
from milora.engine.fused.decoder import FusedDecoder
from milora.engine.fused.plan import PlanCompiler
from milora.engine.fused.prompt_routing import PromptRouting, RowDecision
from milora.engine.fused.resident import ResidentAdapter, read_resident
from milora.errors import MiloraError

_TOLERANCE = 2e-5
_KINDS = ("milora", "milora-one", "milora-some", "midora", "fixed", "lora", "dora")
_STEPS = 4


def _ids(lengths: Sequence[int], seed: int = 0) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(2, 96, (length,), generator=generator).tolist() for length in lengths]


@torch.no_grad()
def _reference(model: Any, prompt: Sequence[int], rest: Sequence[int]) -> list[Tensor]:
    """Logits behind the prompt and behind each token of the rest."""
    output = model(input_ids=torch.tensor([list(prompt)]), use_cache=True)
    logits = [output.logits[0, -1]]
    for token in rest:
        output = model(input_ids=torch.tensor([[token]]), past_key_values=output.past_key_values, use_cache=True)
        logits.append(output.logits[0, -1])
    return logits


def _prefill(
    decoder: FusedDecoder, cache: KvCache, prompt: Sequence[int], row: int, adapter: ResidentAdapter | None
) -> tuple[Tensor, RowDecision | None]:
    routing = None if adapter is None else PromptRouting(adapter, [len(prompt)], None)
    logits = decoder.prefill([prompt], cache, row, None if routing is None else routing.updates)
    return logits[0], None if routing is None else routing.decisions()[0]


def _check_batch(
    model: PreTrainedModel, prompts: Sequence[list[int]], adapters: Sequence[ResidentAdapter | None], references: Any
) -> None:
    """Runs the rows as one batch and compares every step's logits with each row alone."""
    decoder = FusedDecoder(model)
    cache = decoder.new_cache()
    cache.fit(len(prompts), 40, 0)
    compiler = PlanCompiler(decoder.parts.sites)
    decisions: list[RowDecision | None] = []
    rest = _ids([_STEPS] * len(prompts), seed=7)
    expected = [_reference(one, prompt, ids) for one, prompt, ids in zip(references, prompts, rest, strict=True)]
    for row, (prompt, adapter) in enumerate(zip(prompts, adapters, strict=True)):
        logits, decision = _prefill(decoder, cache, prompt, row, adapter)
        decisions.append(decision)
        torch.testing.assert_close(logits, expected[row][0], atol=_TOLERANCE, rtol=_TOLERANCE)
    updates = compiler.compile(decisions)
    for step in range(_STEPS):
        positions = [len(prompt) + step for prompt in prompts]
        logits_BV = decoder.decode([ids[step] for ids in rest], positions, cache, updates)
        for row, logits in enumerate(logits_BV):
            torch.testing.assert_close(logits, expected[row][step + 1], atol=_TOLERANCE, rtol=_TOLERANCE)


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("name", ["llama", "gemma3", "phi3"])
def test_one_adapter_matches_its_tuner(name: str, kind: str, decoder_model: Any, make_tenant: Any) -> None:
    model = decoder_model(name)
    tenant = make_tenant(kind, decoder_model(name), seed=5)
    adapter = read_resident(FusedDecoder(model).parts.sites, kind, tenant.config, tenant.tensors)
    (prompt,) = _ids([11])
    _check_batch(model, [prompt], [adapter], [tenant.model])


@pytest.mark.parametrize("gather_cost", [0, 10**12], ids=["batched", "stacked"])
def test_mixed_rows_match_each_alone(
    gather_cost: int, decoder_model: Any, make_tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed, "_GATHER_COST", gather_cost)
    model = decoder_model("llama")
    parts = FusedDecoder(model).parts.sites
    tenants = {kind: make_tenant(kind, decoder_model("llama"), seed=index) for index, kind in enumerate(_KINDS)}
    adapters = {kind: read_resident(parts, kind, one.config, one.tensors) for kind, one in tenants.items()}
    kinds = [*_KINDS, None, "milora", "dora", "milora", None]
    prompts = _ids([5 + 3 * index for index in range(len(kinds))])
    _check_batch(
        model,
        prompts,
        [None if kind is None else adapters[kind] for kind in kinds],
        [model if kind is None else tenants[kind].model for kind in kinds],
    )


def test_only_active_experts_are_in_a_plan(decoder_model: Any, make_tenant: Any) -> None:
    model = decoder_model("llama")
    tenant = make_tenant("milora-one", decoder_model("llama"))
    decoder = FusedDecoder(model)
    adapter = read_resident(decoder.parts.sites, "one", tenant.config, tenant.tensors)
    cache = decoder.new_cache()
    cache.fit(1, 20, 0)
    _, decision = _prefill(decoder, cache, _ids([9])[0], 0, adapter)
    updates = PlanCompiler(decoder.parts.sites).compile([decision])
    assert updates is not None
    assert [sum(update is not None for update in layer) for layer in updates] == [1, 1, 1]
    assert PlanCompiler(decoder.parts.sites).compile([None, None]) is None


def test_a_later_composition_keeps_the_stacks_that_it_needs(decoder_model: Any, make_tenant: Any) -> None:
    model = decoder_model("llama")
    decoder = FusedDecoder(model)
    rows: list[RowDecision | None] = []
    cache = decoder.new_cache()
    cache.fit(4, 20, 0)
    for row, kind in enumerate(("lora", "fixed", "dora")):
        tenant = make_tenant(kind, decoder_model("llama"), seed=row)
        adapter = read_resident(decoder.parts.sites, kind, tenant.config, tenant.tensors)
        rows.append(_prefill(decoder, cache, _ids([6])[0], row, adapter)[1])
    compiler = PlanCompiler(decoder.parts.sites)
    compiler.compile([*rows, rows[0]])
    kept = compiler.stacks.keys
    compiler.compile([rows[0], rows[0], rows[1], rows[2]])
    assert kept & compiler.stacks.keys
    compiler.compile([None])
    assert not compiler.stacks.keys


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda tensors: tensors.popitem(), "adapter/mismatch"),
        (
            lambda tensors: tensors.update({"base_model.model.lm_head.lora_A.weight": torch.ones(2, 32)}),
            "adapter/unsupported",
        ),
        (lambda tensors: tensors.update({key: value.t() for key, value in tensors.items()}), "adapter/mismatch"),
    ],
    ids=["missing", "unexpected", "misshapen"],
)
@pytest.mark.parametrize("kind", ["milora", "lora"])
def test_weights_that_do_not_fit_are_refused(
    kind: str,
    change: Callable[[dict[str, Tensor]], object],
    code: str,
    decoder_model: Any,
    make_tenant: Any,
) -> None:
    model = decoder_model("llama")
    tenant = make_tenant(kind, decoder_model("llama"))
    tensors = {key: tensor for key, tensor in tenant.tensors.items() if tensor.dim() == 2}
    tensors |= {key: tensor for key, tensor in tenant.tensors.items() if key not in tensors and kind == "milora"}
    change(tensors)
    with pytest.raises(MiloraError) as caught:
        read_resident(FusedDecoder(model).parts.sites, kind, tenant.config, tensors)
    assert caught.value.code == code


def test_other_methods_are_refused(decoder_model: Any, make_tenant: Any) -> None:
    model = decoder_model("llama")
    tenant = make_tenant("lora", decoder_model("llama"))
    parts = FusedDecoder(model).parts.sites
    for config in ({**tenant.config, "layer_replication": [[0, 2]]}, {"peft_type": "ADALORA", "total_step": 10}):
        with pytest.raises(MiloraError) as caught:
            read_resident(parts, "other", config, tenant.tensors)
        assert caught.value.code == "adapter/unsupported"
