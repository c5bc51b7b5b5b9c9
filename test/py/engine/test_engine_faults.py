"""A fault stays with the request that has it, and what cannot be done is told before any work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from milora.engine.fused import EngineLimits, EngineRequest, Sampling
from milora.engine.fused.cache import KvCache
from milora.engine.fused.decoder import FusedDecoder
from milora.errors import CancelledError, MiloraError


def _ids(length: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(2, 96, (length,), generator=generator).tolist())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e38])
@pytest.mark.parametrize("part", ["milora_prompt_down", "milora_prompt_up"])
def test_a_poisoned_adapter_ends_its_own_requests_only(world: Any, value: float, part: str) -> None:
    tenant = world.tenants["milora"]
    poisoned = {
        key: torch.full_like(tensor, value) if part in key else tensor for key, tensor in tenant.tensors.items()
    }
    engine = world.engine()
    engine.load("poisoned", tenant.config, poisoned)
    healthy = [
        EngineRequest(_ids(7, 1), "milora", max_new_tokens=8),
        EngineRequest(_ids(3, 2), None, max_new_tokens=8),
        EngineRequest(_ids(6, 3), "dora", max_new_tokens=8, beams=2),
    ]
    alone = [world.alone(engine, request).token_ids for request in healthy]
    for _ in range(3):
        numbers = [engine.submit(request) for request in healthy]
        events = engine.step(2)
        sick = engine.submit(EngineRequest(_ids(30, 4), "poisoned", max_new_tokens=8))
        ends = world.ends([*events, *world.drain(engine)])
        assert ends[sick].reason == "error"
        error = ends[sick].error
        assert error is not None and error.code == "training/non-finite" and "poisoned" in error.message
        assert [ends[number].token_ids for number in numbers] == alone


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"adapter": "lora", "top_k": 1}, "adapter/unsupported"),
        ({"adapter": None, "allowed": ("q",)}, "adapter/unsupported"),
        ({"top_k": 4}, "input/invalid-spec"),
        ({"top_k": 1, "decision": torch.ones(3, 7)}, "input/invalid-spec"),
        ({"allowed": ("q",), "decision": torch.ones(3, 7)}, "input/invalid-spec"),
        ({"allowed": ("nothing",)}, "adapter/unsupported"),
        ({"decision": torch.ones(2, 2)}, "adapter/unsupported"),
        ({"adapter": "milor"}, "adapter/not-found"),
        ({"prompt_ids": ()}, "input/invalid-spec"),
        ({"prompt_ids": (96,)}, "input/invalid-spec"),
        ({"prompt_ids": (3,) * 199}, "input/invalid-spec"),
        ({"max_new_tokens": 0}, "input/invalid-spec"),
        ({"stop_strings": ("x",)}, "input/invalid-spec"),
        ({"beams": 2, "sampling": Sampling(temperature=1.0)}, "input/invalid-spec"),
        ({"sampling": Sampling(top_p=0.0)}, "input/invalid-spec"),
        ({"sampling": Sampling(temperature=float("nan"))}, "input/invalid-spec"),
        ({"sampling": Sampling(repetition_penalty=1e-40)}, "input/invalid-spec"),
        ({"beams": 13}, "memory/exhausted"),
    ],
)
def test_bad_requests_are_refused_before_any_work(world: Any, change: dict[str, Any], code: str) -> None:
    engine = world.engine()
    request = replace(EngineRequest((3, 4), "milora", max_new_tokens=4), **change)
    with pytest.raises(MiloraError) as caught:
        engine.submit(request)
    assert caught.value.code == code
    assert engine.is_idle


def test_a_budget_too_small_for_a_request_says_so(world: Any) -> None:
    engine = world.engine(EngineLimits(max_cells=128))
    with pytest.raises(MiloraError, match=r"256 cells .* 128 cells") as caught:
        engine.submit(EngineRequest((3,) * 120, None, max_new_tokens=20))
    assert caught.value.code == "memory/exhausted"


def test_one_long_request_takes_one_row(world: Any) -> None:
    engine = world.engine(EngineLimits())
    engine.submit(EngineRequest((3,) * 16_384, None, max_new_tokens=1))
    assert [KvCache.cells(rows, 129) for rows in (1, 2, 3, 4, 5)] == [256, 512, 768, 1024, 2048]
    cache = KvCache(2, 1, 4, torch.float32, torch.device("cpu"))
    for rows in (1, 3, 5):
        cache.fit(rows, 129, 0)
        assert cache.rows * cache.length == KvCache.cells(rows, 129)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory"), CancelledError()])
@pytest.mark.parametrize(
    ("owner", "name", "turn"),
    [
        (KvCache, "_new", 2),  # The first layer of the cache has grown, the others have not.
        (FusedDecoder, "prefill", 2),  # A batch of prompts has joined, the next one does not.
        (FusedDecoder, "decode", 1),
        (FusedDecoder, "decode", 2),
    ],
)
def test_a_failed_step_ends_what_runs_and_later_requests_are_served(
    world: Any,
    monkeypatch: pytest.MonkeyPatch,
    fails_at: Any,
    owner: type,
    name: str,
    turn: int,
    error: BaseException,
) -> None:
    requests = [
        EngineRequest(_ids(3, 1), "milora", max_new_tokens=6),
        EngineRequest(_ids(5, 2), None, max_new_tokens=6, beams=2),
        EngineRequest(_ids(60, 3), "lora", max_new_tokens=6),
    ]
    single = world.engine()
    alone = [world.alone(single, request).token_ids for request in requests]
    engine = world.engine()
    for request in requests:
        engine.submit(request)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fails_at(turn, getattr(owner, name), error))
        with pytest.raises(type(error)):
            world.drain(engine, 2)
    assert engine.is_idle
    assert engine.num_cache_bytes == 0
    assert engine.step(2) == []
    numbers = [engine.submit(request) for request in requests]
    ends = world.ends(world.drain(engine))
    assert [ends[number].token_ids for number in numbers] == alone


def test_the_lowest_temperature_takes_the_most_probable_token(world: Any) -> None:
    engine = world.engine()
    greedy = EngineRequest(_ids(7, 1), "milora", max_new_tokens=8)
    cold = replace(greedy, sampling=Sampling(temperature=1e-40))
    assert world.alone(engine, cold).token_ids == world.alone(engine, greedy).token_ids
    penalised = replace(greedy, sampling=Sampling(temperature=1.0, repetition_penalty=1e38), prompt_ids=(*range(96),))
    assert world.alone(engine, penalised).reason == "length"


def test_an_adapter_without_weights_is_refused(world: Any) -> None:
    engine = world.engine()
    with pytest.raises(MiloraError, match="has no weights") as caught:
        engine.load("empty", world.tenants["lora"].config, {})
    assert caught.value.code == "adapter/mismatch"
    assert "empty" not in engine.adapters


def test_the_cache_stays_within_its_budget(world: Any) -> None:
    limits = EngineLimits(max_rows=16, max_cells=2048)
    engine = world.engine(limits)
    # Keys and values of two heads of eight, float32, in three layers.
    cell = 2 * 2 * 8 * 4 * 3
    for round_number in range(4):
        for index in range(10):
            engine.submit(EngineRequest(_ids(3 + index, index), "lora", max_new_tokens=4))
        engine.submit(EngineRequest(_ids(300, round_number), "milora", max_new_tokens=4))
        while not engine.is_idle:
            engine.step(1)
            assert engine.num_cache_bytes <= limits.max_cells * cell


def test_prefill_is_bounded_in_each_step(world: Any) -> None:
    engine = world.engine(EngineLimits(max_rows=32, prefill_tokens=40))
    for index in range(9):
        engine.submit(EngineRequest(_ids(19, index), "lora", max_new_tokens=30))
    for expected in (2, 4, 6, 8, 9):
        engine.step(1)
        assert len(engine._batch.running) == expected
