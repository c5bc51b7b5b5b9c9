"""Compiled steps write what plain ones do, and compile a bounded number of graphs."""

from __future__ import annotations

import copy
import gc
import random
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._C._dynamo.eval_frame import reset_code
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedModel

from milora.engine.fused import Engine, EngineEvent, EngineLimits, EngineRequest, FusedDecoder, Sampling
from milora.engine.fused.graphs import GraphedStep
from milora.engine.fused.stepping import prepared_step
from milora.errors import MiloraError
from milora.models import compiling

_MOST_GRAPHS = 4
"""For one row and for several, with adapters and without."""


def _ids(length: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(2, 96, (length,), generator=generator).tolist())


def _requests() -> list[EngineRequest]:
    """The base and every kind of adapter; greedy, sampled and beams; one long enough for a second bucket."""
    kinds = (None, "milora", "lora", "midora", "milora-one", None, "dora", "milora-some", "fixed", "milora")
    sampled = Sampling(temperature=0.9, top_k=7, repetition_penalty=1.2, seed=3)
    return [
        EngineRequest(
            _ids(3 + 4 * index if index else 120, index),
            kind,
            max_new_tokens=5 + index % 4 if index else 14,
            sampling=sampled if index % 3 == 1 else Sampling(),
            beams=3 if index % 3 == 2 else 1,
        )
        for index, kind in enumerate(kinds)
    ]


def _written(world: Any, engine: Engine, seed: int) -> list[tuple[tuple[int, ...], str]]:
    """All requests twice: each for itself, and joining and leaving one batch at random."""
    requests = _requests()
    ends = [world.alone(engine, request) for request in requests]
    random_state = random.Random(seed)
    events: list[EngineEvent] = []
    numbers: list[int] = []
    for request in requests:
        numbers.append(engine.submit(request))
        events += engine.step(random_state.randint(0, 3))
    by_number = world.ends([*events, *world.drain(engine)])
    return [(end.token_ids, end.reason) for end in [*ends, *(by_number[number] for number in numbers)]]


def test_joining_and_leaving_compile_nothing_anew(world: Any) -> None:
    expected = _written(world, world.engine(), seed=1)
    engine = world.engine(compiled=True)
    assert _written(world, engine, seed=1) == expected
    made = engine.num_compilations
    assert 0 < made <= _MOST_GRAPHS
    assert engine.compile_seconds > 0
    # Other mixes and plans, and another engine of the same model.
    again = world.engine(compiled=True)
    assert _written(world, again, seed=2) == expected
    assert again.num_compilations == made
    assert again.num_cache_growths > 1


@pytest.mark.parametrize("family", ["gemma3", "qwen3", "phi3"])
def test_windows_head_norms_and_rotary_kinds_are_those_of_each_layer(
    family: str, decoder_model: Any, make_tenant: Any, make_world: Any
) -> None:
    world = make_world(decoder_model(family), {"midora": make_tenant("midora", decoder_model(family), seed=2)})
    engines = (world.engine(), world.engine(compiled=True))
    written: list[list[tuple[int, ...]]] = []
    for engine in engines:
        numbers = [
            engine.submit(EngineRequest(_ids(13 + index, index), adapter, max_new_tokens=9))
            for index, adapter in enumerate(("midora", None, "midora"))
        ]
        ends = world.ends(world.drain(engine))
        written.append([ends[number].token_ids for number in numbers])
    assert written[0] == written[1]
    assert engines[1].num_compilations <= _MOST_GRAPHS


def test_unloaded_adapters_are_freed(world: Any) -> None:
    engine = world.engine(compiled=True)
    tenant = world.tenants["milora"]
    engine.load("passing", tenant.config, tenant.tensors)
    adapter = weakref.ref(engine._store.named("passing"))
    engine.submit(EngineRequest(_ids(4, 2), "passing", max_new_tokens=4))
    engine.step(2)
    engine.unload("passing")
    world.drain(engine)
    gc.collect()
    assert adapter() is None


def test_without_a_compiler_the_engine_says_so_when_it_is_opened(decoder_model: Any) -> None:
    from torch._inductor import config

    # A model of its own: the graphs that another test's has are there already.
    model = copy.deepcopy(decoder_model("llama"))
    reset_code(compiling._small.__code__)
    with (
        config.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(MiloraError, match=r"C\+\+ compiler") as caught,
    ):
        Engine(model, EngineLimits(), compiled=True)
    assert caught.value.code == "environment/missing-package"


def test_what_cannot_be_compiled_is_refused_when_the_engine_is_opened(decoder_model: Any) -> None:
    gpt = GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=16, n_positions=16))
    with pytest.raises(MiloraError, match="GPT2LMHeadModel") as caught:
        Engine(gpt, EngineLimits(), compiled=True)
    assert caught.value.code == "model/unsupported"
    elsewhere: Any = SimpleNamespace(parts=SimpleNamespace(device=torch.device("mps")))
    with pytest.raises(MiloraError, match="mps") as refused:
        prepared_step(decoder_model("llama"), elsewhere)
    assert refused.value.code == "input/invalid-spec"


def _replayed(step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """A recording as CUDA makes it: a replay reads nothing but the tensors that the step had, and fills its logits."""
    logits = step()

    def replay() -> None:
        logits.copy_(step())

    return replay, logits


def test_a_recorded_step_reads_its_inputs_at_each_replay(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = _written(world, world.engine(), seed=1)

    def graphed(_model: PreTrainedModel, decoder: FusedDecoder) -> GraphedStep:
        return GraphedStep(decoder, _replayed)

    monkeypatch.setattr("milora.engine.fused.engine.prepared_step", graphed)
    engine = world.engine(compiled=True)
    assert _written(world, engine, seed=1) == expected
    # Each request that runs alone is recorded at least once, and no step is recorded twice.
    assert len(_requests()) <= engine.num_compilations < 60


@pytest.mark.parametrize("beams", [1, 3])
def test_a_real_model_writes_the_same(smollm2: Path, beams: int) -> None:
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval().requires_grad_(False)
    request = EngineRequest(tuple(range(40, 60)), max_new_tokens=16, beams=beams)
    written: list[tuple[int, ...]] = []
    for is_compiled in (False, True):
        engine = Engine(model, EngineLimits(), compiled=is_compiled)
        engine.submit(request)
        events: list[EngineEvent] = []
        while not engine.is_idle:
            events += engine.step(4)
        written.append(events[-1].token_ids)
    assert written[0] == written[1]
    assert len(written[0]) == 16
