"""``engineOpen``, ``engineLoad``, ``engineUnload``, ``engineAdapters``, ``engineStatistics``, ``engineSubmit``,
``engineStep``, ``engineClose``.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch

from milora.checkpoint import read_adapter
from milora.engine.fused import Engine, EngineLimits
from milora.errors import MiloraError
from milora.server.call import Call
from milora.server.ops import session
from milora.server.ops.engine_texts import EngineTexts
from milora.training.memory import free_bytes

# On an accelerator that nothing is said of: the rest is for the cache, stacks of a mixed batch and prefills.
_ACCELERATOR_SHARE = 0.5


def engine_open(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Makes the engine of the open model."""
    opened = session.current()
    if opened.engine is not None:
        message = "An engine is open already; take its stream, or close it with engineClose first."
        raise MiloraError("input/invalid-spec", message)
    limits = EngineLimits(
        max_rows=payload["maxRows"],
        max_cells=payload["maxTokens"],
        prefill_tokens=payload["prefillTokens"],
        context_length=opened.opened.context_length,
        adapter_bytes=_adapter_bytes(payload["adapterMemory"], opened.opened.model.device),
    )
    engine = Engine(
        opened.opened.model,
        limits,
        opened.encoder.decode_continuation,
        without_adapters=functools.partial(opened.host.use, None),
        compiled=payload["compile"],
    )
    opened.engine = engine
    return {"slowBecause": engine.slow_because}


def engine_load(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Takes the adapter of a folder in."""
    config, tensors = read_adapter(Path(payload["folder"]))
    num_bytes = _engine().load(payload["adapter"], config, tensors, pinned=payload["pinned"])
    session.current().engine_texts.loaded(payload["adapter"], config)
    return {"bytes": num_bytes}


def engine_unload(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Forgets an adapter."""
    _engine().unload(payload["adapter"])
    session.current().engine_texts.unloaded(payload["adapter"])
    return {}


def engine_adapters(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Where the adapters are and what uses them."""
    adapters = [
        {
            "name": info.name,
            "version": info.version,
            "bytes": info.num_bytes,
            "resident": info.resident,
            "pinned": info.pinned,
            "requests": info.requests,
            "unloading": info.unloading,
        }
        for info in _engine().adapter_infos
    ]
    return {"adapters": adapters}


def engine_statistics(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """What the engine has made so far, and what its cache takes."""
    engine = _engine()
    return {
        "cacheBytes": engine.num_cache_bytes,
        "cacheGrowths": engine.num_cache_growths,
        "compilations": engine.num_compilations,
        "compileSeconds": engine.compile_seconds,
    }


def engine_submit(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Puts a request in line."""
    engine, opened = _engine(), session.current()
    (prompt_ids,) = opened.encoder.prompt_ids([session.prompt_of(payload)])
    number = engine.submit(opened.engine_texts.request(payload, prompt_ids))
    opened.engine_texts.submitted(number, payload)
    return {"request": number, "promptTokens": len(prompt_ids)}


def engine_step(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Ends aborted requests and computes some tokens of every other.

    A cancel that comes by signal ends every request, as whatever else goes wrong in a step does; without signals it
    waits for the end of the step, whose cost is bounded.
    """
    engine = _engine()
    for request in payload["abort"]:
        engine.abort(request)
    texts = session.current().engine_texts
    try:
        events = engine.step(payload["maxSteps"])
    except BaseException:
        texts.all_ended()
        raise
    return {"events": texts.events(events)}


def engine_close(payload: dict[str, Any], call: Call) -> dict[str, Any]:
    """Lets go of the engine; without one nothing happens."""
    opened = session.current()
    opened.engine_texts.close(opened.host.names)
    opened.engine_texts = EngineTexts(opened.encoder, opened.decisions)
    opened.engine = None
    return {}


def _adapter_bytes(asked: int | dict[str, float] | None, device: torch.device) -> int | None:
    """The adapters' budget on a device; None: no bound."""
    if isinstance(asked, int):
        return asked
    if asked is None and device.type == "cpu":
        return None
    share = _ACCELERATOR_SHARE if asked is None else asked["share"]
    free = free_bytes(device)
    if free is None and asked is not None:
        message = f"How much memory of {device} is free is not known, so that a share of it says nothing."
        raise MiloraError("input/invalid-spec", message, path="adapterMemory", hint="Give adapterMemory in bytes.")
    return None if free is None else int(share * free)


def _engine() -> Engine:
    engine = session.current().engine
    if engine is None:
        raise MiloraError("input/invalid-spec", "No engine is open; call engineOpen first.")
    return engine
