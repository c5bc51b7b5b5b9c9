"""Continuous batching: every request comes out as it does alone, and alone as from transformers' generate."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from milora.engine.fused import EngineEvent, EngineLimits, EngineRequest, Sampling, TokenEvent
from milora.errors import MiloraError

_KINDS: tuple[str, ...] = ("milora", "milora-one", "milora-some", "midora", "fixed", "lora", "dora")
_STOPS = frozenset({5, 11})


def _ids(length: int, seed: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(2, 96, (length,), generator=generator).tolist())


def _random_request(random_state: random.Random, index: int) -> EngineRequest:
    kind = random_state.choice(["greedy", "greedy", "sampled", "beams"])
    sampling = Sampling()
    if kind == "sampled":
        sampling = Sampling(
            temperature=random_state.choice([0.0, 0.7, 1.3]),
            top_k=random_state.choice([0, 5]),
            top_p=random_state.choice([1.0, 0.8]),
            repetition_penalty=random_state.choice([1.0, 1.3]),
            seed=index,
        )
    return EngineRequest(
        prompt_ids=_ids(random_state.choice([1, 3, 9, 20, 41]), index),
        adapter=random_state.choice([*_KINDS, None, "milora", "lora"]),
        max_new_tokens=random_state.choice([1, 4, 9, 14]),
        stop_ids=_STOPS if random_state.random() < 0.7 else frozenset(),
        sampling=sampling,
        beams=random_state.choice([2, 3]) if kind == "beams" else 1,
    )


def _expected(world: Any, request: EngineRequest) -> list[int]:
    """The new tokens of transformers' generate with the tenant's tuner."""
    model: Any = world.model if request.adapter is None else world.tenants[request.adapter].model
    prompt = torch.tensor([list(request.prompt_ids)])
    output = model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=request.max_new_tokens,
        num_beams=request.beams,
        do_sample=False,
        eos_token_id=sorted(request.stop_ids) or None,
        pad_token_id=0,
        repetition_penalty=request.sampling.repetition_penalty,
    )
    return output[0, prompt.shape[1] :].tolist()


def _outcomes(world: Any, pool: Sequence[EngineRequest]) -> list[tuple[tuple[int, ...], str]]:
    """Tokens and reasons of requests that each have an engine for themselves, as transformers has them too."""
    engine = world.engine()
    ends = [world.alone(engine, request) for request in pool]
    for request, end in zip(pool, ends, strict=True):
        if request.sampling.temperature == 0:
            assert list(end.token_ids) == _expected(world, request)
    return [(end.token_ids, end.reason) for end in ends]


def test_200_random_mixes_equal_each_request_alone(
    world: Any, decoder_model: Any, make_tenant: Any, make_world: Any
) -> None:
    """Tenants, lengths, arrivals and limits at random, and adapters that are loaded anew while their requests run."""
    random_state = random.Random(8)
    pool = [_random_request(random_state, index) for index in range(32)]
    later = {kind: make_tenant(kind, decoder_model("llama"), seed=50 + index) for index, kind in enumerate(_KINDS)}
    versions = [world, make_world(world.model, later)]
    outcomes = [_outcomes(version, pool) for version in versions]
    limits = EngineLimits(max_rows=12, max_cells=4096, prefill_tokens=64)
    engine = world.engine(limits)
    largest = max(adapter.num_bytes for adapter in engine.adapter_infos)
    narrow = world.engine(replace(limits, max_rows=4, prefill_tokens=8))
    crowded = world.engine(replace(limits, adapter_bytes=2 * largest))
    loaded = {one: dict.fromkeys(_KINDS, 0) for one in (engine, narrow, crowded)}
    num_reloads = 0
    for mix in range(200):
        engine = [*loaded][mix % 3]
        expected: dict[int, tuple[tuple[int, ...], str]] = {}
        events: list[EngineEvent] = []
        for _ in range(random_state.randint(2, 9)):
            index = random_state.randrange(len(pool))
            kind = pool[index].adapter
            version = 0 if kind is None else loaded[engine][kind]
            expected[engine.submit(pool[index])] = outcomes[version][index]
            if random_state.random() < 0.6:
                events += engine.step(random_state.randint(1, 4))
            if kind is not None and random_state.random() < 0.2:
                loaded[engine][kind] = 1 - version
                tenant = versions[1 - version].tenants[kind]
                engine.load(kind, tenant.config, tenant.tensors)
                num_reloads += 1
        ends = world.ends([*events, *world.drain(engine, random_state.randint(1, 5))])
        assert {number: (end.token_ids, end.reason) for number, end in ends.items()} == expected
        assert sum(adapter.num_bytes for adapter in crowded.adapter_infos if adapter.resident) <= 2 * largest
    assert num_reloads > 100
    assert all(one.num_cache_growths < 60 for one in loaded)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("kind", [None, "milora", "midora", "dora"])
def test_every_family_generates_as_transformers_does(
    family: str, kind: str | None, beams: int, decoder_model: Any, make_tenant: Any, make_world: Any
) -> None:
    tenants = {} if kind is None else {kind: make_tenant(kind, decoder_model(family), seed=2)}
    world = make_world(decoder_model(family), tenants)
    request = EngineRequest(_ids(13, 4), kind, max_new_tokens=10, stop_ids=_STOPS, beams=beams)
    assert list(world.alone(world.engine(), request).token_ids) == _expected(world, request)


def test_a_running_request_keeps_its_version(
    world: Any, decoder_model: Any, make_tenant: Any, make_world: Any
) -> None:
    request = EngineRequest(_ids(9, 1), "milora", max_new_tokens=12)
    other = make_tenant("milora", decoder_model("llama"), seed=77)
    engine = world.engine()
    before = world.alone(engine, request).token_ids
    number = engine.submit(request)
    events = engine.step(4)
    engine.load("milora", other.config, other.tensors)
    after = engine.submit(request)
    events += engine.step(2)
    engine.unload("milora")
    with pytest.raises(MiloraError) as caught:
        engine.submit(request)
    assert caught.value.code == "adapter/not-found"
    ends = world.ends([*events, *world.drain(engine)])
    assert ends[number].token_ids == before
    assert ends[after].token_ids != before
    assert list(ends[after].token_ids) == _expected(make_world(world.model, {"milora": other}), request)


def test_unloaded_adapters_are_freed_with_their_last_request(world: Any) -> None:
    engine = world.engine()
    tenant = world.tenants["milora"]
    for _ in range(4):
        engine.load("passing", tenant.config, tenant.tensors)
        adapter = weakref.ref(engine._store.named("passing"))
        engine.submit(EngineRequest(_ids(4, 2), "passing", max_new_tokens=3))
        engine.submit(EngineRequest(_ids(6, 2), "lora", max_new_tokens=5))
        engine.step(1)
        engine.unload("passing")
        assert adapter() is not None
        world.drain(engine)
        gc.collect()
        assert adapter() is None


def test_nothing_keeps_unloaded_adapters_once_the_batch_is_empty(world: Any) -> None:
    engine = world.engine()
    for kinds in (("milora",), ("milora", "milora-one"), ("milora", "lora", None)):
        adapters = []
        for index, kind in enumerate(kinds):
            name = None if kind is None else f"passing-{kind}"
            if name is not None:
                engine.load(name, world.tenants[kind].config, world.tenants[kind].tensors)
                adapters.append(weakref.ref(engine._store.named(name)))
            engine.submit(EngineRequest(_ids(4, index), name, max_new_tokens=5))
        engine.step(2)
        for kind in kinds:
            if kind is not None:
                engine.unload(f"passing-{kind}")
        world.drain(engine)
        gc.collect()
        assert [adapter() for adapter in adapters] == [None] * len(adapters)


def test_an_abort_settles_within_two_steps_and_changes_nothing_else(world: Any) -> None:
    random_state = random.Random(3)
    engine = world.engine()
    requests = [
        EngineRequest(_ids(5 + index, index), random_state.choice(_KINDS), max_new_tokens=15, beams=1 + index % 2)
        for index in range(4)
    ]
    alone = [world.alone(engine, request).token_ids for request in requests]
    for _ in range(20):
        numbers = [engine.submit(request) for request in requests]
        events = engine.step(random_state.randint(0, 9))
        dropped = random_state.randrange(4)
        engine.abort(numbers[dropped])
        settled = engine.step(2)
        ends = world.ends([*events, *settled])
        assert ends[numbers[dropped]].reason == "aborted"
        expected = alone[dropped]
        assert ends[numbers[dropped]].token_ids == expected[: len(ends[numbers[dropped]].token_ids)]
        ends |= world.ends(world.drain(engine))
        for index, number in enumerate(numbers):
            if index != dropped:
                assert ends[number].token_ids == alone[index]


def test_overrides_change_one_requests_routing(world: Any) -> None:
    engine = world.engine()
    plain = EngineRequest(_ids(9, 6), "milora", max_new_tokens=6)
    lower = replace(plain, top_k=1)
    masked = replace(plain, allowed=("q", "down"))
    numbers = [engine.submit(request) for request in (plain, lower, masked)]
    ends = world.ends(world.drain(engine))
    active = [
        [sum(gate != 0 for gate in layer) for layer in ends[number].gates or () if layer is not None]
        for number in numbers
    ]
    assert active == [[3, 3, 3], [1, 1, 1], [2, 2, 2]]
    gates = torch.tensor([list(layer) for layer in ends[numbers[2]].gates or () if layer is not None])
    kept = world.alone(engine, replace(plain, decision=gates))
    assert kept.token_ids == ends[numbers[2]].token_ids


def test_streamed_text_adds_up_and_stop_strings_end_it(world: Any) -> None:
    def decode(ids: Sequence[int]) -> str:
        return "".join(chr(97 + token % 26) for token in ids)

    engine = world.engine(decode=decode)
    plain = EngineRequest(_ids(9, 6), "milora", max_new_tokens=12, sampling=Sampling(temperature=3.0))
    whole = world.alone(engine, plain)
    stop = whole.text[4:7]
    assert len(whole.text) == 12 and whole.text.find(stop) == 4
    number = engine.submit(replace(plain, stop_strings=("never", stop)))
    events = world.drain(engine, 1)
    pieces = [event for event in events if isinstance(event, TokenEvent)]
    end = world.ends(events)[number]
    assert "".join(piece.text for piece in pieces) == end.text == whole.text[:4]
    assert end.reason == "stop"
    assert [token for piece in pieces for token in piece.token_ids] == list(whole.token_ids[:7])


def test_seeds_decide_what_is_drawn(world: Any) -> None:
    engine = world.engine()
    request = EngineRequest(_ids(9, 6), "milora", max_new_tokens=12, sampling=Sampling(temperature=1.5))
    first = world.alone(engine, request).token_ids
    assert world.alone(engine, request).token_ids == first
    others = [replace(request, sampling=Sampling(temperature=1.5, seed=seed)) for seed in (1, 2)]
    assert len({first, *(world.alone(engine, other).token_ids for other in others)}) == 3
