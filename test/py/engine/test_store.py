"""The adapters' memory: what leaves the device, what may not, and that nothing is left behind."""

from __future__ import annotations

import gc
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from milora.engine.fused import AdapterInfo, Engine, EngineLimits, EngineRequest
from milora.engine.fused import parking as parking_module
from milora.engine.fused.parking import park, unpark
from milora.errors import MiloraError

_LIMITS = EngineLimits(max_rows=8, max_cells=2048)


def _request(adapter: str | None, seed: int = 0, new: int = 6) -> EngineRequest:
    generator = torch.Generator().manual_seed(seed)
    return EngineRequest(tuple(torch.randint(2, 96, (9,), generator=generator).tolist()), adapter, max_new_tokens=new)


def _engine(world: Any, names: int = 0, room: float | None = None) -> Engine:
    """An engine with adapters a0, a1 …, all MiDoRA, and room for so many of them."""
    tenant = world.tenants["midora"]
    probe = Engine(world.model, _LIMITS)
    num_bytes = probe.load("probe", tenant.config, tenant.tensors)
    engine = Engine(world.model, _LIMITS if room is None else replace(_LIMITS, adapter_bytes=int(room * num_bytes)))
    for index in range(names):
        _load(world, engine, f"a{index}")
    return engine


def _load(world: Any, engine: Engine, name: str, *, pinned: bool = False, kind: str = "midora") -> None:
    tenant = world.tenants[kind]
    engine.load(name, tenant.config, tenant.tensors, pinned=pinned)


def _infos(engine: Engine) -> dict[str, AdapterInfo]:
    return {info.name: info for info in engine.adapter_infos if not info.unloading}


def _resident(engine: Engine) -> set[str]:
    return {name for name, info in _infos(engine).items() if info.resident}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parked_tensors_come_back_bit_for_bit(dtype: torch.dtype) -> None:
    tensors = [torch.randn(5, 3).to(dtype), torch.randn(7), torch.nn.Parameter(torch.randn(2, 1), requires_grad=False)]
    before = [tensor.clone() for tensor in tensors]
    with torch.inference_mode():
        parked = park(tensors)
        assert [tensor.shape for tensor in tensors] == [tensor.shape for tensor in before]
        assert [tensor.untyped_storage().nbytes() for tensor in tensors] == [dtype.itemsize, 4, 4]
        assert parked.numel() == sum(tensor.nbytes for tensor in before)
        unpark(tensors, parked)
    assert all(torch.equal(tensor, old) for tensor, old in zip(tensors, before, strict=True))
    assert all(tensor.is_contiguous() and not tensor.is_inference() for tensor in tensors)


def test_the_least_recently_used_leave_and_come_back_with_their_requests(world: Any) -> None:
    engine = _engine(world, names=4, room=2.5)
    expected = world.alone(_engine(world, names=1), _request("a0")).token_ids
    assert _resident(engine) == {"a2", "a3"}
    assert world.alone(engine, _request("a2")).token_ids == expected
    assert world.alone(engine, _request("a0")).token_ids == expected
    assert _resident(engine) == {"a2", "a0"}
    assert world.alone(engine, _request("a1")).token_ids == expected
    assert _resident(engine) == {"a0", "a1"}
    infos = _infos(engine)
    assert [info.version for info in infos.values()] == [1, 2, 3, 4]
    assert len({info.num_bytes for info in infos.values()}) == 1


def test_an_adapter_with_running_requests_and_a_pinned_one_never_move(world: Any) -> None:
    engine = _engine(world, room=2.5)
    _load(world, engine, "pinned", pinned=True)
    for name in ("a0", "a1"):
        _load(world, engine, name)
    assert _resident(engine) == {"pinned", "a1"}
    running = engine.submit(_request("a1", new=8))
    engine.step(2)
    waiting = [engine.submit(_request(name, seed, new=3)) for seed, name in enumerate(("a0", "pinned", None))]
    _load(world, engine, "a2")
    ends: dict[int, Any] = {}
    while running not in ends:
        assert _resident(engine) == {"pinned", "a1"}
        assert [info.requests for info in _infos(engine).values()] == [1, 1, 1, 0]
        ends |= world.ends(engine.step(1))
    # In order: what waits for room holds up those behind it, short ones without an adapter too.
    assert ends.keys() == {running}
    ends |= world.ends(world.drain(engine))
    assert _resident(engine) == {"pinned", "a0"}
    assert ends.keys() == {running, *waiting}


def test_a_replaced_version_stays_until_its_requests_have_ended(world: Any) -> None:
    engine = _engine(world, names=1, room=2.5)
    single = _engine(world, names=1)
    before = world.alone(single, _request("a0", new=12)).token_ids
    numbers = [engine.submit(_request("a0", new=12))]
    engine.step(3)
    numbers.append(engine.submit(_request("a0", new=12)))
    _load(world, engine, "a0", kind="milora")
    _load(world, engine, "a1")
    old, new, other = engine.adapter_infos
    assert (old.requests, old.unloading, old.resident, old.version) == (2, True, True, 1)
    assert (new.requests, new.unloading, new.version) == (0, False, 2)
    assert (new.resident, other.resident) == (False, True)
    ends = world.ends(world.drain(engine))
    assert [ends[number].token_ids for number in numbers] == [before, before]
    assert [(info.name, info.version) for info in engine.adapter_infos] == [("a0", 2), ("a1", 3)]
    engine.submit(_request("a0"))
    engine.unload("a0")
    with pytest.raises(MiloraError, match="'a0': it is being unloaded") as caught:
        engine.submit(_request("a0"))
    assert caught.value.code == "adapter/not-found"
    world.drain(engine)
    with pytest.raises(MiloraError, match=r"none of that name; loaded: a1\. Did you mean 'a1'"):
        engine.submit(_request("a11"))


