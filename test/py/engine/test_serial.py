"""Decoders that the fused engine doesn't know: the same texts, through transformers' forward pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import MixtralConfig, MixtralForCausalLM, Olmo2Config, Olmo2ForCausalLM, PreTrainedModel

from milora.engine import attention as attention_module
from milora.engine.fused import Engine, EngineLimits, EngineRequest, FinishedEvent, Sampling
from milora.engine.fused import parts as parts_module
from milora.engine.fused import serial as serial_module

_LIMITS = EngineLimits(max_rows=12, max_cells=4096, context_length=200)
_SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
    "initializer_range": 0.2,
}


def _olmo(seed: int = 0) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Olmo2ForCausalLM(Olmo2Config(**_SIZES))
    return model.requires_grad_(False).eval()


def _ids(length: int, seed: int) -> tuple[int, ...]:
    return tuple(torch.randint(2, 96, (length,), generator=torch.Generator().manual_seed(seed)).tolist())


def _drain(engine: Engine) -> dict[int, FinishedEvent]:
    ends: dict[int, FinishedEvent] = {}
    for _ in range(200):
        if engine.is_idle:
            return ends
        ends |= {event.request: event for event in engine.step(2) if isinstance(event, FinishedEvent)}
    raise AssertionError("the engine does not come to an end")


def _expected(model: Any, request: EngineRequest) -> list[int]:
    prompt = torch.tensor([list(request.prompt_ids)])
    output = model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=request.max_new_tokens,
        num_beams=request.beams,
        do_sample=False,
        eos_token_id=sorted(request.stop_ids) or None,
        pad_token_id=0,
    )
    return output[0, prompt.shape[1] :].tolist()


def test_an_unknown_decoder_runs_many_tenants_as_generate_does(make_tenant: Any) -> None:
    kinds = ("milora", "midora", "lora", "dora", "fixed")
    tenants = {kind: make_tenant(kind, _olmo(), seed=index) for index, kind in enumerate(kinds)}
    model = _olmo()
    engine = Engine(model, _LIMITS)
    assert engine.slow_because is not None and "Olmo2ForCausalLM" in engine.slow_because
    for kind, tenant in tenants.items():
        engine.load(kind, tenant.config, tenant.tensors)
    requests = [
        EngineRequest(_ids(4 + 3 * index, index), kind, 8, frozenset({5}), beams=beams)
        for index, kind in enumerate((*kinds, None))
        for beams in (1, 2)
    ]
    numbers = []
    ends: dict[int, FinishedEvent] = {}
    for request in requests:
        numbers.append(engine.submit(request))
        ends |= {event.request: event for event in engine.step(1) if isinstance(event, FinishedEvent)}
    ends |= _drain(engine)
    for number, request in zip(numbers, requests, strict=True):
        reference = model if request.adapter is None else tenants[request.adapter].model
        assert list(ends[number].token_ids) == _expected(reference, request)
    assert engine.num_cache_bytes == 0


def test_adapters_of_the_model_itself_stay_out(make_tenant: Any) -> None:
    tenant = make_tenant("milora", _olmo(), seed=3)
    request = EngineRequest(_ids(9, 1), None, 8)
    expected = _expected(_olmo(), request)
    engine = Engine(tenant.model.get_base_model(), _LIMITS, without_adapters=tenant.model.disable_adapter)
    engine.load("own", tenant.config, tenant.tensors)
    numbers = [engine.submit(request), engine.submit(EngineRequest(request.prompt_ids, "own", 8))]
    ends = _drain(engine)
    assert list(ends[numbers[0]].token_ids) == expected
    assert list(ends[numbers[1]].token_ids) == _expected(tenant.model, request)


def test_fused_and_serial_write_the_same(
    family: str, decoder_model: Any, make_tenant: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = make_tenant("midora", decoder_model(family), seed=5)
    requests = [
        EngineRequest(_ids(11, 1), "own", 10, sampling=Sampling(temperature=1.2, seed=4)),
        EngineRequest(_ids(5, 2), "own", 10, top_k=1),
        EngineRequest(_ids(7, 3), None, 10, beams=3),
    ]
    written = []
    for known in (True, False):
        if not known:
            monkeypatch.setattr(parts_module, "_FAMILIES", {})
        engine = Engine(decoder_model(family), _LIMITS)
        assert (engine.slow_because is None) == known
        engine.load("own", tenant.config, tenant.tensors)
        numbers = [engine.submit(request) for request in requests]
        ends = _drain(engine)
        written.append([ends[number].token_ids for number in numbers])
    assert written[0] == written[1]


def test_a_failed_step_ends_what_runs_and_later_requests_are_served(
    fails_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = _olmo()
    engine = Engine(model, _LIMITS)
    requests = [EngineRequest(_ids(4, 1), None, 6), EngineRequest(_ids(7, 2), None, 6, beams=2)]
    for turn in (2, 3):
        for request in requests:
            engine.submit(request)
        with monkeypatch.context() as patch:
            fails = torch.OutOfMemoryError("no memory")
            patch.setattr(serial_module, "logits_at", fails_at(turn, serial_module.logits_at, fails))
            with pytest.raises(torch.OutOfMemoryError):
                engine.step(3)
        assert engine.is_idle
        assert engine.num_cache_bytes == 0
        numbers = [engine.submit(request) for request in requests]
        ends = _drain(engine)
        for number, request in zip(numbers, requests, strict=True):
            assert list(ends[number].token_ids) == _expected(model, request)


def test_long_prompts_have_an_attention_without_their_square(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = _olmo()
    model.set_attn_implementation("eager")
    request = EngineRequest(_ids(30, 1), None, 6)
    expected = _expected(model, request)
    used: list[str] = []
    forward = model.model.layers[0].self_attn.forward

    def watch(*args: Any, **inputs: Any) -> Any:
        used.append(model.config._attn_implementation)
        return forward(*args, **inputs)

    monkeypatch.setattr(model.model.layers[0].self_attn, "forward", watch)
    monkeypatch.setattr(attention_module, "_longest_eager", 20)
    engine = Engine(model, _LIMITS)
    number = engine.submit(request)
    assert list(_drain(engine)[number].token_ids) == expected
    assert used == ["sdpa", *["eager"] * 5]


def test_a_mixture_of_experts_runs(make_tenant: Any) -> None:
    def build() -> PreTrainedModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = MixtralForCausalLM(MixtralConfig(**_SIZES, num_local_experts=4))
        return model.requires_grad_(False).eval()

    tenant = make_tenant("attention", build(), seed=2)
    engine = Engine(build(), _LIMITS)
    engine.load("own", tenant.config, tenant.tensors)
    request = EngineRequest(_ids(9, 1), "own", 8)
    number = engine.submit(request)
    assert list(_drain(engine)[number].token_ids) == _expected(tenant.model, request)
