"""What only a GPU can show: recorded steps on CUDA write what plain ones do."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from milora.engine.fused import EngineRequest, Sampling

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@pytest.mark.parametrize("beams", [1, 3])
def test_a_recorded_step_writes_the_same(world: Any, decoder_model: Any, make_world: Any, beams: int) -> None:
    tenants = {
        name: dataclasses.replace(tenant, tensors={key: one.cuda() for key, one in tenant.tensors.items()})
        for name, tenant in world.tenants.items()
    }
    on_cuda = make_world(decoder_model("llama").cuda(), tenants)
    requests = [
        EngineRequest(tuple(range(3, 9 + 3 * index)), kind, max_new_tokens=8 + index, beams=beams)
        for index, kind in enumerate((None, "milora", "lora", "midora", "milora-one"))
    ]
    requests.append(EngineRequest((5, 6, 7), "dora", max_new_tokens=20, sampling=Sampling(temperature=1.0, seed=4)))
    written: list[list[tuple[int, ...]]] = []
    for compiled in (False, True):
        engine = on_cuda.engine(compiled=compiled)
        alone = [on_cuda.alone(engine, request).token_ids for request in requests]
        numbers = [engine.submit(request) for request in requests]
        ends = on_cuda.ends(on_cuda.drain(engine))
        written.append([*alone, *(ends[number].token_ids for number in numbers)])
        assert (engine.num_compilations > len(requests)) is compiled
    assert written[0] == written[1]