def test_a_budget_that_could_never_hold_an_adapter_is_refused_before_any_work(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = _engine(world, names=1, room=1.5)
    with monkeypatch.context() as patch:
        patch.setattr("milora.engine.fused.store.read_resident", None)
        tenant = world.tenants["midora"]
        for pinned in (True, False):
            small = Engine(world.model, replace(_LIMITS, adapter_bytes=1000))
            with pytest.raises(MiloraError, match="adapterMemory is 1000 bytes") as caught:
                small.load("a", tenant.config, tenant.tensors, pinned=pinned)
            assert caught.value.code == "memory/exhausted"
        with pytest.raises(MiloraError, match="pinned adapters take") as caught:
            engine.load("a1", tenant.config, tenant.tensors, pinned=True)
        assert caught.value.code == "memory/exhausted"
    assert _resident(engine) == {"a0"}
    _load(world, engine, "a0", pinned=True)
    with pytest.raises(MiloraError, match="pinned adapters take"):
        _load(world, engine, "a1")
    assert [(info.name, info.pinned) for info in engine.adapter_infos] == [("a0", True)]


def test_an_adapter_of_another_base_leaves_everything_as_it_was(
    world: Any, decoder_model: Any, make_tenant: Any
) -> None:
    engine = _engine(world, names=2, room=2.5)
    other = make_tenant("milora", decoder_model("qwen3"))
    with pytest.raises(MiloraError, match="does not fit this model") as caught:
        engine.load("a0", other.config, other.tensors)
    assert caught.value.code == "adapter/mismatch"
    assert [info.version for info in engine.adapter_infos] == [1, 2]
    assert world.alone(engine, _request("a0")).reason == "length"


def test_no_room_to_park_is_told_and_nothing_is_lost(
    world: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = _engine(world, names=2, room=2.5)
    expected = world.alone(engine, _request("a0")).token_ids
    with monkeypatch.context() as patch:
        patch.setattr(parking_module.tempfile, "tempdir", str(tmp_path / "missing"))
        with pytest.raises(MiloraError, match="could not be moved to") as caught:
            _load(world, engine, "a2")
        assert caught.value.code == "memory/exhausted"
    assert _resident(engine) == {"a0", "a1"}
    assert world.alone(engine, _request("a0")).token_ids == expected


def test_each_end_tells_when_the_request_was_admitted_computed_and_heard_of(world: Any) -> None:
    engine = world.engine(replace(_LIMITS, max_rows=2))
    first = engine.submit(_request("milora", new=4))
    beams = engine.submit(replace(_request("lora", new=4), beams=2))
    never = engine.submit(_request(None))
    engine.abort(never)
    ends = world.ends(world.drain(engine))
    for number in (first, beams):
        timing = ends[number].timing
        assert 0 <= timing.queued < timing.queued + timing.prefill < timing.first_token + 1e-6
    # Both are submitted before the first step, and the second has to wait for the first one's rows.
    assert ends[beams].timing.queued > ends[first].timing.prefill
    assert ends[beams].timing.first_token > ends[beams].timing.queued + ends[beams].timing.prefill
    unheard = ends[never].timing
    assert (unheard.queued, unheard.prefill, unheard.first_token) == (None, None, None)


def _resident_memory() -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


@pytest.mark.skipif(sys.platform != "linux", reason="the process's memory is read from /proc")
def test_1000_loads_and_unloads_leave_nothing_behind(world: Any) -> None:
    engine = _engine(world, names=1, room=2.5)
    kinds = ("midora", "milora", "lora", "dora")
    held: list[tuple[int, int, int]] = []
    for cycle in range(1000):
        name = f"passing{cycle % 3}"
        _load(world, engine, name, kind=kinds[cycle % 4])
        if cycle % 20 == 0:
            engine.submit(_request(name, new=2))
            engine.submit(_request("a0", new=2))
            world.drain(engine)
        # Now and then a name is taken while it is in use, and once in a while several are parked.
        if cycle % 7:
            engine.unload(name)
        if cycle in (199, 999):
            for info in engine.adapter_infos:
                engine.unload(info.name)
            gc.collect()
            files = len(list(Path("/proc/self/fd").iterdir()))
            maps = Path("/proc/self/maps").read_text(encoding="utf-8").count("milora-adapter-")
            held.append((len(gc.get_objects()), _resident_memory(), files + maps))
            _load(world, engine, "a0")
    (objects, memory, files), (last_objects, last_memory, last_files) = held
    assert last_files == files
    assert last_objects - objects < 200
    # Each adapter is some 40 kB: 800 of them would be 30 MB.
    assert last_memory - memory < 6_000_000
