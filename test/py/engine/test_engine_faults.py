"""A fault stays with the request that has it, and what cannot be done is told before any work."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from milora.engine.fused import EngineLimits, EngineRequest, Sampling
from milora.errors import MiloraError


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
        ({"top_k": 4}, "adapter/unsupported"),
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
    engine = world.engine(EngineLimits(max_cells=512))
    with pytest.raises(MiloraError, match="512 cells") as caught:
        engine.submit(EngineRequest((3,) * 120, None, max_new_tokens=20))
    assert caught.value.code == "memory/exhausted"


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
